"""Where and under what conditions a number was measured: board, versions, power mode, clocks, heat, throttling.

Nothing here identifies the person or the machine: no host name, no user, no path. What may
change during a measurement is read from files that need neither root nor a program, so that
a reading costs about a millisecond.

Sources: ``/var/lib/nvpmodel/status`` is where nvpmodel keeps its mode; clocks are the
kernel's cpufreq policies and devfreq devices; throttling shows in ``*-alert`` cooling
devices and over-current counters of Tegra's SOC_THERM, and in the throttle counts of
x86 cores. A fan or a devfreq cooling device that is active throttles nothing.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from importlib import metadata
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from edgehar import sysfs

PACKAGES = ("edgehar", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "pycuda",
            "jetson-stats", "click")
POLICIES = "/sys/devices/system/cpu/cpufreq/policy*"
GPUS = re.compile(r"gv11b|gp10b|gm20b|ga10b|gb10b|gpu")
CONSTANT_ZONES = re.compile(r"PMIC", re.IGNORECASE)  # says 50 or 100 degrees at all times
OFF_C = -50.0  # a zone that is switched off reads -256
PINNED_TOLERANCE = 0.02


def describe() -> Dict[str, Any]:
    """All facts that decide a measurement; an absent fact is left out."""
    facts = {
        "board": board(), "jetpack": _first_line("/etc/nv_tegra_release"), "power_mode": power_mode(),
        "gpu_clock_mhz": gpu_clock_mhz(),
        "processor": processor(), "cores": os.cpu_count(), "usable_cores": usable_cores(),
        "memory_gib": memory_gib(), "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "architecture": platform.machine(), "system": "%s %s" % (platform.system(), platform.release()),
        "python": platform.python_version(), "packages": packages(),
    }
    return {key: value for key, value in facts.items() if value not in (None, "", {})}


def label() -> str:
    """A short name for folders of results, e.g. ``"amd-epyc-9b14-2-cores"``."""
    words = re.sub(r"[^a-z0-9]+", "-", (board() or processor()).lower()).strip("-")
    return "%s-%d-cores" % (words, usable_cores())


def board() -> Optional[str]:
    """The board's name from the device tree, e.g. "Jetson-AGX"; None on a PC."""
    return _first_line("/proc/device-tree/model")


def processor() -> str:
    """The processor's marketing name, or its architecture."""
    for line in sysfs.text("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_gib() -> Optional[float]:
    """Memory of this machine in GiB; None where the system does not tell."""
    for line in sysfs.text("/proc/meminfo").splitlines():
        if line.startswith("MemTotal"):
            return round(int(line.split()[1]) / 1048576, 1)
    return None


def power_mode() -> Optional[str]:
    """The nvpmodel mode on a Jetson; None elsewhere."""
    try:
        done = subprocess.run(["nvpmodel", "-q"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    for line in done.stdout.decode("utf-8", "replace").splitlines():
        if "Power Mode" in line:
            return line.split(":", 1)[1].strip()
    return None


def gpu_clock_mhz() -> Optional[str]:
    """What a Jetson's GPU clock may be, e.g. "114-1377", or "1377" where it is pinned; None elsewhere."""
    for folder in sysfs.found("/sys/devices/17000000.g*/devfreq/17000000.g*"):
        bounds = [_first_line(os.path.join(folder, name)) for name in ("min_freq", "max_freq")]
        if all(bounds):
            return "-".join(sorted({str(int(bound or 0) // 1000000) for bound in bounds}, key=int))
    return None


def packages() -> Dict[str, str]:
    """{package: version} of those installed that matter to a measurement; imports none of them."""
    found = {name: package_version(name) for name in PACKAGES}
    return {name: version for name, version in found.items() if version}


def package_version(name: str) -> Optional[str]:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _first_line(path: str) -> Optional[str]:
    lines = sysfs.text(path).splitlines()
    return lines[0] if lines else None


class Conditions(NamedTuple):
    """One reading. time_s: monotonic. mode: number of the nvpmodel, or empty.

    clocks_hz: current, by device, "cpu0" for the policy of core 0. limits_hz: lowest and
    highest allowed. throttles: counters and alert states, which grow when it throttles.
    """

    time_s: float
    mode: str = ""
    online: str = ""
    clocks_hz: Mapping[str, float] = {}
    limits_hz: Mapping[str, Tuple[float, float]] = {}
    governors: Mapping[str, str] = {}
    temperatures_c: Mapping[str, float] = {}
    throttles: Mapping[str, int] = {}

    def to_json(self) -> Dict[str, Any]:
        """Without what is not known here."""
        return {key: value for key, value in self._asdict().items() if value not in ("", {})}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Conditions":
        """What `to_json` gave."""
        limits = {name: (low, high) for name, (low, high) in value.get("limits_hz", {}).items()}
        return cls(**{**value, "limits_hz": limits})


def read_conditions() -> Conditions:
    """The conditions of this moment."""
    clocks, limits, governors = {}, {}, {}
    for name, prefix, unit_hz in _clock_files():
        current, low, high = (sysfs.number(prefix % which) for which in ("cur", "min", "max"))
        if current is not None:
            clocks[name] = current * unit_hz
        if low is not None and high is not None:
            limits[name] = (low * unit_hz, high * unit_hz)
        governor = sysfs.text(re.sub(r"(scaling_)?%s_freq$", r"\1governor", prefix))
        if governor:
            governors[name] = governor
    return Conditions(time.monotonic(), mode_number(), sysfs.text("/sys/devices/system/cpu/online"), clocks, limits,
                      governors, temperatures_c(), throttles())


def _clock_files() -> List[Tuple[str, str, float]]:
    """(name, path with a place for cur, min or max, Hz a unit) of each processor's clock."""
    cpus = [("cpu" + path.rsplit("policy", 1)[1], path + "/scaling_%s_freq", 1e3) for path in sysfs.found(POLICIES)]
    gpus = [("gpu", path + "/%s_freq", 1.0) for path in sysfs.found("/sys/class/devfreq/*")
            if GPUS.search(path.rsplit("/", 1)[1])]
    return cpus + gpus[:1]


def mode_number() -> str:
    """The nvpmodel's number as nvpmodel wrote it down, e.g. "7"; empty on a PC."""
    match = re.match(r"pmode:0*(\d+)", sysfs.text("/var/lib/nvpmodel/status"))
    return match.group(1) if match else ""


def mode_name(number: str) -> str:
    """The name that ``/etc/nvpmodel.conf`` gives mode `number`, e.g. "MODE_15W_DESKTOP"; empty where it has none."""
    match = re.search(r"POWER_MODEL\s+ID=%s\s+NAME=(\S+)" % re.escape(number), sysfs.text("/etc/nvpmodel.conf"))
    return match.group(1) if match and number else ""


def temperatures_c() -> Dict[str, float]:
    """{zone: degrees Celsius} of the zones that measure."""
    return {name: value for _, name, value in _zones()}


def headroom_c() -> Optional[Tuple[str, float]]:
    """The zone nearest to the temperature at which it slows the machine down, and the degrees left; or None."""
    left = [(trip - value, name) for path, name, value in _zones() for trip in _trips_c(path)]
    return min(left)[::-1] if left else None


def _zones() -> List[Tuple[str, str, float]]:
    found = []
    for path in sysfs.found("/sys/class/thermal/thermal_zone*"):
        name, value = sysfs.text(path + "/type"), sysfs.number(path + "/temp")
        if value is not None and value / 1e3 > OFF_C and not CONSTANT_ZONES.search(name):
            found.append((path, name, value / 1e3))
    return found


def _trips_c(zone: str) -> List[float]:
    """Temperatures at which the system slows down (passive) or turns itself off to save itself (hot, critical)."""
    kinds = (path for path in sysfs.found(zone + "/trip_point_*_type")
             if sysfs.text(path) in ("passive", "hot", "critical"))
    values = (sysfs.number(path[:-len("type")] + "temp") for path in kinds)
    return [value / 1e3 for value in values if value and value > 0]


def throttles() -> Dict[str, int]:
    """{what: count or state} of everything that tells of throttling; cores are added up."""
    found: Dict[str, int] = {}
    for path in sysfs.found("/sys/class/thermal/cooling_device*"):
        if sysfs.text(path + "/type").endswith("alert"):
            found[sysfs.text(path + "/type")] = sysfs.number(path + "/cur_state") or 0
    for path in sysfs.found("/sys/class/hwmon/hwmon*/oc*_event_cnt"):
        if sysfs.number(path.replace("event_cnt", "throt_en")) != 0:
            found["over-current " + path.rsplit("/", 1)[1][:3]] = sysfs.number(path) or 0
    for path in sysfs.found("/sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count"):
        kind = path.rsplit("/", 1)[1]
        found[kind] = found.get(kind, 0) + (sysfs.number(path) or 0)
    return found


# ------------------------------------------------------------------ one reading against another


def changed(before: Conditions, after: Conditions) -> List[str]:
    """What of mode, cores, limits and governors differs, in words."""
    found = []
    if before.mode != after.mode:
        found.append("the power mode went from %s to %s" % (before.mode or "none", after.mode or "none"))
    if before.online != after.online:
        found.append("the cores in use went from %s to %s" % (before.online, after.online))
    for name in sorted({**before.limits_hz, **after.limits_hz}):
        old, new = before.limits_hz.get(name), after.limits_hz.get(name)
        if old != new:
            found.append("%s's clock limits went from %s to %s" % (name, limits_text(old), limits_text(new)))
    for name in sorted({**before.governors, **after.governors}):
        was, now = before.governors.get(name, "none"), after.governors.get(name, "none")
        if was != now:
            found.append("%s's governor went from %s to %s" % (name, was, now))
    return found


def throttled(before: Conditions, after: Conditions) -> List[str]:
    """What throttled between two readings, or does so at the second."""
    return ["%s went from %d to %d" % (name, before.throttles.get(name, 0), value)
            for name, value in sorted(after.throttles.items())
            if value > before.throttles.get(name, 0) or (name.endswith("alert") and value > 0)]


def strayed(at: Conditions) -> List[str]:
    """Clocks that are pinned and yet ran at another rate."""
    return ["%s ran at %.0f MHz though pinned to %.0f MHz" % (name, at.clocks_hz[name] / 1e6, high / 1e6)
            for name, (low, high) in sorted(at.limits_hz.items())
            if low == high and name in at.clocks_hz and abs(at.clocks_hz[name] - high) > PINNED_TOLERANCE * high]


def unpinned(at: Conditions) -> List[str]:
    """Clocks that may move, e.g. "gpu (114 to 1377 MHz)"."""
    return ["%s (%s)" % (name, limits_text(limits)) for name, limits in sorted(at.limits_hz.items())
            if limits[0] != limits[1]]


def limits_text(limits: Optional[Tuple[float, float]]) -> str:
    """"115 to 676 MHz" of limits in hertz; "none" where there are none."""
    return "%.0f to %.0f MHz" % (limits[0] / 1e6, limits[1] / 1e6) if limits else "none"
