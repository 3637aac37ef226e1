"""Bench with a meter: what the Run keeps, what the figures are of, and what is refused or labelled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgehar.backends import BACKENDS
from edgehar.backends.base import Backend, BuildSpec
from edgehar.bench import energy, run as bench, trace, verdicts
from edgehar.bench.metering import MeteringPlan
from edgehar.bench.scenarios import SCENARIOS
from edgehar.errors import InconclusiveError, InputError, UnstableError
from edgehar.results.page import render
from edgehar.results.rows import energy_rows
from edgehar.results.runs import UNVERIFIED, EngineFacts, Run
from edgehar.results.words import net_energy_text
from tests.bench.test_bench import edgehar, plugins, write_artifact  # noqa: F401
from tests.hand_clock import HandMeter
from tests.linear import LinearSession

SHORT = MeteringPlan(1.0, 1.0, 1)
CALL_S = 1 / 64  # so that its sums are exact


@pytest.fixture
def artifact(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_artifact(tmp_path / "sign").folder


@pytest.fixture
def engine(tmp_path):
    return BACKENDS.create("linear").build(write_artifact(tmp_path / "sign"), BuildSpec(), tmp_path / "engine")


@pytest.fixture
def meter(monkeypatch, tmp_path) -> HandMeter:
    """Of a machine that tells nothing of its clocks, and on which a call takes `CALL_S`, whoever else keeps it busy."""
    meter, launch = HandMeter(), LinearSession.launch

    def slow(session, count, slot=0):
        meter.under_load(CALL_S)
        launch(session, count, slot)

    monkeypatch.setattr("edgehar.sysfs.ROOT", tmp_path)
    monkeypatch.setattr(LinearSession, "launch", slow)
    return meter


def run(engine, scenario, meter, plan=SHORT) -> Run:
    return bench.run(engine, scenario, clock=meter.clock, sleep=meter.clock.sleep, meter=meter, plan=plan)


def test_the_energy_is_of_the_windows_answered_under_load(engine, meter):
    found = run(engine, SCENARIOS.create("single_stream", warmup_s=0, duration_s=0.1), meter, MeteringPlan())
    told = found.energy
    assert told["refusal"] is None, told
    figure = told["figures"][0]
    assert figure["name"] == "total" and told["repeats"] == 3
    assert (told["windows"], told["load_s"]) == (3 * 60 / CALL_S, 3 * 60)
    assert figure["net_j"]["value"] == pytest.approx(2.0 * CALL_S, rel=0.01)
    assert figure["gross_j"]["value"] == pytest.approx(7.0 * CALL_S, rel=0.01)
    assert (figure["idle_w"], figure["load_w"]) == pytest.approx((5, 7), rel=0.01)


def test_offline_counts_every_window_of_a_batch(engine, meter):
    found = run(engine, SCENARIOS.create("offline", batch=4, warmup_s=0, duration_s=0.1), meter,
                MeteringPlan(0.1, 10 * CALL_S, 2))
    loads = [phase["windows"] for phase in found.power["phases"] if phase["kind"] == "load"]
    assert loads == [4 * 10, 4 * 10]


def test_a_paced_load_lasts_as_long_as_its_windows_and_knows_its_period(engine, meter):
    found = run(engine, SCENARIOS.create("paced", warmup_s=0, duration_s=0.1, rate_hz=5), meter,
                MeteringPlan(0.1, 0.8, 2))
    loads = [phase for phase in found.power["phases"] if phase["kind"] == "load"]
    assert [phase["windows"] for phase in loads] == [4, 4]
    assert all(phase["end_s"] - phase["start_s"] == pytest.approx(0.8) for phase in loads)
    assert found.power["period_s"] == 0.2


def test_the_run_keeps_raw_power_and_can_be_judged_anew(engine, meter, tmp_path):
    found = run(engine, SCENARIOS.create("single_stream", warmup_s=0, duration_s=0.1), meter)
    stored = Run.load(found.write(tmp_path / "run.json"))
    assert stored.engine.sha256 == engine.sha256
    assert stored.engine.verified["activity"]["passed"] is True
    assert stored.power["rails"] == ["GPU", "SYS5V"] and len(stored.power["watts"]) == len(stored.power["time_s"]) > 20
    assert stored.energy["refusal"]["reason"] == energy.TOO_SHORT
    assert energy.estimate(trace.Trace.from_json(stored.power)).refusal.reason == energy.TOO_SHORT
    row = energy_rows([stored])[0]
    assert net_energy_text(row).startswith("refused: too short; at most ") and row.verified and not row.mark


def test_a_run_without_a_meter_has_neither_power_nor_energy(engine, tmp_path):
    found = bench.run(engine, SCENARIOS.create("single_stream", warmup_s=0, duration_s=0.05))
    assert not {"power", "energy"} & set(found.to_json()) and "verified" not in found.engine.to_json()
    assert energy_rows([found]) == []


def test_an_engine_that_does_not_reproduce_its_golden_outputs_is_labelled(engine, meter, monkeypatch):
    verify = Backend.verify
    monkeypatch.setattr(Backend, "verify", lambda *given: [each._replace(passed=False) for each in verify(*given)])
    found = run(engine, SCENARIOS.create("single_stream", warmup_s=0, duration_s=0.1), meter)
    assert any(warning.kind == UNVERIFIED and "activity" in warning.text for warning in found.warnings)
    assert not energy_rows([found])[0].verified


@pytest.mark.parametrize("name", ["accuracy", "streaming"])
def test_energy_of_what_is_no_steady_load_is_refused(engine, meter, name):
    with pytest.raises(InputError, match="steady load"):
        run(engine, SCENARIOS.create(name), meter)


@pytest.mark.parametrize("reason, kind", [(energy.THROTTLED, UnstableError), (energy.CHANGED, UnstableError),
                                          (energy.UNDER_FLOOR, InconclusiveError), (energy.TOO_FEW, InconclusiveError)])
def test_strict_tells_unsteady_from_too_little(reason, kind):
    refusal = {"reason": reason, "sentence": "because."}
    found = Run({"name": "paced"}, EngineFacts("a", "", "", "b", "fp32", "c", "m"), {},
                energy={"refusal": refusal})
    with pytest.raises(kind, match="%s: because" % reason):
        verdicts.require_energy(found)
    verdicts.require_energy(replace(found, energy={}))


# ------------------------------------------------------------------ the command


@pytest.fixture
def words(artifact, tmp_path):
    (tmp_path / "data").mkdir()
    table = tmp_path / "data" / "wall.csv"
    table.write_text("time_s,wall\n" + "".join("%.2f,%.1f\n" % (k / 20, 5 + k % 3) for k in range(12000)))
    return (artifact, "--backend", "linear", "--warmup", 0, "--duration", 0.1, "--power", "replay:path=%s" % table,
            "--idle", 0.2, "--load", 0.2, "--repeats", 1)


def test_the_command_shows_the_refusal_and_that_power_is_replayed(words, capsys):
    code, out, _ = edgehar(capsys, *words)
    assert code == 0 and "REPLAYED POWER" in out and "UNVERIFIED" not in out
    assert "refused: too short; at most" in out
    assert "warning: " in out and "energy is refused, too short: 1 repeats" in out and "replayed from wall.csv" in out
    found = Run.load(next(Path("runs/bench").glob("*.json")))
    assert found.command.endswith("--power replay:path=wall.csv --idle 0.2 --load 0.2 --repeats 1")
    assert str(Path.cwd()) not in json.dumps(found.to_json())


def test_simulated_power_is_said_to_be_and_never_strict(artifact, capsys):
    words = (artifact, "--backend", "linear", "--warmup", 0, "--duration", 0.1, "--power", "sim", "--idle", 0.2,
             "--load", 0.2, "--repeats", 1)
    code, out, _ = edgehar(capsys, *words)
    assert code == 0 and "SIMULATED POWER" in out
    found = Run.load(next(Path("runs/bench").glob("*.json")))
    assert found.power["meter"]["mark"] == "SIMULATED POWER" and "SIMULATED POWER" in render([found])
    code, _, err = edgehar(capsys, *words, "--strict")
    assert code == 2 and "simulated power" in err


def test_the_report_prints_the_reason(words, capsys):
    edgehar(capsys, *words)
    page = render([Run.load(next(Path("runs/bench").glob("*.json")))])
    assert "Energy per window: walks" in page and "REPLAYED POWER" in page and "UNVERIFIED" not in page
    assert "Refused, too short: 1 repeats" in page and "as recorded in wall.csv" in page


def test_json_carries_the_energy(words, capsys):
    code, out, _ = edgehar(capsys, *words, "--json", "--scenario", "single_stream", "--scenario", "accuracy")
    timed, scored = json.loads(out)["runs"]
    assert code == 0 and "energy" not in scored
    assert timed["energy"]["refusal"]["reason"] == "too short" and timed["energy"]["figures"][0]["name"] == "total"
    assert timed["energy"]["meter"]["name"] == "replay" and timed["energy"]["verified"]["activity"]["passed"]


@pytest.mark.parametrize("changed, code, told", [
    (("--strict",), 8, ""), (("--power", "rapl"), 7, "no RAPL counter"), (("--power", "abacus"), 2, "no meter named"),
    (("--scenario", "accuracy"), 2, "--power measures timed scenarios"), (("--repeats", 0), 2, "above 0")])
def test_what_cannot_be_measured_ends_with_its_code(words, capsys, changed, code, told, monkeypatch, tmp_path):
    monkeypatch.setattr("edgehar.sysfs.ROOT", tmp_path)
    line = words if "accuracy" not in changed else words[:3] + words[7:]
    found, _, err = edgehar(capsys, *line, *changed)
    assert found == code and told in err, err
    assert Path("runs").exists() == (changed == ("--strict",))
