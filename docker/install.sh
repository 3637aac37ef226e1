#!/usr/bin/env bash
# The steps of the images that need no GPU. Dockerfile.jetson, Dockerfile.cpu, arm64.sh and the tests run these lines.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(dirname "$here")

usage() {
  cat <<'TEXT'
install.sh whole FOLDER EXTRAS [--python 3.11] [--system-packages] [--editable] [--wheels FOLDER]
           an environment with edgehar[EXTRAS], added to what it has; does nothing where all of that stands already.
           This is what `./deploy.sh install` runs. The steps of it, for images:
install.sh environment FOLDER [--python 3.8] [--system-packages] [--wheels FOLDER]
           an empty environment whose pip sees today's wheels, with numpy at the constrained version.
           --system-packages lets it see apt's python3-libnvinfer, the TensorRT binding of JetPack
install.sh pycuda FOLDER [--wheels FOLDER]
           pycuda into it, compiled with the nvcc on PATH and never imported: there is no GPU during a build
install.sh edgehar FOLDER EXTRAS [--editable] [--wheels FOLDER]
           edgehar[EXTRAS] into it at the constrained versions, e.g. cpu,mqtt,metrics,bundle
install.sh wheels FOLDER EXTRAS [--python 3.8]
           collects what a board (aarch64, Python 3.8) without network installs from with --wheels FOLDER
install.sh python VERSION
           prints an interpreter of that version, from PATH or pyenv, that can make environments
TEXT
}

fail() { printf 'install.sh: %s\n' "$*" >&2; exit 1; }

# find_python 3.11: print an interpreter of that version that runs and can make environments; fail where there is none.
find_python() {
  local version=$1 candidate
  while read -r candidate; do
    if is_python "$version" "$candidate"; then
      printf '%s\n' "$candidate"
      return
    fi
  done < <(type -aP "python$version"; printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python)
  return 1
}

is_python() {
  local probe='import ensurepip, sys, venv; sys.exit("%d.%d" % sys.version_info[:2] != sys.argv[1])'
  "$2" -c "$probe" "$1" 2>/dev/null
}

# the_python 3.8, python3.8 or a path: print that interpreter, or say how to get one.
the_python() {
  if [[ $1 =~ ^(python)?([0-9]+\.[0-9]+)$ ]]; then
    find_python "${BASH_REMATCH[2]}" ||
      fail "no working Python ${BASH_REMATCH[2]} was found on PATH or under ${PYENV_ROOT:-$HOME/.pyenv}; install it with" \
        "its venv module (apt-get install python${BASH_REMATCH[2]}-venv, or pyenv install ${BASH_REMATCH[2]}), or name it with --python."
  else
    is_python "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" "$1" ||
      fail "$1 is no Python that makes environments; name another with --python, or install its venv module."
    printf '%s\n' "$1"
  fi
}

# constraints PYTHON: the file with the exact versions for that interpreter.
constraints() {
  local version file
  version=$("$1" -c 'import sys; print("%d%d" % sys.version_info[:2])')
  file=$here/constraints-py$version.txt
  [[ -f $file ]] || fail "there are no pinned versions for $1; use Python 3.8 (the board) or 3.11."
  printf '%s\n' "$file"
}

# pip_install ENVIRONMENT ARGUMENTS: from the wheels given, else from the package index, shown as one line a package; all of
# its words go to ENVIRONMENT/install.log.
pip_install() {
  local python=$1/bin/python log=$1/install.log from=() word package _
  shift
  [[ -z $wheels ]] || from=(--no-index --find-links "$wheels")
  [[ -n $editable ]] || from+=(--no-cache-dir)
  "$python" -m pip --disable-pip-version-check --no-input install ${from[@]+"${from[@]}"} "$@" 2>&1 | tee "$log" |
    while read -r word package _; do
      case "$word $package" in
        Collecting*) printf '   collecting %s\n' "$package" ;;
        'Installing collected') printf '   installing all of them\n' ;;
      esac
    done || {
      grep -i 'connection' "$log" | tail -n 1 >&2 || true
      tail -n 5 "$log" >&2
      ! grep -q 'cuda.h' "$log" ||
        fail "pycuda did not compile, for CUDA's headers (cuda.h) are not there; run: apt-get install nvidia-jetpack. All of pip's words are in $log"
      ! grep -q 'DO NOT MATCH THE HASHES' "$log" || ! grep -q '^ *torch==' "$log" ||
        fail "the index offers another build of torch than the pinned one for the CPU alone; let pip find PyTorch's own index of CPU builds too, by PIP_EXTRA_INDEX_URL, and run this again."
      fail "pip could not install; the last lines are above and all of them in $log. Is the network up? Then run this again."
    }
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
  local interpreter
  interpreter=$(the_python "$python")
  "$interpreter" -m venv --clear ${system_packages:+--system-site-packages} "$folder"
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

# From a copy, as setuptools leaves a build/ behind in which files stay that have since been removed; --editable uses the
# sources where they lie.
edgehar() {
  local copy
  require_extras "$folder/bin/python"
  pinned "$extras"
  if [[ -n $editable ]]; then
    pip_install "$folder" --no-build-isolation --no-deps --editable "$source"
  else
    copy=$(mktemp -d)
    cp -rL "$source/pyproject.toml" "$source/README.md" "$source/LICENSE" "$source/edgehar" "$copy"
    pip_install "$folder" --no-build-isolation --no-deps "$copy"
    rm -rf "$copy"
  fi
  "$folder/bin/edgehar" --version
}

# require_extras PYTHON: each is one that pyproject.toml has, and not one that this Python cannot have.
require_extras() {
  local extra known
  known=$(sed -n '/^\[project.optional-dependencies\]/,/^\[/s/^\([a-z]*\) = \[.*/\1/p' "$source/pyproject.toml" | tr '\n' ' ')
  for extra in ${extras//,/ }; do
    [[ " $known" == *" $extra "* ]] || fail "there is no extra '$extra'; there are: $known- see docs/install.md."
    [[ $extra != train ]] || is_python 3.11 "$1" || fail "train needs Python 3.11 (PyTorch); leave it out here."
  done
}

# The environment holds what was asked for before too, and one stamp that says what it was made of.
whole() {
  local interpreter version digest stamp=$folder/installed has='' made=''
  interpreter=$(the_python "$python")
  require_extras "$interpreter"
  constraints "$interpreter" >/dev/null
  version=$("$interpreter" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  digest=$(cd "$source" && cat pyproject.toml docker/constraints-*.txt docker/pin.py | sha256sum | cut -c -16)
  if is_python "$version" "$folder/bin/python" && [[ -f $stamp ]]; then read -r made has <"$stamp"; fi
  extras=$(tr ',' '\n' <<<"$has,$extras" | sed '/^$/d' | LC_ALL=C sort -u | paste -sd ,)
  if [[ "$made $has" == "$digest $extras" ]]; then
    printf '%s has edgehar[%s] already\n' "$folder" "$extras"
    return
  fi
  printf '\n== %s: Python %s with edgehar[%s] (a few minutes the first time)\n' "$folder" "$version" "$extras"
  [[ -n $made ]] || environment
  rm -f "$stamp"
  if [[ ,$extras, == *,jetson,* ]]; then pycuda; fi
  edgehar
  printf '%s %s\n' "$digest" "$extras" >"$stamp"
}

wheels() {
  local copy
  copy=$(mktemp -d)
  python=$(the_python "$python")
  "$python" -m venv "$copy/environment"
  pip_install "$copy/environment" --upgrade --require-hashes -r "$here/constraints-build.txt"
  "$python" "$here/pin.py" select "$extras" "$here/constraints-py38.txt" >"$copy/pins"
  "$copy/environment/bin/python" -m pip --disable-pip-version-check -q download --dest "$folder" --only-binary=:all: \
    --platform manylinux_2_28_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    --python-version 3.8 --no-deps --require-hashes -r "$copy/pins" -r "$here/constraints-build.txt"
  rm -rf "$copy"
}

(($#)) || { usage >&2; exit 2; }
[[ $1 != -h && $1 != --help ]] || { usage; exit; }
step=$1 folder=${2:-} extras='' python='' system_packages='' wheels='' editable=''
[[ -n $folder ]] || { usage >&2; fail "say where: install.sh $step FOLDER."; }
shift 2
while (($#)); do
  case $1 in
    --python) python=${2:?install.sh: --python needs a version or a path}; shift 2 ;;
    --wheels) wheels=${2:?install.sh: --wheels needs a folder}; shift 2 ;;
    --system-packages) system_packages=yes; shift ;;
    --editable) editable=yes; shift ;;
    -*) usage >&2; fail "there is no option $1." ;;
    *) extras=$1; shift ;;
  esac
done
python=${python:-3.8}
case $step in
  python) find_python "$folder" ;;
  environment | pycuda) "$step" ;;
  whole | edgehar | wheels) [[ -n $extras ]] || fail "say which extras, e.g. cpu,mqtt,metrics,bundle."; "$step" ;;
  *) usage >&2; fail "there is no step '$step'." ;;
esac
