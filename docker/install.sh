#!/usr/bin/env bash
# The steps of the images that need no GPU. Dockerfile.jetson, Dockerfile.cpu, arm64.sh and the tests run these lines.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(dirname "$here")

usage() {
  cat <<'TEXT'
install.sh environment FOLDER [--python python3.8] [--system-packages] [--wheels FOLDER]
           an empty environment whose pip sees today's wheels, with numpy at the constrained version.
           --system-packages lets it see apt's python3-libnvinfer, the TensorRT binding of JetPack
install.sh pycuda FOLDER [--wheels FOLDER]
           pycuda into it, compiled with the nvcc on PATH and never imported: there is no GPU during a build
install.sh edgehar FOLDER EXTRAS [--wheels FOLDER]
           edgehar[EXTRAS] into it at the constrained versions, e.g. cpu,mqtt,bundle
install.sh wheels FOLDER EXTRAS [--python python3.8]
           collects what a board (aarch64, Python 3.8) without network installs from with --wheels FOLDER
TEXT
}

fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# constraints PYTHON: the file with the exact versions for that interpreter.
constraints() {
  local version file
  version=$("$1" -c 'import sys; print("%d%d" % sys.version_info[:2])')
  file=$here/constraints-py$version.txt
  [[ -f $file ]] || fail "there are no pinned versions for $1; use Python 3.8 (the board) or 3.11."
  printf '%s\n' "$file"
}

# pip_install ENVIRONMENT ARGUMENTS: from the wheels given, else from the package index.
pip_install() {
  local python=$1/bin/python from=()
  shift
  [[ -z $wheels ]] || from=(--no-index --find-links "$wheels")
  "$python" -m pip --disable-pip-version-check --no-cache-dir --no-input -q install ${from[@]+"${from[@]}"} "$@"
}

# pinned EXTRAS ARGUMENTS: the pins that they need into the environment, each of a hash that is written here.
pinned() {
  local chosen files
  files=("$(constraints "$folder/bin/python")")
  [[ $1 != jetson ]] || files+=("$here/constraints-jetson.txt")
  chosen=$(mktemp)
  "$folder/bin/python" "$here/pin.py" select "$1" "${files[@]}" >"$chosen"
  pip_install "$folder" --require-hashes -r "$chosen" "${@:2}"
  rm "$chosen"
}

environment() {
  "$python" -m venv ${system_packages:+--system-site-packages} "$folder" ||
    fail "$python makes no environments; run: apt-get install python3.8-venv"
  pip_install "$folder" --upgrade --require-hashes -r "$here/constraints-build.txt"  # Ubuntu 20.04's pip sees too little
  pinned only:numpy --ignore-installed --no-deps
}

pycuda() {
  local cuda
  command -v nvcc >/dev/null || fail "there is no nvcc on PATH; run: export PATH=/usr/local/cuda/bin:\$PATH"
  cuda=$(dirname "$(dirname "$(readlink -f "$(command -v nvcc)")")")
  LIBRARY_PATH=$cuda/lib64/stubs${LIBRARY_PATH:+:$LIBRARY_PATH} pinned jetson --no-build-isolation --no-binary pycuda
  compgen -G "$folder/lib/python3.*/site-packages/pycuda/_driver*.so" >/dev/null ||
    fail "pycuda was installed without its driver binding."
}

# From a copy, as setuptools leaves a build/ behind in which files stay that have since been removed.
edgehar() {
  local copy
  copy=$(mktemp -d)
  cp -rL "$source/pyproject.toml" "$source/README.md" "$source/LICENSE" "$source/edgehar" "$copy"
  pinned "$extras"
  pip_install "$folder" --no-build-isolation --no-deps "$copy"
  rm -rf "$copy"
  "$folder/bin/edgehar" --version
}

wheels() {
  local copy
  copy=$(mktemp -d)
  "$python" -m venv "$copy/environment"
  pip_install "$copy/environment" --upgrade --require-hashes -r "$here/constraints-build.txt"
  "$python" "$here/pin.py" select "$extras" "$here/constraints-py38.txt" >"$copy/pins"
  "$copy/environment/bin/python" -m pip --disable-pip-version-check -q download --dest "$folder" --only-binary=:all: \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    --python-version 3.8 --no-deps --require-hashes -r "$copy/pins" -r "$here/constraints-build.txt"
  rm -rf "$copy"
}

(($# >= 2)) || { usage >&2; exit 2; }
step=$1 folder=$2 extras='' python='' system_packages='' wheels=''
shift 2
while (($#)); do
  case $1 in
    --python) python=$2; shift 2 ;;
    --wheels) wheels=$2; shift 2 ;;
    --system-packages) system_packages=yes; shift ;;
    -*) usage >&2; fail "there is no option $1." ;;
    *) extras=$1; shift ;;
  esac
done
python=${python:-python3.8}
case $step in
  environment | pycuda) "$step" ;;
  edgehar | wheels) [[ -n $extras ]] || fail "say which extras, e.g. cpu,mqtt,bundle."; "$step" ;;
  *) usage >&2; fail "there is no step '$step'." ;;
esac
