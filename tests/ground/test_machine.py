"""Conditions: what is read of a Jetson and a PC, and what counts as changed, throttled or astray."""

from __future__ import annotations

import json

import pytest

from edgehar import machine, sysfs
from edgehar.machine import Conditions
from tests.boards import add_clocks, add_temperatures, make_xavier, write


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    return tmp_path


def test_a_boards_mode_clocks_and_temperatures(root):
    make_xavier(root)
    found = machine.read_conditions()
    assert found.mode == "7" and machine.mode_name("7") == "MODE_15W_DESKTOP"
    assert found.clocks_hz == {"cpu0": 1.1904e9, "cpu2": 1.1904e9, "gpu": 1.1475e8}
    assert found.limits_hz["gpu"] == (1.1475e8, 6.7575e8)
    assert found.governors == {"cpu0": "schedutil", "cpu2": "schedutil", "gpu": "nvhost_podgov"}
    assert found.temperatures_c == {"CPU-therm": 36.5, "GPU-therm": 35.0}  # not the constant, nor the switched-off one
    assert found.throttles == {"gpu-throttle-alert": 0}  # neither the fan nor the devfreq device
    assert machine.headroom_c() == ("CPU-therm", 51.5)
    assert machine.board() == "Jetson-AGX"


def test_a_machine_that_tells_nothing(root):
    found = machine.read_conditions()
    assert found.to_json() == {"time_s": found.time_s} and machine.headroom_c() is None
    assert machine.mode_name("") == ""


def test_a_reading_survives_json(root):
    make_xavier(root)
    found = machine.read_conditions()
    assert Conditions.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_counters_of_cores_are_added_up_and_idle_over_current_channels_left_out(root):
    cpu, hwmon = "sys/devices/system/cpu/cpu%d/thermal_throttle/%s_throttle_count", "sys/class/hwmon/hwmon2/oc%d_%s"
    write(root, {cpu % (0, "core"): 3, cpu % (1, "core"): 4, cpu % (0, "package"): 9, hwmon % (1, "event_cnt"): 7,
                 hwmon % (1, "throt_en"): 0, hwmon % (3, "event_cnt"): 5, hwmon % (3, "throt_en"): 1})
    assert machine.read_conditions().throttles == {"core_throttle_count": 7, "package_throttle_count": 9,
                                                   "over-current oc3": 5}


@pytest.mark.parametrize("change, told", [
    ({"var/lib/nvpmodel/status": "pmode:0000"}, "the power mode went from 7 to 0"),
    ({"sys/devices/system/cpu/online": "0-1"}, "the cores in use went from 0-3 to 0-1"),
    ({"sys/class/devfreq/17000000.gv11b/max_freq": 114750000},
     "gpu's clock limits went from 115 to 676 MHz to 115 to 115 MHz"),
    ({"sys/devices/system/cpu/cpufreq/policy2/scaling_governor": "performance"},
     "cpu2's governor went from schedutil to performance")])
def test_what_changed_is_told(root, change, told):
    make_xavier(root)
    before = machine.read_conditions()
    write(root, change)
    assert machine.changed(before, machine.read_conditions()) == [told]
    assert machine.changed(before, before) == []


def test_a_clock_that_moves_within_its_limits_is_no_change(root):
    add_clocks(root)
    before = machine.read_conditions()
    write(root, {"sys/class/devfreq/17000000.gv11b/cur_freq": 675750000})
    assert machine.changed(before, machine.read_conditions()) == []
    assert machine.unpinned(before) == ["cpu0 (115 to 2189 MHz)", "cpu2 (115 to 2189 MHz)", "gpu (115 to 676 MHz)"]


def test_a_pinned_clock_that_runs_slower_is_astray(root):
    add_clocks(root, pinned=True)
    assert machine.strayed(machine.read_conditions()) == [] and machine.unpinned(machine.read_conditions()) == []
    write(root, {"sys/class/devfreq/17000000.gv11b/cur_freq": 624750000})
    assert machine.strayed(machine.read_conditions()) == ["gpu ran at 625 MHz though pinned to 676 MHz"]


def test_throttling_is_a_counter_that_grew_or_an_alert_that_is_on():
    before = Conditions(0, throttles={"over-current oc3": 5, "gpu-throttle-alert": 0})
    assert machine.throttled(before, before) == []
    assert machine.throttled(before, Conditions(1, throttles={"over-current oc3": 6})) == [
        "over-current oc3 went from 5 to 6"]
    alert = Conditions(1, throttles={"gpu-throttle-alert": 1})
    assert machine.throttled(alert, alert) == ["gpu-throttle-alert went from 1 to 1"]


def test_headroom_is_of_the_zone_nearest_to_its_limit(root):
    add_temperatures(root, gpu_c=84.5)
    assert machine.headroom_c() == ("GPU-therm", 3.5)


def test_files_are_found_as_people_count(root):
    write(root, {"sys/cpu%d/online" % number: 1 for number in (0, 2, 10)})
    assert sysfs.found("/sys/cpu*/online") == ["/sys/cpu0/online", "/sys/cpu2/online", "/sys/cpu10/online"]
    assert sysfs.number("/sys/cpu0/online") == 1 and sysfs.number("/sys/none") is None and sysfs.text("/sys") == ""
