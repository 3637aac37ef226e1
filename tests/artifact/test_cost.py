"""The cost model: its trends, its intervals, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgehar.artifact import cost
from edgehar.artifact.boards import Board, Fit, load_board, students_quantile
from edgehar.artifact.cost import predict_cost, work_of
from edgehar.artifact.manifest import Artifact
from edgehar.errors import InputError
from edgehar.files import write_json
from tests.published import FOLDER, networks

BOARD = load_board("xavier-agx")
MODES = ("MAXN", "MODE_10W", "MODE_15W", "MODE_30W_ALL", "MODE_30W_6CORE", "MODE_30W_4CORE", "MODE_30W_2CORE",
         "MODE_15W_DESKTOP")


def student():
    return onnx.load(str(Artifact.load(FOLDER.parent / "engines" / "wisdm-watch-s").onnx_path))


def chain(channels: int, layers: int = 20):
    """A tiny network: convolutions of a window of 64 samples."""
    net = networks.Net((1, channels, 1, 64))
    x = "x"
    for _ in range(layers):
        x = net.conv(x, channels)
    return net.model(x)


def at_clock(mhz: float) -> Board:
    return replace(BOARD, modes=dict(BOARD.modes, here=BOARD.fastest._replace(gpu_mhz=mhz)))


# ------------------------------------------------------------------ trends


def test_tiny_networks_are_launch_bound_and_nearly_flat_in_macs():
    small, large = (predict_cost(BOARD, chain(channels), "MAXN") for channels in (8, 32))
    assert work_of(chain(32), False).macs.sum() == 16 * work_of(chain(8), False).macs.sum()
    assert small.seconds.value <= large.seconds.value < 1.1 * small.seconds.value
    assert small.shares()["launch"] == large.shares()["launch"] == 1


def test_kernels_count_where_macs_do_not():
    few, many = (predict_cost(BOARD, chain(8, layers), "MAXN").seconds.value for layers in (10, 40))
    assert many > 2 * few


@pytest.mark.parametrize("graph, precision", [(networks.resnet50, "int8"), (networks.ssd_resnet34, "fp16"),
                                              (networks.mnist, "fp32")])
def test_time_is_a_plus_b_over_clock(graph, precision):
    model, clocks = graph(), (700.0, 1000.0, 1377.0)
    times = [predict_cost(at_clock(mhz), model, "here", precision).seconds.value for mhz in clocks]
    slope = (times[0] - times[2]) / (1 / clocks[0] - 1 / clocks[2])
    between = times[2] + slope * (1 / clocks[1] - 1 / clocks[2])
    assert slope > 0 and times[1] == pytest.approx(between, rel=0.03)
    assert times[2] - slope / clocks[2] > 0, "a part that no clock of the GPU makes faster"


def test_resnet50_on_the_cpu_is_cheaper_in_maxn_than_in_the_15_w_mode():
    """Published: 2.27 J against 3.14 J (MLPerf v1.1, Krai, TFLite), for idle power lasts longer."""
    fast, slow = (predict_cost(BOARD, networks.resnet50(), mode, "fp32", device="cpu") for mode in ("MAXN", "MODE_15W"))
    assert fast.energy_j["wall"].value < slow.energy_j["wall"].value
    assert fast.watts["wall"] > 2 * slow.watts["wall"]


def test_a_cpu_engine_works_on_as_many_cores_as_it_has_threads():
    found = {threads: predict_cost(BOARD, networks.resnet50(), "MODE_15W", "fp32", device="cpu", threads=threads)
             for threads in (None, 1, 2, 4, 8)}
    times = [found[threads].seconds.value for threads in (1, 2, 4, 8)]
    assert times[0] > times[1] > times[2] == times[3] == found[None].seconds.value, "the mode has four cores"
    assert found[1].watts["wall"] < found[2].watts["wall"] < found[4].watts["wall"] == found[None].watts["wall"]
    assert [each.device_text for each in found.values()][:3] == ["CPU (4 threads)", "CPU (1 thread)", "CPU (2 threads)"]
    gpu = [predict_cost(BOARD, networks.mnist(), "MAXN", threads=threads) for threads in (None, 1)]
    assert gpu[0] == gpu[1] and gpu[0].device_text == "GPU, CUDA graph"


def test_graphs_batches_and_precisions_help_as_they_should():
    model = networks.resnet50()
    time_s = lambda *given, **more: predict_cost(BOARD, model, *given, **more).seconds.value  # noqa: E731
    assert time_s("MAXN", "int8", graph=True) < time_s("MAXN", "int8", graph=False)
    assert time_s("MAXN", "int8") < time_s("MAXN", "fp16") < time_s("MAXN", "fp32")
    assert time_s("MAXN", "int8", 32) < 32 * time_s("MAXN", "int8")


def test_every_mode_of_the_board_can_be_predicted_and_maxn_is_fastest():
    times = {mode: predict_cost(BOARD, student(), mode).seconds.value for mode in BOARD.modes}
    assert set(MODES) < set(times) and min(times, key=times.__getitem__) == "MAXN"


# ------------------------------------------------------------------ kernels


def test_tiles_are_whole_and_taken_in_rounds():
    net = networks.Net((1, 64, 8, 8))
    work = work_of(net.model(net.conv("x", 64)), False)
    cycles = cost._tile_cycles(work, 8, np.array([512.0]), 1, 0.0)
    assert cycles[0] == 64 * 64 * 64 / 512, "one tile on one of eight processors"
    assert cost._tile_cycles(work, 8, np.array([512.0]), 8, 0.0)[0] == cycles[0], "eight windows fill them all"
    assert cost._tile_cycles(work, 8, np.array([512.0]), 9, 0.0)[0] == 2 * cycles[0]
    assert cost._tile_cycles(work, 8, np.array([512.0]), 1, 1.5)[0] == 2.5 * cycles[0], "waiting for the first and last"


def test_weights_are_read_once_a_batch():
    net = networks.Net((1, 4, 2, 2))
    work = work_of(net.model(net.conv("x", 4)), False)
    activations, weights = cost.traffic_bytes(work, "fp16", 3)
    assert (activations[0], weights[0]) == (2 * 3 * (16 + 16), 2 * (16 + 4))


def test_int8_engines_move_fp16_where_they_fall_back():
    net = networks.Net((1, 4, 2, 2))
    x = net.conv("x", 4)
    work = work_of(net.model(net.node("Softmax", x)), False)
    assert [each.tolist() for each in cost.traffic_bytes(work, "int8", 1)] == [[16 + 16, 2 * (16 + 16)], [20, 0]]


def test_engines_of_another_precision_reformat_input_and_output():
    kinds = [[kernel.operators[0] for kernel in work_of(chain(8, 1), again).kernels] for again in (1, 0)]
    assert kinds == [["Reformat", "Conv", "Reformat"], ["Conv"]]


# ------------------------------------------------------------------ intervals and labels


@pytest.mark.parametrize("precision, device", [("fp16", "gpu"), ("int8", "gpu"), ("fp32", "cpu"), ("int8", "cpu")])
def test_students_are_labelled_extrapolation_with_wider_intervals(precision, device):
    found = predict_cost(BOARD, student(), "MAXN", precision, device=device)
    assert "extrapolation" in found.extrapolation and "published networks" in found.extrapolation
    known = predict_cost(BOARD, networks.resnet50(), "MAXN", "int8" if device == "gpu" else "fp32", device=device,
                         runtime="tflite")
    assert known.extrapolation == "" and known.source == found.source == "simulated"
    if device == "gpu":
        assert found.seconds.high / found.seconds.low > known.seconds.high / known.seconds.low


def test_an_interval_is_as_wide_as_what_decides_the_time_is_unsure():
    gpu = BOARD.fits["gpu"]
    unsure = tuple(1.0 if name in ("kernel_s", "kernel_cycles") else sd for name, sd in zip(gpu.names, gpu.sds))
    unsure = replace(BOARD, fits=dict(BOARD.fits, gpu=replace(gpu, sds=unsure)))
    for model, wider in ((student(), True), (networks.ssd_resnet34(), False)):
        before, after = (predict_cost(board, model, "MAXN", "int8").seconds for board in (BOARD, unsure))
        assert (after.high > 1.5 * before.high) == wider and after.value == before.value


def test_without_a_graph_the_host_decides_and_follows_the_clock_of_the_cpu():
    """Published: 11 us a kernel at 2.2 GHz (YOLOv8n enqueues for 1.96 ms)."""
    slow = replace(BOARD, modes=dict(BOARD.modes, here=BOARD.fastest._replace(cpu_mhz=BOARD.fastest.cpu_mhz / 2)))
    fast_s, slow_s = (predict_cost(slow, chain(16, 40), mode, graph=False).seconds.value for mode in ("MAXN", "here"))
    graphs = [predict_cost(slow, chain(16, 40), mode).seconds.value for mode in ("MAXN", "here")]
    assert 1.7 < slow_s / fast_s < 2 and graphs[1] < 1.1 * graphs[0] < fast_s


def test_a_dla_leaves_the_gate_of_squeeze_and_excite_to_the_gpu_and_takes_sixteen_subgraphs():
    gates = networks.Net((1, 16, 8, 8))
    x = "x"
    for _ in range(20):
        gate = gates.conv(gates.conv(gates.node("GlobalAveragePool", x), 16), 16, activation="HardSigmoid")
        x = gates.node("Mul", gates.conv(x, 16, 3), gate)
    work = work_of(gates.model(x), False)
    kinds = {each.operators[0] for each, on_dla in zip(work.kernels, work.on_dla) if not on_dla}
    assert {"GlobalAveragePool", "HardSigmoid", "Mul"} <= kinds and cost._handovers(work) == 16
    assert not work.on_dla[-12:].any(), "the last fall back, whatever they are"
    plain = predict_cost(BOARD, chain(16), "MAXN", device="dla")
    assert (plain.fallen_back, plain.device_text) == (2, "DLA, 2 of 22 kernels on the GPU"), "the two reformats"


def test_a_thread_more_makes_a_small_network_slower_and_a_large_one_faster():
    for model, faster in ((student(), False), (networks.resnet50(), True)):
        one, eight = (predict_cost(BOARD, model, "MAXN", "fp32", device="cpu", threads=count).seconds.value
                      for count in (1, 8))
        assert (eight < one) == faster
    small = [predict_cost(BOARD, networks.mobilenet_v3(True, 1.0, False), "MAXN", "fp32", device="cpu", threads=count,
                          runtime="ncnn").seconds.value for count in (1, 8)]
    assert 2 < small[0] / small[1] < 4, "published: 2.7"


def test_an_interval_lies_around_its_value():
    found = predict_cost(BOARD, networks.ssd_mobilenet(), "MAXN", "int8")
    for each in (found.seconds, *found.energy_j.values()):
        assert 0 < each.low < each.value < each.high
        assert each.value ** 2 == pytest.approx(each.low * each.high)


def test_students_quantile_is_that_of_the_tables():
    assert [round(students_quantile(freedom), 2) for freedom in (4, 10, 1000)] == [
        pytest.approx(2.13, abs=0.03), 1.81, pytest.approx(1.65, abs=0.01)]


def test_rails_and_wall_are_told_apart():
    found = predict_cost(BOARD, networks.resnet50(), "MAXN", "int8")
    assert found.idle_w["rails"] < found.idle_w["wall"] and found.watts["rails"] < found.watts["wall"]
    rails, wall = found.energy_j["rails"], found.energy_j["wall"]
    assert rails.value < wall.value and rails.high / rails.low > wall.high / wall.low
    assert wall.value == pytest.approx(found.watts["wall"] * found.seconds.value)


def test_a_paced_window_pays_for_the_idle_time_behind_it():
    found = predict_cost(BOARD, networks.resnet50(), "MAXN", "int8")
    back_to_back = found.paced_j(1 / found.seconds.value)
    assert back_to_back.value == pytest.approx(found.energy_j["wall"].value)
    slow = found.paced_j(1.0)
    assert slow.value == pytest.approx(found.idle_w["wall"], rel=0.02) and slow.low < slow.value < slow.high
    assert found.paced_j(1.01 / found.seconds.value) is None


# ------------------------------------------------------------------ boards


def test_a_board_survives_its_file(tmp_path):
    write_json(tmp_path / "mine.json", BOARD.to_json())
    again = load_board(tmp_path / "mine.json")
    assert again.modes == BOARD.modes and again.rails == BOARD.rails
    assert Fit.from_json(BOARD.fits["gpu"].to_json()) == BOARD.fits["gpu"]


@pytest.mark.parametrize("given, sentence", [
    (dict(mode="MODE_40W"), "no power mode 'MODE_40W' .did you mean 'MODE_10W'"),
    (dict(device="npu"), "no device 'npu'"),
    (dict(device="cpu", precision="fp16"), "CPU of xavier-agx does not run fp16"),
    (dict(device="dla", precision="fp32"), "DLA of xavier-agx does not run fp32"),
])
def test_what_a_board_has_not_is_refused(given, sentence):
    with pytest.raises(InputError, match=sentence):
        predict_cost(BOARD, networks.mnist(), **{"mode": "MAXN", **given})


def test_an_unknown_board_and_a_foreign_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="no board 'orin'; choose from: xavier-agx"):
        load_board("orin")
    write_json(tmp_path / "run.json", {"schema": 1})
    with pytest.raises(InputError, match="no board file"):
        load_board(tmp_path / "run.json")


@pytest.mark.parametrize("path, value", [
    (("modes",), True), (("modes", "MAXN", "gpu_mhz"), "1377"), (("modes", "MAXN", "tpcs"), 10 ** 39),
    (("modes", "MAXN", "cpu_cores"), None), (("devices",), -1), (("devices", "gpu"), {}),
    (("devices", "gpu", "macs_per_cycle", "fp16"), "x"), (("rails", "idle_w"), None), (("rails",), {}),
    (("fits", "power", "names"), {}), (("fits", "gpu", "names"), ["kernel_s"]), (("fits", "gpu", "sds"), "0.1"),
    (("fits", "gpu", "covariance"), [[1.0]]), (("fits", "power", "noise_sd"), []),
    (("fits", "power", "parameters"), {})])
def test_a_board_file_of_other_types_is_refused_as_it_is_read(tmp_path, path, value):
    """Once they were fields of the right names, and a fault of edgehar where they were first counted with."""
    board = json.loads(json.dumps(BOARD.to_json()))
    inside = board
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    write_json(tmp_path / "mine.json", board)
    with pytest.raises(InputError, match="no board file, for it does not fit at %s.*edgehar calibrate" % path[0]):
        load_board(tmp_path / "mine.json")
