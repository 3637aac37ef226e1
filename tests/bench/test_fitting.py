"""Fits: parameters that are known come back, a board's own Runs narrow its intervals, the published report holds."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace

import numpy as np
import onnx
import pytest

from edgehar.artifact import boards, cost
from edgehar.artifact.boards import load_board
from edgehar.artifact.manifest import Artifact
from edgehar.bench.calibration import calibrated, even_weights, fitted, observation, prior_of
from edgehar.cli import execute
from edgehar.errors import InputError, MismatchError
from edgehar.results.runs import SIMULATED, Measurement
from tests.published import FOLDER, TABLE, networks
from tests.runs import make
from tests.scripts import script

BOARD = load_board("xavier-agx")
REPORT = FOLDER / "fits" / "xavier-published.json"
FIGURES = FOLDER / "figures"
ENGINES = FOLDER.parent / "engines"
AT = cost.Placement("gpu", "fp16", BOARD.fastest, graph=True)
MACHINE = {"board": "Jetson-AGX", "power_mode": "MAXN", "gpu_clock_mhz": "1377"}


# ------------------------------------------------------------------ least squares


def test_known_parameters_come_back_and_are_sure_where_rows_tell_them():
    sizes = np.array([1.0, 3.0, 10.0, 100.0, 300.0])
    measured = 2.0 + 0.5 * sizes
    residuals = lambda logs: np.log((np.exp(logs[0]) + np.exp(logs[1]) * sizes) / measured)  # noqa: E731
    prior = prior_of({"a": (1.0, 2.0), "b": (1.0, 2.0)})
    found = fitted(residuals, np.ones(5), prior, noise_sd=0.01)
    np.testing.assert_allclose(np.exp(found.logs), [2.0, 0.5], rtol=1e-3)
    assert np.sqrt(np.diag(found.covariance)).max() < 0.03


def test_what_no_row_tells_stays_as_it_was_believed():
    found = fitted(lambda logs: np.array([logs[0] - 1.0]), np.ones(1), prior_of({"a": (1.0, 1.0), "b": (3.0, 0.4)}),
                   noise_sd=0.15)
    assert np.exp(found.logs[1]) == pytest.approx(3.0) and found.covariance[1, 1] == pytest.approx(0.16)


def test_each_model_weighs_one():
    assert even_weights(["a", "b", "b", "b"]).tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])


# ------------------------------------------------------------------ a board's own Runs


def chain(layers):
    net = networks.Net((1, 16, 1, 64))
    x = "x"
    for _ in range(layers):
        x = net.conv(x, 16)
    return net.model(x)


def measured(name, seconds, **changed):
    run = make(name, "single_stream", "fp16", machine=MACHINE,
               measurements=(Measurement("latency", "s", (seconds,) * 30),))
    return replace(run, engine=replace(run.engine, backend="trt", running={"graph": True}), **changed)


def slow_board_s(model):
    """Seconds on a board whose launches take twice as long as published ones."""
    parameters = dict(BOARD.fits["gpu"].parameters)
    parameters.update(kernel_s=2 * parameters["kernel_s"], kernel_cycles=2 * parameters["kernel_cycles"])
    return cost.latency_s(BOARD, parameters, cost.work_of(model, True), AT)


def test_own_runs_move_the_prediction_and_tighten_its_interval():
    seen = [observation(measured("s%d" % layers, slow_board_s(chain(layers))), chain(layers), BOARD)
            for layers in (10, 20, 40)]
    after = calibrated(BOARD, seen, "2026-01-01")
    unseen = chain(30)
    before_s, after_s = (cost.predict_cost(board, unseen, "MAXN").seconds for board in (BOARD, after))
    assert abs(np.log(after_s.value / slow_board_s(unseen))) < 0.1 < abs(np.log(before_s.value / slow_board_s(unseen)))
    assert after_s.low < slow_board_s(unseen) < after_s.high
    assert after_s.high / after_s.low < 0.7 * before_s.high / before_s.low
    assert after.fits["gpu"].date == "2026-01-01" and after.fits["cpu-fp32"] == BOARD.fits["cpu-fp32"]
    assert cost.predict_cost(after, unseen, "MAXN").extrapolation == ""


def test_one_artifact_measured_often_counts_once():
    seen = [observation(measured("s", slow_board_s(chain(20))), chain(20), BOARD)]
    once, often = (calibrated(BOARD, seen * count, "d").fits["gpu"] for count in (1, 10))
    assert once.freedom == often.freedom == BOARD.fits["gpu"].freedom + 1
    np.testing.assert_allclose(once.logs, often.logs, atol=1e-4)


def test_metered_runs_teach_the_rails():
    run = measured("s", slow_board_s(chain(20)))
    figure = {"name": "total", "net_j": {"value": 1}, "idle_w": 5.0, "load_w": 9.0}
    found = observation(replace(run, energy={"figures": [figure]}), chain(20), BOARD)
    after = calibrated(BOARD, [found], "d").rails
    assert after["idle_w"] == 5.0 and after["log_sd"] < BOARD.rails["log_sd"]


@pytest.mark.parametrize("backend, threads, cores", [("ort", 1, 1), ("ort", 16, 8), ("ort", None, 8), ("trt", 1, 8)])
def test_a_run_on_a_cpu_tells_of_as_many_cores_as_its_engine_had_threads(backend, threads, cores):
    run = measured("s", 1e-3)
    facts = replace(run.engine, backend=backend, precision="fp32", threads=threads)
    assert observation(replace(run, engine=facts), chain(10), BOARD).at.clocks.cpu_cores == cores


@pytest.mark.parametrize("changed, error, sentence", [
    (dict(source=SIMULATED), InputError, "no measured latency"), (dict(measurements=()), InputError, "no measured"),
    (dict(machine={"processor": "a PC's"}), MismatchError, "measured on a PC and xavier-agx is another board"),
    (dict(machine=dict(MACHINE, board="NVIDIA Orin Nano")), MismatchError, "measured on NVIDIA Orin Nano"),
    (dict(machine=dict(MACHINE, power_mode="CUSTOM")), InputError, "no power mode 'CUSTOM'"),
])
def test_runs_that_do_not_tell_of_this_board_are_refused(changed, error, sentence):
    with pytest.raises(error, match=sentence):
        observation(replace(measured("s", 1e-3), **changed), chain(10), BOARD)


def test_the_command_writes_a_board_that_predict_reads(tmp_path, capsys):
    artifact = Artifact.load(ENGINES / "wisdm-watch-s")
    seconds = slow_board_s(onnx.load(str(artifact.onnx_path)))
    run = measured("wisdm-watch-s", seconds)
    replace(run, engine=replace(run.engine, artifact_sha256=artifact.sha256)).write(tmp_path / "run.json")
    mine = str(tmp_path / "mine.json")
    words = ["calibrate", str(tmp_path / "run.json"), "--artifacts", str(ENGINES), "-o", mine, "--json"]
    assert execute(words) == 0
    row, = json.loads(capsys.readouterr().out)["runs"]
    assert abs(row["after_s"]["value"] - seconds) < abs(row["before_s"]["value"] - seconds)
    assert execute(["predict", str(ENGINES / "wisdm-watch-s"), "--board", mine, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["extrapolation"] == ""
    assert execute([*words[:2], "--artifacts", str(tmp_path)]) == 2
    assert "is not below" in capsys.readouterr().err


def test_the_command_leaves_simulated_runs_out_and_ends_with_a_line_that_works(tmp_path, capsys):
    artifact = Artifact.load(ENGINES / "wisdm-watch-s")
    run = measured("wisdm-watch-s", 1e-3)
    run = replace(run, engine=replace(run.engine, artifact_sha256=artifact.sha256, backend="ort", precision="fp32"))
    simulated = replace(run, source=SIMULATED, measurements=(Measurement("predicted_latency", "s", (1e-3,) * 3),))
    simulated.write(tmp_path / "runs" / "simulated.json")
    words = ["calibrate", str(tmp_path / "runs"), "--artifacts", str(ENGINES), "-o", str(tmp_path / "my board.json")]
    assert execute(words) == 2 and "none of these Runs was measured" in capsys.readouterr().err
    run.write(tmp_path / "runs" / "run.json")
    assert execute(words) == 0
    *table, following = capsys.readouterr().out.splitlines()
    assert "CPU (1 thread)" in table[-2] and following.startswith("next: edgehar predict ")
    assert execute([*shlex.split(following)[2:], "--json"]) == 0
    found, = json.loads(capsys.readouterr().out)["predictions"]
    assert (found["device"], found["threads"], found["extrapolation"]) == ("cpu", 1, "")


# ------------------------------------------------------------------ boards that are known


def test_two_benched_networks_put_a_board_right_whose_starts_are_off_by_a_factor_of_two():
    """As `benchmarks/simulated_boards.py`, whose 200 boards are committed, on ten of another seed."""
    found = script("simulated_boards").study(BOARD, 10, 1)
    assert all(each["held"] >= 80 for each in found["after"].values())
    assert found["before"]["gpu, one by one"]["held"] < 70, "or there was nothing to put right"


def test_the_committed_study_of_boards_holds_its_aim():
    study = json.loads((FIGURES / "simulated-boards.json").read_text(encoding="utf-8"))
    assert study["boards"] == 200 and all(each["held"] >= 85 for each in study["found"]["after"].values())


def test_onnxruntime_on_this_kind_of_core_is_predicted_from_the_other_half_of_the_zoo():
    judged = json.loads((FIGURES / "onnxruntime-core" / "judged.json").read_text(encoding="utf-8"))
    times = json.loads((FIGURES / "onnxruntime-core" / "times.json").read_text(encoding="utf-8"))["times"]
    assert judged["report"]["mape"] <= 25 and judged["report"]["coverage"] >= 80
    assert judged["report"]["rows"] == len(times) - len(judged["fitted_on"]) == len(times) // 2
    fit, zoo = script("fit_xavier"), script("onnxruntime_core")
    core = load_board(FIGURES / "onnxruntime-core" / "board.json")
    assert set(core.fits["cpu-fp32"].models) == {fit._family(name) for name in judged["fitted_on"]}
    unseen = next(name for name in sorted(times, key=lambda name: times[name]["seconds"])
                  if name not in judged["fitted_on"])
    found = cost.predict_cost(core, zoo.ZOO[unseen](), "core", "fp32", device="cpu")
    assert found.seconds.low < times[unseen]["seconds"] < found.seconds.high and found.energy_j == {}


def test_a_board_of_a_cpu_alone_is_predicted_without_energy(capsys):
    words = ["predict", str(ENGINES / "wisdm-watch-s"), "--board", str(FIGURES / "onnxruntime-core" / "board.json"),
             "--mode", "core"]
    assert execute(words) == 0
    told = capsys.readouterr().out
    assert "CPU (1 thread)" in told and "not known" in told and "GPU" not in told
    assert execute([*words, "--rate", "2"]) == 2 and "tells no power" in capsys.readouterr().err


# ------------------------------------------------------------------ published figures


@pytest.fixture(scope="module")
def published():
    if not TABLE.is_file():
        pytest.skip("the tables of published figures, ../shared/reference/published_xavier*.csv, are not there")
    fit = script("fit_xavier")
    return fit, fit.read_rows(TABLE.parent, BOARD)


def test_the_committed_report_is_of_the_committed_board():
    report, board = (json.loads(path.read_text(encoding="utf-8"))
                     for path in (REPORT, boards.BOARDS / "xavier-agx.json"))
    assert report["fits"] == board["fits"]


@pytest.mark.parametrize("of, least_shapes", [("latency gpu", 4), ("latency cpu-fp32", 4), ("latency cpu-int8", 4),
                                              ("power at wall", 4), ("energy at wall", 3)])
def test_shapes_left_out_are_predicted_within_the_aims(of, least_shapes):
    found = json.loads(REPORT.read_text(encoding="utf-8"))["report"][of]
    assert found["mape"] <= 30 and found["coverage"] >= 80 and len(found["shapes"]) >= least_shapes


def test_a_shape_left_out_is_predicted_anew(published):
    """As the report has it, from the tables themselves; the others take minutes."""
    fit, rows = published
    model = fit.latency_model(dict(fit.GPU_PRIOR, slower=fit.OF_ROWS["slower"]), BOARD)
    gpu = [row for row in rows if row.seconds and row.at.device == "gpu"]
    left = fit.leave_out(model, gpu, lambda row: "dense" if fit.shape_of(row.network) == "dense" else "others")
    dense = [each for each in left if each.group == "dense"]
    stored = json.loads(REPORT.read_text(encoding="utf-8"))["report"]["latency gpu"]["shapes"]["dense"]
    assert fit._mean(dense, lambda each: abs(np.expm1(each.error))) == pytest.approx(stored["mape"], abs=0.2)


def test_what_its_source_discards_and_later_rows_of_eager_pytorch_are_not_fitted(published):
    names = {row.network for row in published[1]}
    assert not any("empty" in name or "csi" in name for name in names) and "pace-seg-new-tiny" in names


def test_eager_pytorch_is_never_predicted_to_be_faster_than_tensorrt_without_a_graph(published):
    """An eager run bounds from above: 0.90 ms at batch 1 and 1.13 ms at batch 8."""
    for batch, bound_s in ((1, 0.90e-3), (8, 1.13e-3)):
        found = cost.predict_cost(BOARD, networks.csi_cnn(), "MAXN", "fp32", batch, graph=False)
        assert found.seconds.value < bound_s


def test_published_cpu_energies_are_predicted_mode_by_mode(published):
    """ResNet-50, fp32, TFLite: dearest in the 15 W mode; the others lie within a tenth of each other."""
    rows = [row for row in published[1] if row.network == "resnet50" and row.at.runtime == "tflite" and row.watts]
    modes = [next(name for name, clocks in BOARD.modes.items() if clocks == row.at.clocks) for row in rows]
    published_j = np.array([row.seconds * row.watts for row in rows])
    found = [cost.predict_cost(BOARD, networks.resnet50(), mode, "fp32", device="cpu", runtime="tflite")
             for mode in modes]
    assert sorted(modes) == ["MAXN", "MODE_15W", "MODE_30W_4CORE", "MODE_30W_6CORE", "MODE_30W_ALL"]
    assert np.argmax([each.energy_j["wall"].value for each in found]) == np.argmax(published_j)
    assert all(each.energy_j["wall"].low < joules < each.energy_j["wall"].high
               for each, joules in zip(found, published_j))
