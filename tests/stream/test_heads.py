"""Heads in streams and fleets: one graph, each wearer's own last layer, and nobody's decisions change another's."""

from __future__ import annotations

import numpy as np
import pytest

from edgehar.artifact.features import LastLayer
from edgehar.artifact.personal import new_head
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec, StepSession
from edgehar.errors import InputError, MismatchError
from edgehar.stream.enrolling import Program
from edgehar.stream.fleet import Fleet
from edgehar.stream.personal import HeadBank, PersonalSession, open_for, require_features
from edgehar.stream.stream import Stream
from tests.tiny import SIGNAL, TASKS, tiny_artifact, tiny_windows

WEARERS = 5


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    return BACKENDS.create("ort").build(tiny_artifact(folder / "tiny"), BuildSpec(), folder / "engine")


def layer(seed: int) -> LastLayer:
    draw = np.random.default_rng(seed)
    return LastLayer(draw.normal(0, 1, (3, 8)).astype(np.float32), draw.normal(0, 1, 3).astype(np.float32))


def head(engine, seed: int):
    return new_head(engine.manifest, "wearer %d" % seed, {"activity": layer(seed)}, {})


def signal_of(seed: int, count: int = 160) -> np.ndarray:
    return np.concatenate(tiny_windows(count // SIGNAL.window, seed).transpose(0, 2, 1)).astype(np.float32)


def probabilities(decisions) -> np.ndarray:
    return np.array([each.probabilities["activity"] for each in decisions])


def test_a_session_without_a_head_is_the_engine_s_own(engine):
    x = tiny_windows(4)
    with open_for(engine, None, max_batch=4) as plain, PersonalSession(
            BACKENDS.create("ort").open_features(engine, 4), {}) as through:
        assert np.allclose(plain.infer(x)["activity"], through.infer(x)["activity"], atol=1e-5)
    require_features(engine)


def test_a_head_of_another_base_opens_nothing(engine, tmp_path):
    other = tiny_artifact(tmp_path / "other", name="other")
    with pytest.raises(MismatchError, match="anna.head was fitted to the artifact other"):
        open_for(engine, new_head(other.manifest, "anna", {"activity": layer(0)}, {}), "anna.head")


def test_a_fleet_decides_for_each_as_a_stream_with_that_head_does(engine):
    """The third wearer has none; the others come and go through one graph."""
    heads = {wearer: head(engine, wearer) for wearer in range(WEARERS) if wearer != 2}
    signals = np.stack([signal_of(wearer + 10) for wearer in range(WEARERS)])
    with BACKENDS.create("ort").open_features(engine, 3) as session:
        bank = HeadBank(session, WEARERS)
        for wearer, each in heads.items():
            bank.seat(wearer, each)
        fleet = Fleet(session, SIGNAL, TASKS, WEARERS, bank=bank)
        places = np.array([fleet.join() for _ in range(WEARERS)])
        found = {place: [] for place in places.tolist()}
        for first in range(0, signals.shape[1], SIGNAL.hop):
            fleet.push(places, signals[:, first:first + SIGNAL.hop])
            for decided in fleet.drain():
                for row, place in enumerate(decided.places.tolist()):
                    found[place].append(decided.one(row))
    for wearer in range(WEARERS):
        with open_for(engine, heads.get(wearer)) as session:
            alone = Stream(session, SIGNAL, TASKS).push(signals[wearer])
        assert len(found[wearer]) == len(alone) > 3
        assert np.allclose(probabilities(found[wearer]), probabilities(alone), atol=1e-5)


def test_who_leaves_takes_the_head_along(engine):
    with BACKENDS.create("ort").open_features(engine) as session:
        bank, features, out = HeadBank(session, 3), np.ones((3, 8), np.float32), np.zeros((3, 3), np.float32)
        bank.seat(1, head(engine, 1))
        bank.decide("activity", slice(0, 3), features, out)
        trained = session.layers["activity"].logits(features)
        assert np.allclose(out[1], layer(1).logits(features[1]), atol=1e-5)
        assert np.allclose(out[[0, 2]], trained[[0, 2]], atol=1e-5)
        bank.seat(1)
        bank.decide("activity", np.array([0, 2, 1]), features, out)
        assert np.allclose(out, trained, atol=1e-5)


def test_only_a_session_that_tells_features_has_a_bank(engine):
    with open_for(engine, None) as session:
        assert HeadBank.of(session, 3) is None
    with BACKENDS.create("ort").open_features(engine) as session:
        assert isinstance(HeadBank.of(session, 3, [head(engine, 0)]), HeadBank)


class StepsOfZeros(StepSession):
    """Steps that say nothing."""

    tasks, hop, lanes, slots = ("activity",), SIGNAL.hop, 2, 2

    def advance(self, chunk, slots, out):
        out["activity"][:] = 0

    def snapshot(self, slots):
        return np.zeros((len(slots), 0), np.float32)

    def restore(self, slots, states):
        pass


def test_steps_have_no_heads(engine):
    with BACKENDS.create("ort").open_features(engine) as session:
        with pytest.raises(InputError, match="heads of wearers need whole windows"):
            Fleet(StepsOfZeros(), SIGNAL, TASKS, 2, bank=HeadBank(session, 2))


def test_a_program_goes_by_the_time_of_the_samples_and_not_by_how_they_come():
    """Three seconds of each of two classes behind one of change, in pieces of any length."""
    times_s = 100.0 + np.arange(0, 10.0, 0.1)
    found = []
    for size in (1, 7, 100):
        told = []
        program = Program([(4, "sit"), (2, "walk")], 3.0, 1.0, told.append)
        labels = [program.labels(times_s[first:first + size]) for first in range(0, 100, size)]
        found.append(np.concatenate(labels).tolist())
        assert [each.split(",")[0] for each in told] == ["1 of 2: sit", "2 of 2: walk", "done; thank you"]
        assert program.done
    assert found[0] == found[1] == found[2]
    assert found[0] == [-1] * 10 + [4] * 30 + [-1] * 10 + [2] * 30 + [-1] * 20
