#!/usr/bin/env bash
# Proof on ARM without a board: the device wing and the CPU backend on the board's Python, C library and package versions,
# under QEMU's user-mode emulation. What it says of results holds for any ARM processor; of time it says nothing.
#
#   docker/arm64.sh [FOLDER]        # root, needs Debian's debootstrap qemu-user-static gcc-aarch64-linux-gnu curl, a
#                                   # Python 3.8 to build another with, and a network; about 10 minutes of one core
#
# FOLDER (default /var/tmp/edgehar-arm64) holds the root file system and may be given again. The log goes to
# benchmarks/results/arm64-emulated/log.txt. The emulator is registered with the kernel while this runs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source=$(dirname "$here")
folder=$(realpath -m "${1:-/var/tmp/edgehar-arm64}")
root=$folder/root
libraries=$root/usr/lib/aarch64-linux-gnu
headers="-isystem $root/usr/include/aarch64-linux-gnu -isystem $root/usr/include"
log=$source/benchmarks/results/arm64-emulated/log.txt

# Debian 11 has the C library of Ubuntu 20.04, 2.31; Python 3.8.10 is built from Ubuntu 20.04's own source.
SUITE=bullseye MIRROR=http://deb.debian.org/debian
PYTHON=http://archive.ubuntu.com/ubuntu/pool/main/p/python3.8/python3.8_3.8.10.orig.tar.xz
PYTHON_SHA256=6af24a66093dd840bcccf371d4044a3027e655cf24591ce26e48022bc79219d9
PACKAGES=libc6-dev,libffi-dev,zlib1g-dev,libssl-dev,libbz2-dev,liblzma-dev,libsqlite3-dev
BINFMT=/proc/sys/fs/binfmt_misc
AARCH64='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
MASK='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'arm64.sh: %s\n' "$*" >&2; exit 1; }

in_root() {
  chroot "$root" /usr/bin/env -i PATH=/opt/edgehar/bin:/opt/python3.8/bin:/usr/bin:/bin HOME=/root LANG=C.UTF-8 \
    COLUMNS=110 OMP_NUM_THREADS=1 "$@"
}

# ------------------------------------------------------------------ a root file system as on the board

require_tools() {
  local tool
  [[ $(id -u) == 0 ]] || fail "only root can make and enter a root file system; run it with sudo."
  for tool in debootstrap qemu-aarch64-static aarch64-linux-gnu-gcc curl; do
    command -v "$tool" >/dev/null ||
      fail "there is no $tool; apt-get install debootstrap qemu-user-static gcc-aarch64-linux-gnu curl"
  done
  python=$("$here/install.sh" python 3.8) || fail "no Python 3.8 was found on PATH or under ${PYENV_ROOT:-$HOME/.pyenv}."
}

# The kernel keeps the emulator open (F), so that it need not lie in the root.
register_emulator() {
  if [[ ! -e $BINFMT/register ]]; then
    mount -t binfmt_misc binfmt_misc "$BINFMT" || fail "this kernel has no binfmt_misc."
    mounted=yes
  fi
  [[ ! -e $BINFMT/qemu-aarch64 ]] || return 0
  printf '%s' ":qemu-aarch64:M::$AARCH64:$MASK:$(command -v qemu-aarch64-static):F" >"$BINFMT/register"
  registered=yes
}

leave() {
  for place in dev sys proc; do
    ! mountpoint -q "$root/$place" || umount -l "$root/$place"
  done
  [[ -z ${registered:-} ]] || echo -1 >"$BINFMT/qemu-aarch64"
  [[ -z ${mounted:-} ]] || umount "$BINFMT"
}

make_root() {
  [[ ! -e $root/made ]] || return 0
  say "a root of Debian $SUITE for arm64"
  rm -rf "$root" && mkdir -p "$root"
  debootstrap --arch=arm64 --variant=minbase --foreign --include="$PACKAGES" "$SUITE" "$root" "$MIRROR" >"$folder/root.log"
  chroot "$root" /debootstrap/debootstrap --second-stage >>"$folder/root.log"
  # A cross linker takes an absolute link for one of this machine; all of these point into their own folder.
  find "$libraries" -maxdepth 1 -type l -lname '/*' -exec sh -c 'ln -sfn "$(basename "$(readlink "$1")")" "$1"' _ {} \;
  touch "$root/made"
}

make_python() {
  [[ ! -x $root/opt/python3.8/bin/python3.8 ]] || return 0
  say "Python 3.8.10 for arm64, compiled with $(aarch64-linux-gnu-gcc --version | head -n 1)"
  curl -sSfL -o "$folder/python.tar.xz" "$PYTHON"
  echo "$PYTHON_SHA256  $folder/python.tar.xz" | sha256sum --check --quiet
  rm -rf "$folder/python" "$folder/build" && mkdir "$folder/python" "$folder/build"
  tar -xJf "$folder/python.tar.xz" -C "$folder/python" --strip-components 1
  (
    cd "$folder/build"
    export PATH=${python%/*}:$PATH OPT='-DNDEBUG -O1 -fwrapv'
    export CC="aarch64-linux-gnu-gcc --sysroot=$root -B$libraries -L$libraries $headers"
    ../python/configure --host=aarch64-linux-gnu --build="$(uname -m)-linux-gnu" --prefix=/opt/python3.8 --disable-ipv6 \
      --without-ensurepip ac_cv_file__dev_ptmx=yes ac_cv_file__dev_ptc=no
    make
    make install DESTDIR="$root"
  ) >"$folder/python.log" 2>&1 || fail "Python did not compile; see $folder/python.log"
}

# The steps of the image, from wheels as a board without network would have them.
install_edgehar() {
  say "edgehar on it, by the image's own steps"
  rm -rf "$root/edgehar" "$root/opt/edgehar" && mkdir -p "$root/edgehar"
  (cd "$source" && tar -c --exclude=__pycache__ --exclude=built docker edgehar engines tests pyproject.toml README.md LICENSE) |
    tar -x -C "$root/edgehar"
  "$here/install.sh" wheels "$root/wheels" cpu,mqtt,dev --python "$python"
  in_root /edgehar/docker/install.sh environment /opt/edgehar --wheels /wheels
  in_root /edgehar/docker/install.sh edgehar /opt/edgehar cpu,mqtt,dev --wheels /wheels
}

# ------------------------------------------------------------------ the proof

# show COMMAND: run in the root as from a checkout; the line and what it says are printed, times left out.
show() {
  printf '\n$ %s\n' "$1"
  in_root sh -c "cd /edgehar && $1" 2>&1 |
    sed -E 's/, computing took [^;]* of it//; s/ in [0-9.]+s( \([0-9:]+\))?//' || exit 1
}

# A minute of generated samples of a watch: a still arm, then a moving one.
make_signal() {
  awk 'BEGIN { print "time_s,acc/x,acc/y,acc/z"
               for (i = 0; i < 1200; i++) { t = i / 20; swing = i < 600 ? 0.05 : 3
                 printf "%.2f,%.4f,%.4f,%.4f\n", t, swing * sin(11 * t), 2 + swing * cos(7 * t), 9.6 + swing * sin(5 * t) } }'
}

prove() {
  echo "EMULATED: aarch64 by QEMU in user mode on $(uname -m). No board, no GPU; results are proven, times mean nothing."
  echo "made by docker/arm64.sh on $(date -u +%F), commit $(git -C "$source" rev-parse --short HEAD)$(
    git -C "$source" diff --quiet HEAD -- edgehar engines tests docker || echo ' and what was not yet committed')"
  qemu-aarch64-static --version | head -n 1
  show "uname -m; ldd --version | head -n 1; python --version"
  show "python -m pip list --format freeze | grep -iE '^(numpy|onnx|onnxruntime|click)='"
  show "python -m pytest -q tests/house/test_architecture.py -k 'without_torch or grammar'"
  show "edgehar verify engines/wisdm-watch-s"
  show "edgehar verify engines/wisdm-watch-s --precision int8"
  make_signal >"$root/edgehar/wave.csv"
  show "edgehar run engines/wisdm-watch-s --source csv:path=wave.csv"
  show "python -m pytest -q tests/artifact/test_engines.py tests/stream/test_stream.py tests/artifact/test_incremental.py tests/stream/test_fleet.py"
}

require_tools
trap leave EXIT
mkdir -p "$folder" "$(dirname "$log")"
register_emulator
make_root
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
make_python
install_edgehar
say "the proof"
(prove) >"$log.part" || { cat "$log.part"; fail "what is above does not hold on ARM."; }
mv "$log.part" "$log"
cat "$log"
