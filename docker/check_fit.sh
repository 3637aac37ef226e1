#!/usr/bin/env bash
# Does this board fit the image? Says what is in order and what is not, each with its remedy, on standard error; prints
# on standard output what compose needs to know of the board. Exits with 1 where something is lacking.
#
#   docker/check_fit.sh >docker/.env
#
# --root FOLDER looks at another system's files, --image NAME at another image than edgehar:jetson.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root='' image=edgehar:jetson lacking=0
while (($#)); do
  case $1 in
    --root) root=$2; shift 2 ;;
    --image) image=$2; shift 2 ;;
    *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; [[ $1 == -h || $1 == --help ]] && exit 0 || exit 2 ;;
  esac
done

ok() { printf 'ok       %s\n' "$*" >&2; }
note() { printf 'note     %s\n' "$*" >&2; }
lack() { printf 'LACKING  %s\n' "$*" >&2; lacking=1; }

# group_id NAME: the number of a group of the board; fails where there is none.
group_id() { awk -F: -v name="$1" '$1 == name { print $3; found = 1 } END { exit !found }' "$root/etc/group" 2>/dev/null; }

# release: L4T of the board as major.minor.patch, e.g. 35.6.4.
release() {
  sed -nE 's/^# R([0-9]+) \(release\), REVISION: ([0-9.]+).*/\1.\2/p' "$root/etc/nv_tegra_release" 2>/dev/null
}

# base: the image's base; of an image not built yet, the one its Dockerfile names.
base() {
  local built
  built=$(docker image inspect --format '{{index .Config.Labels "edgehar.base"}}' "$image" 2>/dev/null || true)
  printf '%s\n' "${built:-$(sed -n 's/^ARG BASE=//p' "$here/Dockerfile.jetson")}"
}

older() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }

check_release() {
  local host from
  host=$(release) from=$(base)
  from=${from##*:r}
  if [[ -z $host ]]; then
    lack "this is no Jetson: /etc/nv_tegra_release does not say its L4T. On other machines use docker/compose.cpu.yaml"
  elif [[ ${host%%.*} != "${from%%.*}" ]]; then
    lack "L4T R$host, and the image is of R$from: Xavier runs JetPack 5 (R35) alone; flash JetPack 5.1.2 or newer of 5.1"
  elif older "$host" "$from"; then
    lack "L4T R$host is older than the image's R$from; sudo apt update && sudo apt dist-upgrade to JetPack 5.1.2 or newer"
  else
    ok "L4T R$host runs an image of R$from"
  fi
}

check_docker() {
  local runtimes
  if ! runtimes=$(docker info --format '{{range $name, $_ := .Runtimes}}{{$name}} {{end}}' 2>/dev/null); then
    lack "docker does not answer; sudo systemctl start docker && sudo usermod -aG docker \$USER, then log in again"
  elif [[ " $runtimes " != *' nvidia '* ]]; then
    lack "docker has no runtime nvidia; sudo apt install nvidia-container && sudo systemctl restart docker"
  else
    ok "docker has the runtime nvidia"
  fi
  local list=/etc/nvidia-container-runtime/host-files-for-container.d/l4t.csv
  if [[ -f $root$list ]]; then
    ok "$list says what a container is given"
  else
    lack "$list is missing, so that containers would see no GPU; sudo apt install --reinstall nvidia-l4t-init nvidia-container"
  fi
}

check_groups() {
  local video
  video=$(group_id video) || video=none
  if [[ $video == 44 ]]; then
    ok "group video is 44"
  else
    lack "group video is $video, and the compose file gives 44: write that number into its group_add"
  fi
}

check_jtop() {
  local jtop version
  if [[ ! -S $root/run/jtop.sock ]]; then
    lack "/run/jtop.sock is not there; sudo pip3 install jetson-stats && sudo systemctl restart jtop.service"
  elif ! jtop=$(group_id jtop); then
    lack "there is no group jtop to whom /run/jtop.sock belongs; sudo systemctl restart jtop.service"
  else
    ok "/run/jtop.sock is there, group jtop is $jtop"
    printf 'JTOP_GID=%s\n' "$jtop"
  fi
  version=$(jtop --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1 || true)
  if [[ -n $version ]]; then
    printf 'JETSON_STATS=%s\n' "$version"
  else
    note "jtop does not tell its version; build with --build-arg JETSON_STATS=X.Y.Z of the board to measure with it"
  fi
}

check_image() {
  if docker image inspect "$image" >/dev/null 2>&1; then
    ok "image $image is of $(base)"
  else
    note "there is no image $image yet; docker-compose -f docker/compose.jetson.yaml build"
  fi
}

# The container's user is 1000, as is the first user of a board.
check_engines() {
  local folder=$here/../engines
  if [[ $(stat -c %u "$folder" 2>/dev/null) == 1000 ]]; then
    ok "engines/ belongs to user 1000, who builds in it"
  else
    lack "engines/ does not belong to user 1000, so that no engine could be built in it; sudo chown -R 1000 engines"
  fi
}

check_release
check_docker
check_groups
check_jtop
check_image
check_engines
((lacking == 0)) || printf 'check_fit.sh: the board does not fit the image yet; see what is LACKING above.\n' >&2
exit "$lacking"
