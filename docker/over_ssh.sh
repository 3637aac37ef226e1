# shellcheck shell=bash
# `deploy.sh push`, `rollback` and `bench`: the workstation's end. deploy.sh reads this file; docker/on_device.sh is the
# other end, and travels with every command. Files go one by one, by their content's SHA-256, and only those that are not
# there: of wheels rsync could save no more, and it would have to be installed at both ends.

SSH=(-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 -o ServerAliveCountMax=6)
HEARTBEAT_S=5
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/edgehar/wheelhouse
LOST=255                                         # ssh ends with it where it is ssh itself that failed
UNUSABLE=2 LACKING=7                             # as in edgehar/errors.py

hosts=()  # as given; work/0, work/1, ... hold what is known of each
work=''

refuse() { printf 'deploy.sh: %s\n' "${*:2}" >&2; exit "$1"; }

# from_here PATH: as whoever typed it meant it, for deploy.sh has changed into its own folder.
from_here() { if [[ $1 == /* || $OLDPWD == "$PWD" ]]; then printf '%s' "$1"; else printf '%s' "$OLDPWD/$1"; fi; }

# ------------------------------------------------------------------ push

push() {
  local bundle='' key='' options='' dry_run='' downgrade='' jobs=8
  while (($#)); do
    case $1 in
      --dry-run) dry_run=$1 ;;
      --allow-downgrade) downgrade=$1 ;;
      --bundle | --key | --jobs | --backend | --precision)
        [[ -n ${2:-} ]] || refuse $UNUSABLE "$1 needs a value; see ./deploy.sh --help"
        case $1 in
          --bundle) bundle=$(from_here "$2") ;;
          --key) key=$(from_here "$2") ;;
          --jobs) jobs=$2 ;;
          *) options+="$1 $2 " ;;
        esac
        shift
        ;;
      -*) refuse $UNUSABLE "push has no option $1; see ./deploy.sh --help" ;;
      *) hosts+=("$1") ;;
    esac
    shift
  done
  require_arguments "$bundle" "$key" "$jobs"
  begin
  on_each "$jobs" look
  make_manifests "$bundle" "$key" "$options"
  on_each "$jobs" deploy "$dry_run" "$downgrade"
  summarise
}

require_arguments() {
  require_hosts
  [[ -f $1 ]] || refuse $UNUSABLE "give the bundle with --bundle FILE.ehar; edgehar pack makes one"
  [[ -f $2 ]] || refuse $UNUSABLE "give the public key of its signer with --key NAME.pub; edgehar keygen makes a pair"
  ! grep -q PRIVATE "$2" || refuse $UNUSABLE "$2 is a private key, which stays here; give the .pub beside it"
  [[ $3 =~ ^[1-9][0-9]*$ ]] || refuse $UNUSABLE "--jobs is how many devices are served at once, not '$3'"
}

require_hosts() {
  ((${#hosts[@]})) || refuse $UNUSABLE "say where, e.g. anna@xavier-1; see ./deploy.sh --help"
}

# look I: what the device is and lacks.
look() {
  connect "$1"
  remote "$1" preflight </dev/null >"$work/$1/facts"
  stop_at_lacks "$work/$1/facts"
}

stop_at_lacks() {
  local first
  first=$(sed -n 's/^lack //p' "$1" | head -n 1)
  [[ -n $first ]] || return 0
  sed -n 's/^lack //p' "$1"
  finish "not ready: $first" $LACKING
}

fact() { sed -n "s/^fact $2 //p" "$work/$1/facts"; }

# deploy I DRY_RUN ALLOW_DOWNGRADE
deploy() {
  local i=$1 sha size count=0 bytes=0 here=$work/$1 _
  remote "$i" plan <"$here/manifest" >"$here/plan"
  stop_at_lacks "$here/plan"
  while read -r _ _ size _; do count=$((count + 1)) bytes=$((bytes + size)); done < <(grep '^send ' "$here/plan")
  printf '%d files, %d KiB to send; there is %s\n' "$count" "$((bytes >> 10))" "$(fact "$i" running)"
  [[ -z $2 ]] || finish "dry run, nothing was sent or changed" 0
  while read -r _ sha _; do
    remote "$i" receive "$sha" <"$here/files/$sha"
  done < <(grep '^send ' "$here/plan")
  sha=$(sha256 <"$here/manifest")
  remote "$i" receive "$sha" <"$here/manifest"
  remote "$i" install "$sha" ${3:+"$3"} </dev/null
}

# ------------------------------------------------------------------ rollback

rollback() {
  hosts=("$@")
  require_hosts
  begin
  on_each 8 go_back
  summarise
}

go_back() {
  connect "$1"
  remote "$1" rollback </dev/null
}

# ------------------------------------------------------------------ what is sent

sha256() { sha256sum | cut -d ' ' -f 1; }

# For each device the list of its files, a line `SHA256 SIZE NAME` each: that list is what a release is.
make_manifests() {
  local i wheels own here
  own=$(own_wheel)
  for i in "${!hosts[@]}"; do
    here=$work/$i
    [[ ! -e $here/status ]] || continue
    wheels=$(wheelhouse "$(fact "$i" arch)" "$(fact "$i" glibc)" "$(fact "$i" jetson)")
    printf '%s\n' "$3" >"$here/options"
    mkdir "$here/files"
    list "$here/files" "$wheels"/* "$own" "$1" "$2" "$here/options" | LC_ALL=C sort >"$here/manifest"
  done
}

# list FOLDER FILE...: a line each, and a link to it in FOLDER under its SHA-256.
list() {
  local folder=$1 sha file
  shift
  for file; do
    sha=$(sha256 <"$file")
    ln -sf "$(realpath "$file")" "$folder/$sha"
    printf '%s %s %s\n' "$sha" "$(stat -L -c %s "$file")" "$(name_there "$file")"
  done
}

# Bundles and keys may have any name here, with blanks in it or not, and have a plain one there.
name_there() {
  case $1 in
    *.whl | *.tar.gz | */options) basename "$1" ;;
    *.ehar) echo bundle.ehar ;;
    *) echo release.pub ;;
  esac
}

# wheelhouse ARCH GLIBC JETSON: print the folder with all of constraints-py38.txt, as the device tests have it, and what
# installs them, as wheels for such a device, each of a hash that is written there. It is collected once.
wheelhouse() {
  local pins=(docker/constraints-py38.txt docker/constraints-build.txt) more=() folder minor
  local platforms=(--platform "manylinux2014_$1")
  if [[ $3 == yes ]]; then
    pins+=(docker/constraints-jetson.txt)
    more+=(--no-binary pycuda)
  fi
  folder=$CACHE/$1-glibc2.$2-$(cat "${pins[@]}" | sha256 | cut -c -12)
  if [[ ! -d $folder ]]; then
    say "collecting the wheels for Python 3.8 on $1 (once)" >&2
    for ((minor = 17; minor <= $2; minor++)); do platforms+=(--platform "manylinux_2_${minor}_$1"); done
    collect "$folder" download --only-binary :all: --python-version 3.8 --implementation cp "${platforms[@]}" \
      --require-hashes "${pins[@]/#/--requirement=}" ${more[@]+"${more[@]}"} --dest
  fi
  printf '%s\n' "$folder"
}

# Print the path of edgehar itself as a wheel, made of a copy of these sources: setuptools leaves a build/ behind.
own_wheel() {
  local folder
  folder=$CACHE/edgehar-$(find -L edgehar pyproject.toml README.md LICENSE -name __pycache__ -prune -o -type f -print0 | sort -z |
    xargs -0 sha256sum | sha256 | cut -c -12)
  if [[ ! -d $folder ]]; then
    say "making a wheel of edgehar" >&2
    mkdir "$work/source"
    cp -rL edgehar pyproject.toml README.md LICENSE "$work/source"
    SOURCE_DATE_EPOCH=315532800 collect "$folder" wheel "$work/source" --wheel-dir  # the same bytes on every workstation
    rm -rf "$work/source"
  fi
  printf '%s\n' "$folder"/*.whl
}

# collect FOLDER ARGUMENTS: what pip brings with these arguments, in FOLDER once it is whole.
collect() {
  local folder=$1 python
  shift
  if [[ ! -d $work/pip ]]; then
    python=$(find_python 3.11) || refuse $LACKING "no working Python 3.11 was found, and its pip collects the wheels"
    "$python" -m venv "$work/pip"
  fi
  "$work/pip/bin/python" -m pip --disable-pip-version-check --no-input -q "$1" --no-deps "${@:2}" "$folder.$$" 2>"$work/said" || {
    tail -n 3 "$work/said" >&2
    rm -rf "$folder.$$"
    refuse $LACKING "pip could not collect the wheels; is this machine's network up? Then run this again"
  }
  mv -T "$folder.$$" "$folder" 2>/dev/null || rm -rf "$folder.$$"  # another push was sooner
}

# ------------------------------------------------------------------ one device after the other, several at once

begin() {
  local i
  work=$(mktemp -d)
  trap end EXIT
  mkdir -p "$CACHE"
  for i in "${!hosts[@]}"; do
    [[ ${hosts[i]} =~ ^[A-Za-z0-9_][A-Za-z0-9_.@-]*(:[0-9]+)?$ ]] ||
      refuse $UNUSABLE "'${hosts[i]}' is no user@host or user@host:port"
    mkdir "$work/$i"
  done
}

end() {
  local i
  for i in "${!hosts[@]}"; do ssh -o ControlPath="$work/$i/ssh" -O exit any 2>/dev/null || true; done
  wait  # Ctrl-C does not reach steps in the background, but without a connection they end
  rm -rf "$work"
}

# on_each JOBS STEP ARGUMENTS: STEP I ARGUMENTS for all that have not ended, JOBS at a time, its words after the device's name.
on_each() {
  local jobs=$1 i
  shift
  for i in "${!hosts[@]}"; do
    [[ ! -e $work/$i/status ]] || continue
    while (($(jobs -rp | wc -l) >= jobs)); do wait -n || true; done
    step "$i" "$@" &
  done
  wait
}

# Whatever a step ends with, it is noted: a device that failed holds up no other.
step() {
  local i=$1 start=$SECONDS status
  set +e
  (set -e; "$2" "$i" "${@:3}") 2>&1 | narrate "$i"
  status=${PIPESTATUS[0]}
  set -e
  echo $(($(cat "$work/$i/seconds" 2>/dev/null || echo 0) + SECONDS - start)) >"$work/$i/seconds"
  note "$i" "$status"
}

narrate() {
  local line
  while IFS= read -r line; do
    case $line in
      result\ *) printf '%s\n' "${line#result }" >"$work/$1/result" ;;
      next:\ *) ;;  # it names a place on the device
      note\ *) printf '%-20s %s\n' "${hosts[$1]}" "${line#note }" ;;
      *)
        printf '%-20s %s\n' "${hosts[$1]}" "$line"
        [[ -z $line ]] || printf '%s\n' "$line" >"$work/$1/last"
        ;;
    esac
  done
}

# note I STATUS: a device that has its result, or failed, is served no further.
note() {
  local here=$work/$1 status=$2
  if [[ ! -e $here/result ]]; then
    ((status)) || return 0
    if ((status == LOST)); then
      status=$LACKING
      echo "lost the connection; run the same line again, and it goes on" >"$here/result"
    else
      printf 'failed: %s\n' "$(cat "$here/last" 2>/dev/null)" >"$here/result"
    fi
  fi
  echo "$status" >"$here/status"
}

# finish RESULT STATUS: end this step, and this device, here.
finish() { printf 'result %s\n' "$1"; exit "$2"; }

# A table of all devices; ends with the first status that is not 0.
summarise() {
  local i failed=0 here
  printf '\n%-24s %5s  %s\n' device s result
  for i in "${!hosts[@]}"; do
    here=$work/$i
    printf '%-24s %5s  %s\n' "${hosts[i]}" "$(cat "$here/seconds")" "$(<"$here/result")"
    ((failed)) || failed=$(<"$here/status")
  done
  exit "$failed"
}

# ------------------------------------------------------------------ ssh

# connect I: one connection that all later commands share. An unknown host key is refused, as ssh does by default.
connect() {
  local said=$work/$1/said
  ssh "${SSH[@]}" -o ControlMaster=yes -o ControlPath="$work/$1/ssh" -N -f "$(address "$1")" >"$said" 2>&1 </dev/null && return
  case $(<"$said") in
    *'Host key verification'*) unreachable "its host key is not known here or has changed; compare it: ssh ${hosts[$1]}" ;;
    *'Permission denied'*) unreachable "it accepts no key of this user; run: ssh-copy-id ${hosts[$1]}" ;;
    *) unreachable "no connection ($(tail -n 1 "$said" | tr -d '\r')); is it up?" ;;
  esac
}

unreachable() { printf '%s\n' "$1"; finish "unreachable: $1" $LACKING; }

address() { printf 'ssh://%s' "${hosts[$1]}"; }

# remote I COMMAND ARGUMENTS: run docker/on_device.sh there, with this standard input.
remote() {
  local words='' word quote="'\\''"
  for word in "$(<docker/on_device.sh)" on_device "${@:2}"; do words+=" '${word//\'/$quote}'"; done
  ssh "${SSH[@]}" -o ControlMaster=no -o ControlPath="$work/$1/ssh" "$(address "$1")" "bash -c$words"
}

# ------------------------------------------------------------------ bench

bench() {
  local mode=keep clocks=keep output=runs/bench engines=() more=()
  while (($#)); do
    case $1 in
      --clocks) clocks=pin ;;
      --mode | -o)
        [[ -n ${2:-} ]] || refuse $UNUSABLE "$1 needs a value; see ./deploy.sh --help"
        if [[ $1 == -o ]]; then output=$(from_here "$2"); else mode=$2; fi
        shift
        ;;
      --) more=("${@:2}"); break ;;
      -*) refuse $UNUSABLE "bench has no option $1; what is for edgehar bench comes after --" ;;
      *) if ((${#hosts[@]})); then engines+=("$(from_here "$1")"); else hosts=("$1"); fi ;;
    esac
    shift
  done
  require_hosts
  [[ $mode =~ ^(keep|[0-9]+)$ ]] || refuse $UNUSABLE "--mode is a number of /etc/nvpmodel.conf, not '$mode'"
  require_artifacts "${engines[@]}"
  begin
  on_each 1 measure "$mode" "$clocks" "$output" "${engines[@]}" -- "${more[@]}"
  summarise
}

require_artifacts() {
  local folder
  for folder; do
    [[ -f $folder/manifest.json ]] || refuse $UNUSABLE "$folder is no artifact; edgehar export makes one"
    [[ ! -e $folder/engine.json ]] || refuse $UNUSABLE "$folder is an engine of this machine; give its artifact"
  done
}

# measure I MODE CLOCKS OUTPUT ENGINE... -- ARGUMENTS of edgehar bench
measure() {
  local i=$1 mode=$2 clocks=$3 output=$4 ids=() status=0
  shift 4
  connect "$i"
  if [[ $mode$clocks != keepkeep ]]; then
    remote "$i" preflight_power </dev/null >"$work/$i/facts"
    stop_at_lacks "$work/$i/facts"
  fi
  while [[ $1 != -- ]]; do
    ids+=("$(basename "$1")-$(sha256 <"$1/manifest.json" | cut -c -12)")
    send_engine "$i" "$1" "${ids[-1]}"
    shift
  done
  remote "$i" bench "$mode" "$clocks" "${ids[@]}" "$@" < <(exec 2>/dev/null; heartbeats) || status=$?
  ((status == LOST)) || fetch_runs "$i" "$output"
  ((status)) || finish "measured; the Runs are in $output; next: edgehar report $output" 0
  return "$status"
}

send_engine() {
  remote "$1" has_engine "$3" </dev/null || tar -c -C "$2" --exclude ./built . | remote "$1" engine "$3"
}

# The device ends a bench whose heartbeats end, and restores its power mode and clocks by itself.
heartbeats() { while echo; do sleep "$HEARTBEAT_S"; done; }

# Also those of a bench whose connection was lost: they wait on the device until they are fetched.
fetch_runs() {
  mkdir -p "$2"
  remote "$1" runs </dev/null >"$work/$1/runs.tar"
  tar -x -C "$2" --skip-old-files -f "$work/$1/runs.tar"
  tar -t -f "$work/$1/runs.tar" | remote "$1" forget
}
