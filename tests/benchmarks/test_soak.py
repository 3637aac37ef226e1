"""The soak run in seconds: its accounts add up, and it would see a leak, a loss and a restart that failed."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from edgehar.backends import ready_engine
from edgehar.results.runs import Run
from tests.broker import require_mosquitto
from tests.scripts import ROOT, script


@pytest.fixture(scope="module")
def soak():
    return script("soak")


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Of a copy: the tests of another Python build theirs beside the original."""
    folder = tmp_path_factory.mktemp("engines") / "student"
    shutil.copytree(str(ROOT / "engines" / "wisdm-watch-s"), str(folder), ignore=shutil.ignore_patterns("built"))
    return ready_engine(folder)


@pytest.fixture(scope="module")
def result(soak, engine, tmp_path_factory):
    """Three hours of five minutes each, with nine wearers."""
    require_mosquitto()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgehar.stream.mqtt.RETRY_S", (0.1, 0.2))
        patch.setenv("PYTHONPATH", str(ROOT))
        return soak.soak(engine, 3, 8, tmp_path_factory.mktemp("soak"), say=lambda line: None, down_s=0.2, hour_s=300)


def test_a_short_soak_recovers_from_each_restart_and_explains_every_message(soak, engine, result, tmp_path):
    verdicts = dict(result.verdicts)
    verdicts.pop("memory_in_use_flat")  # not to be told in seconds
    assert all(verdicts.values()), (verdicts, result.facts, result.accounts)
    assert len(result.recoveries_s) == 3 and max(result.recoveries_s) < 20
    assert [account["connections"] for account in result.accounts] == [4] * 9
    assert sum(account["written"] for account in result.accounts[:-1]) > 3 * 8 * 3
    assert result.facts["fleet_gaps"] == 3 and result.facts["served_decisions"] > 3 * 90
    run = Run.load(soak.as_run(result, engine, 3, 8, "python benchmarks/soak.py").write(tmp_path / "run.json"))
    assert run.synthetic and len(run.measurement("rss").values) == len(run.measurement("hour").values) >= 18


def test_the_committed_soak_is_of_a_day_and_passed():
    (path,) = (ROOT / "benchmarks" / "results" / "amd-epyc-2-cores" / "soak").glob("*.json")
    run = Run.load(path)
    assert run.synthetic and run.command == "python benchmarks/soak.py --hours 24 --wearers 128"
    assert run.scenario["restarts"] == 24 and all(run.scenario["verdicts"].values())
    assert all(account["written"] == account["arrived"] + account["dropped"] for account in run.scenario["accounts"])


def test_a_leak_a_loss_and_a_restart_that_failed_are_seen(soak):
    hours = np.arange(0, 24, 1 / 6)
    noise = np.random.default_rng(0).normal(0, 2 ** 17, len(hours))
    size = list(2e8 + noise)
    steady = soak.Looks(list(hours), size, size, [100000] * len(hours), [40] * len(hours), [20] * len(hours))
    accounts = [{"unexplained": 0}]
    facts = dict.fromkeys(("served_decisions", "served_expected", "served_gaps", "served_missed"), 0)
    good = soak.Soak(steady, [1.0], accounts, facts)
    assert all(good.verdicts.values())
    faults = {
        "memory_in_use_flat": {"looks": replace(steady, heap=list(2e8 + noise + 2 ** 17 * hours))},
        "rss_bounded": {"looks": replace(steady, rss=list(2e8 + noise + 2 ** 20 * hours))},
        "handles_flat": {"looks": replace(steady, handles=[40] * (len(hours) - 1) + [41])},
        "threads_flat": {"looks": replace(steady, threads=[20] * (len(hours) - 1) + [21])},
        "every_restart_recovered": {"recoveries_s": [1.0, math.inf]},
        "every_message_explained": {"accounts": [{"unexplained": 1}]},
        "served_wearer_undisturbed": {"facts": dict(facts, served_gaps=1)},
    }
    for verdict, fault in faults.items():
        assert [name for name, good_one in replace(good, **fault).verdicts.items() if not good_one] == [verdict]


def test_slopes_have_the_intervals_of_the_tables(soak):
    for freedom, quantile in ((4, 2.776), (10, 2.228), (20, 2.086), (100, 1.984)):
        assert soak.t_quantile(freedom) == pytest.approx(quantile, rel=5e-3)
    slope, low, high = soak.line_slope(np.arange(5.0), np.array([1.0, 3.1, 4.9, 7.0, 9.0]))
    assert slope == pytest.approx(1.99) and low < 2 < high and high - low < 0.2
    assert math.isnan(soak.line_slope(np.arange(2.0), np.arange(2.0))[2])
