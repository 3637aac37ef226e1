"""Fleet: each wearer gets what a stream of its own would give, whoever else comes, goes, lags or sends rubbish."""

from __future__ import annotations

import gc
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from typing import Callable, Dict, Iterable, List, Sequence, Tuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from edgehar.backends.base import Session
from edgehar.errors import ConstraintError, InputError, MismatchError
from edgehar.stream.choice import sustained
from edgehar.stream.decision import Decision
from edgehar.stream.fleet import Fleet
from edgehar.stream.policy import Policy
from edgehar.stream.ring import Ring
from edgehar.stream.stream import Stream
from tests.linear import SIGNAL, TASKS, LinearSession, noise, pieces, same, stream, weights

RATE, WINDOW, HOP = SIGNAL.rate_hz, SIGNAL.window, SIGNAL.hop
PATIENT = Policy(batch=4, depth=40)


class RowSession(LinearSession):
    """Computes row by row, so that a window's bits do not depend on its neighbours."""

    def launch(self, count: int, slot: int = 0) -> None:
        self._logits = {task: np.stack([self._x[row].reshape(1, -1) @ weight.T for row in range(count)])[:, 0]
                        for task, weight in self._weights.items()}


class NullSession(Session):
    """Says the same of everything, at once."""

    tasks = tuple(TASKS)

    def __init__(self, max_batch: int = 64, window: int = WINDOW) -> None:
        self._x = np.zeros((max_batch, 3, window), np.float32)
        self._logits = {task: np.zeros((max_batch, len(names)), np.float32) for task, names in TASKS.items()}
        self._count = 0

    def input(self, slot: int = 0) -> np.ndarray:
        return self._x

    def launch(self, count: int, slot: int = 0) -> None:
        self._count = count

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        return {task: logits[:self._count] for task, logits in self._logits.items()}


def fleet(places: int = 1, joined: int = 0, session: type = RowSession, policy: Policy = PATIENT, **options) -> Fleet:
    made = Fleet(session(weights(), max_batch=4), SIGNAL, TASKS, places, policy=policy, **options)
    for _ in range(joined):
        made.join()
    return made


def collected(made: Fleet) -> Dict[int, List[Decision]]:
    """All that waits, decided: {place: decisions in their order}."""
    found: Dict[int, List[Decision]] = {}
    for decided in made.drain():
        for row, place in enumerate(decided.places.tolist()):
            found.setdefault(place, []).append(decided.one(row))
    return found


# ------------------------------------------------------------------ as a stream


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, 90), max_size=30), hop=st.sampled_from([1, 5, 16, 37]), hold=st.integers(1, 3),
       eager=st.booleans())
def test_a_fleet_of_one_is_a_stream_however_the_signal_is_chopped(cuts, hop, hold, eager):
    samples, one, found, first = noise(90), fleet(1, 1, hop=hop, hold=hold, policy=Policy(depth=90)), [], 0
    for piece in pieces(samples, cuts):
        one.push([0], piece[None], np.array([12.3 + first / RATE]))
        found += collected(one).get(0, []) if eager else []
        first += len(piece)
    found += collected(one).get(0, [])
    assert same(found, stream(hop=hop, hold=hold).push(samples, 12.3))


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 23), st.sampled_from([0.0, 0.0, 0.004, 0.03, 0.09, 0.13, -1.0, 7.0]),
                                st.booleans()), min_size=1, max_size=12), timed=st.booleans())
def test_gaps_jitter_and_marks_are_a_streams(steps, timed):
    one, alone, time_s, found, wanted = fleet(1, 1), stream(), 5.0, [], []
    for number, (count, late_s, begins) in enumerate(steps):
        time_s += late_s
        chunk = noise(count, number)
        one.push([0], chunk[None], np.array([time_s]) if timed else None, np.array([begins]))
        found += collected(one).get(0, [])
        wanted += alone.push(chunk, time_s if timed else None, begins)
        time_s += count / RATE
    assert same(found, wanted) and one.gaps[0] == alone.gaps


@pytest.mark.parametrize("count, turns", [(10, 200), (500, 8)])
@pytest.mark.parametrize("true_hz", [RATE * 0.981, RATE * 1.019])
def test_a_clock_that_runs_slow_or_fast_adds_up_to_no_gap_either(count, turns, true_hz):
    one, alone, found, wanted = fleet(1, 1, policy=Policy(depth=100)), stream(), [], []
    for number in range(turns):
        one.push([0], noise(count, number)[None], np.array([number * count / true_hz]))
        found += collected(one).get(0, [])
        wanted += alone.push(noise(count, number), number * count / true_hz)
    assert one.gaps[0] == 0 and same(found, wanted)


# ------------------------------------------------------------------ side by side


class Wearers:
    """Wearers in one fleet, and for each a stream of its own that says what is right."""

    equal = staticmethod(same)

    def __init__(self, made: Fleet, make_stream: Callable[[], Stream]) -> None:
        self.fleet, self.make_stream = made, make_stream
        self.alone: Dict[int, Stream] = {}
        self.wanted: Dict[int, List[Decision]] = {}
        self.found: Dict[int, List[Decision]] = {}

    def join(self) -> None:
        place = self.fleet.join()
        self.alone[place], self.wanted[place], self.found[place] = self.make_stream(), [], []

    def leave(self, which: int) -> None:
        place = sorted(self.alone)[which % len(self.alone)]
        self.agree([place])
        self.fleet.leave(place)
        del self.alone[place], self.wanted[place], self.found[place]

    def push(self, whom: int, count: int, seed: int, bad: bool) -> None:
        places = [place for place in sorted(self.alone) if whom >> place & 1]
        samples = np.stack([noise(count, seed + 100 * place) for place in places]) if places else None
        if samples is None:
            return
        if bad:
            samples[0, -1, 1] = np.nan
        self.fleet.push(places, samples)
        for place, chunk in zip(places, samples):
            try:
                self.wanted[place] += self.alone[place].push(chunk)
            except InputError:
                pass
        for place, decisions in collected(self.fleet).items():
            self.found[place] += decisions

    def act(self, acts: Sequence[Tuple[str, int, int]]) -> None:
        for number, (act, whom, count) in enumerate(acts):
            if act == "join" and len(self.alone) < 6:
                self.join()
            elif act == "leave" and self.alone:
                self.leave(whom)
            elif act in ("push", "bad"):
                self.push(whom, count, number, act == "bad")
        self.agree(self.alone)

    def agree(self, places: Iterable[int]) -> None:
        assert all(self.equal(self.found[place], self.wanted[place]) for place in places)


ACTS = st.lists(st.tuples(st.sampled_from(["join", "join", "leave", "push", "push", "push", "push", "bad"]),
                          st.integers(0, 63), st.integers(1, 19)), max_size=40)


@settings(max_examples=80, deadline=None)
@given(acts=ACTS)
def test_nobody_disturbs_anybody(acts):
    Wearers(fleet(6), stream).act(acts)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(5)))
def test_a_permutation_of_streams_permutes_the_decisions(order):
    signals = np.stack([noise(60, seed) for seed in range(5)])
    straight, mixed = fleet(5, 5), fleet(5, 5)
    straight.push(range(5), signals)
    mixed.push(range(5), signals[list(order)])
    wanted, found = collected(straight), collected(mixed)
    assert all(same(found[place], wanted[seed]) for place, seed in enumerate(order)) and len(wanted[0]) == 9


def test_who_joins_late_stands_abreast_and_keeps_its_own_grid(monkeypatch):
    late, writes = fleet(2, 1), []
    late.push([0], noise(13)[None])
    late.join()
    push = Ring.push
    monkeypatch.setattr(Ring, "push", lambda self, rows, *given: (writes.append(rows), push(self, rows, *given)))
    late.push([0, 1], np.stack([noise(30, 1), noise(30, 2)]))
    assert writes == [slice(0, 2)] * 6
    found = collected(late)
    assert same(found[0], stream().push(np.concatenate([noise(13), noise(30, 1)])))
    assert same(found[1], stream().push(noise(30, 2)))


def test_streams_whose_numbers_differ_are_served_in_as_few_calls(monkeypatch):
    """64 that joined at different numbers, as after lost chunks; their decisions are those of streams abreast."""
    abreast, apart = (fleet(64, 64, policy=Policy(batch=4, batches=20)) for _ in range(2))
    apart._written[:] += 3 * np.arange(64)
    calls = []
    for name in ("push", "scatter", "gather"):
        call = getattr(Ring, name)
        monkeypatch.setattr(Ring, name, lambda self, *given, call=call: (calls.append(call), call(self, *given))[1])
    for turn in range(12):
        samples = np.stack([noise(HOP, 100 * turn + place) for place in range(64)])
        abreast.push(range(64), samples)
        wanted, calls[:] = collected(abreast), []
        apart.push(range(64), samples)
        found = collected(apart)
        assert len(calls) == 1 + (16 if found else 0)  # a scatter, and a gather for each four
        assert set(found) == set(wanted) and all(same(found[place], wanted[place]) for place in wanted)
    assert len(found) == 64


def test_what_waits_of_one_who_left_is_never_said_of_the_next():
    made = fleet(1, 1)
    made.push([0], noise(WINDOW)[None])
    made.leave(0)
    assert made.join() == 0 and collected(made) == {}
    made.push([0], noise(WINDOW, 1)[None])
    assert same(collected(made)[0], stream().push(noise(WINDOW, 1)))


# ------------------------------------------------------------------ what cannot be used


def test_bad_samples_cost_only_their_stream_and_are_named():
    samples = np.stack([noise(40), noise(40, 1)])
    samples[0, 20, 2] = np.inf
    made = fleet(2, 2)
    made.push([0, 1], samples)
    made.push([0, 1], np.stack([noise(WINDOW, 2), noise(WINDOW, 3)]))
    found = collected(made)
    (after,) = found[0]
    assert after.time_s == pytest.approx((40 + WINDOW - 1) / RATE)
    assert same(found[1], stream().push(np.concatenate([samples[1], noise(WINDOW, 3)])))
    assert made.refused.tolist() == [1, 0] and "inf in channel 'wrist/imu/acc/z'" in made.reasons[0]


@pytest.mark.parametrize("first", range(0, 30, 7))
def test_a_constant_channel_is_refused_as_in_a_stream(first):
    samples = noise(60)
    samples[first:first + WINDOW + HOP, 1] = 2.5
    said: List[str] = []
    made, alone, found, wanted = fleet(1, 1), stream(tell=said.append), [], []
    for piece in pieces(samples, range(3, 60, 3)):
        made.push([0], piece[None])
        found += collected(made).get(0, [])
        wanted += alone.push(piece)
    assert said and all("'wrist/imu/acc/y' stays at 2.5" in sentence for sentence in said)
    assert same(found, wanted) and made.refused[0] == len(said)
    assert same(stream(tell=said.append).push(samples), wanted)  # in one chunk, of which the rest is not lost
    assert "'wrist/imu/acc/y' stays at 2.5" in made.reasons[0]


def test_a_constant_channel_may_be_allowed():
    samples = noise(40)
    samples[:, 2] = 9.81
    kept, refused = fleet(1, 1, allow_constant=True), fleet(1, 1)
    for each in (kept, refused):
        each.push([0], samples[None])
    assert len(collected(kept)[0]) == 5 and collected(refused) == {} and refused.refused[0] == 1


@pytest.mark.parametrize("places, shape, reason", [
    ([0, 1], (1, 4, 3), "samples of shape"), ([0], (1, 4, 2), "reads 3 channels"), ([0], (4, 3), "pass \\(n, L, 3\\)"),
    ([1, 0], (2, 4, 3), "ascend"), ([0, 0], (2, 4, 3), "ascend"), ([2], (1, 4, 3), "not all taken"),
    ([-1], (1, 4, 3), "not all taken"), ([7], (1, 4, 3), "not all taken"), ([], (0, 4, 3), "samples of shape")])
def test_what_is_no_chunk_is_refused_and_nothing_changes(places, shape, reason):
    made = fleet(4, 2)
    with pytest.raises(InputError, match=reason):
        made.push(places, np.ones(shape))
    made.push([0, 1], np.stack([noise(30), noise(30, 1)]))
    assert same(collected(made)[0], stream().push(noise(30)))


@pytest.mark.parametrize("options", [{"hop": 0}, {"hold": 0}, {"policy": Policy(depth=0)}, {"places": 0},
                                     {"policy": Policy(batch=0)}])
def test_senseless_options_are_refused(options):
    with pytest.raises(InputError, match="must be 1 or more"):
        fleet(**options)


def test_an_unknown_policy_or_time_is_refused():
    for policy in (Policy(overflow="hope"), Policy(deadline_s=-1)):
        with pytest.raises(InputError, match="drop-oldest, drop-newest, degrade"):
            fleet(policy=policy)
    with pytest.raises(InputError, match="times"):
        fleet(1, 1).push([0], noise(3)[None], np.array([np.nan]))


def test_an_engine_for_another_signal_is_refused():
    with pytest.raises(MismatchError, match=r"\(3, 16\).*\(3, 20\)"):
        Fleet(LinearSession(weights()), replace(SIGNAL, window=20), TASKS, 1)


# ------------------------------------------------------------------ load


def ends(decisions: List[Decision]) -> List[int]:
    """After how many samples each was due."""
    return [round(each.time_s * RATE) + 1 for each in decisions]


def overrun(overflow: str, windows: int = 9) -> Tuple[Fleet, List[int]]:
    made = fleet(1, 1, policy=Policy(depth=3, overflow=overflow))
    made.push([0], noise(WINDOW + (windows - 1) * HOP)[None])
    return made, ends(collected(made)[0])


def test_the_oldest_makes_way():
    made, found = overrun("drop-oldest")
    assert found == [WINDOW + HOP * number for number in (6, 7, 8)] and made.dropped[0] == 6


def test_the_newest_makes_way():
    made, found = overrun("drop-newest", windows=6)
    assert found == [WINDOW + HOP * number for number in (0, 1, 2)] and made.dropped[0] == 3


def test_no_window_is_decided_whose_samples_were_overwritten():
    made, alone = fleet(1, 1, policy=Policy(depth=3, overflow="drop-newest")), stream()
    samples = noise(WINDOW + 29 * HOP)
    made.push([0], samples[None])
    right = {each.time_s: each.probabilities["activity"].tobytes() for each in alone.push(samples)}
    found = collected(made)[0]
    assert ends(found)[0] > WINDOW and made.dropped[0] == 30 - len(found)
    assert all(right[each.time_s] == each.probabilities["activity"].tobytes() for each in found)


def test_a_degraded_stream_takes_longer_hops_and_recovers():
    made, taken = fleet(1, 1, policy=Policy(depth=2, overflow="degrade")), []
    for number in range(60):
        made.push([0], noise(HOP, number)[None])
        if number < 30 and number % 4 == 0:
            decided = made.tick()
            taken += [] if decided is None else [decided.one(0)]
        elif number >= 30:
            taken += collected(made).get(0, [])
    steps = np.diff(ends(taken)) // HOP
    assert steps[:6].max() > 1 and (steps[-20:] == 1).all() and made.dropped[0] > 0


def test_a_full_queue_of_one_costs_nobody_else():
    made = fleet(2, 2, policy=Policy(depth=2))
    for number in range(12):
        made.push([0], noise(HOP, number)[None])
    made.push([1], noise(WINDOW, 50)[None])
    found = collected(made)
    assert len(found[0]) == 2 and same(found[1], stream().push(noise(WINDOW, 50)))


def test_memory_of_the_order_does_not_grow_while_nobody_ticks():
    made = fleet(3, 3, policy=Policy(depth=2))
    for number in range(200):
        made.push([0, 1, 2], np.stack([noise(HOP, number + place) for place in range(3)]))
    assert sum(map(len, collected(made).values())) == 6


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def __call__(self) -> float:
        return self.time_s


def test_a_micro_batch_waits_for_company_until_its_deadline():
    watch = Watch()
    made = fleet(6, 6, policy=Policy(batch=4, deadline_s=0.2, depth=4), clock=watch)
    made.push([0, 1], np.stack([noise(WINDOW), noise(WINDOW, 1)]))
    assert made.tick() is None
    watch.time_s += 0.1
    made.push([2, 3, 4], np.stack([noise(WINDOW, 2), noise(WINDOW, 3), noise(WINDOW, 4)]))
    assert made.tick().places.tolist() == [0, 1, 2, 3]
    assert made.tick() is None
    watch.time_s += 0.21
    assert made.tick().places.tolist() == [4] and made.tick() is None


def test_the_time_a_tick_takes_is_left_before_the_deadline():
    watch = Watch()

    class Slow(RowSession):
        def launch(self, count: int, slot: int = 0) -> None:
            super().launch(count)
            watch.time_s += 0.05

    made = fleet(2, 2, session=Slow, policy=Policy(batch=2, deadline_s=0.2), clock=watch)
    for number in range(40):
        made.push([0, 1], np.stack([noise(WINDOW, number), noise(WINDOW, number + 1)]))
        list(made.drain())
    made.push([0], noise(HOP)[None])
    watch.time_s += 0.1
    assert made.tick() is None
    watch.time_s += 0.06
    assert len(made.tick().places) == 1


def test_the_fleet_admits_only_so_many():
    made = fleet(3, 2, limit=2)
    with pytest.raises(ConstraintError, match="has 2 streams and admits no more"):
        made.join()
    made.leave(0)
    assert made.join() == 0 and made.streams.tolist() == [0, 1]
    with pytest.raises(InputError, match="not all taken"):
        made.leave(2)


def test_what_is_sustained_leaves_headroom():
    assert abs(sustained(cost_s=10e-6, signal=SIGNAL) - 8000) <= 1


# ------------------------------------------------------------------ taken down and put back


def push_all(made: Fleet, turn: int, count: int = 7) -> None:
    """To each of three wearers a chunk; the second lags by one, and the third has a gap now and then."""
    for place in range(3):
        if place == 1 and turn % 5 == 0:
            continue
        late_s = 3.0 * (turn // 6) if place == 2 else 0.0
        made.push([place], noise(count, 10 * turn + place)[None], np.array([turn * count / RATE + late_s]))


def test_a_fleet_that_was_saved_goes_on_as_if_nothing_had_happened(tmp_path):
    """Whatever waits, with every label, grid and count."""
    made, again = fleet(4, 3, hold=2), fleet(4, 1, hold=2)
    for turn in range(9):
        push_all(made, turn)
        if turn % 3 == 0:
            collected(made)
    made.push([0], np.full((1, 2, 3), np.nan))
    made.save(tmp_path / "fleet.npz")
    again.push([0], noise(5)[None])
    again.load(tmp_path / "fleet.npz")
    assert again.streams.tolist() == [0, 1, 2] and again.reasons == made.reasons and again.refused[0] == 1
    for turn in range(9, 20):
        push_all(made, turn)
        push_all(again, turn)
        wanted, found = collected(made), collected(again)
        assert wanted and all(same(found[place], wanted[place]) for place in wanted)
    assert (again.gaps == made.gaps).all() and made.gaps[2] > 1 and made.join() == again.join() == 3


IN_ANOTHER_PROCESS = """
import sys
from tests.stream.test_fleet import collected, fleet, push_all
made = fleet(4)
made.load(sys.argv[1])
push_all(made, 9)
print({place: [each.time_s for each in decisions] for place, decisions in collected(made).items()})
"""


def test_another_process_goes_on_from_the_file(tmp_path):
    made = fleet(4, 3)
    for turn in range(9):
        push_all(made, turn)
    made.save(tmp_path / "fleet.npz")
    push_all(made, 9)
    wanted = {place: [each.time_s for each in decisions] for place, decisions in collected(made).items()}
    said = subprocess.run([sys.executable, "-c", IN_ANOTHER_PROCESS, str(tmp_path / "fleet.npz")],
                          stdout=subprocess.PIPE, universal_newlines=True, check=True).stdout
    assert said.strip() == str(wanted) and len(wanted) == 3


@pytest.mark.parametrize("other, reason", [
    (dict(hop=HOP + 1), "another hop"), (dict(places=5), "another places"),
    (dict(policy=Policy(batch=4, depth=3)), "another depth")])
def test_a_file_of_another_fleet_is_refused(tmp_path, other, reason):
    fleet(4, 3).save(tmp_path / "fleet.npz")
    made = fleet(**{**dict(places=4, joined=1), **other})
    with pytest.raises(MismatchError, match=reason):
        made.load(tmp_path / "fleet.npz")
    assert made.streams.tolist() == [0]


def test_a_file_of_another_network_is_refused(tmp_path):
    made = fleet(4, 3)
    made.save(tmp_path / "fleet.npz", network="one")
    with pytest.raises(MismatchError, match="another network"):
        made.load(tmp_path / "fleet.npz", network="two")


@pytest.mark.parametrize("damage", [
    lambda data: data[:len(data) // 2], lambda data: b"", lambda data: b"PK" + data[:99],
    lambda data: data[:3000] + b"x" + data[3001:]])
def test_a_damaged_file_is_refused_and_changes_nothing(tmp_path, damage):
    path = tmp_path / "fleet.npz"
    fleet(4, 3).save(path)
    path.write_bytes(damage(path.read_bytes()))
    made = fleet(4, 1)
    with pytest.raises(InputError, match="no saved fleet"):
        made.load(path)
    with pytest.raises(InputError, match="cannot read"):
        made.load(tmp_path / "none.npz")
    assert made.streams.tolist() == [0]


# ------------------------------------------------------------------ memory


def memory_of_ticks(made: Fleet, places: int) -> Tuple[int, int]:
    """Most bytes that twenty hops of so many streams take for a while, and what a thousand leave behind."""
    joined = np.array([made.join() for _ in range(places)])
    chunks = [np.stack([noise(made.hop, seed + turn) for seed in range(places)]) for turn in range(7)]

    def serve(hops: int) -> None:
        for turn in range(hops):
            made.push(joined, chunks[turn % 7])
            while made.tick() is not None:
                pass

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    serve(80)
    tracemalloc.start()
    try:
        serve(20)
        most = tracemalloc.get_traced_memory()[1]
        serve(300)  # by then Python and the runtime hold most of the small objects that they use again
        before = held()
        serve(1000)
        return most, held() - before
    finally:
        tracemalloc.stop()


def test_a_tick_leaves_nothing_behind_and_takes_no_window_of_memory():
    signal = replace(SIGNAL, window=256)
    most, kept = memory_of_ticks(Fleet(NullSession(window=256), signal, TASKS, 128, policy=Policy(batch=64)), 128)
    assert most < 64 * 3 * 256 * 4 / 2  # half of a micro-batch of windows
    assert kept < 8000  # a number a hop would be 32,000


# ------------------------------------------------------------------ what became of each window


def test_under_overload_nobody_is_starved_for_good():
    """Half of what is due can be decided: all wearers get their share of it, and each window is counted once."""
    made, said = fleet(8, 8, policy=Policy(batch=2, batches=2, depth=2)), np.zeros(8, int)
    for number in range(60):
        made.push(np.arange(8), np.stack([noise(HOP, 8 * number + place) for place in range(8)]))
        decided = made.tick()
        if decided is not None:
            said[decided.places] += 1
    assert said.min() > 0.8 * said.mean() and made.dropped.min() > 0
    for place in range(8):
        fate = made.fate(place)
        assert fate.due == 60 - (WINDOW - 1) // HOP == fate.decided + fate.waiting + fate.lost["overload"]
        assert fate.decided == said[place] and fate.lost["overload"] == made.dropped[place]


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(1, 30), st.sampled_from([0, 0, 0, 7, 23, 400]), st.booleans()),
                      min_size=1, max_size=20), depth=st.integers(1, 3))
def test_windows_due_are_those_decided_waiting_or_lost(steps, depth):
    """Whatever lacks or is no number: due is what an unbroken signal of that length would have given."""
    made, sample = fleet(1, 1, policy=Policy(batch=1, batches=1, depth=depth)), 0
    for number, (count, lacking, spoilt) in enumerate(steps):
        sample += lacking if number else 0
        chunk = noise(count, number)
        chunk[0, 0] = np.nan if spoilt else chunk[0, 0]
        made.push([0], chunk[None], np.array([sample / RATE]))
        sample += count
        if number % 3 == 0:
            made.tick()
    fate = made.fate(0)
    assert fate.due == max(0, (sample - WINDOW) // HOP + 1)
    assert fate.due == fate.decided + fate.waiting + sum(fate.lost.values()) and fate.waiting >= 0
    made.leave(0)
    assert made.fate(0).waiting == 0 and made.fate(0).due == fate.due
