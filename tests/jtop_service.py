"""Runs the real jetson-stats service on a made-up AGX Xavier; a program for `tests.jtop_board`, not a test.

    python jtop_service.py SCRATCH_FOLDER

Its tree lies in /fake_sys, which jetson-stats reads instead of /sys where JTOP_TESTING is
set. Two things of jetson-stats are replaced: the question which hardware this is, and
the folder of its settings. It ends with its standard input.
"""

from __future__ import annotations

import random
import sys
import threading
from pathlib import Path
from typing import Dict, Tuple

import jtop.service
from jtop.core import config

TREE = Path("/fake_sys")
BUSY = TREE / "busy"
CHIPS: Dict[str, Tuple[Tuple[str, int, int, int], ...]] = {  # rail, mV, mA when idle, mA more when busy
    "1-0040": (("GPU", 19448, 16, 48), ("CPU", 19448, 24, 32), ("SOC", 19448, 64, 8)),
    "1-0041": (("CV", 19448, 0, 0), ("VDDRQ", 19448, 16, 16), ("SYS5V", 5016, 552, 8)),
}
STEP_MA = 8


def write(path: str, value: object) -> None:
    place = TREE / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("%s\n" % value)


def make_tree() -> None:
    for core in range(8):
        place = "devices/system/cpu/cpu%d/cpufreq/" % core
        write(place + "scaling_governor", "schedutil")
        for name, value in (("min", 115200), ("max", 2265600), ("cur", 1190400)):
            write("%sscaling_%s_freq" % (place, name), value)
            write("%scpuinfo_%s_freq" % (place, name), value)
    write("stat", "\n".join("cpu%s 100 0 100 1000 0 0 0 0 0 0" % core for core in ["", *range(8)]))
    gpu = "class/devfreq/17000000.gv11b"
    for name, value in (("cur_freq", 114750000), ("max_freq", 675750000), ("min_freq", 114750000),
                        ("governor", "nvhost_podgov"), ("device/of_node/name", "gv11b"), ("device/load", 0),
                        ("device/railgate_enable", 1), ("device/tpc_pg_mask", 0), ("device/enable_3d_scaling", 1)):
        write("%s/%s" % (gpu, name), value)
    for name, value in (("rate", 1331200000), ("max_rate", 2133000000), ("min_rate", 204000000),
                        ("mrq_rate_locked", 0)):
        write("kernel/debug/bpmp/debug/clk/emc/" + name, value)
    write("kernel/actmon_avg_activity/mc_all", 0)
    for number, (chip, rails) in enumerate(CHIPS.items()):
        write("bus/i2c/devices/%s/name" % chip, "ina3221")
        for channel, (rail, volts, idle, _) in enumerate(rails, start=1):
            where = "bus/i2c/devices/%s/hwmon/hwmon%d/" % (chip, 3 + number)
            write(where + "in%d_label" % channel, rail)
            write(where + "in%d_input" % channel, volts)
            write(where + "curr%d_input" % channel, idle)


def keep_alive(stop: threading.Event) -> None:
    """Let the currents tremble by a step or two, and rise while the file "busy" is there."""
    draw = random.Random(0)
    while not stop.wait(0.02):
        for number, (chip, rails) in enumerate(CHIPS.items()):
            for channel, (_, _, idle, more) in enumerate(rails, start=1):
                mean = idle + (more if BUSY.exists() else 0)
                value = max(0, round(draw.gauss(mean, STEP_MA) / STEP_MA)) * STEP_MA if mean else 0
                place = TREE / ("bus/i2c/devices/%s/hwmon/hwmon%d/curr%d_input" % (chip, 3 + number, channel))
                with open(str(place), "r+") as stream:  # in place, as the service may read it at any moment
                    stream.write("%-6d\n" % value)


def main() -> None:
    make_tree()
    jtop.service.get_hardware = lambda: {"Model": "emulated AGX Xavier", "Module": "NVIDIA Jetson AGX Xavier"}
    config.get_config_service = lambda *_: sys.argv[1]
    server = jtop.service.JtopServer(force=True)
    server.start()
    stop = threading.Event()
    threading.Thread(target=keep_alive, args=(stop,), daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()
    stop.set()
    server.close()


if __name__ == "__main__":
    main()
