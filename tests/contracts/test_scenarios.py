"""What every scenario in the registry keeps to: raw values kept, an injected delay found, bad settings refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields, replace
from math import inf, nan

import numpy as np
import pytest

from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.bench import run as bench
from edgehar.bench.scenarios import SCENARIOS
from edgehar.bench.scenarios.base import RECORDINGS, WINDOWS, Trial
from edgehar.data.signals import Recording, Windows
from edgehar.errors import InputError
from edgehar.registry import HOUSE
from edgehar.results.runs import Run
from tests.linear import SIGNAL, SPLIT, TASKS, LinearSession, add_plugins, noise, write_artifact

SHORT = {  # a new scenario adds its own: settings of a short measurement
    "single-stream": {"warmup_s": 0, "duration_s": 1}, "offline": {"batch": 4, "warmup_s": 0, "duration_s": 1},
    "paced": {"warmup_s": 0, "duration_s": 1, "rate_hz": 10},
    "server": {"warmup_s": 0, "duration_s": 60, "rate_hz": 0.1, "seed": 4}, "idle": {"duration_s": 8, "rest_s": 0.5},
    "multi-stream": {"warmup_s": 0, "duration_s": 1, "rate_hz": 10, "batch": 2},
    "accuracy": {"batch": 3}, "streaming": {"hop": 4},
    "end-to-end": {"warmup_s": 0, "duration_s": 1, "rate_hz": 10}, "personal": {"seconds": 2}}
SERVICE_S, DELAY_S = 0.05, 0.04


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    add_plugins(monkeypatch)


@pytest.fixture(params=SCENARIOS.names())
def scenario(request):
    own = HOUSE not in SCENARIOS.path(request.param).parents
    assert own or request.param in SHORT, "add settings of scenario %s to this contract" % request.param
    return SCENARIOS.create(request.param, **SHORT.get(request.param, {"warmup_s": 0, "duration_s": 1}))


@pytest.fixture
def engine(tmp_path):
    return BACKENDS.create("linear").build(write_artifact(tmp_path / "linear"), BuildSpec(), tmp_path / "engine")


def labels(count: int):
    return {task: np.arange(count) % len(names) for task, names in TASKS.items()}


def windows(count: int = 7) -> Windows:
    x = np.stack([noise(SIGNAL.window, seed).T for seed in range(count)])
    return Windows(x, labels(count), np.array(["03"] * count), np.array(["a"] * count), np.zeros((count, 2), np.int64),
                   SIGNAL.rate_hz, SIGNAL.channels, TASKS, SPLIT.sha256, "test")


def recordings(count: int = 1200):
    """Each class for four seconds in turn."""
    return [Recording(noise(count), {task: np.repeat(each, 200).astype(np.int16) for task, each in labels(
        count // 200).items()}, TASKS,
                      SIGNAL.rate_hz, SIGNAL.channels, "03", "a")]


def measured(engine, scenario, monkeypatch, delays_s=()) -> Run:
    """A Run on a clock on which a call takes 50 ms, and those numbered in `delays_s` longer by so much."""
    now_s, calls, launch = [100.0], [], LinearSession.launch

    def timed(session, count, slot=0):
        now_s[0] += SERVICE_S + dict(delays_s).get(len(calls), 0.0)
        calls.append(count)
        launch(session, count, slot)

    monkeypatch.setattr(LinearSession, "launch", timed)
    data = {WINDOWS: {"windows": windows()}, RECORDINGS: {"recordings": recordings()}}.get(scenario.needs, {})
    return bench.run(engine, scenario, clock=lambda: now_s[0], sleep=lambda s: now_s.__setitem__(0, now_s[0] + s),
                     **data)


def test_what_was_measured_is_kept_raw_and_survives_the_disk(scenario, engine, monkeypatch, tmp_path):
    found = measured(engine, scenario, monkeypatch)
    assert found.measurements or found.people or found.events
    assert {value for each in found.measurements for value in map(type, each.values)} <= {float}
    stored = Run.load(found.write(tmp_path / "run.json"))
    assert stored.to_json() == found.to_json()
    assert stored.scenario == scenario.settled(engine).to_json() and stored.asked == scenario.settled(engine).text
    assert stored.scenario["name"] == scenario.name


def test_an_injected_delay_is_found_where_time_is_measured(scenario, engine, monkeypatch):
    """The sixth call, behind one of warm-up, takes 40 ms longer."""
    latency = measured(engine, scenario, monkeypatch, delays_s=[(5, DELAY_S)]).measurement("latency")
    assert (latency is not None) == scenario.timed
    if latency:
        assert latency.values[4] == pytest.approx(SERVICE_S + DELAY_S)
        assert np.delete(latency.values, 4).max() == pytest.approx(SERVICE_S)


def test_a_load_counts_its_windows_and_only_what_is_timed_has_one(scenario, engine):
    with BACKENDS.create("linear").open(engine, max_batch=scenario.batch) as session:
        trial = Trial(session, engine)
        if not scenario.timed:
            with pytest.raises(InputError, match="steady load"):
                scenario.load(trial)
            return
        windows_answered = scenario.load(trial)(0.25)
        assert windows_answered > 0 and windows_answered % scenario.batch == 0


def test_bad_settings_are_refused_by_name(scenario):
    assert fields(scenario), "a scenario of no settings needs no test here, so leave it out by name"
    for each in fields(scenario):
        for bad in (-1, inf, nan, None, *([] if isinstance(each.default, str) else ["many"]),
                    *([] if isinstance(each.default, bool) else [True])):
            with pytest.raises(InputError, match="%s has %s = " % (scenario.name, each.name)):
                replace(scenario, **{each.name: bad})
    with pytest.raises(InputError, match="no option 'colour'"):
        SCENARIOS.create("%s:colour=blue" % scenario.name)


def test_a_scenario_is_a_value(scenario):
    assert scenario == replace(scenario) and len({scenario, replace(scenario)}) == 1
    with pytest.raises(FrozenInstanceError):
        setattr(scenario, fields(scenario)[0].name, 1)
