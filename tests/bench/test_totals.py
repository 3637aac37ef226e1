"""Which rails make a total: what the board says, whatever else reports power beside it."""

from __future__ import annotations

import sys
from itertools import islice
from types import ModuleType
from typing import Any, Dict, Sequence

import pytest

from edgehar import sysfs
from edgehar.bench.meters import METERS
from edgehar.bench.meters._totals import board_of, known_boards, remarks_on, totals_of
from edgehar.bench.meters.tegrastats import power_of
from edgehar.errors import InputError
from tests.boards import JETPACK5, JtopStandIn, add_ina3221, write

XAVIER = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO")
HWMON = "sys/bus/i2c/drivers/ina3221/%s/hwmon/hwmon%d/"


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("rails, total", [
    (XAVIER, XAVIER), (ORIN, ORIN[:3]), (ORIN[:3], ORIN[:3]), (("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), ("VDD_IN",)),
    (("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR"), ("VDD_IN",)),
    (("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"), ("POM_5V_IN",)),
    (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"), ("VIN",)),
    ((*XAVIER, "ucsi_ccg1", "battery", "7-0042/VDD_IN", "VDD_IN"), XAVIER), (("wall",), ("wall",))])
def test_the_total_of_each_board(rails, total):
    assert totals_of(rails)["total"] == total
    assert totals_of(rails[::-1])["total"] == total[::-1]


def test_what_no_board_is_known_to_have_is_not_added_up():
    assert totals_of(("bus", "motor", "lights")) == {} and totals_of(()) == {}
    assert "nothing is added up; name those" in remarks_on(("bus", "motor", "lights"))[0]
    assert totals_of(("VDD_IN",), "Jetson-AGX") == {} and totals_of(("VDD_IN", "SOC"), "Jetson-AGX") == {
        "total": ("SOC",)}


def test_what_is_missing_and_what_stands_beside_is_told():
    assert remarks_on(XAVIER) == remarks_on(ORIN) == remarks_on(("wall",)) == []
    lacking, beside = remarks_on(("GPU", "SOC", "CV", "VDDRQ", "SYS5V", "battery"))
    assert "lacks CPU" in lacking and "battery is no rail of a Jetson AGX Xavier" in beside


def test_a_board_s_own_name_decides_before_its_rails():
    assert board_of(("VDD_IN",), "NVIDIA Jetson AGX Orin Developer Kit").board == "Jetson AGX Orin"
    assert board_of(("VDD_IN",), "Jetson-AGX").board == "Jetson AGX Xavier"
    names = [name for board in known_boards() for name in board.models]
    assert len(set(names)) == len(names)
    for board in known_boards():
        assert not set(board.total) & set(board.within) and all(set(rails) < set(board.total)
                                                                for rails in board.more.values())


# ------------------------------------------------------------------ ina3221


def add_chip(root: Any, chip: str, number: int, channels: Sequence[Any]) -> str:
    place = HWMON % (chip, number)
    for at, (label, milliamperes) in enumerate(channels, 1):
        write(root, {place + "in%d_label" % at: label, place + "in%d_input" % at: 19000,
                     place + "curr%d_input" % at: milliamperes})
    return place


@pytest.mark.parametrize("channels", [
    [("VDD_IN", 700), ("CH2", 0), ("CH3", 100)], [("GPU", 100), ("CPU", 100), ("SYS5V", 10)],
    [("GPU", 100), ("GPU", 100), ("NC", 0)]])
def test_a_carrier_s_own_chip_is_shown_and_not_summed(root, channels):
    write(root, {"proc/device-tree/model": "Jetson-AGX"})
    add_ina3221(root)
    add_chip(root, "7-0042", 8, channels)
    meter = METERS.create("ina3221")
    assert meter.rails[:6] == XAVIER and len(set(meter.rails)) == len(meter.rails) > 7
    assert meter.totals()["total"] == XAVIER
    told, = meter.warnings()
    assert "no rail of a Jetson AGX Xavier" in told and all(rail in told for rail in meter.rails[6:])
    sample = next(meter.samples())
    assert sum(sample.watts[:6]) == pytest.approx(5.25, abs=0.05)


@pytest.mark.parametrize("damage", [{"curr2_input": ""}, {"curr2_input": "N/A"}, {"in2_input": "-"},
                                    {"curr2_input": None}, {"curr2_input": "/"}])
def test_one_channel_that_tells_nothing_is_left_out_and_told(root, damage):
    add_ina3221(root)
    place = root / (HWMON % ("1-0040", 3))
    for name, content in damage.items():
        (place / name).unlink()
        if content == "/":
            (place / name).mkdir()
        elif content is not None:
            (place / name).write_text(content)
    meter = METERS.create("ina3221")
    assert meter.missing() is None and meter.rails == ("GPU", "SOC", "CV", "VDDRQ", "SYS5V")
    told = " ".join(meter.warnings())
    assert "lacks CPU" in told and "CPU cannot be read and is left out" in told


def test_names_with_nc_in_them_and_in_other_letters_are_rails(root):
    add_chip(root, "1-0040", 1, [("VDD_SYNC", 10), ("NC", 0), ("CPU\u00b5", 30)])
    meter = METERS.create("ina3221:total=VDD_SYNC+CPU\u00b5")
    assert meter.rails == ("VDD_SYNC", "CPU\u00b5") and meter.totals() == {"total": ("VDD_SYNC", "CPU\u00b5")}
    assert meter.warnings() == []
    assert METERS.create("ina3221").totals() == {}
    with pytest.raises(InputError, match="no rail 'GPU' for its option total; there are: VDD_SYNC"):
        METERS.create("ina3221:total=GPU").totals()


def test_a_negative_current_is_negative_power(root):
    add_chip(root, "1-0040", 1, [("GPU", -8), ("CPU", 24), ("SOC", 64)])
    assert next(METERS.create("ina3221").samples()).watts[0] == pytest.approx(-0.152)


# ------------------------------------------------------------------ jtop


def rail(volt: int, curr: int) -> Dict[str, int]:
    return {"volt": volt, "curr": curr, "power": volt * curr // 1000, "avg": 1}


RAILS = {name: rail(19448, 24) for name in XAVIER}


def jtop_of(monkeypatch: Any, power: Any) -> Any:
    class Client(JtopStandIn):
        service: Dict[str, float] = {}

        def __init__(self, interval: float) -> None:
            super().__init__(interval)
            self.power = power

    module = ModuleType("jtop")
    module.jtop, module.__version__ = Client, "4.3.2"
    monkeypatch.setitem(sys.modules, "jtop", module)
    return METERS.create("jtop:interval_s=0.01")


@pytest.mark.parametrize("more", [{"ucsi_ccg1": rail(20000, 3000)}, {"battery": rail(12000, -1500)},
                                  {"NC": rail(0, 0), "ucsi_ccg1": rail(20000, 3000)}])
def test_jtop_s_supplies_and_batteries_stand_beside_the_total(monkeypatch, more):
    with jtop_of(monkeypatch, {"rail": {**RAILS, **more}, "tot": {"power": 65258, "avg": 1}}) as meter:
        assert meter.totals()["total"] == XAVIER and "NC" not in meter.rails
        assert "beside the total" in meter.warnings()[0]
        watts = dict(zip(meter.rails, next(meter.samples()).watts))
        assert sum(watts[name] for name in XAVIER) == pytest.approx(6 * 19.448 * 0.024)


@pytest.mark.parametrize("power, rails", [
    ({"rail": {"GPU": {"volt": 19448}}, "tot": {"power": 467}}, None), ({}, None), (None, None), ({"rail": None}, None),
    ({"rail": {"GPU": {"online": False, "power": 0}}}, None), ({"rail": {"GPU": {"power": 467}}}, ("GPU",)),
    ({"rail": {}, "tot": {"name": "VDD_IN", "volt": 5000, "curr": 800}}, ("VDD_IN",))])
def test_jtop_rails_that_tell_no_power_are_none(monkeypatch, power, rails):
    with jtop_of(monkeypatch, power) as meter:
        assert meter.rails == rails if rails else "no power rail" in meter.missing()


# ------------------------------------------------------------------ tegrastats


@pytest.mark.parametrize("line, watts", [
    ("NC 0mW/0mW VDD_GPU_SOC 4940mW/4940mW NC 0mW/0mW", {"VDD_GPU_SOC": 4.94}),
    ("GPU -12mW/467mW CPU 467mW/-1mW", {"GPU": -0.012, "CPU": 0.467}),
    ("GPU 0.467W/0.467W CPU 467mW/467mW SOC  5/5\r", {"GPU": 0.467, "CPU": 0.467, "SOC": 0.005}),
    ("VDD_IN 1/1 VDD_IN 2/2 VDD_IN 3/3", {"VDD_IN": 0.001, "VDD_IN-2": 0.002, "VDD_IN-3": 0.003}),
    ("RAM 2843/31010MB SWAP 0/15505MB IRAM 0/252kB(lfb 252kB) CPU [2%@1190] EMC_FREQ 0%@665", {})])
def test_lines_of_boards(line, watts):
    assert power_of(line) == watts


@pytest.mark.parametrize("before", ["tegrastats: starting", "", "one\n\ntwo"])
def test_a_banner_before_the_first_line_does_no_harm(root, before):
    program = root / "tegrastats"
    program.write_text("#!/bin/sh\nprintf '%s\\n'\nwhile true; do echo '%s'; echo; sleep 0.01; done\n" % (
        before.replace("\n", "\\n"), JETPACK5))
    program.chmod(0o755)
    with METERS.create("tegrastats:program=%s" % program) as meter:
        assert meter.rails == XAVIER
        assert all(sample.watts[2] == 1.245 for sample in islice(meter.samples(), 3))


def test_a_recording_of_rails_that_nobody_knows_says_which_make_its_total(root):
    (root / "log.csv").write_text("time_s,bus,motor\n0,1,2\n1,1,2\n")
    meter = METERS.create("replay:path=%s" % (root / "log.csv"))
    assert meter.totals() == {} and "option total=A+B" in meter.warnings()[1]
    assert METERS.create("replay:path=%s,total=bus+motor" % (root / "log.csv")).totals() == {"total": ("bus", "motor")}
