"""Meters one by one: the files and lines they read, and what they say where there is nothing to read."""

from __future__ import annotations

import json
import threading
import time
from itertools import islice
from types import SimpleNamespace

import pytest

from edgehar import sysfs
from edgehar.bench.meters import METERS, base, jtop
from edgehar.bench.meters.base import Meter, totals_of
from edgehar.bench.meters.tegrastats import power_of
from edgehar.errors import InputError, MissingError
from tests.boards import JETPACK4, JETPACK5, POWERLESS, add_ina3221, add_rapl, write
from tests.broker import until


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    return tmp_path


def first(meter: Meter):
    return next(meter.samples())


# ------------------------------------------------------------------ ina3221


def test_ina3221_reads_rails_by_label_at_the_published_powers(root):
    """467, 467, 1245, 0, 311 and 2768 mW from 24, 24, 64, 0, 16 mA at 19.448 V and 552 mA at 5.016 V."""
    add_ina3221(root)
    meter = METERS.create("ina3221")
    watts = dict(zip(meter.rails, first(meter).watts))
    assert list(watts) == ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"]
    assert [int(1e3 * value) for value in watts.values()] == [466, 466, 1244, 0, 311, 2768]
    assert meter.steps_w()["GPU"] == pytest.approx(0.1556, abs=1e-4)
    assert meter.steps_w()["SYS5V"] == pytest.approx(0.0401, abs=1e-4)
    assert meter.supply_v()["CPU"] == 19.448
    assert meter.facts()["averaged"] == {"1-0040": 1, "1-0041": 1}
    assert "SYS5V" in meter.totals()["total"] and "SYS5V" not in meter.totals()["total without SYS5V"]


def test_ina3221_leaves_out_what_is_not_connected_and_knows_other_shunts(root):
    add_ina3221(root, {"1-0040": (("VDD_IN", 400), ("NC", 0), ("VDD_SOC", 40))}, first_hwmon=7)
    write(root, {"sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon7/shunt1_resistor": 2000})
    meter = METERS.create("ina3221")
    assert meter.rails == ("VDD_IN", "VDD_SOC") and meter.totals() == {"total": ("VDD_IN",)}
    first(meter)
    assert meter.steps_w()["VDD_IN"] == pytest.approx(0.020 * 19.448)


def test_ina3221_without_permission_names_jtop(root, monkeypatch):
    add_ina3221(root)

    class Closed:
        def read_text(self, encoding: str) -> str:
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(sysfs, "located", lambda path: Closed())
    assert "may not be read by this user; use --power jtop" in METERS.create("ina3221").missing()


def ticking(meter: Meter, monkeypatch, late_s=lambda due_s: 0.0):
    """When samples of an interval of 50 ms fall due, on a clock that only waiting moves, by `late_s` too far."""
    now_s = [0.0]

    def wait(seconds: float) -> bool:
        now_s[0] += seconds + late_s(now_s[0] + seconds)
        return False

    monkeypatch.setattr(base, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    meter._stop = SimpleNamespace(wait=wait)
    return meter._ticks(0.05)


def test_samples_come_at_uneven_steps_of_the_right_mean(root, monkeypatch):
    due_s = list(islice(ticking(METERS.create("ina3221"), monkeypatch), 1000))
    steps_s = [b - a for a, b in zip(due_s, due_s[1:])]
    assert sum(steps_s) / len(steps_s) == pytest.approx(0.05, rel=0.05)
    assert 0.025 <= min(steps_s) < 0.03 and 0.07 < max(steps_s) <= 0.075 + 1e-9


def test_samples_that_a_busy_machine_held_up_are_not_made_up_for(root, monkeypatch):
    due_s = list(islice(ticking(METERS.create("ina3221"), monkeypatch, lambda due_s: 10 * (0.4 < due_s < 0.5)), 100))
    steps_s = [b - a for a, b in zip(due_s, due_s[1:])]
    assert sorted(steps_s)[-1] > 9.9 and sorted(steps_s)[-2] < 0.08 and min(steps_s) > 0.024


# ------------------------------------------------------------------ rapl


def test_rapl_counts_joules_between_two_readings(root, monkeypatch):
    from edgehar.bench.meters import rapl

    moments = iter([(100.0, 50.0), (100.001, 50.0), (100.5, 60.0), (101.0, 70.0), (101.25, 80.0)])

    def counted_until() -> float:
        now_s, joules = next(moments)
        add_rapl(root, *(int(share * joules * 1e6) for share in (1.0, 0.5, 0.25)))
        return now_s

    monkeypatch.setattr(rapl, "time", SimpleNamespace(monotonic=counted_until))
    meter = METERS.create("rapl:interval_s=0.01")
    taken = list(islice(meter.samples(), 3))
    assert meter.rails == ("package-0", "package-0/core", "package-0/dram", "psys")
    assert meter.totals() == {"total": ("package-0", "package-0/dram")}
    assert [each.time_s for each in taken] == [100.25, 100.75, 101.125]  # the middle; after 1 ms it was too soon
    assert [each.watts for each in taken] == [(20, 10, 5, 0), (20, 10, 5, 0), (40, 20, 10, 0)]


def test_a_rapl_counter_that_starts_again_loses_nothing(root):
    from edgehar.bench.meters.rapl import Zone, _counted_j

    assert _counted_j(Zone("package-0", "", 262.0), 261.0, 3.0) == pytest.approx(4.0)


# ------------------------------------------------------------------ tegrastats


def test_tegrastats_lines_of_both_jetpacks():
    assert power_of(JETPACK5) == {"GPU": 0.467, "CPU": 0.467, "SOC": 1.245, "CV": 0.0, "VDDRQ": 0.311, "SYS5V": 2.768}
    assert power_of(JETPACK4) == {"GPU": 0.0, "CPU": 0.216, "SOC": 0.864, "CV": 0.0, "VDDRQ": 0.144, "SYS5V": 1.889}
    assert power_of(POWERLESS) == {}
    assert power_of("VDD_IN 3042mW/3042mW VDD_CPU_GPU_CV 480mW/480mW") == {"VDD_IN": 3.042, "VDD_CPU_GPU_CV": 0.48}


def program(root, body: str) -> str:
    path = root / "tegrastats"
    path.write_text("#!/bin/sh\n" + body)
    path.chmod(0o755)
    return "tegrastats:interval_s=0.01,program=%s" % path


def test_tegrastats_runs_the_program_and_knows_the_steps(root):
    meter = METERS.create(program(root, "echo $* > %s/asked; while true; do echo '%s'; sleep 0.01; done\n" % (
        root, JETPACK4)))
    assert first(meter).watts == (0.0, 0.216, 0.864, 0.0, 0.144, 1.889)
    assert meter.steps_w()["GPU"] == pytest.approx(0.152) and meter.steps_w()["SYS5V"] == pytest.approx(0.04)
    assert (root / "asked").read_text() == "--interval 10\n"


@pytest.mark.parametrize("body, told", [
    ("while true; do echo '%s'; sleep 0.01; done" % POWERLESS, "reports no power to this user"),
    ("echo '%s'" % JETPACK5, "ended by itself"), ("echo '%s'; sleep 60" % JETPACK5, "fell silent")],
    ids=["powerless", "ended", "silent"])
def test_a_tegrastats_that_fails_is_noticed(root, monkeypatch, body, told):
    if told == "fell silent":
        monkeypatch.setattr("edgehar.bench.meters.tegrastats.LEAST_PATIENCE_S", 0.5)
    with pytest.raises(MissingError, match=told):
        list(METERS.create(program(root, body)).samples())


# ------------------------------------------------------------------ replay


def table(root, text: str) -> str:
    (root / "wall.csv").write_text(text)
    return str(root / "wall.csv")


def test_a_replayed_table_keeps_its_pace_and_says_that_it_is_one(root):
    meter = METERS.create("replay", path=table(root, "time_s,wall\n100.0,8.0\n100.1,8.5\n100.3,9.0\n"))
    samples = []
    for sample in islice(meter.samples(), 3):
        samples.append(sample)
        assert time.monotonic() >= sample.time_s  # none comes before its time
    assert [sample.watts for sample in samples] == [(8.0,), (8.5,), (9.0,)]
    assert [sample.time_s - samples[0].time_s for sample in samples] == pytest.approx([0, 0.1, 0.3])
    assert meter.mark == "REPLAYED POWER" and "replayed from wall.csv" in meter.warnings()[0]
    with pytest.raises(MissingError, match="ended"):
        list(METERS.create("replay", path=str(root / "wall.csv")).samples())


def test_a_wall_meters_table_is_followed_as_it_grows_with_its_clock_put_right(root, monkeypatch):
    from edgehar.bench.meters import replay

    monkeypatch.setattr(replay, "time", SimpleNamespace(monotonic=lambda: 50.0, time=lambda: 1e9))
    path = table(root, "time_s,wall\n%.3f,1.0\n" % (1e9 - 3700))
    meter = METERS.create("replay", path=path, clock="unix", offset_s=3600)
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(meter.samples()))
    thread.start()
    with open(path, "a") as stream:
        stream.write("%.3f,2.5\n%.3f," % (1e9 - 3600, 1e9 - 3599.9))
        stream.flush()
        until(lambda: taken, "a row is followed")
        stream.write("3.5\n")
    until(lambda: len(taken) > 1, "the other row is followed too")
    meter.close()
    thread.join(60)
    assert [sample.watts for sample in taken] == [(2.5,), (3.5,)]
    assert [sample.time_s for sample in taken] == pytest.approx([50.0, 50.1])
    assert not meter.mark and meter.warnings() == []


def test_a_recorded_trace_is_replayed_with_its_rails(root):
    trace = {"rails": ["GPU", "SYS5V"], "time_s": [0, 0.01], "watts": [[1, 2], [3, 4]]}
    for name, value in (("trace.json", trace), ("run.json", {"engine": {}, "power": trace})):
        (root / name).write_text(json.dumps(value))
        meter = METERS.create("replay", path=str(root / name))
        assert [sample.watts for sample in islice(meter.samples(), 2)] == [(1, 2), (3, 4)]
        assert list(meter.totals()) == ["total", "total without SYS5V"]
    (root / "other.json").write_text("[]")
    with pytest.raises(InputError, match="holds no recorded trace"):
        METERS.create("replay", path=str(root / "other.json"))


@pytest.mark.parametrize("text, told", [
    ("seconds,wall\n", "must begin with time_s"), ("time_s\n", "must begin with time_s"),
    ("time_s,wall,wall\n1,5,6\n", "two columns 'wall'"), ("time_s,power_mw\n1,5000\n", "'power_mw', .* not .* watts"),
    ("time_s,wall (mW)\n1,5000\n", "not to be in watts"), ("time_s,wall [V]\n1,5\n", "not to be in watts"),
    ("time_s,wall\n1,5\n0.5,5\n", "0.5 s stands behind 1 s"),
    ("time_s,wall\n1,two\n", "the row '1,two'"), ("time_s,wall\n1,2,3\n", "the row '1,2,3'"),
    ("time_s,wall\n1,nan\n", "the row '1,nan'")])
def test_a_table_that_cannot_be_used_is_refused(root, text, told):
    path = table(root, text)
    with pytest.raises(InputError, match=told):
        list(METERS.create("replay", path=path).samples())
    with pytest.raises(InputError, match="clock 'mars'"):
        METERS.create("replay", path=path, clock="mars")


def test_a_spreadsheets_mark_before_the_header_and_names_like_units_do_no_harm(root):
    path = table(root, "\ufefftime_s,POM_5V_IN,VDD_SYS5V\n1,5,2\n1.01,5,2\n")
    meter = METERS.create("replay", path=path)
    assert meter.rails == ("POM_5V_IN", "VDD_SYS5V") and next(iter(meter.samples())).watts == (5, 2)


# ------------------------------------------------------------------ jtop's own words


@pytest.mark.parametrize("error, told", [
    (Exception("The jtop.service is not active. Please run:\nsudo systemctl restart jtop.service"), "does not run"),
    (Exception("The jtop.service is not active. Please run:\nsudo jtop --install-service"), "does not run"),
    (Exception("I can't access jtop.service.\nPlease logout or reboot this board."), "usermod -aG jtop"),
    (PermissionError(13, "Permission denied"), "usermod -aG jtop"),
    (FileNotFoundError(2, "No such file"), "does not run"),
    (Exception("Mismatch version jtop service: [4.3.1] and client: [7.2.2]. Please run:\n\nsudo ..."),
     "pip install 'jetson-stats==4.3.*'"),
    (Exception("Mismatch of Python versions between library and service"), "same Python"),
    (Exception("Authentication with jetson-stats server failed"), "do not understand"),
    (ValueError(), "does not answer")])
def test_what_jtop_raises_becomes_one_sentence_with_its_remedy(error, told):
    assert told in jtop._explained(error) and "\n" not in jtop._explained(error).replace(str(error), "")


# ------------------------------------------------------------------ totals, and machines without rails


def test_a_rail_that_feeds_all_others_is_the_total():
    assert totals_of(("VDD_IN", "VDD_CPU")) == {"total": ("VDD_IN",)}
    assert totals_of(("wall",)) == {"total": ("wall",)}
    assert totals_of(("GPU", "SYS5V")) == {"total": ("GPU", "SYS5V"), "total without SYS5V": ("GPU",)}


@pytest.mark.parametrize("name, told", [("ina3221", "no INA3221"), ("rapl", "no RAPL"), ("tegrastats", "not on PATH"),
                                        ("jtop", "jetson-stats is not installed")])
def test_a_machine_without_it_is_told_what_to_use(name, told, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jtop", None)
    monkeypatch.setenv("PATH", "")
    meter = METERS.create(name)
    assert told in meter.missing()
    if name != "tegrastats":
        with pytest.raises(MissingError):
            meter.rails  # noqa: B018


def test_a_simulated_board_shows_idle_rails_and_the_load_of_this_process(monkeypatch):
    from edgehar.bench.meters import sim

    passed, worked = iter([0.0, 0.2, 0.4, 0.6]), iter([5.0, 5.0, 5.2, 5.3])
    monkeypatch.setattr(sim, "time", SimpleNamespace(monotonic=lambda: next(passed), process_time=lambda: next(worked)))
    with sim.Sim(load_w=3.1, noise_w=0.0, interval_s=0.001) as meter:
        idle, busy, half = islice(meter.samples(), 3)
    rail = meter.rails.index(sim.LOADED)
    assert [each.time_s for each in (idle, busy, half)] == [0.2, 0.4, 0.6]
    assert sum(idle.watts) == pytest.approx(4.22, abs=6 * sim.STEP_W)
    assert busy.watts[rail] - idle.watts[rail] == pytest.approx(3.1)
    assert half.watts[rail] - idle.watts[rail] == pytest.approx(1.55)
    assert [each.watts[1:] for each in (busy, half)] == [idle.watts[1:]] * 2
    assert all(watts == pytest.approx(round(watts / sim.STEP_W) * sim.STEP_W) for watts in busy.watts)
    with pytest.raises(InputError, match="load_w=-1"):
        sim.Sim(load_w=-1)
