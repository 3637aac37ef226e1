#!/usr/bin/env bash
# Dockerfile.cpu without a daemon and without a registry: buildah builds it for real, on a base made by this machine.
#
#   docker/local_image.sh [FOLDER]           # root, needs Debian's buildah and debootstrap and a network; minutes
#   docker/local_image.sh --leave [FOLDER]   # unmounts it again; base and image stay for the next time
#
# FOLDER (default /var/tmp/edgehar-image) keeps base and image by the digest of what they are made of, and may be given
# again. In it then lie image.json, which tells how the image is to be run, and root, which leads to its files. Exit status
# 3: something lacks for a build.
# The base is Debian 12 with its own Python 3.11, in the place of python:3.11-slim-bookworm. This machine's certificates,
# which its network may need, are mounted while packages are fetched; they are in no layer of base or image.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(dirname "$here")
leave=''
[[ ${1:-} != --leave ]] || { leave=yes; shift; }
folder=$(realpath -m "${1:-/var/tmp/edgehar-image}")
SUITE=bookworm MIRROR=http://deb.debian.org/debian PACKAGES='python3.11-venv ca-certificates'
BUNDLE=/etc/ssl/certs/ca-certificates.crt
INPUTS=(docker/Dockerfile.cpu docker/Dockerfile.cpu.dockerignore docker/install.sh docker/pin.py docker/constraints-build.txt
  docker/constraints-py311.txt pyproject.toml README.md LICENSE edgehar engines)

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'local_image.sh: %s\n' "$*" >&2; exit 1; }
lack() { printf 'local_image.sh: %s\n' "$*" >&2; exit 3; }
in_store() { buildah --root "$folder/store" --runroot "$folder/run" --storage-driver "${STORAGE_DRIVER:-overlay}" "$@"; }
has() { in_store inspect --type image "$1" >/dev/null 2>&1; }

require_tools() {
  local tool
  [[ $(id -u) == 0 ]] || lack "only root can make a root file system; run it with sudo."
  for tool in buildah debootstrap; do
    command -v "$tool" >/dev/null || lack "there is no $tool; apt-get install buildah debootstrap"
  done
}

digest() { (cd "$source" && find "$@" -type f ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum) | sha256sum | cut -c -16; }

make_base() {
  local container
  base=localhost/edgehar-base:$(printf '%s' "$SUITE $MIRROR $PACKAGES" | sha256sum | cut -c -16)
  ! has "$base" || return 0
  say "a base of Debian $SUITE"
  rm -rf "$folder/base"
  debootstrap --variant=minbase "$SUITE" "$folder/base" "$MIRROR" >"$folder/base.log"
  # shellcheck disable=SC2086  # several packages
  chroot "$folder/base" /usr/bin/env DEBIAN_FRONTEND=noninteractive sh -c \
    "apt-get update -qq && apt-get install -y -qq --no-install-recommends $PACKAGES && apt-get clean" >>"$folder/base.log" 2>&1
  container=$(in_store from scratch)
  in_store add -q "$container" "$folder/base" / >/dev/null
  in_store commit -q --rm "$container" "$base" >/dev/null
  rm -rf "$folder/base"
}

make_image() {
  local mounts=()
  image=localhost/edgehar:$(digest "${INPUTS[@]}")
  ! has "$image" || return 0
  say "docker/Dockerfile.cpu"
  [[ ! -f $BUNDLE ]] || mounts=(--volume "$BUNDLE:$BUNDLE:ro")
  (cd "$source" && in_store bud -q --isolation chroot ${mounts[@]+"${mounts[@]}"} --build-arg BASE="$base" --format docker \
    -f docker/Dockerfile.cpu -t "$image" .) >"$folder/image.log" 2>&1 || { cat "$folder/image.log"; fail "it did not build."; }
}

# A container of it, of which only the files are of use: who runs them sets user, mounts and rights.
lay_out() {
  local container
  rm -f "$folder/root"
  in_store inspect --type image "$image" >"$folder/image.json"
  in_store rm --all >/dev/null
  container=$(in_store from "$image")
  ln -s "$(in_store mount "$container")" "$folder/root"
}

require_tools
if [[ -n $leave ]]; then
  rm -f "$folder/root"
  in_store rm --all >/dev/null
  exit
fi
mkdir -p "$folder"
make_base
make_image
lay_out
say "$image lies in $folder/root"
