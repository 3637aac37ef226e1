"""Where a number was measured: board, processor, system, versions, clocks, power mode.

Nothing here identifies the person or the machine: no host name, no user, no path.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from typing import Any, Dict, Optional

from edgehar import sysfs

PACKAGES = ("edgehar", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "pycuda",
            "jetson-stats", "click")


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
