"""Trees of small files as the system of a Jetson AGX Xavier or of a PC shows them (see `edgehar.sysfs`), and a jtop."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Dict

XAVIER_RAILS = {"1-0040": (("GPU", 24), ("CPU", 24), ("SOC", 64)),  # mA
                "1-0041": (("CV", 0), ("VDDRQ", 16), ("SYS5V", 552))}
SUPPLY_MV, CARRIER_MV = 19448, 5016

# Lines of tegrastats as they were published: JetPack 5 in mode 7, JetPack 4, and a user who may not read power.
JETPACK5 = ("07-01-2024 12:00:00 RAM 2843/31010MB (lfb 6x4MB) SWAP 0/15505MB (cached 0MB) CPU [0%@1190,off] "
            "EMC_FREQ 0%@1331 GR3D_FREQ 0%@114 VIC_FREQ 115 APE 150 AUX@36C CPU@36.5C thermal@35.7C Tboard@37C AO@35C "
            "GPU@35C Tdiode@38.75C PMIC@50C GPU 467mW/467mW CPU 467mW/467mW SOC 1245mW/1245mW CV 0mW/0mW "
            "VDDRQ 311mW/311mW SYS5V 2768mW/2768mW")
JETPACK4 = ("RAM 2843/31919MB (lfb 6x4MB) SWAP 0/15959MB (cached 0MB) CPU [1%@1190,0%@1190] EMC_FREQ 0% GR3D_FREQ 0% "
            "APE 150 MTS fg 0% bg 0% AO@33C GPU 0/0 CPU 216/216 SOC 864/864 CV 0/0 VDDRQ 144/144 SYS5V 1889/1889")
POWERLESS = JETPACK5[:JETPACK5.index(" GPU 467")]


def write(root: Path, files: Dict[str, object]) -> None:
    for path, value in files.items():
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("%s\n" % value)


def add_ina3221(root: Path, rails=XAVIER_RAILS, first_hwmon: int = 3) -> None:
    """Two chips, three channels each, and the sum of shunt voltages that is no rail."""
    for number, (chip, channels) in enumerate(rails.items()):
        hwmon = "sys/bus/i2c/drivers/ina3221/%s/hwmon/hwmon%d/" % (chip, first_hwmon + number)
        write(root, {hwmon + "in7_label": "sum of shunt voltages", hwmon + "in7_input": 3, hwmon + "samples": 1})
        for channel, (rail, milliamperes) in enumerate(channels, start=1):
            write(root, {hwmon + "in%d_label" % channel: rail, hwmon + "curr%d_input" % channel: milliamperes,
                         hwmon + "in%d_input" % channel: CARRIER_MV if rail == "SYS5V" else SUPPLY_MV,
                         hwmon + "shunt%d_resistor" % channel: 5000})


def add_clocks(root: Path, pinned: bool = False) -> None:
    gpu = "sys/class/devfreq/17000000.gv11b/"
    write(root, {gpu + "cur_freq": 675750000 if pinned else 114750000, gpu + "max_freq": 675750000,
                 gpu + "min_freq": 675750000 if pinned else 114750000, gpu + "governor": "nvhost_podgov",
                 "sys/class/devfreq/15880000.nvdla0/cur_freq": 1, "sys/devices/system/cpu/online": "0-3"})
    for policy in (0, 2):
        place = "sys/devices/system/cpu/cpufreq/policy%d/scaling_" % policy
        write(root, {place + "cur_freq": 2188800 if pinned else 1190400, place + "max_freq": 2188800,
                     place + "min_freq": 2188800 if pinned else 115200, place + "governor": "schedutil"})


def add_temperatures(root: Path, gpu_c: float = 35.0) -> None:
    zones = (("CPU-therm", 36500), ("GPU-therm", int(1e3 * gpu_c)), ("PMIC-Die", 100000), ("Tdiode_tegra", -256000))
    for number, (kind, value) in enumerate(zones):
        zone = "sys/class/thermal/thermal_zone%d/" % number
        write(root, {zone + "type": kind, zone + "temp": value, zone + "trip_point_0_type": "passive",
                     zone + "trip_point_0_temp": 88000, zone + "trip_point_1_type": "active",
                     zone + "trip_point_1_temp": 40000})
    for number, (kind, state) in enumerate((("pwm-fan", 3), ("gpu-throttle-alert", 0), ("devfreq-17000000.gv11b", 5))):
        device = "sys/class/thermal/cooling_device%d/" % number
        write(root, {device + "type": kind, device + "cur_state": state})


def make_xavier(root: Path) -> None:
    """A board of JetPack 5.1.6 in mode 7, with power rails, clocks and temperatures."""
    add_ina3221(root)
    add_clocks(root)
    add_temperatures(root)
    write(root, {
        "proc/device-tree/model": "Jetson-AGX", "var/lib/nvpmodel/status": "pmode:0007",
        "etc/nv_tegra_release": "# R35 (release), REVISION: 6.4, GCID: 1, BOARD: t186ref, EABI: aarch64",
        "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=7 NAME=MODE_15W_DESKTOP >",
        "proc/meminfo": "MemTotal: 32000000 kB"})


def add_rapl(root: Path, package_uj: int = 0, core_uj: int = 0, dram_uj: int = 0) -> None:
    """One package with two zones within, and the platform's own counter."""
    zones = (("0", "package-0", package_uj), ("0:0", "core", core_uj), ("0:1", "dram", dram_uj), ("1", "psys", 5))
    for number, name, counted in zones:
        zone = "sys/class/powercap/intel-rapl:%s/" % number
        write(root, {zone + "name": name, zone + "energy_uj": counted, zone + "max_energy_range_uj": 262143328850})


class JtopStandIn:
    """As much of jetson-stats' client as the meter uses; the real one is in tests/bench/test_jtop.py.

    The first client sets the interval of all, in `service`.
    """

    service: Dict[str, float] = {}

    def __init__(self, interval: float) -> None:
        self.interval = self.service.setdefault("interval", interval)
        self._closed = threading.Event()
        self.power = {"rail": {rail: {"volt": CARRIER_MV if rail == "SYS5V" else SUPPLY_MV, "curr": current, "power": 1}
                               for rails in XAVIER_RAILS.values() for rail, current in rails},
                      "tot": {"power": 6, "avg": 6}}

    def start(self) -> None:
        pass

    def ok(self) -> bool:
        return not self._closed.wait(self.interval)

    def close(self) -> None:
        self._closed.set()


def add_jtop(monkeypatch) -> None:
    """Let ``import jtop`` find the stand-in."""
    module = ModuleType("jtop")
    module.jtop, module.__version__ = type("jtop", (JtopStandIn,), {"service": {}}), "7.2.2"
    monkeypatch.setitem(sys.modules, "jtop", module)
