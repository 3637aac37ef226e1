"""Incremental inference: a step gives the whole window's logits, or is refused; states are each stream's own."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Dict, List, Sequence, Tuple

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgehar.artifact import incremental as steps, proof
from edgehar.artifact.incremental import step_graph
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.artifact.operators import operators, require_parsable
from edgehar.artifact.proof import EXACT, open_graph, proven_steps
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.backends.ort import OrtStepSession
from edgehar.data.signals import Signal
from edgehar.errors import AccuracyError, ConstraintError, InputError, MismatchError
from edgehar.stream.choice import SessionChoice, choose_session, sustained, widths
from edgehar.stream.decision import Decision
from edgehar.stream.fleet import Fleet
from edgehar.stream.policy import Policy
from edgehar.stream.stream import Stream
from tests import tiny
from tests.linear import noise
from tests.stream.test_fleet import ACTS, Wearers, collected, memory_of_ticks

WINDOW, HOP, LANES = 32, 4, 4
TASKS = {"activity": ("still", "walk", "run")}
SIGNAL = Signal(tiny.SIGNAL.channels, 50.0, WINDOW, HOP, 0.1)
LAYERS = ((8, 4, 2), (8, 3, 1), (8, 5, 1))  # channels, kernel, stride


def network(layers: Sequence[Tuple[int, int, int]] = LAYERS, window: int = WINDOW, early_se: bool = False, pad: int = 0,
            skip: bool = True, seed: int = 0) -> onnx.ModelProto:
    """Valid convolutions with residual skips where shapes allow, a late squeeze-excitation, a classifier."""
    draw = np.random.default_rng(seed)
    constants: Dict[str, np.ndarray] = {"mean": np.full((1, 3, 1, 1), 0.5)}
    nodes = [helper.make_node("Sub", ["signal", "mean"], ["x0"])]
    name, channels, length = "x0", 3, window

    def add(operator: str, inputs: List[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def constant(key: str, value: np.ndarray) -> str:
        constants[key] = value
        return key

    for number, (width, kernel, stride) in enumerate(layers):
        here = "l%d" % number
        weights = constant(here + "w", draw.normal(0, 1, (width, channels, 1, kernel)) / np.sqrt(channels * kernel))
        made = add("Relu", [add("Conv", [name, weights], here + "c", kernel_shape=[1, kernel], strides=[1, stride],
                                pads=[0, pad, 0, pad])], here + "r")
        crop = (kernel - 1) // 2
        if skip and stride == 1 and width == channels and kernel % 2 and not pad:
            limits = [constant(here + part, np.array([value], np.int64)) for part, value in
                      (("from", crop), ("to", -crop if crop else length), ("axis", 3), ("by", 1))]
            made = add("Add", [made, add("Slice", [name, *limits], here + "s")], here + "a")
        if early_se:
            made = add("Mul", [made, add("HardSigmoid", [add("GlobalAveragePool", [made], here + "g")], here + "h")],
                       here + "m")
        name, channels, length = made, width, (length + 2 * pad - kernel) // stride + 1
    pooled = add("GlobalAveragePool", [name], "pooled")
    gate = add("Conv", [add("GlobalAveragePool", [pooled], "again"),
                        constant("gw", draw.normal(0, 0.3, (channels, channels, 1, 1)))], "gate", kernel_shape=[1, 1])
    scaled = add("Mul", [pooled, add("HardSigmoid", [gate], "opened")], "scaled")
    add("Gemm", [add("Flatten", [scaled], "flat"), constant("matrix", draw.normal(0, 0.3, (3, channels)))], "activity",
        transB=1)
    graph = helper.make_graph(
        nodes, "valid", [helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["N", 3, 1, window])],
        [helper.make_tensor_value_info("activity", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value if value.dtype == np.int64 else value.astype(np.float32), key)
         for key, value in constants.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
    model.ir_version = 8
    return model


def windows(count: int = 16, window: int = WINDOW) -> np.ndarray:
    return np.stack([noise(window, seed).T for seed in range(count)])


def written(model: onnx.ModelProto, folder) -> str:
    path = folder / "model.onnx"
    onnx.save_model(model, str(path))
    return path


def session(slots: int = 8, model: onnx.ModelProto = None, hop: int = HOP) -> OrtStepSession:
    return OrtStepSession(step_graph(model or network(), hop, LANES), slots)


def logits_of(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    return open_graph(model).run(None, {"signal": np.ascontiguousarray(x[:, :, None])})[0]


def advance(stepping: OrtStepSession, signal: np.ndarray, end: int, slots: Sequence[int]) -> np.ndarray:
    """Logits of slots whose signals (n, C, T) are read up to `end`."""
    out = {"activity": np.full((len(slots), 3), np.nan, np.float32)}
    stepping.advance(signal[:, :, end - stepping.hop:end], np.array(slots), out)
    return out["activity"]


# ------------------------------------------------------------------ exact


def test_every_window_of_a_long_run_is_exact():
    model, hops = network(), 3000
    signal = np.stack([noise(hops * HOP, seed).T for seed in range(LANES)])
    stepping, worst = session(), 0.0
    found = {end: advance(stepping, signal, end, range(LANES)) for end in range(HOP, hops * HOP + 1, HOP)}
    for end in range(WINDOW, hops * HOP + 1, 11 * HOP):
        worst = max(worst, float(np.abs(found[end] - logits_of(model, signal[:, :, end - WINDOW:end])).max()))
    assert worst < EXACT


@settings(max_examples=25, deadline=None)
@given(layers=st.lists(st.tuples(st.sampled_from([4, 8]), st.integers(2, 5), st.integers(1, 2)), min_size=1,
                       max_size=3),
       hops=st.sampled_from([1, 2, 4]), seed=st.integers(0, 9))
def test_any_geometry_is_exact_also_where_strides_leave_samples_over(layers, hops, seed, tmp_path_factory):
    """The grid is anchored to the window's start, so some windows end with samples that no column reads."""
    stride = int(np.prod([layer[2] for layer in layers]))
    hop = hops * stride
    if 48 % hop:
        return
    path = written(network(layers, window=48, seed=seed), tmp_path_factory.mktemp("any"))
    proven_steps(path, windows(window=48), hop, LANES)


@pytest.mark.parametrize("hop", [2, 4, 8, 16])
def test_any_hop_is_exact(hop, tmp_path):
    proven_steps(written(network(), tmp_path), windows(), hop, LANES)


def test_the_step_of_a_real_network_is_exact_and_parsable(tmp_path):
    pytest.importorskip("torch")
    from edgehar.training.exporting import _onnx_model
    from edgehar.training.models import make_model

    signal = Signal(SIGNAL.channels, 50.0, 128, 8, 0.1)
    model = _onnx_model(make_model("mobilenet:size=XS,conv=valid,head=cosine", signal, TASKS).eval(), 16, "valid")
    step = proven_steps(written(model, tmp_path), windows(window=128), 8, 16)
    assert {"Conv", "Slice", "MatMul"} <= set(operators(step.model))
    with pytest.raises(InputError, match="squeeze-excitation|padded"):
        usual = _onnx_model(make_model("mobilenet:size=XS", signal, TASKS).eval(), 16, "usual")
        step_graph(usual, 8, 16)


def test_the_graph_is_valid_and_lints_for_tensorrt():
    step = step_graph(network(), HOP, LANES)
    onnx.checker.check_model(step.model, full_check=True)
    require_parsable(step.model, "the step graph")
    read = [name for memory in step.memories for name in memory.read]
    assert [each.name for each in step.model.graph.input] == ["chunk", *read, *(sums.read for sums in step.sums)]
    said = [each.said for each in (*step.memories, *step.sums)]
    assert [each.name for each in step.model.graph.output] == ["activity", *said]


def test_columns_behind_the_pool_are_kept_as_sums_of_what_fits():
    (sums,) = step_graph(network(((8, 4, 2), (8, 4, 1))), 8, LANES).sums
    assert sums.shape == (2, 8, LANES) and sums.blocks == 1  # 12 columns, 4 new: 3 sums of 4, of which 2 are old


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("model, hop, reason", [
    (network(pad=1), HOP, "convolution of the graph is padded.*mobilenet:conv=valid"),
    (network(early_se=True), HOP, "operator Mul mixes columns.*early squeeze-excitation"),
    (network(), 1, "no multiple of the network's total stride"),
    (network(), 32, "with a hop this long"),
    (network(), 12, "32 samples are no multiple of a hop of 12"),
    (tiny.tiny_onnx(), 8, "padded")])
def test_what_has_no_exact_step_is_refused_with_its_reason(model, hop, reason):
    with pytest.raises(InputError, match=reason):
        step_graph(model, hop, LANES)


def test_an_operator_over_time_is_refused_by_name():
    model = network()
    model.graph.node.insert(1, helper.make_node("Softmax", ["x0"], ["soft"], axis=3))
    model.graph.node[2].input[0] = "soft"
    with pytest.raises(InputError, match="operator Softmax stands before the pool"):
        step_graph(model, HOP, LANES)


def test_a_graph_that_no_tensorrt_reads_is_refused():
    model = network()
    model.opset_import[0].version = 18
    with pytest.raises(InputError, match="the step graph uses opset 18"):
        step_graph(model, HOP, LANES)


def test_a_proof_in_many_lanes_runs_few_whole_windows_at_a_time(tmp_path, monkeypatch):
    """With the same error as all of them at once."""
    model, signal, counts = network(), proof._strung(windows(), 150), []
    step, open_whole = step_graph(model, HOP, 150), proof.open_graph
    error = proof._largest_error(model, step, signal, WINDOW, HOP)
    monkeypatch.setattr(proof, "WHOLE_BATCH", 150)
    assert proof._largest_error(model, step, signal, WINDOW, HOP) == error > 0
    monkeypatch.undo()

    class Counting:
        def __init__(self, *given):
            self._graph = open_whole(*given)

        def get_inputs(self):
            return self._graph.get_inputs()

        def run(self, names, given):
            counts.extend([len(given["signal"])] if "signal" in given else [])
            return self._graph.run(names, given)

    monkeypatch.setattr(proof, "open_graph", Counting)
    proof._largest_error(model, step, signal, WINDOW, HOP)
    assert set(counts) == {64, 22}


def test_a_step_off_by_one_column_is_found_out(tmp_path, monkeypatch):
    """The fault that looks right: the grid anchored to the newest sample instead of the window's start."""
    path = written(network(((8, 3, 2), (8, 3, 1))), tmp_path)
    proven_steps(path, windows(), HOP, LANES)
    honest = steps._Writer._pieces
    monkeypatch.setattr(steps._Writer, "_pieces", lambda self, x, kept: honest(
        self, x, kept - (x.whole - 3) % 2 if x.name == "step/x0" else kept))
    with pytest.raises(AccuracyError, match="differs from the full window"):
        proven_steps(path, windows(), HOP, LANES)


# ------------------------------------------------------------------ states


def test_a_step_leaves_the_states_of_others_alone():
    signal = np.stack([noise(90 * HOP, seed).T for seed in range(2 * LANES)])
    model, stepping, ends = network(), session(), np.zeros(2 * LANES, int)
    draw = np.random.default_rng(0)
    for _ in range(400):
        group = int(draw.integers(2))
        lanes = np.flatnonzero(draw.random(LANES) < 0.6)
        slots = group * LANES + draw.permutation(lanes)
        slots = slots[ends[slots] < 90 * HOP]
        if not len(slots):
            continue
        ends[slots] += HOP
        chunk = np.stack([signal[slot, :, ends[slot] - HOP:ends[slot]] for slot in slots])
        out = {"activity": np.zeros((len(slots), 3), np.float32)}
        stepping.advance(chunk, slots, out)
        for row, slot in enumerate(slots):
            if ends[slot] >= WINDOW:
                want = logits_of(model, signal[slot:slot + 1, :, ends[slot] - WINDOW:ends[slot]])
                assert np.abs(out["activity"][row] - want).max() < EXACT
    assert ends.max() > 3 * WINDOW


def test_states_put_back_stay_while_only_others_advance():
    model, signal = network(), np.stack([noise(40 * HOP, seed).T for seed in range(LANES)])
    first, second = session(), session()
    for end in range(HOP, 20 * HOP + 1, HOP):
        advance(first, signal, end, range(LANES))
    second.restore(np.array([2, 3]), first.snapshot(np.array([2, 3])))
    for end in range(HOP, 7 * HOP + 1, HOP):
        advance(second, signal[:1], end, [1])
    for end in range(21 * HOP, 30 * HOP + 1, HOP):
        have = advance(second, signal[2:4], end, [2, 3])
        want = logits_of(model, signal[2:4, :, end - WINDOW:end])
        assert np.abs(have - want).max() < EXACT


def test_states_put_back_elsewhere_go_on_exactly_where_they_were():
    model, signal = network(), np.stack([noise(40 * HOP, seed).T for seed in range(LANES)])
    first, second = session(), session()
    for end in range(HOP, 20 * HOP + 1, HOP):
        advance(first, signal, end, range(LANES))
    kept = first.snapshot(np.arange(LANES))
    advance(second, signal, HOP, range(LANES, 2 * LANES))
    second.restore(np.array([7, 5, 4, 6]), kept)
    for end in range(21 * HOP, 40 * HOP + 1, HOP):
        found = advance(second, signal[[2, 1, 3, 0]], end, [4, 5, 6, 7])
        assert np.abs(found - logits_of(model, signal[[2, 1, 3, 0], :, end - WINDOW:end])).max() < EXACT
        assert (found == advance(first, signal, end, range(LANES))[[2, 1, 3, 0]]).all()


def test_who_is_forgotten_is_moved_on_no_more():
    """Two of three leave a fleet; the third advances as if it were alone, and who comes later begins afresh."""
    model, made = network(), stepped(4, slots=4, policy=Policy(depth=20))
    used = made._engine._session._used
    for _ in range(3):
        made.join()
    made.push(range(3), np.stack([noise(WINDOW, place) for place in range(3)]))
    assert set(collected(made)) == {0, 1, 2} and used.tolist() == [[True, True, True, False]]
    made.leave(0)
    made.leave(2)
    assert used.tolist() == [[False, True, False, False]] and made.join() == 0
    made.push([1], noise(WINDOW, 9)[None])
    assert used.tolist() == [[False, True, False, False]] and len(collected(made)[1]) == 8
    made.push([0], noise(WINDOW, 7)[None])
    assert close_to(collected(made)[0], Stream(WholeSession(model), SIGNAL, TASKS).push(noise(WINDOW, 7)))


def test_a_state_put_back_elsewhere_leaves_nobody_behind(tmp_path):
    made = stepped(4)
    for _ in range(2):
        made.join()
    made.push(range(2), np.stack([noise(HOP, place) for place in range(2)]))
    collected(made)
    made.save(tmp_path / "fleet.npz")
    for _ in range(2):
        made.join()
    made.push(range(4), np.stack([noise(HOP, place) for place in range(4)]))
    collected(made)
    made.load(tmp_path / "fleet.npz")
    assert made._engine._session._used.sum() == 2


def test_a_fleet_put_back_to_before_anybody_came_keeps_no_state(tmp_path):
    made = stepped(4)
    made.save(tmp_path / "empty.npz")
    for _ in range(4):
        made.join()
    made.push(range(4), np.stack([noise(HOP, place) for place in range(4)]))
    assert collected(made) == {} and made._engine._session._used.sum() == 4
    made.load(tmp_path / "empty.npz")
    assert not made._engine._session._used.any()


def test_slots_of_two_groups_are_refused():
    with pytest.raises(InputError, match="not all of one group of 4"):
        advance(session(), np.stack([noise(HOP).T] * 2), HOP, [3, 4])


# ------------------------------------------------------------------ in a fleet


class WholeSession:
    """Whole windows through ONNX Runtime, as a Stream runs them."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph, self._x = open_graph(model), np.zeros((1, 3, WINDOW), np.float32)

    def input(self, slot: int = 0) -> np.ndarray:
        return self._x

    def launch(self, count: int, slot: int = 0) -> None:
        self._logits = self._graph.run(None, {"signal": self._x[:, :, None]})[0]

    def wait(self, slot: int = 0) -> Dict[str, np.ndarray]:
        return {"activity": self._logits}


def stepped(places: int, slots: int = 8, **options) -> Fleet:
    return Fleet(session(slots), SIGNAL, TASKS, places, **options)


def close_to(found: List[Decision], wanted: List[Decision]) -> bool:
    return len(found) == len(wanted) and all(
        a.time_s == b.time_s and a.label == b.label and a.raw_label == b.raw_label
        and np.abs(a.probabilities["activity"] - b.probabilities["activity"]).max() < EXACT
        for a, b in zip(found, wanted))


@settings(max_examples=25, deadline=None)
@given(acts=st.lists(st.tuples(st.integers(0, 63), st.integers(1, 11), st.sampled_from([0.0, 0.0, 0.0, 1.0])),
                     min_size=1, max_size=40), together=st.booleans())
def test_each_wearer_gets_its_streams_decisions_in_any_phase(acts, together):
    """Six wearers in two groups of four lanes, with gaps and without, pushed together or apart."""
    model = network()
    made, alone, found = stepped(6, policy=Policy(depth=60)), [Stream(WholeSession(model), SIGNAL, TASKS)
                                                               for _ in range(6)], {place: [] for place in range(6)}
    wanted: Dict[int, List[Decision]] = {place: [] for place in range(6)}
    ends_s = np.zeros(6)
    for _ in range(6):
        made.join()
    for number, (whom, count, pause_s) in enumerate(acts):
        places = [place for place in range(6) if together or whom >> place & 1]
        if not places:
            continue
        chunk = np.stack([noise(count, 10 * number + place) for place in places])
        ends_s[places] += pause_s
        made.push(places, chunk, ends_s[places])
        for place, samples in zip(places, chunk):
            wanted[place] += alone[place].push(samples, float(ends_s[place]))
        ends_s[places] += count / 50.0
        if whom % 3:
            for place, decisions in collected(made).items():
                found[place] += decisions
    for place, decisions in collected(made).items():
        found[place] += decisions
    assert all(close_to(found[place], wanted[place]) for place in range(6))


class SteppedWearers(Wearers):
    equal = staticmethod(close_to)


@settings(max_examples=25, deadline=None)
@given(acts=ACTS)
def test_who_joins_leaves_or_sends_rubbish_changes_nobody_elses_steps(acts):
    model = network()
    SteppedWearers(stepped(6, policy=Policy(depth=20)),
                   lambda: Stream(WholeSession(model), SIGNAL, TASKS)).act(acts)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(6)))
def test_a_permutation_of_streams_permutes_their_steps(order):
    signals = np.stack([noise(2 * WINDOW, seed) for seed in range(6)])
    found = []
    for which in (range(6), order):
        made = stepped(6, policy=Policy(depth=40))
        for _ in range(6):
            made.join()
        made.push(range(6), signals[list(which)])
        found.append(collected(made))
    assert all(close_to(found[1][place], found[0][seed]) for place, seed in enumerate(order)) and len(found[0][0]) == 9


def test_streams_of_one_phase_advance_together():
    made = stepped(6)
    for joining in range(2):
        places = range(3 * joining + 3)
        for _ in range(3):
            made.join()
        made.push(places, np.stack([noise(2, seed) for seed in places]))
    while made.tick() is not None:
        pass
    taken = advances(made)
    for _ in range(4):
        made.push(range(6), np.stack([noise(2, seed) for seed in range(6)]))
        while made.tick() is not None:
            pass
    assert taken == [[4, 5, 6], [0, 1, 2]] * 2


def advances(made: Fleet) -> List[List[int]]:
    """Filled with the slots of each step from now on."""
    session, found = made._engine._session, []
    advance_group = session.advance
    session.advance = lambda chunk, slots, out: (found.append(sorted(slots.tolist())), advance_group(chunk, slots, out))
    return found


@pytest.mark.parametrize("silent", [(), (2,), (1, 6)])
def test_hops_that_come_one_by_one_cost_their_group_one_step(silent):
    """Pushed in another order in each hop, a tick after each; in whose group somebody is silent, a hop waits."""
    time_s, draw, wanted = [5.0], np.random.default_rng(0), {0: [], 1: []}
    made = stepped(8, policy=Policy(depth=6), clock=lambda: time_s[0])
    for _ in range(8):
        made.join()
    made.push(range(8), np.stack([noise(HOP, place) for place in range(8)]))
    assert made.tick() is not None and made.tick() is None
    taken = advances(made)
    for turn in range(20):
        talking = [place for place in draw.permutation(8).tolist() if place not in silent]
        for place in talking:
            time_s[0] += HOP / SIGNAL.rate_hz / len(talking)
            made.push([place], noise(HOP, 10 * turn + place)[None])
            made.tick()
    for group in wanted:
        steps = [slots for slots in taken if slots[0] // LANES == group]
        heard = [slot for slot in range(LANES * group, LANES * group + LANES) if slot not in silent]
        assert len(steps) <= (20 if len(heard) == LANES else 30) and sum(map(len, steps)) >= 18 * len(heard)
    assert not made.dropped.any()


def test_the_group_that_waits_longest_is_served_first():
    made = stepped(12, slots=12, policy=Policy(batches=1, deadline_s=0.0, depth=6))
    for _ in range(12):
        made.join()
    made.push(range(12), np.stack([noise(HOP, place) for place in range(12)]))
    assert collected(made) == {}
    taken = advances(made)
    for place in (8, 0, 4):
        made.push([place], noise(HOP, place)[None])
    for first in (0, 4, 8):
        made.push(range(first + 1, first + LANES), np.stack([noise(HOP, first)] * (LANES - 1)))
    made.push([8], noise(HOP)[None])
    for _ in range(4):
        assert len(made.tick().places) == 0  # no window is whole yet
    assert made.tick() is None and taken == [[8, 9, 10, 11], [0, 1, 2, 3], [4, 5, 6, 7], [8]]


def test_a_group_whose_streams_are_all_there_does_not_wait_behind_those_that_wait():
    made = stepped(12, slots=12, policy=Policy(batches=1, deadline_s=60.0))
    for _ in range(12):
        made.join()
    made.push(range(12), np.stack([noise(HOP, place) for place in range(12)]))
    assert collected(made) == {}
    taken = advances(made)
    made.push([0, 1, 2, 4, 5, 6, 8, 9, 10, 11], np.stack([noise(HOP)] * 10))
    assert made.tick() is not None and taken == [[8, 9, 10, 11]] and made.tick() is None


def test_a_group_waits_for_its_streams_until_the_deadline():
    time_s = [5.0]
    made = stepped(2, policy=Policy(deadline_s=0.1), clock=lambda: time_s[0])
    for _ in range(2):
        made.join()
    made.push([0, 1], np.stack([noise(HOP), noise(HOP, 1)]))
    assert made.tick() is not None
    made.push([0], noise(HOP)[None])
    assert made.tick() is None
    made.push([1], noise(HOP)[None])
    assert made.tick() is not None
    made.push([0], noise(HOP)[None])
    time_s[0] += 0.11
    assert made.tick() is not None and made.tick() is None
    made.leave(1)
    made.push([0], noise(HOP)[None])
    assert made.tick() is not None


def test_steps_that_wait_while_a_gap_comes_are_taken_where_the_stream_sat():
    made, alone = stepped(2, policy=Policy(depth=20)), Stream(WholeSession(network()), SIGNAL, TASKS)
    for _ in range(2):
        made.join()
    samples = noise(WINDOW + 2)
    made.push([0, 1], np.stack([samples[:WINDOW - HOP], noise(WINDOW - HOP, 1)]))
    assert collected(made) == {}
    made.push([0], samples[None, WINDOW - HOP:])
    made.push([0], noise(WINDOW, 1)[None], np.array([9.0]))
    found = collected(made)[0]
    assert close_to(found, alone.push(samples) + alone.push(noise(WINDOW, 1), 9.0)) and len(found) == 2


def test_a_stream_that_loses_a_step_starts_anew():
    made, alone = stepped(2, policy=Policy(depth=3)), Stream(WholeSession(network()), SIGNAL, TASKS)
    for _ in range(2):
        made.join()
    made.push([0], noise(11 * HOP)[None])
    assert made.dropped.tolist() == [1, 0] and collected(made) == {}
    found, wanted = [], []
    for number in range(12):
        made.push([0, 1], np.stack([noise(HOP, 100 + number), noise(HOP, 200 + number)]))
        found += collected(made).get(0, [])
        wanted += alone.push(noise(HOP, 100 + number), 11 * HOP / 50.0 if not number else None)
    assert close_to(found, wanted) and len(found) == 5


@pytest.mark.parametrize("overflow", ["drop-newest", "degrade"])
def test_no_policy_leaves_out_a_step(overflow):
    with pytest.raises(InputError, match="overflow is '%s', but no step can be left out" % overflow):
        stepped(2, policy=Policy(overflow=overflow))


def test_under_overload_those_who_come_last_are_never_decided_until_others_leave():
    """16 in four groups, of which two can be served in a hop: admission is to prevent that, see Service."""
    made = stepped(16, slots=16, policy=Policy(batches=1))
    decided = np.zeros(16, int)

    def serve(places: Sequence[int], hops: int) -> None:
        for number in range(hops):
            made.push(places, np.stack([noise(HOP, 20 * number + place) for place in places]))
            for _ in range(2):
                found = made.tick()
                decided[[] if found is None else found.places] += 1

    for _ in range(16):
        made.join()
    serve(range(16), 100)
    assert (decided[:8] > 85).all() and not decided[8:].any()
    assert not made.dropped[:8].any() and (made.dropped[8:] > 10).all()
    for place in range(8):
        made.leave(place)
    serve(range(8, 16), 20)
    assert (decided[8:] >= 10).all()


def test_no_step_is_left_out_whose_samples_were_overwritten():
    """One step waits while gaps write the ring full, and is lost just as the next window would be whole."""
    made = stepped(1, policy=Policy(depth=10))
    made.join()
    made.push([0], noise(HOP)[None])
    for number in range(18):
        made.push([0], noise(3, number)[None], None, np.array([True]))
    made.push([0], noise(WINDOW, 50)[None], None, np.array([True]))
    assert made.dropped[0] == 1 and collected(made) == {}


@pytest.mark.parametrize("lanes", [LANES, 8])
def test_a_fleet_in_steps_that_was_saved_goes_on_exactly(tmp_path, lanes):
    """In as many lanes as before, or others; three phases, and steps that wait."""
    def turn(made: Fleet, number: int) -> Dict[int, List[Decision]]:
        made.push(range(6), np.stack([noise(HOP, 10 * number + place) for place in range(6)]))
        return collected(made) if number % 3 else {}

    made = stepped(6, policy=Policy(depth=20))
    for place in range(6):
        made.join()
        made.push(range(place + 1), np.stack([noise(1 + place % 2, place + other) for other in range(place + 1)]))
    for number in range(17):
        turn(made, number)
    made.save(tmp_path / "fleet.npz")
    again = Fleet(OrtStepSession(step_graph(network(), HOP, lanes), 8), SIGNAL, TASKS, 6, policy=Policy(depth=20))
    again.load(tmp_path / "fleet.npz")
    for number in range(17, 50):
        wanted, found = turn(made, number), turn(again, number)
        assert set(found) == set(wanted) and all(close_to(found[place], wanted[place]) for place in wanted)
    assert len(wanted) == 6


def test_states_of_another_network_are_refused(tmp_path):
    made = stepped(4)
    made.join()
    made.push([0], noise(HOP)[None])
    made.save(tmp_path / "fleet.npz")
    other = Fleet(session(model=network(((8, 4, 2), (8, 3, 1)))), SIGNAL, TASKS, 4)
    with pytest.raises(MismatchError, match="no 'engine/states'"):
        other.load(tmp_path / "fleet.npz")


def test_a_tick_leaves_nothing_behind_and_takes_no_samples_or_states_of_memory():
    step = step_graph(network(((8, 4, 2), (8, 33, 1)), window=256), 64, 64)
    made = Fleet(OrtStepSession(step, 128), replace(SIGNAL, window=256, hop=64), TASKS, 128)
    most, kept = memory_of_ticks(made, 128)
    samples, states = 128 * 3 * 64 * 4, 128 * step.floats * 4
    assert most < min(samples, states) / 2
    assert kept < 30000  # a number a hop would be 32,000; ONNX Runtime's binding comes to hold up to 24,000


@pytest.mark.parametrize("places, hop", [(9, HOP), (8, 2 * HOP)])
def test_a_session_for_other_streams_is_refused(places, hop):
    with pytest.raises(MismatchError, match="steps 8 streams by 4 samples"):
        stepped(places, hop=hop)


# ------------------------------------------------------------------ from an artifact


def artifact(folder, model: onnx.ModelProto) -> Artifact:
    folder.mkdir()
    onnx.save_model(model, str(folder / "model.onnx"))
    x = windows(64)
    np.savez(str(folder / "golden.npz"), x=x, **{"logits/activity": logits_of(model, x)})
    np.savez(str(folder / "calibration.npz"), windows=x)
    write_manifest(folder, dict(tiny.tiny_facts(), signal=SIGNAL, tasks=TASKS))
    return Artifact.load(folder)


def test_the_faster_way_is_kept_and_both_are_told(tmp_path):
    engine = BACKENDS.create("ort").build(artifact(tmp_path / "a", network()), BuildSpec(), tmp_path / "engine")
    choice = choose_session(engine, places=20, turns=3)
    assert set(choice.costs_s) == {"full window", "incremental"} and not choice.reason
    fastest = min(choice.costs_s, key=choice.costs_s.get)
    assert isinstance(choice.session, OrtStepSession) == (fastest == "incremental")
    made = Fleet(choice.session, SIGNAL, TASKS, 20, limit=choice.limit(SIGNAL))
    made.join()
    made.push([0], noise(WINDOW)[None])
    choice.session.close()


def test_no_more_are_admitted_than_the_measured_cost_sustains():
    dear = SessionChoice(session(), {"full window": 0.05, "incremental": 0.02}, "")
    assert (dear.way, dear.limit(SIGNAL), dear.limit(SIGNAL, 2 * HOP)) == ("incremental", 3, 6)
    made = Fleet(dear.session, SIGNAL, TASKS, 8, limit=dear.limit(SIGNAL))
    for _ in range(3):
        made.join()
    with pytest.raises(ConstraintError, match="has 3 streams and admits no more"):
        made.join()


def narrowest_steps_first(ways: Dict[object, object], turns: int) -> Dict[object, float]:
    """Costs by which steps are faster than whole windows, and few lanes faster than many."""
    return {way: 1.0 if way == "full window" else 1e-3 * way for way in ways}


def test_cohorts_that_are_due_at_different_times_do_not_share_a_group(tmp_path, monkeypatch):
    engine = BACKENDS.create("ort").build(artifact(tmp_path / "a", network()), BuildSpec(), tmp_path / "engine")
    opened, open_steps = [], type(BACKENDS.create("ort")).open_steps
    monkeypatch.setattr(type(BACKENDS.create("ort")), "open_steps",
                        lambda self, *given: opened.append(given[2:]) or open_steps(self, *given))
    monkeypatch.setattr("edgehar.stream.choice._costs_s", narrowest_steps_first)
    choose_session(engine, places=60, turns=1, cohorts=3).session.close()
    assert opened == [(3 * 2 * 16, 16), (3 * 32, 32), (3 * (2 + 1) * 16, 16)]
    with pytest.raises(InputError, match="cohorts is 0; it must be 1 or more"):
        choose_session(engine, places=60, cohorts=0)


def test_cohorts_of_chance_size_keep_their_groups_to_themselves():
    """60 wearers in 3 phases, as many groups of 4 as `choose_session` opens for cohorts of 20, and one more each."""
    made = stepped(60, slots=3 * (5 + 1) * LANES)
    places, phases = np.arange(60), np.random.default_rng(1).integers(0, 3, 60)
    made._engine.begin(places, phases, made._waiting)
    assert (np.bincount(phases) > 20).any()
    assert all(len(set(phases[seats[seats >= 0]])) <= 1 for seats in made._engine._seats)


@pytest.mark.parametrize("refused", [{16}, {32}, {16, 32}])
def test_a_width_that_is_refused_costs_no_other_its_chance(tmp_path, monkeypatch, refused):
    """And nothing that was tried is kept while the one that was chosen is opened."""
    engine = BACKENDS.create("ort").build(artifact(tmp_path / "a", network()), BuildSpec(), tmp_path / "engine")
    kind, tried, left = type(BACKENDS.create("ort")), [], []
    open_steps = kind.open_steps

    def open_some(self, engine, hop, slots, lanes):
        left.append(sum(each() is not None for each in tried))
        if lanes in refused:
            raise AccuracyError("%d lanes are too many" % lanes)
        session = open_steps(self, engine, hop, slots, lanes)
        tried.append(weakref.ref(session))
        return session

    monkeypatch.setattr(kind, "open_steps", open_some)
    monkeypatch.setattr("edgehar.stream.choice._costs_s", narrowest_steps_first)
    choice = choose_session(engine, places=20, turns=1)
    none = refused == {16, 32}
    assert (choice.way == "full window") == (not isinstance(choice.session, OrtStepSession)) == none
    assert choice.reason == ("32 lanes are too many" if none else "") and not left[-1]
    assert choice.limit(SIGNAL) == sustained(choice.costs_s[choice.way], SIGNAL)
    choice.session.close()


@pytest.mark.parametrize("places, tried", [(1, [16]), (16, [16]), (20, [16, 32]), (300, [48, 80, 160]),
                                           (1000, [64, 128, 256])])
def test_the_widths_that_are_tried_leave_few_lanes_empty(places, tried):
    assert list(widths(places)) == tried


@pytest.mark.parametrize("places", range(1, 2000, 37))
def test_no_group_has_more_than_a_few_lanes_to_spare(places):
    for lanes in widths(places):
        assert lanes <= 256 and lanes % 16 == 0 and -(-places // lanes) * (lanes - 16) < places


def test_a_network_without_a_step_runs_whole_windows_and_says_why(tmp_path):
    engine = BACKENDS.create("ort").build(artifact(tmp_path / "a", network(early_se=True)), BuildSpec(),
                                          tmp_path / "engine")
    choice = choose_session(engine, places=3, turns=3)
    assert set(choice.costs_s) == {"full window"} and "early squeeze-excitation" in choice.reason
    assert choice.session.max_batch == 64
    choice.session.close()


def test_a_quantised_engine_runs_whole_windows(tmp_path):
    engine = BACKENDS.create("ort").build(artifact(tmp_path / "a", network()), BuildSpec("int8"), tmp_path / "engine")
    assert "QuantizeLinear" in choose_session(engine, places=3, turns=3).reason


def test_a_backend_without_steps_says_so(monkeypatch, tmp_path):
    from tests.linear import add_plugins, write_artifact

    add_plugins(monkeypatch)
    backend = BACKENDS.create("linear")
    engine = backend.build(write_artifact(tmp_path / "a"), BuildSpec(), tmp_path / "engine")
    with pytest.raises(InputError, match="backend linear has no incremental inference"):
        backend.open_steps(engine, HOP, 8)
