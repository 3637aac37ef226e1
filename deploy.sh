#!/usr/bin/env bash
# The one way in. Needs bash, git and Python 3.11 (for the device tests also Python 3.8).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
  cat <<'TEXT'
edgehar: wearable-sensor recordings in, a verified real-time activity recogniser out.

  ./deploy.sh install [EXTRAS]
                     make the environment .venv, or add to it; EXTRAS is a list such as train,bundle, default cpu, which
                     runs ready models: `edgehar demo` shows one. docs/install.md has the table of extras
  ./deploy.sh demo   make the environment, then train, distil, export, build, verify, measure and report
                     on generated (synthetic) recordings; ends with demo/report.html in about 5 minutes
  ./deploy.sh test   make the environments and pass all tests on Python 3.11 and the device tests on 3.8

  ./deploy.sh push USER@HOST[:PORT]... --bundle FILE.ehar --key NAME.pub
                     bring edgehar and a bundle to boards over ssh, all at once, and try it there; what fails its trial is
                     rolled back. Boards need no internet. The same line again changes nothing, or goes on.
                     --dry-run             say what a board lacks and what would be sent, and change nothing
                     --backend trt --precision fp16    what `edgehar install` is to build there; else ONNX Runtime
                     --allow-downgrade     accept a lower version of the bundle
                     --jobs 8              boards served at once
  ./deploy.sh rollback USER@HOST[:PORT]...
                     make what was there before the last push current again
  ./deploy.sh bench USER@HOST[:PORT] [ARTIFACT...] [--mode 0] [--clocks] [-o runs/bench] [-- ARGUMENTS]
                     run `edgehar bench ARGUMENTS` on a board, in that power mode and with pinned clocks, which the board
                     restores itself whatever happens; brings the Runs back. Without an ARTIFACT: what push installed

The environments are .venv and .venv-3.8 in this folder; removing them undoes the installation. On a board everything
lies in ~/.edgehar.
TEXT
}

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'deploy.sh: %s\n' "$*" >&2; exit 1; }

# ------------------------------------------------------------------ environments

find_python() { docker/install.sh python "$1"; }

# make_environment .venv 3.11 train,cpu: an environment with this checkout and these extras beside those it has, at the
# pinned versions, each of a hash that is written there. Does nothing where it stands already.
make_environment() {
  docker/install.sh whole "$1" "$3" --python "$2" --editable "${@:4}"
}

workstation() { make_environment .venv 3.11 "$1"; }

# A workstation has Python 3.11; a board has 3.8, and a Jetson TensorRT's binding outside of environments.
install() {
  local version=3.11 more=()
  if [[ -e /etc/nv_tegra_release ]]; then
    version=3.8 more=(--system-packages)
  elif ! find_python 3.11 >/dev/null && find_python 3.8 >/dev/null; then
    version=3.8
  fi
  make_environment .venv "$version" "${1:-cpu}" ${more[@]+"${more[@]}"}
  printf '\nthe command is .venv/bin/edgehar, or edgehar after: source .venv/bin/activate\nnext: .venv/bin/edgehar demo\n'
}

# ------------------------------------------------------------------ demo

edgehar() {
  printf '\n$ edgehar %s\n' "$*"
  .venv/bin/edgehar "$@"
}

EPOCHS=12  # enough for the generated recordings on two cores; real corpora take more

demo() {
  workstation train,cpu
  say "the demo, on generated recordings; everything it makes lies in demo/"
  rm -rf demo
  export OMP_NUM_THREADS=1  # networks this small train in half the time on one thread where two busy cores are shared

  edgehar train --data synthetic --model resnet:width=32 --epochs "$EPOCHS" -o demo/teacher
  edgehar train --data synthetic --model mobilenet:size=S --epochs "$EPOCHS" -o demo/student-alone
  edgehar distill --data synthetic --teacher demo/teacher --method kd --model mobilenet:size=S --epochs "$EPOCHS" \
    -o demo/student-kd

  local model
  for model in teacher student-alone student-kd; do
    edgehar export "demo/$model" -o "demo/engines/$model"
    edgehar build "demo/engines/$model" --precision fp32
    edgehar build "demo/engines/$model" --precision int8
  done
  edgehar verify demo/engines/student-kd --precision int8

  edgehar bench demo/engines/{teacher,student-alone,student-kd} --precision fp32 --precision int8 \
    --scenario accuracy --scenario single_stream --scenario offline --duration 3 -o demo/runs
  edgehar run demo/engines/student-kd --source replay:dataset=synthetic --limit-s 900
  edgehar report demo/runs -o demo/report.html

  say "done: open demo/report.html"
}

# ------------------------------------------------------------------ test

# Two lanes at once, as each keeps no more than one core busy. The shares of the tests are of about the same length; what
# neither of two names is in the rest.
TRAINING=(tests/training tests/study tests/docs tests/benchmarks tests/results tests/house)
DEVICE=(tests/artifact tests/backends tests/bench tests/cli tests/deploy tests/docker)

run_tests() {
  local lane=(.venv:device .venv:rest) beside=(.venv:training) status=0 device=0 log
  workstation train,cpu,mqtt,docs,dev
  device_environment || device=$?
  [[ $device != 0 ]] || { lane+=(.venv-3.8:rest .venv-3.8:training); beside+=(.venv-3.8:device); }
  say "style"
  .venv/bin/ruff check .
  .venv/bin/mypy
  log=.venv/tests.log
  run_lane "${beside[@]}" >"$log" 2>&1 &
  trap 'kill $(jobs -p) 2>/dev/null || true' EXIT  # Ctrl-C does not reach a job in the background
  run_lane "${lane[@]}" || status=$?
  wait $! || status=$?
  cat "$log"
  return "$status"
}

# run_lane .venv:rest .venv-3.8:device...: these shares of the tests, one after the other. Fails where one does.
run_lane() {
  local share which status=0
  for share in "$@"; do
    case ${share#*:} in
      training) which=("${TRAINING[@]}") ;;
      device) which=("${DEVICE[@]}") ;;
      rest) which=(tests "${TRAINING[@]/#/--ignore=}" "${DEVICE[@]/#/--ignore=}") ;;
    esac
    say "tests in ${share%:*}: ${share#*:}"
    "${share%:*}/bin/python" -m pytest "${which[@]}" || status=$?
  done
  return "$status"
}

# The board's Python has no torch: tests of the training side skip themselves there, all others must pass.
device_environment() {
  if ! find_python 3.8 >/dev/null; then
    [[ ${CI:-} != true ]] || fail "no working Python 3.8 was found, and CI must run the device tests."
    say "no Python 3.8 on PATH or under ${PYENV_ROOT:-$HOME/.pyenv}: the device tests are NOT run"
    return 1
  fi
  # what fails here must end the run: it is called where bash would go on after a fault
  make_environment .venv-3.8 3.8 cpu,mqtt,dev || fail "the environment of the device tests was not made; the reason is above."
}

# ------------------------------------------------------------------ boards

over_ssh() {
  # shellcheck source=docker/over_ssh.sh
  source docker/over_ssh.sh
  "$@"
}

case ${1:-} in
  install)
    (($# <= 2)) || fail "give the extras as one list, such as train,bundle."
    install "${2:-}"
    ;;
  demo) demo ;;
  test) run_tests ;;
  push | rollback | bench) over_ssh "$@" ;;
  '' | -h | --help | help) usage ;;
  *) usage >&2; fail "there is no '$1'." ;;
esac
