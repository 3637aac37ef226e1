#!/usr/bin/env bash
# What `deploy.sh push`, `rollback` and `bench` do on a device. It travels with every command, as an argument of bash, and
# is never stored there, so both ends always agree. Needs the bash, coreutils and util-linux of Ubuntu 20.04.
#
#   ~/.edgehar/
#     files/SHA256         wheels, bundles, keys and manifests, each whole or absent
#     environments/ID/     a virtual environment; `whole` is written last
#     releases/ID/         manifest; environment -> ../../environments/ID; model/, a folder of `edgehar install`;
#                          previous -> the release before it; `proven`, once it recognised a stream as the current one
#     current -> releases/ID    the one switch
#     engines/  runs/      what bench was given, and what it measured and nobody has fetched yet
#     job                  the process group of a bench that is under way
#     power/               how to restore power mode and clocks, while a bench has changed them
set -euo pipefail
shopt -s nullglob
umask 022

ROOT=$HOME/.edgehar
LOCK_WAIT_S=120    # a push whose connection was cut ends by itself, and sooner than this
SILENCE_S=30       # a bench whose workstation sends nothing for that long is ended
STEP_LIMIT_S=3600  # TensorRT may try kernels for long
UNUSABLE=2 REFUSED=6 LACKING=7  # as in edgehar/errors.py

say() { printf '%s\n' "$*" 2>/dev/null || true; }  # the workstation may be gone
complain() { printf '%s\n' "$*" >&2 2>/dev/null || true; }
refuse() { complain "${*:2}"; exit "$1"; }
as_root() { if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi; }

# quiet COMMAND: its words once it has ended well, the last line of them as a complaint where it has not.
quiet() {
  local words status=0
  words=$("$@" 2>&1) || status=$?
  if ((status)); then complain "${words##*$'\n'}"; else printf '%s' "${words:+$words$'\n'}"; fi
  return "$status"
}

# ------------------------------------------------------------------ preflight: reads, and changes nothing

preflight() {
  say "fact arch $(uname -m)"
  say "fact glibc $(getconf GNU_LIBC_VERSION | cut -d . -f 2)"
  say "fact jetson $(if on_jetson; then echo yes; else echo no; fi)"
  say "fact running $(describe_current)"
  lack_tools
  lack_python
  if on_jetson; then lack_of_jetson; fi
}

lack() { say "lack $*"; }

lack_tools() {
  local tool
  for tool in flock ps setsid sha256sum tar timeout; do
    command -v "$tool" >/dev/null || lack "$tool is not installed; run: sudo apt install coreutils procps tar util-linux"
  done
  [[ -w $HOME ]] || lack "the home folder cannot be written; run: sudo chown $(id -un) $HOME"
}

lack_python() {
  if ! command -v python3.8 >/dev/null; then
    lack "Python 3.8 is not installed; run: sudo apt install python3.8 python3.8-venv python3.8-dev"
  elif ! python3.8 -c 'import ctypes, ssl, venv' 2>/dev/null; then
    lack "Python 3.8 makes no environments; run: sudo apt install python3.8-venv"
  fi
}

on_jetson() { [[ -e /etc/nv_tegra_release ]] || command -v nvpmodel >/dev/null; }

lack_of_jetson() {
  local user headers='import os, sysconfig; print(os.path.join(sysconfig.get_paths()["include"], "Python.h"))'
  user=$(id -un)
  python3.8 -c 'import tensorrt' 2>/dev/null ||
    lack "TensorRT cannot be imported by Python 3.8; run: sudo apt install python3-libnvinfer"
  [[ -e $(python3.8 -c "$headers" 2>/dev/null) ]] ||
    lack "pycuda cannot be compiled without Python's headers; run: sudo apt install python3.8-dev"
  command -v g++ >/dev/null || lack "pycuda cannot be compiled without g++; run: sudo apt install build-essential"
  PATH=$PATH:/usr/local/cuda/bin command -v nvcc >/dev/null ||
    lack "pycuda cannot be compiled without nvcc; run: sudo apt install nvidia-jetpack"
  [[ -w /dev/nvmap ]] ||
    lack "$user may not use the GPU (/dev/nvmap); run: sudo usermod -aG video $user, and log out of all sessions"
}

# What bench needs to set power mode and clocks.
preflight_power() {
  local tool user
  user=$(id -un)
  for tool in nvpmodel jetson_clocks; do
    if ! command -v "$tool" >/dev/null; then
      lack "$tool is not on PATH, so this seems to be no Jetson; leave --mode and --clocks out"
    elif ! as_root "$tool" "$([[ $tool == nvpmodel ]] && echo -q || echo --show)" >/dev/null 2>&1 </dev/null; then
      lack "$user may not run $tool without a password; run: echo '$user ALL=(root) NOPASSWD: $(command -v "$tool")'" \
        "| sudo tee -a /etc/sudoers.d/edgehar"
    fi
  done
}

# plan < MANIFEST: what has to be sent, and whether there is room for it.
plan() {
  local sha size name sent=0 wheels=0 manifest environment
  manifest=$(cat)
  environment=$ROOT/environments/$(environment_id <<<"$manifest")
  while read -r sha size name; do
    if [[ ! -e $ROOT/files/$sha ]]; then
      say "send $sha $size $name"
      sent=$((sent + size))
    fi
    [[ $name != *.whl || -e $environment/whole ]] || wheels=$((wheels + size))
  done <<<"$manifest"
  lack_room "$((sent + 5 * wheels + (32 << 20)))" "$(df --output=avail -B 1 "$HOME" | tail -n 1)"
}

lack_room() {
  (($1 < $2)) || lack "there are $(($2 >> 20)) MiB free in $HOME and this takes up to $(($1 >> 20)); free some space"
}

# ------------------------------------------------------------------ files

# receive SHA256: standard input becomes that file, whole or not at all.
receive() {
  local temporary
  mkdir -p "$ROOT/files"
  temporary=$(mktemp "$ROOT/files/.receiving-XXXXXX") || refuse $UNUSABLE "the disk is full; free some space there"
  # shellcheck disable=SC2064  # the name it has now
  trap "rm -f '$temporary'" EXIT
  cat >"$temporary" || refuse $UNUSABLE "the disk is full or failing; what was installed there is untouched"
  [[ $(sha256sum <"$temporary") == "$1 "* ]] || refuse $UNUSABLE "a file arrived damaged or in part; run this again"
  mv "$temporary" "$ROOT/files/$1"
}

# linked MANIFEST FOLDER PATTERN...: hard links of those of the manifest's files, under their names.
linked() {
  local sha name pattern _
  rm -rf "$2"
  mkdir "$2"
  while read -r sha _ name; do
    for pattern in "${@:3}"; do
      # shellcheck disable=SC2053  # it is a pattern
      [[ $name != $pattern ]] || ln "$ROOT/files/$sha" "$2/$name"
    done
  done <"$1"
}

require_files() {
  local sha _
  while read -r sha _; do
    [[ -e $ROOT/files/$sha ]] || refuse $UNUSABLE "files are missing on the device; run this again"
  done <"$1"
}

environment_id() { grep -E '\.(whl|tar\.gz)$' | sha256sum | cut -c -12; }

# ------------------------------------------------------------------ one at a time

alone() {
  mkdir -p "$ROOT"/{files,environments,releases,runs,engines}
  exec 9>"$ROOT/lock"
  flock -n 9 && return
  say "another push or bench is at work there; waiting for it"
  flock -w "$LOCK_WAIT_S" 9 ||
    refuse $UNUSABLE "another push or bench is still at work on this device; run this again later"
}

# ------------------------------------------------------------------ install

# install MANIFEST_SHA256 [--allow-downgrade]. Goes on to its end where the connection is cut; killed at any moment, it
# leaves a whole release current.
install() {
  local manifest=$ROOT/files/$1 before id=${1:0:12}
  trap '' HUP PIPE
  alone
  require_files "$ROOT/files/$1"
  undo_unproven
  before=$(describe_current)
  if cmp -s "$manifest" "$ROOT/current/manifest"; then
    ! refresh || { say "result unchanged $before"; return; }
    [[ $(current_id) != "$id" ]] || id=$id-anew  # the damaged one stays current until then
  fi
  make_environment "$manifest"
  make_release "$manifest" "$id" "${2:-}"
  switch_to "$id"
  prove "$before"
  prune
}

make_environment() {
  local manifest=$1 folder
  folder=$ROOT/environments/$(environment_id <"$manifest")
  [[ ! -e $folder/whole ]] || return 0
  say "making the environment, without the internet"
  rm -rf "$folder"
  linked "$manifest" "$folder.wheels" '*.whl' '*.tar.gz'
  python3.8 -m venv --without-pip --system-site-packages "$folder"
  if pip_install "$folder" --ignore-installed --no-compile "$folder.wheels"/*.whl && compile "$folder"; then
    rm -rf "$folder.wheels"
    sync -f "$folder"
    touch "$folder/whole"
  else
    rm -rf "$folder" "$folder.wheels"
    refuse $UNUSABLE "the environment could not be made; what was installed there is untouched"
  fi
}

# The pip that Ubuntu 20.04 brings does not see the newer wheels, so a newer one comes along and runs from its wheel.
pip_install() {
  local folder=$1 pip=("$1.wheels"/pip-*.whl)
  quiet timeout "$STEP_LIMIT_S" "$folder/bin/python" "${pip[0]}/pip" --disable-pip-version-check --no-input install -q \
    --no-index --no-deps "${@:2}" </dev/null >/dev/null
}

# pycuda has no wheel: it is compiled here, with the nvcc of JetPack.
compile() {
  local sources=("$1.wheels"/*.tar.gz)
  ((${#sources[@]})) || return 0
  say "compiling pycuda (minutes)"
  PATH=$PATH:/usr/local/cuda/bin pip_install "$1" --no-build-isolation "${sources[@]}"
}

# The release is made under another name and renamed when it is whole. It begins as a copy of the current model, so that
# `edgehar install` refuses a lower version.
make_release() {
  local manifest=$1 building=$ROOT/releases/.building
  rm -rf "$building"
  mkdir "$building"
  cp "$manifest" "$building/manifest"
  ln -s "../../environments/$(environment_id <"$manifest")" "$building/environment"
  say "installing the bundle"
  { seed_model "$building" && install_bundle "$building" "$3" && streams "$building" >/dev/null; } ||
    give_up "$building" $?
  sync -f "$building"
  rm -rf "${ROOT:?}/releases/$2"
  mv "$building" "$ROOT/releases/$2"
}

give_up() { rm -rf "$1"; exit "$2"; }

seed_model() {
  local name
  [[ -e $ROOT/current/model ]] || return 0
  linked "$1/manifest" "$1/new" '*.ehar'
  name=$(name_in_bundle "$1"/new/*.ehar)
  rm -rf "$1/new"
  [[ $(describe_current) == "$name "* ]] || return 0
  cp -a "$ROOT/current/model" "$1/model" 2>/dev/null && return
  complain "there is no space left on the device; what was installed there is untouched"
  return $UNUSABLE
}

name_in_bundle() {
  python3.8 -c 'import json, sys, zipfile; print(json.loads(zipfile.ZipFile(sys.argv[1]).read("bundle.json"))["name"])' \
    "$1" 2>/dev/null || true  # `edgehar install` will say what is wrong with it
}

# install_bundle RELEASE [--allow-downgrade]: verify, build, replay its golden inputs. Installed already: verify again.
install_bundle() {
  local release=$1 options status=0
  linked "$release/manifest" "$release/new" '*.ehar' '*.pub' options
  read -r -a options <"$release/new/options" || true
  tool "$release" install "$release"/new/*.ehar --to "$release/model" --key "$release"/new/*.pub --json \
    "${options[@]}" ${2:+"$2"} >/dev/null || status=$?
  rm -rf "$release/new"
  return "$status"
}

tool() { quiet timeout "$STEP_LIMIT_S" "$1/environment/bin/edgehar" "${@:2}"; }

# streams RELEASE: its golden inputs, as a stream of samples, end in decisions; prints how many.
streams() {
  local answer
  answer=$(golden_rows "$1" | tool "$1" run "$1/model/current" --source csv:path=- --allow-constant --json --quiet) || return
  sed -nE 's/^ *"decisions": ([0-9]+).*/\1/p' <<<"$answer"
}

golden_rows() {
  "$1/environment/bin/python" -I -c '
import csv, sys
from edgehar.backends.base import Engine

engine = Engine.load(sys.argv[1])
signal, table = engine.manifest.signal, csv.writer(sys.stdout)
table.writerow(["time_s"] + [channel.name for channel in signal.channels])
samples = engine.golden().x.transpose(0, 2, 1).reshape(-1, len(signal.channels))
table.writerows([index / signal.rate_hz, *sample] for index, sample in enumerate(samples.tolist()))
' "$1/model/current" 2>/dev/null
}

# ------------------------------------------------------------------ the switch, and back

current_id() { basename "$(readlink "$ROOT/current" || true)"; }

previous_id() { basename "$(readlink "$ROOT/current/previous" || true)"; }

describe_current() {
  local record=$ROOT/current/model/current/installed.json
  if [[ -e $record ]]; then
    sed -nE 's/^ *"(name|version)": "([^"]*)".*/\2/p' "$record" | paste -sd ' '
  else
    echo nothing
  fi
}

switch_to() {
  local before
  before=$(current_id)
  [[ -z $before ]] || ln -s "../$before" "$ROOT/releases/$1/previous"
  point_to "$1"
}

# The one moment that decides.
point_to() {
  rm -f "$ROOT/.switching"
  ln -s "releases/$1" "$ROOT/.switching"
  mv -T "$ROOT/.switching" "$ROOT/current"
}

# prove BEFORE: the release recognises a stream where it now is, or the one before becomes current again.
prove() {
  local decisions status=0
  decisions=$(streams "$ROOT/current" && touch "$ROOT/current/proven") || status=$?
  if ((status)); then
    go_back
    say "result rolled-back to $(describe_current)"
    exit "$status"
  fi
  say "result installed $(describe_current), was $1; $decisions decisions"
}

go_back() {
  local failed before
  failed=$(current_id) before=$(previous_id)
  if [[ -n $before && -d $ROOT/releases/$before ]]; then point_to "$before"; else rm -f "$ROOT/current"; fi
  rm -rf "${ROOT:?}/releases/$failed"
}

# A push that was killed between the switch and its proof is undone first, and then done again.
undo_unproven() { [[ ! -L $ROOT/current || -e $ROOT/current/proven ]] || go_back; }

# What is current is verified and streamed again.
refresh() { install_bundle "$ROOT/current" && streams "$ROOT/current" >/dev/null; }

rollback() {
  local before
  trap '' HUP PIPE
  alone
  undo_unproven
  before=$(previous_id)
  [[ -n $before && -d $ROOT/releases/$before ]] || refuse $UNUSABLE "no earlier release is kept on this device"
  streams "$ROOT/releases/$before" >/dev/null ||
    refuse $REFUSED "the earlier release does not work any more; what is current stays so"
  go_back
  say "result rolled-back to $(describe_current)"
}

# Remove what neither the current release nor the one before it needs. Files that another push has just sent are left.
prune() {
  local folder file needed
  for folder in "$ROOT"/releases/*; do
    [[ $folder -ef $ROOT/current || $folder -ef $ROOT/current/previous ]] || rm -rf "$folder"
  done
  needed=$(cat "$ROOT"/releases/*/manifest; sha256sum "$ROOT"/releases/*/manifest; readlink "$ROOT"/releases/*/environment)
  for folder in "$ROOT"/environments/*; do
    [[ $needed == *"${folder##*/}"* ]] || rm -rf "$folder"
  done
  find "$ROOT/files" -type f -mmin +60 | while read -r file; do
    [[ $needed == *"${file##*/}"* ]] || rm -f "$file"
  done
}

# ------------------------------------------------------------------ bench

# engine ID < TAR: an artifact to measure, whole or not at all.
engine() {
  local temporary
  mkdir -p "$ROOT/engines"
  temporary=$(mktemp -d "$ROOT/engines/.receiving-XXXXXX")
  # shellcheck disable=SC2064  # the name it has now
  trap "rm -rf '$temporary'" EXIT
  tar -x -C "$temporary" || refuse $UNUSABLE "the artifact arrived in part; run this again"
  mv -T "$temporary" "$ROOT/engines/$1"
}

has_engine() { [[ -d $ROOT/engines/$1 ]]; }

# bench MODE|keep pin|keep ENGINE... -- ARGUMENTS: `edgehar bench` under that power mode and those clocks, in a session of
# its own. Standard input brings heartbeats; where they end, it ends. However it ends, its trap restores mode and clocks.
bench() {
  [[ $(ps -o sid= $$) -eq $$ ]] || exec setsid -w bash -c "$BASH_EXECUTION_STRING" on_device bench "$@"
  local words status=0
  [[ -L $ROOT/current ]] || refuse $LACKING "nothing was pushed to this device; run ./deploy.sh push first"
  trap '' HUP PIPE
  alone
  end_bench  # one that the device itself did not survive
  rm -f "$ROOT"/runs/.*.part
  exec 3<&0
  watch_heart <&3 >/dev/null &
  # shellcheck disable=SC2064  # the process it is now
  trap "kill $! 2>/dev/null || true; end_bench" EXIT
  trap 'exit 143' INT TERM
  set_power "$1" "$2"
  mapfile -t words < <(measured "${@:3}")
  # shellcheck disable=SC2016  # the inner shell is to expand it
  setsid bash -c 'echo $$ >"$0"; exec "$@"' "$ROOT/job" \
    "$ROOT/current/environment/bin/edgehar" bench "${words[@]}" -o "$ROOT/runs" </dev/null &
  wait $! || status=$?
  exit "$status"
}

# measured ENGINE... -- ARGUMENTS: the words for `edgehar bench`; without an engine, what push installed.
measured() {
  local engines=()
  while [[ $1 != -- ]]; do engines+=("$ROOT/engines/$1"); shift; done
  printf '%s\n' "${engines[@]:-$ROOT/current/model/current}" "${@:2}"
}

# Where the workstation is gone the bench is ended; where its shell was killed, ending it falls to this one.
watch_heart() {
  while read -r -t "$SILENCE_S" _ && alive; do :; done
  if alive; then kill -TERM $$; else end_bench; fi
}

alive() { [[ -e /proc/$$/exe ]]; }  # which is gone of one that was killed and that nobody has waited for

end_bench() {
  local job
  job=$(cat "$ROOT/job" 2>/dev/null) || job=none
  ! grep -qs edgehar "/proc/$job/cmdline" || kill -TERM -- "-$job" || true  # after a reboot it may be anybody's number
  rm -f "$ROOT/job"
  restore_power
}

# nvpmodel asks whether it may reboot where a mode needs that. It is never given an answer.
power_model() { as_root timeout 30 nvpmodel "$@" </dev/null; }

clocks() { as_root timeout 30 jetson_clocks "$@" </dev/null; }

# The number alone on its line behind the one that names the mode; other lines may stand before, between and behind.
power_mode() {
  power_model -q | awk '{ sub(/\r$/, "") } /NV Power Mode:/ { named = 1; next }
    named && !told && NF == 1 && $1 ~ /^[0-9]+$/ { print $1; told = 1 }'
}

set_power() {
  [[ $1 != keep || $2 != keep ]] || return 0
  rm -rf "$ROOT/power"
  mkdir "$ROOT/power"
  power_mode >"$ROOT/power/mode"
  [[ -s $ROOT/power/mode ]] ||
    refuse $LACKING "nvpmodel -q does not tell the power mode, which could not be restored; leave --mode and --clocks out"
  clocks --store "$ROOT/power/clocks"
  touch "$ROOT/power/changed"
  [[ $1 == keep ]] || set_mode "$1"
  [[ $2 == keep ]] || pin_clocks
}

set_mode() {
  local words
  words=$(power_model -m "$1" 2>&1) || true
  [[ $(power_mode) != "$1" ]] || return 0
  [[ ${words,,} != *reboot* ]] ||
    refuse $LACKING "power mode $1 needs a reboot, which is left to you: set it by hand, reboot, and bench without --mode"
  refuse $LACKING "power mode $1 could not be set: ${words##*$'\n'}"
}

# Clocks are stored once more, as this mode has them: they are let go before the mode is changed back.
pin_clocks() {
  clocks --store "$ROOT/power/unpinned"
  clocks
}

restore_power() {
  [[ -e $ROOT/power/changed ]] || return 0
  local mode failed=0
  mode=$(<"$ROOT/power/mode")
  [[ ! -e $ROOT/power/unpinned ]] || clocks --restore "$ROOT/power/unpinned" || failed=1
  power_model -m "$mode" >/dev/null || failed=1
  clocks --restore "$ROOT/power/clocks" || failed=1
  if ((failed)); then
    complain "power mode $mode and its clocks could NOT be restored; run: sudo nvpmodel -m $mode, and reboot for the clocks"
  else
    rm -rf "$ROOT/power"
    say "note power mode $mode and its clocks are restored"
  fi
}

# ------------------------------------------------------------------ Runs

runs() { (cd "$ROOT/runs" && find . -name '*.json' -printf '%P\n' | tar -c -T -); }

# forget < NAMES: Runs that were fetched.
forget() {
  local name
  while read -r name; do rm -f "$ROOT/runs/${name##*/}"; done
}

"$@"
