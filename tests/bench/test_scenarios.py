"""Scenarios: by name or from a file, and refused where they cannot be measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehar.bench.scenarios import NAMES, Scenario, default_scenario, load_scenario
from edgehar.errors import InputError

SCENARIOS = Path(__file__).resolve().parents[2] / "benchmarks" / "scenarios"


def test_committed_scenarios_are_the_defaults():
    names = [path.stem for path in sorted(SCENARIOS.glob("*.toml"))]
    assert set(NAMES) <= set(names)
    for name in NAMES:
        assert load_scenario(SCENARIOS / ("%s.toml" % name)) == default_scenario(name)
    assert load_scenario(SCENARIOS / "paced_wearable.toml").rate_hz == 2


def test_dash_equals_underscore():
    assert load_scenario("single-stream") == Scenario("single_stream")


@pytest.mark.parametrize("text, told", [
    ('name = "offline"\nbatches = 3', "batches"), ("batch = 3", "names no scenario"), ('name = "sprint"', "sprint"),
    ('name = "offline"\nbatch = 2.5', "whole number"), ('name = "offline"\nbatch = "8"', "whole number"),
    ('name = "paced"\nrate_hz = 0', "above 0"), ('name = "paced"\nrate_hz = nan', "number"),
    ('name = "single_stream"\nbatch = 4', "one at a time"), ('name = "offline"\nduration_s = inf', "finite"),
    ('name = "streaming"\nhold = 0', "at least 1"), ('name = "streaming"\nhop = -1', "at least 0"),
    ('name = "streaming"\nbatch = 8', "one at a time"), ("name = ", "not readable TOML"),
    ('name = "offline"\nwarmup_s = -1', "at least 0")])
def test_a_bad_scenario_file_is_refused_in_one_sentence(tmp_path, text, told):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=told):
        load_scenario(tmp_path / "bad.toml")


def test_a_missing_scenario_file_and_an_unknown_name_are_refused(tmp_path):
    for spec in (tmp_path / "none.toml", "sprint"):
        with pytest.raises(InputError):
            load_scenario(spec)
