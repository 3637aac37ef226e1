"""Scenarios: by spec or from a file, refused where they cannot be measured, and open to a file of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgehar import cli, registry
from edgehar.bench.scenarios import SCENARIOS, load_scenario
from edgehar.errors import InputError
from edgehar.results.page import render
from edgehar.results.runs import Run
from tests.linear import BACKEND, DATASET, write_artifact

COMMITTED = Path(__file__).resolve().parents[2] / "benchmarks" / "scenarios"
BURST = '''
from dataclasses import dataclass

from edgehar.bench.scenarios.base import Findings, Scenario
from edgehar.bench.timing import raw
from edgehar.settings import setting


@dataclass(frozen=True)
class Burst(Scenario):
    """Some windows at once, and how long they took together."""

    timed = True

    windows: int = setting(3, least=2)

    @property
    def text(self):
        return "burst of %d" % self.windows

    def measure(self, trial):
        start = trial.clock()
        for _ in range(self.windows):
            trial.session.infer(trial.engine.golden().x[:1])
        return Findings((raw("latency", "s", [trial.clock() - start]),))
'''


def test_committed_scenarios_are_the_defaults():
    names = {path.stem for path in COMMITTED.glob("*.toml")}
    own = [name.replace("-", "_") for name in SCENARIOS.names()]
    assert set(own) <= names
    for name in own:
        assert load_scenario(COMMITTED / ("%s.toml" % name)) == SCENARIOS.create(name)
    assert load_scenario(COMMITTED / "paced_wearable.toml").rate_hz == 2


def test_a_spec_names_the_scenario_and_its_settings():
    assert load_scenario("single-stream") == SCENARIOS.create("single_stream")
    found = load_scenario("single_stream:duration_s=3")
    assert found.duration_s == 3.0 and isinstance(found.duration_s, float) and found.warmup_s == 1.0


@pytest.mark.parametrize("text, told", [
    ('name = "offline"\nbatches = 3', "batches"), ("batch = 3", "names no scenario"), ('name = "sprint"', "sprint"),
    ('name = "offline"\nbatch = 2.5', "whole number"), ('name = "offline"\nbatch = "8"', "whole number"),
    ('name = "paced"\nrate_hz = 0', "above 0"), ('name = "paced"\nrate_hz = nan', "number"),
    ('name = "single_stream"\nbatch = 4', "unknown setting 'batch'"), ('name = "offline"\nduration_s = inf', "finite"),
    ('name = "streaming"\nhold = 0', "at least 1"), ('name = "streaming"\nhop = -1', "at least 0"),
    ('name = "streaming"\nbatch = 8', "it takes|has: hop, hold"), ("name = ", "not readable TOML"),
    ('name = "offline"\nwarmup_s = -1', "at least 0"), ('name = "accuracy"\nduration_s = 3', "'duration_s'")])
def test_a_bad_scenario_file_is_refused_in_one_sentence(tmp_path, text, told):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=told):
        load_scenario(tmp_path / "bad.toml")


def test_a_missing_scenario_file_and_an_unknown_name_or_setting_are_refused(tmp_path):
    for spec in (tmp_path / "none.toml", "sprint", "single_stream:batch=4", "paced:rate_hz=fast"):
        with pytest.raises(InputError):
            load_scenario(spec)


def test_a_scenario_of_one_s_own_is_one_file(tmp_path, monkeypatch, capsys):
    """Found by --plugin and named by --scenario, with its own setting, and shown in its own words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_extra_files", {})
    (tmp_path / "scenarios").mkdir()
    plugin = tmp_path / "scenarios" / "burst.py"
    plugin.write_text(BURST)
    artifact = write_artifact(tmp_path / "engines" / "linear").folder
    plugins = [word for path in (BACKEND, DATASET, plugin) for word in ("--plugin", str(path))]
    code = cli.execute([*plugins, "bench", str(artifact), "--backend", "linear", "--scenario", "burst:windows=5"])
    out, err = capsys.readouterr()
    assert code == 0, err
    assert "burst of 5" in out
    run = Run.load(next(Path("runs/bench").glob("linear-linear-fp32-burst-*.json")))
    assert run.scenario == {"name": "burst", "text": "burst of 5", "windows": 5}
    assert "Burst of 5" in render([run])
    assert cli.execute([*plugins, "bench", str(artifact), "--scenario", "burst:windows=1"]) == 2
    assert "at least 2" in capsys.readouterr().err
    assert json.loads(json.dumps(run.to_json()))["measurements"][0]["name"] == "latency"
