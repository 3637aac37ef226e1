"""A crowd of wearers: each goes its own way round the signal, and what is late or lost is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgehar.cli.rehearse import command
from edgehar.errors import InconclusiveError, InputError
from edgehar.stream.crowd import in_hops, rehearse
from edgehar.stream.policy import Policy
from edgehar.stream.sources.base import Chunk
from tests.linear import BACKEND, DATASET, SIGNAL, add_plugins, noise, stream, write_artifact
from tests.stream.test_fleet import HOP, RATE, WINDOW, RowSession, Watch, fleet

HOP_S = HOP / RATE


def hops(count: int = 60):
    return in_hops([Chunk(noise(count), 0.0)], SIGNAL, HOP)


def test_a_signal_is_cut_into_hops_between_its_gaps():
    """A gap that the source tells, and one that its times alone tell."""
    chunks = [Chunk(noise(7), 0.0), Chunk(noise(7, 1), 7 / RATE), Chunk(noise(13, 2), 14 / RATE, begins=True),
              Chunk(noise(23, 3), 50.0)]
    found = in_hops(chunks, SIGNAL, HOP)
    assert (found.samples[:2].reshape(10, 3) == np.concatenate([noise(7), noise(7, 1)])[:10]).all()
    assert (found.samples[2:4].reshape(10, 3) == noise(13, 2)[:10]).all()
    assert (found.samples[4:].reshape(20, 3) == noise(23, 3)[:20]).all()
    assert np.flatnonzero(found.begins).tolist() == [0, 2, 4] and len(found.begins) == 8


@pytest.mark.parametrize("starts_s", [[0.0], [0.0, 9.0, 18.0]])
def test_less_than_a_window_is_no_crowd(starts_s):
    with pytest.raises(InconclusiveError, match="less than one window of 16 samples without a gap"):
        in_hops([Chunk(noise(9), start_s) for start_s in starts_s], SIGNAL, HOP)


def test_each_wearer_goes_its_own_way_round():
    """As fast as it goes: the first of three stands at the start, the others a third apart, and all go round."""
    made, said = fleet(3), []
    tick = made.tick
    made.tick = lambda flush=False: said.append(tick(flush)) or said[-1]
    found = rehearse(made, hops(), 3, duration_s=8 * HOP_S, paced=False)
    filled = -(-WINDOW // HOP)
    wanted = stream().push(noise(60)[20:])  # wearer 1 begins a third of the way round, up to its wrap
    have = [one.one(row) for one in said if one is not None for row in np.flatnonzero(one.places == 1)]
    assert [each.raw_label for each in have[:len(wanted)]] == [each.raw_label for each in wanted]
    assert found.decisions == sum(len(one.places) for one in said if one is not None) - 3 * (filled * HOP >= WINDOW)
    assert found.signal_s == pytest.approx(8 * HOP_S) and found.latencies_s == [] and not found.late


def test_in_real_time_lateness_is_told():
    """A session that takes a hop and a half a micro-batch, on a clock that is set by hand."""
    watch = Watch()

    class Slow(RowSession):
        def launch(self, count: int, slot: int = 0) -> None:
            super().launch(count)
            watch.time_s += 1.5 * HOP_S

    made = fleet(2, session=Slow, clock=watch)
    found = rehearse(made, hops(), 2, 10 * HOP_S, clock=watch, sleep=lambda pause_s: setattr(
        watch, "time_s", watch.time_s + pause_s))
    assert found.late == found.decisions == len(np.concatenate(found.latencies_s)) > 10
    assert found.latency_s(50) > 1.5 * HOP_S and found.load == pytest.approx(1.5, abs=0.3)
    assert found.sustained <= 1 and found.to_json()["late"] == found.late
    quick = rehearse(fleet(2, clock=watch), hops(), 2, 10 * HOP_S, clock=watch, sleep=lambda pause_s: setattr(
        watch, "time_s", watch.time_s + pause_s))
    assert quick.late == 0 and quick.latency_s(99) == pytest.approx(0, abs=1e-6) and quick.decisions == found.decisions


def test_in_phases_each_cohort_is_served_at_its_own_instant():
    """Ten wearers in five phases, whose hops are due two at a time: each gets its stream's decisions, at once."""
    watch, said = Watch(), []
    made = fleet(10, clock=watch)
    tick = made.tick
    made.tick = lambda flush=False: said.append((watch.time_s, tick(flush))) or said[-1][1]
    found = rehearse(made, hops(600), 10, 6 * HOP_S, phases=5, clock=watch, sleep=lambda pause_s: setattr(
        watch, "time_s", watch.time_s + pause_s))
    served = [(time_s, one) for time_s, one in said[-30:] if one is not None]
    assert all(len(one.places) == 2 and one.places[1] == one.places[0] + 5 for _, one in served) and len(served) == 30
    assert np.diff([time_s for time_s, _ in served]) == pytest.approx(HOP_S / 5)
    assert found.decisions == 60 and found.latency_s(99) == pytest.approx(0, abs=1e-6) and not found.late
    alone = stream().push(noise(600)[72 * HOP:])  # wearer 6 begins six tenths of the way round
    mine = [one.one(1) for _, one in said if one is not None and one.places.tolist() == [1, 6]]
    assert len(mine) >= 6 and all(have.probabilities["activity"].tobytes() == want.probabilities["activity"].tobytes()
                                  for have, want in zip(mine, alone))


@pytest.mark.parametrize("phases, latency_s", [(1, 0.5 * HOP_S), (5, 0.1 * HOP_S)])
def test_in_phases_nobody_waits_for_everybody(phases, latency_s):
    """A tenth of a hop a window: where five are due at one instant, the last waits for all."""
    watch = Watch()

    class Slow(RowSession):
        def launch(self, count: int, slot: int = 0) -> None:
            super().launch(count)
            watch.time_s += 0.1 * HOP_S

    found = rehearse(fleet(5, session=Slow, policy=Policy(batch=1, batches=1), clock=watch), hops(600), 5, 9 * HOP_S,
                     phases=phases, clock=watch, sleep=lambda pause_s: setattr(watch, "time_s", watch.time_s + pause_s))
    assert found.decisions == 45 and found.load == pytest.approx(0.5)
    assert found.latency_s(99) == pytest.approx(latency_s)


@pytest.mark.parametrize("phases", [2, 6, 10, 0])
def test_phases_that_do_not_divide_the_hop_are_refused(phases):
    with pytest.raises(InputError, match="a hop of 5 samples cannot come in %d equal pieces.*: 1, 5" % phases):
        rehearse(fleet(2), hops(), 2, 1.0, phases=phases)


def test_ctrl_c_ends_it_with_what_was_done():
    turns = []

    def sleep(pause_s: float) -> None:
        turns.append(pause_s)
        if len(turns) == 4:
            raise KeyboardInterrupt

    found = rehearse(fleet(2), hops(), 2, 5.0, sleep=sleep)
    assert found.interrupted and found.signal_s == pytest.approx(3 * HOP_S)


# ------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "linear").folder


def run(*words):
    """(exit code, stdout, stderr) of one ``edgehar rehearse``."""
    line = [sys.executable, "-c", "from edgehar.cli import main; main()", "--plugin", str(BACKEND), "--plugin",
            str(DATASET), "rehearse", *map(str, words), "--backend", "linear"]
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60,
                          cwd=str(Path(__file__).resolve().parents[2]))
    return done.returncode, done.stdout, done.stderr


def test_the_command_tells_what_was_kept_and_how_it_went(artifact):
    code, out, err = run(artifact, "--wearers", 20, "--seconds", 0.5)
    assert code == 0, err
    kept, served, done, following = out.splitlines()
    assert kept.startswith("kept: full window, measured per window: full window ")
    assert "no incremental inference" in kept
    assert served.startswith("wearers: 20, signal: 0.5 s each, decisions: ") and ", late: " in served
    assert done.endswith("wearers [trained on synthetic data, fed synthetic data]")
    assert following.startswith("next: edgehar serve ")


def test_the_command_speaks_json_too(artifact):
    code, out, err = run(artifact, "--wearers", 3, "--seconds", 1, "--fast", "--json")
    told = json.loads(out)
    assert code == 0 and (told["wearers"], told["way"], told["hop"]) == (3, "full window", SIGNAL.hop)
    assert told["decisions"] > 20 and told["dropped"] == told["late"] == 0 and told["fed_synthetic"] is True


def test_the_command_spreads_the_wearers_over_the_hop(artifact):
    code, out, err = run(artifact, "--wearers", 10, "--seconds", 1, "--phases", 5, "--json")
    told = json.loads(out)
    assert code == 0 and told["phases"] == 5 and told["decisions"] > 50 and told["limit"] > 10, err
    code, _, err = run(artifact, "--wearers", 10, "--phases", 3)
    assert code == 2 and "choose phases that divide it: 1, 5" in err


def test_more_wearers_than_the_measured_cost_sustains_are_warned_of(artifact, monkeypatch):
    monkeypatch.setattr("edgehar.stream.choice.HEADROOM", 1e-9)
    add_plugins(monkeypatch)
    done = CliRunner().invoke(command, [str(artifact), "--backend", "linear", "--wearers", "3", "--seconds", "0.2",
                                        "--fast"])
    assert done.exit_code == 0 and "3 wearers are more than the 0 that the measured cost of a window" in done.output


def test_a_signal_too_short_is_inconclusive(artifact):
    code, _, err = run(artifact, "--hop", 5000)
    assert code == 8 and "less than one window" in err


# ------------------------------------------------------------------ a site


def test_the_command_sends_a_load_through_a_site_and_tells_of_every_window(artifact):
    hard = ("--loss", 0.05, "--jitter-s", 0.02, "--storm-every-s", 4, "--skew-ppm", 50)
    code, out, err = run(artifact, "--site", "--simulated", "--wearers", 20, "--seconds", 12, "--json", *hard)
    assert code == 0, err
    found = json.loads(out)
    assert found["unaccounted"] == 0 and found["lost"]["gap"] > 0 and found["load"]["loss"] == 0.05
    assert found["windows_due"] == found["decided"] + found["waiting"] + sum(found["lost"].values())
    code, out, err = run(artifact, "--site", "--wearers", 3, "--seconds", 2)
    assert code == 0 and "lost: none; unaccounted: 0" in out and "time to decision: " in out


def test_the_command_finds_how_many_wearers_a_site_bears(artifact):
    code, out, err = run(artifact, "--find-max-wearers", "--p99", "0.000001s", "--wearers", 3, "--seconds", 2)
    assert code == 0 and "3 wearers: p99" in out and "too many" in out and "at most 0 wearers" in out
    code, _, err = run(artifact, "--find-max-wearers", "--p99", "soon")
    assert code == 2 and "'soon' is no time such as 50ms or 0.05s" in err
