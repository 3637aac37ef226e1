"""The board that is not there: where it rounds, how far that is from the trained model, what it says of time."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgehar.bench import verdicts

onnxruntime = pytest.importorskip("onnxruntime")

from edgehar.artifact import quantise
from edgehar.artifact.boards import load_board
from edgehar.artifact.golden import compare_logits
from edgehar.artifact.manifest import Artifact
from edgehar.backends import BACKENDS, ready_engine
from edgehar.backends._rounding import rounded
from edgehar.backends.base import BuildSpec
from edgehar.backends.base import infer_all
from edgehar.bench import run as bench
from edgehar.bench.scenarios import SCENARIOS
from edgehar.errors import InputError, MismatchError
from edgehar.files import write_json
from edgehar.results.grouping import marks
from edgehar.results.markdown import markdown
from edgehar.results.page import render
from edgehar.results.runs import SIMULATED, Run
from tests.published import FOLDER, networks
from tests.runs import make

STUDENT = FOLDER.parent / "engines" / "wisdm-watch-s"
REACHED = {"fp32": (100.0, 1.0), "fp16": (50.0, 1.0), "int8": (20.0, 0.85)}  # dB, share; a regression falls below


def run(model, x):
    """Outputs of an ONNX model, computed as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def snr_db(want, have):
    return 10 * np.log10(np.var(want) / np.mean((want - have) ** 2))


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """{precision: engine} of the ready student."""
    folder, backend = tmp_path_factory.mktemp("sim"), BACKENDS.create("sim")
    return {precision: backend.build(Artifact.load(STUDENT), BuildSpec(precision), folder / precision)
            for precision in backend.precisions}


# ------------------------------------------------------------------ numerics


@pytest.mark.parametrize("precision", sorted(REACHED))
def test_the_ready_student_keeps_its_numbers(engines, precision):
    found, = BACKENDS.create("sim").verify(engines[precision])
    least_db, least_agreement = REACHED[precision]
    assert found.passed and found.snr_db > least_db and found.agreement >= least_agreement


def skipping(draw):
    """Three convolutions, the last with a skip; a sum of absolute weights keeps FP32 rounding far below FP16's."""
    net = networks.Net((4, 8, 1, 32), draw)
    x = net.conv("x", 16)
    return net.model(net.node("Relu", net.node("Add", net.conv(net.conv(x, 16), 16, activation=None), x)))


def test_fp16_rounds_weights_and_every_kernel_once():
    draw = np.random.default_rng(0)
    model, x = skipping(draw), draw.normal(0, 1, (4, 8, 1, 32)).astype(np.float32)
    half = lambda value: value.astype(np.float16).astype(np.float32)  # noqa: E731
    w = [half(onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer]

    def conv(value, weight, bias):
        return np.einsum("kc,nct->nkt", weight[:, :, 0, 0], value) + bias[:, None]

    first = half(np.maximum(conv(half(x[:, :, 0]), w[0], w[1]), 0))
    second = half(np.maximum(conv(first, w[2], w[3]), 0))
    want = half(np.maximum(conv(second, w[4], w[5]) + first, 0))
    have = run(rounded(model), x)[0][:, :, 0]
    assert np.mean(have == want) > 0.98, "but for sums of FP32 in another order, next to a step of FP16"
    assert np.abs(have - want).max() <= 2 ** -10 * np.abs(want).max()


def test_fp16_overflows_as_the_board_would():
    net = networks.Net((1, 1, 1, 1), np.random.default_rng(0))
    model = net.model(net.conv("x", 1, activation=None))
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(
        np.full((1, 1, 1, 1), 300, np.float32), model.graph.initializer[0].name))
    assert np.isinf(run(rounded(model), np.full((1, 1, 1, 1), 300, np.float32))[0])


def ranges_of(model, x):
    names = [name for node in model.graph.node for name in node.output]
    every = onnx.ModelProto()
    every.CopyFrom(model)
    del every.graph.output[:]
    every.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    found = dict(zip(names, run(every, x)), x=x)
    return {name: (float(value.min()), float(value.max())) for name, value in found.items()}


def test_int8_weights_have_255_steps_a_channel():
    draw = np.random.default_rng(1)
    model, x = skipping(draw), draw.normal(0, 1, (4, 8, 1, 32)).astype(np.float32)
    made = rounded(model, ranges_of(model, x))
    before, after = ({tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in each.graph.initializer}
                     for each in (model, made))
    for name, weight in before.items():
        if weight.ndim == 4:
            step = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
            np.testing.assert_allclose(after[name] / step, np.rint(weight / step), atol=1e-3)
        else:
            np.testing.assert_array_equal(after[name], weight, "biases are added to the exact sum")


def test_int8_agrees_with_quantise_dequantise_pairs_of_onnx_runtime(tmp_path, monkeypatch):
    """Where both quantise the same tensors only FP16 rounding of the last kernel is left between them."""
    draw = np.random.default_rng(2)
    net = networks.Net((4, 8, 1, 32), draw)
    model = net.model(net.conv(net.conv(net.conv("x", 16), 16), 16))
    x = draw.normal(-2, 1, (4, 8, 1, 32)).astype(np.float32)  # its least value decides its steps
    ranges = ranges_of(model, x)
    onnx.save_model(model, str(tmp_path / "model.onnx"))
    monkeypatch.setattr(quantise, "QUANTISED_OPERATORS", ["Conv"])
    quantise.quantise(tmp_path / "model.onnx", ranges, tmp_path / "pairs.onnx", symmetric=True)
    pairs, = run(onnx.load(str(tmp_path / "pairs.onnx")), x)
    ours, exact = run(rounded(model, ranges), x)[0], run(model, x)[0]
    assert snr_db(pairs, ours) > 55
    assert 25 < snr_db(exact, ours) < 50 and abs(snr_db(exact, ours) - snr_db(exact, pairs)) < 0.5


def test_int8_of_the_student_agrees_with_onnx_runtime(engines, tmp_path):
    """ONNX Runtime also quantises skips and pools on their own, hence a few dB between two that are 21 dB from FP32."""
    artifact = Artifact.load(STUDENT)
    ranges = quantise.calibrated_ranges(artifact.onnx_path, artifact.calibration())
    quantise.quantise(artifact.onnx_path, ranges, tmp_path / "pairs.onnx", symmetric=True)
    x = artifact.golden().x
    pairs, = run(onnx.load(str(tmp_path / "pairs.onnx")), x[:, :, None])
    with BACKENDS.create("sim").open(engines["int8"]) as session:
        ours = infer_all(session, x)["activity"]
    found, = compare_logits({"activity": pairs}, {"activity": ours}, artifact.manifest.tolerances["int8"])
    assert found.snr_db > 20 and found.agreement > 0.9


def test_a_tensor_without_range_is_refused():
    with pytest.raises(MismatchError, match="no range for tensor 'relu_1'"):
        rounded(skipping(np.random.default_rng(0)), {})


# ------------------------------------------------------------------ time


def test_timings_come_from_the_cost_model_and_no_clock(engines):
    def clock():
        raise AssertionError("a simulated engine was timed")

    found = bench.run(engines["fp16"], SCENARIOS.create("single_stream"), clock=clock)
    assert found.source == SIMULATED and found.measurement("latency") is None
    value, low, high = found.measurement("predicted_latency").values
    assert 1e-5 < low < value < high < 1e-2
    assert found.engine.running == {"board": "xavier-agx", "mode": "MAXN", "graph": True}


def test_a_slower_mode_is_predicted_slower(engines):
    medians = [bench.run(engines["int8"].run_as({"mode": mode}), SCENARIOS.create("offline")).measurement(
        "predicted_latency").values[0] for mode in ("MAXN", "MODE_15W", "MODE_10W")]
    assert medians == sorted(medians) and medians[0] < medians[-1]


def test_an_engine_that_is_opened_itself_keeps_its_board_and_mode(tmp_path):
    write_json(tmp_path / "mine.json", load_board("xavier-agx").to_json())
    mine = {"board": str(tmp_path / "mine.json"), "mode": "MODE_10W", "graph": True}
    builder = BACKENDS.create("sim:board=%(board)s,mode=%(mode)s" % mine)
    folder = builder.build(Artifact.load(STUDENT), BuildSpec("fp32"), tmp_path / "engine").folder
    assert ready_engine(folder).running == ready_engine(folder, "sim").running == mine
    assert ready_engine(folder, "sim:mode=MODE_15W").running == dict(mine, mode="MODE_15W")


@pytest.mark.parametrize("spec", ["sim:board=orin", "sim:mode=MODE_40W"])
def test_an_unknown_board_or_mode_is_refused(spec):
    with pytest.raises(InputError, match="choose from"):
        BACKENDS.create(spec)


# ------------------------------------------------------------------ never beside what was measured


def test_a_simulated_run_is_marked_wherever_it_is_shown(engines, tmp_path):
    found = bench.run(engines["fp16"], SCENARIOS.create("single_stream"))
    again = Run.load(found.write(tmp_path / "run.json"))
    assert marks(again)[0] == "SIMULATED"
    page = render([again, make(scenario="single_stream")])
    assert page.count('<section class="simulated">') == page.count('<section class="measured">') == 1


def test_simulated_accuracy_shares_no_table_with_measured():
    text = markdown([make(), make(source=SIMULATED)])
    assert text.count("**SIMULATED.** **corpus**, SIMULATED") == 1
    assert "SIMULATED" not in text.split("\n\n")[0]


def test_strict_and_meters_refuse_what_is_simulated(engines):
    with pytest.raises(InputError, match="simulated, and what was not measured"):
        verdicts.require_measured(engines["fp16"])
    with pytest.raises(InputError, match="simulated"):
        bench.run(engines["fp16"], SCENARIOS.create("single_stream"), meter=object())
