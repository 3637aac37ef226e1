"""What `edgehar doctor` finds about the board: its software, who may use it, its power, its clocks."""

from __future__ import annotations

import json
import os
import re
import sys
from functools import partial
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from edgehar import machine
from edgehar.cli._finding import MISSING, OK, WARNING, Finding, cause_and_remedy, package, safely
from edgehar.cli._readiness import RAILS

JETPACK5_NUMPY, JETPACK5_PYTHON, JETPACK5_CUDA = (1, 24), (3, 8), "11.4"
RELEASE = re.compile(r"R(\d+) .*REVISION: ([\d.]+)")
JETPACKS = {"35.6.4": "5.1.6", "35.6.3": "5.1.5", "35.6.2": "5.1.5", "35.6.1": "5.1.5", "35.6.0": "5.1.4",
            "35.5.0": "5.1.3", "35.4.1": "5.1.2", "35.3.1": "5.1.1", "35.2.1": "5.1"}
JETPACK_OF_MAJOR = {"32": "4", "35": "5", "36": "6", "38": "7", "39": "7"}
SOCKET, RELEASE_FILE, GPU_MEMORY = "/run/jtop.sock", "/etc/nv_tegra_release", "/dev/nvmap"
MODE_FILE = "/var/lib/nvpmodel/status"
MOUNTS = {  # what a container must be given, and how
    SOCKET: "-v /run/jtop.sock:/run/jtop.sock --group-add $(getent group jtop | cut -d: -f3)",
    RELEASE_FILE: "-v /etc/nv_tegra_release:/etc/nv_tegra_release:ro",
    MODE_FILE: "-v /var/lib/nvpmodel:/var/lib/nvpmodel:ro",
    "/etc/nvpmodel.conf": "-v /etc/nvpmodel.conf:/etc/nvpmodel.conf:ro",
    GPU_MEMORY: "--runtime nvidia --group-add 44",
}
LEAST_HEADROOM_C = 10.0


def board_findings() -> Iterator[Finding]:
    """All that is known of the board; on a PC what applies there."""
    jetson = on_jetson()
    yield from safely("machine", "board", lambda: [_board(jetson)])
    yield from safely("machine", "container", partial(_container, jetson))
    if jetson:
        for look in (_jetpack, _python, _binding, _old_numpy, _cuda, _nvcc, _pycuda, _video_group, _jetson_stats):
            yield from safely("jetson", look.__name__.strip("_"), partial(_alone, look))
        yield from safely("power", "jtop service", _jtop)
    yield from _meters(jetson)
    yield from safely("clocks", "clocks", partial(_clocks, jetson))
    yield from safely("clocks", "temperature", partial(_alone, _headroom))


def _alone(look: Callable[[], Finding]) -> Iterator[Finding]:
    yield look()


def on_jetson() -> bool:
    """By its device tree, which a container may not see, or by its release file."""
    from edgehar import machine, sysfs

    return "Jetson" in (machine.board() or "") or bool(sysfs.text(RELEASE_FILE))


def _board(jetson: bool) -> Finding:
    from edgehar import machine

    return Finding("machine", "board", OK, machine.board() or ("a Jetson" if jetson else "no Jetson: %s" %
                                                               machine.processor()))


def _container(jetson: bool) -> Iterator[Finding]:
    """Nothing outside one."""
    from edgehar import sysfs

    marks = ("/.dockerenv", "/run/.containerenv")
    if not any(sysfs.located(path).exists() for path in marks) and not re.search(
            r"docker|containerd|kubepods|lxc", sysfs.text("/proc/1/cgroup")):
        return
    if not jetson:
        yield Finding("machine", "container", OK, "runs in one")
        return
    for path, option in MOUNTS.items():
        place = sysfs.located(path)
        if place.is_dir():
            yield Finding("container", path, MISSING, "a folder, as docker makes it where there is nothing to mount",
                          "stop the container, on the host `sudo rmdir %s`, and once it is there `docker run %s`" % (
                              path, option))
        else:
            there = place.exists()
            yield Finding("container", path, OK if there else MISSING, "mounted" if there else "not mounted",
                          "" if there else "`docker run %s`" % option)


# ------------------------------------------------------------------ software of JetPack


def _nvcc() -> Finding:
    return _on_path("nvcc", "`export PATH=/usr/local/cuda/bin:$PATH` (pycuda is compiled with it)")


def _pycuda() -> Finding:
    return package("jetson", "pycuda", "`pip install 'edgehar[jetson]'`, with nvcc on PATH")


def _jetson_stats() -> Finding:
    remedy = "`pip install 'jetson-stats==X.Y.*'` with the X.Y that this shows: `jtop --version`"
    return package("jetson", "jetson-stats", remedy)


def _jetpack() -> Finding:
    from edgehar import sysfs

    match = RELEASE.search(sysfs.text(RELEASE_FILE))
    if not match:
        return Finding("jetson", "JetPack", WARNING, "cannot be read from %s" % RELEASE_FILE,
                       "`cat %s` on the board; in a container `docker run %s`" % (RELEASE_FILE, MOUNTS[RELEASE_FILE]))
    release = ".".join(match.groups())
    version = JETPACKS.get(release) or JETPACK_OF_MAJOR.get(match.group(1), "unknown")
    five = version.startswith("5")
    return Finding("jetson", "JetPack", OK if five else WARNING, "%s (L4T %s)" % (version, release),
                   "" if five else "flash JetPack 5.1, the last for AGX Xavier and the one edgehar is made for")


def _python() -> Finding:
    version = sys.version_info[:2]
    fits = version == JETPACK5_PYTHON
    return Finding("jetson", "Python", OK if fits else WARNING, "%d.%d" % version,
                   "" if fits else "make another environment, `python3.8 -m venv --system-site-packages .venv` ("
                                   "TensorRT of JetPack 5 is for Python 3.8)")


def _binding() -> Finding:
    import importlib.util

    from edgehar.machine import package_version

    present = importlib.util.find_spec("tensorrt") is not None
    return Finding("jetson", "tensorrt", OK if present else MISSING,
                   package_version("tensorrt") or "importable" if present else "not importable",
                   "" if present else "`sudo apt install python3-libnvinfer`, and make the environment with "
                                      "--system-site-packages")


def _old_numpy() -> Finding:
    import numpy

    old = tuple(map(int, numpy.__version__.split(".")[:2])) < JETPACK5_NUMPY
    return Finding("jetson", "numpy", OK if old else WARNING, numpy.__version__,
                   "" if old else "`pip install 'numpy<1.24'` (tensorrt 8.5 for Python still uses np.bool)")


def _cuda() -> Finding:
    from edgehar import sysfs

    try:
        version = str(json.loads(sysfs.text("/usr/local/cuda/version.json"))["cuda"]["version"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return Finding("jetson", "CUDA", MISSING, "no /usr/local/cuda/version.json",
                       "`sudo apt install nvidia-cuda`")
    fits = version.startswith(JETPACK5_CUDA)
    return Finding("jetson", "CUDA", OK if fits else WARNING, version,
                   "" if fits else "use CUDA %s, which JetPack 5's TensorRT was built for" % JETPACK5_CUDA)


def _on_path(program: str, remedy: str) -> Finding:
    import shutil

    where = shutil.which(program)
    return Finding("jetson", program, OK if where else MISSING, where or "not on PATH", "" if where else remedy)


def _video_group() -> Finding:
    from edgehar import sysfs

    usable = os.access(str(sysfs.located(GPU_MEMORY)), os.R_OK | os.W_OK)
    return Finding("jetson", GPU_MEMORY, OK if usable else MISSING,
                   "usable, group %s" % _group_of(GPU_MEMORY) if usable else "not usable",
                   "" if usable else "`sudo usermod -aG video $USER`, then log in again")


# ------------------------------------------------------------------ power


def _jtop() -> Iterator[Finding]:
    from edgehar import sysfs
    from edgehar.bench.meters import METERS

    with METERS.create("jtop") as meter:
        reason = meter.missing()
        facts = {} if reason else meter.facts()
    yield Finding("power", "jtop service", MISSING if reason else OK, *cause_and_remedy(
        reason or "answers client %(client)s every %(granted_s)g s" % facts))
    if not sysfs.located(SOCKET).exists():
        yield Finding("power", SOCKET, MISSING, "not there", "`sudo systemctl restart jtop.service`; in a "
                                                             "container `docker run %s`" % MOUNTS[SOCKET])
        return
    if sysfs.located(SOCKET).is_dir():
        yield Finding("power", SOCKET, MISSING, "a folder, as docker makes it where there is no socket to mount",
                      "stop the container, on the host run `sudo rmdir %s && sudo systemctl restart jtop.service`, and "
                      "start the container again" % SOCKET)
        return
    usable = os.access(str(sysfs.located(SOCKET)), os.R_OK | os.W_OK)
    yield Finding("power", SOCKET, OK if usable else MISSING, "group %s, %s" % (
        _group_of(SOCKET), "usable" if usable else "not usable by this user"),
        "" if usable else "`sudo usermod -aG %s $USER`, then log in again" % _group_of(SOCKET))


def _meters(jetson: bool) -> Iterator[Finding]:
    """Every meter that needs no file: those of a board there, else what a PC may have."""
    from edgehar.bench.meters import METERS

    for name in METERS.names():
        if (name == "rapl") != jetson:
            yield from safely("power", RAILS + name, partial(_meter, name))


def _meter(name: str) -> Iterator[Finding]:
    from edgehar.bench.meters import METERS
    from edgehar.errors import InputError

    try:
        meter = METERS.create(name)
    except InputError:
        return
    with meter:
        reason = meter.missing()
        remarks = [] if reason else meter.warnings()
        if remarks:
            yield Finding("power", RAILS + name, WARNING, ", ".join(meter.rails), "; ".join(remarks))
        else:
            yield Finding("power", RAILS + name, MISSING if reason else OK,
                          *(cause_and_remedy(reason) if reason else (", ".join(meter.rails),)))


def _group_of(path: str) -> str:
    import grp

    from edgehar import sysfs

    number = os.stat(str(sysfs.located(path))).st_gid
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


# ------------------------------------------------------------------ clocks and temperature


def _clocks(jetson: bool) -> Iterator[Finding]:
    from edgehar import machine

    now = machine.read_conditions()
    if jetson:
        mode = machine.power_mode()
        yield Finding("clocks", "power mode", OK if mode else WARNING, mode or "unknown",
                      "" if mode else "`sudo nvpmodel -q`; in a container `docker run %s`" % MOUNTS[MODE_FILE])
    if not now.limits_hz:
        yield Finding("clocks", "clocks", WARNING, "not reported by this system",
                      "measure on a machine that reports them: those of a virtual machine vary with its host")
        return
    loose = bool(machine.unpinned(now))
    yield Finding("clocks", "clocks", WARNING if loose and jetson else OK, _listed(
        {name: machine.limits_text(limits) for name, limits in now.limits_hz.items()}),
        "`sudo jetson_clocks`" if loose and jetson else "")
    yield Finding("clocks", "governor", OK, _listed(now.governors) or "none")


def _listed(facts: Mapping[str, str]) -> str:
    """"gpu 115 to 676 MHz; cpu0, cpu2 ...": what is equal is said once."""
    by_value: Dict[str, List[str]] = {}
    for name, value in facts.items():
        by_value.setdefault(value, []).append(name)
    return ", ".join("%s %s" % (_range(names), value) for value, names in by_value.items())


def _range(names: List[str]) -> str:
    return names[0] if len(names) == 1 else "%s...%s" % (names[0], names[-1])


def _headroom() -> Finding:

    found: Optional[Tuple[str, float]] = machine.headroom_c()
    if found is None:
        return Finding("clocks", "temperature", WARNING, "this system reports no zone with a limit",
                       "watch it by other means: edgehar cannot see throttling")
    zone, left_c = found
    cool = left_c >= LEAST_HEADROOM_C
    return Finding("clocks", "temperature", OK if cool else WARNING,
                   "%.0f degrees below throttling (%s)" % (left_c, zone),
                   "" if cool else "cool it before measuring: a fan, or a lower power mode")
