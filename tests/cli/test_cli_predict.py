"""``edgehar predict`` and other commands on a simulated board: they always say that nothing was measured."""

from __future__ import annotations

import json
import math
import shlex
import shutil

import pytest

pytest.importorskip("onnxruntime")

from edgehar.backends.base import Engine
from edgehar.cli import execute
from edgehar.cli._streaming import source_of
from edgehar.deploy.health import Health
from edgehar.deploy.notify import Manager
from edgehar.deploy.service import Service
from edgehar.deploy.spec import ServeSpec
from tests.published import FOLDER

STUDENT = str(FOLDER.parent / "engines" / "wisdm-watch-s")


def predicted(capsys, *words):
    assert execute(["predict", STUDENT, *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_table_says_predicted_and_students_are_extrapolations(capsys):
    assert execute(["predict", STUDENT, "--precision", "fp16", "--batch", "1,8,64", "--rate", "50", "--layers"]) == 0
    told = capsys.readouterr()
    heads = [line for line in told.out.splitlines()
             if "wisdm-watch-s on" in line or "layers" in line or "a window every" in line]
    assert len(heads) == 3 and all(line.startswith("PREDICTED") for line in heads)
    assert "at the wall" in told.out and "at the rails" in told.out and "launch" in told.out
    assert "extrapolation" in told.err


def test_json_holds_what_the_tables_hold(capsys):
    found = predicted(capsys, "--batch", "1,8", "--precision", "fp16", "--precision", "int8", "--rate", "2")
    assert found["source"] == "simulated" and len(found["predictions"]) >= 14 and len(found["paced"]) == 9
    assert {each["device"] for each in found["predictions"]} == {"gpu", "cpu", "dla"}
    for each in found["predictions"]:
        assert each["source"] == "simulated" and set(each["extrapolation"][:1]) <= {"e"}
        assert each["seconds"]["low"] < each["seconds"]["value"] < each["seconds"]["high"]
        assert set(each["energy_j"]) == {"rails", "wall"} and each["layers"]
    least = min(each["wall_j"]["high"] for each in found["paced"])
    assert [each["may_be_least"] for each in found["paced"]] == [
        each["wall_j"]["low"] <= least for each in found["paced"]]


def test_the_verdict_names_no_winner_where_intervals_meet_and_one_where_they_do_not(capsys):
    found = predicted(capsys, "--precision", "fp16", "--precision", "int8", "--precision", "fp32")
    told = found["verdicts"]
    assert told[0].startswith("GPU (CUDA graph) or CPU, time: inconclusive at batch") and "the GPU wins from" in told[0]
    assert any(each.startswith("GPU, fp16 or int8 or fp32: inconclusive") for each in told)
    intervals = {each["device_text"] if "device_text" in each else each["device"]: each["seconds"]
                 for each in found["predictions"] if each["batch"] == 1}
    assert intervals["gpu"]["low"] < intervals["cpu"]["high"] and intervals["cpu"]["low"] < intervals["gpu"]["high"]


def test_a_warning_that_matters_stands_once_a_device_with_what_narrows_it(capsys):
    assert execute(["predict", STUDENT, "--batch", "1,2"]) == 0
    told = capsys.readouterr()
    warned = [line for line in told.err.splitlines() if line.startswith("warning: ")]
    assert sum("extrapolation" in line for line in warned) == len(warned) - 1 <= 3 and "edgehar calibrate" in warned[-1]
    assert all(word in told.out for word in ("launch", "rails:", "wall:")) and "PREDICTED layers" not in told.out


def test_a_cpu_is_predicted_in_fp32_and_an_onnx_file_will_do(capsys):
    assert execute(["predict", STUDENT + "/model.onnx", "--device", "cpu", "--json"]) == 0
    found, = json.loads(capsys.readouterr().out)["predictions"]
    assert (found["device"], found["precision"], found["graph"]) == ("cpu", "fp32", False)


def test_a_cpu_engine_has_one_thread_unless_more_are_asked_for(tmp_path, capsys):
    page = tmp_path / "modes.html"
    assert execute(["predict", STUDENT, "--device", "cpu", "--rate", "2", "-o", str(page)]) == 0
    assert capsys.readouterr().out.count("CPU (1 thread)") == 2 and "CPU (1 thread)" in page.read_text(encoding="utf-8")
    one, four = (predicted(capsys, "--device", "cpu", "--rate", "2", *more) for more in ((), ("--threads", "4")))
    assert (one["predictions"][0]["threads"], four["predictions"][0]["threads"]) == (1, 4)
    assert one["predictions"][0]["seconds"]["value"] < four["predictions"][0]["seconds"]["value"], "starting is dearer"
    assert one["paced"] != four["paced"] and predicted(capsys)["predictions"][0]["threads"] is None


def test_what_comes_next_is_of_the_same_board_and_is_left_out_where_there_is_nothing(tmp_path, capsys):
    artifact = tmp_path / "student"
    shutil.copytree(STUDENT, str(artifact), ignore=shutil.ignore_patterns("built"))
    assert execute(["predict", str(artifact), "--mode", "MODE_15W"]) == 0
    following = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert execute([*following[2:], "-o", str(tmp_path / "runs")]) == 0
    assert "MODE_15W" in capsys.readouterr().out
    assert execute(["predict", STUDENT + "/model.onnx"]) == 0
    assert "next:" not in capsys.readouterr().out


def test_the_picture_marks_the_cheapest_mode(tmp_path):
    page = tmp_path / "modes.html"
    assert execute(["predict", STUDENT, "--rate", "50", "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count('class="bar') == 9 and text.count('class="bar best"') == 9
    assert "Predicted, not measured" in text and "idle included" in text


def test_a_mode_too_slow_for_the_rate_is_told_and_not_drawn(tmp_path, capsys):
    page = tmp_path / "modes.html"
    assert execute(["predict", STUDENT, "--rate", "6000", "-o", str(page)]) == 0
    assert "cannot keep up" in capsys.readouterr().out and "cannot keep up" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("words, code, sentence", [
    (["--mode", "MODE_40W"], 2, "choose from"), (["--batch", "1,x"], 2, "whole numbers"),
    (["-o", "x.html"], 2, "add --rate"), (["-o", ""], 2, "add --rate"),
    (["-o", "", "--rate", "2"], 2, "folder"), (["--board", "orin"], 2, "no board 'orin'"),
    (["--threads", "2", "--device", "gpu"], 2, "leave --device out"),
])
def test_refusals(capsys, words, code, sentence):
    assert execute(["predict", STUDENT, *words]) == code
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_no_graph_is_refused(tmp_path, capsys):
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    assert execute(["predict", str(tmp_path / "bad.onnx")]) == 2
    assert "no readable ONNX" in capsys.readouterr().err


def test_bench_on_the_simulated_board_predicts_and_strict_refuses_it(tmp_path, capsys):
    artifact = tmp_path / "student"
    shutil.copytree(STUDENT, str(artifact), ignore=shutil.ignore_patterns("built"))
    words = ["bench", str(artifact), "--backend", "sim:mode=MODE_15W", "-o", str(tmp_path / "runs")]
    assert execute(words) == 0
    told = capsys.readouterr().out
    assert "PREDICTED timing" in told and "SIMULATED" in told and "MODE_15W" in told
    assert execute([*words, "--json"]) == 0
    run, = json.loads(capsys.readouterr().out)["runs"]
    assert run["source"] == "simulated" and run["predicted_latency_s"]["low"] > 0 and "median_s" not in run
    assert execute([*words, "--strict"]) == 2
    assert "neither metered" in capsys.readouterr().err


# ------------------------------------------------------------------ a simulated engine, where others are timed


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """An engine of the simulated board in its 10 W mode."""
    artifact = tmp_path_factory.mktemp("simulated") / "student"
    shutil.copytree(STUDENT, str(artifact), ignore=shutil.ignore_patterns("built"))
    assert execute(["build", str(artifact), "--backend", "sim:mode=MODE_10W"]) == 0
    return artifact / "built" / "sim-fp16"


@pytest.fixture
def walk(tmp_path):
    """A source of 20 s."""
    table = tmp_path / "walk.csv"
    rows = ["%.2f,%s" % (number / 20, ",".join("%.4f" % (5.7 + 2 * math.sin(0.6 * number + axis)) for axis in range(3)))
            for number in range(400)]
    table.write_text("\n".join(["time_s,acc/x,acc/y,acc/z", *rows]) + "\n")
    return "csv:path=%s" % table


def test_the_line_that_build_ends_with_predicts_for_the_mode_it_was_asked_for(simulated, tmp_path, capsys):
    for mode in ("MODE_10W", "MODE_30W_ALL"):  # the second finds an engine that is up to date
        assert execute(["build", str(simulated.parents[1]), "--backend", "sim:mode=" + mode]) == 0
        following = capsys.readouterr().out.splitlines()[-1].split()
        assert execute([*following[2:], "-o", str(tmp_path / "runs")]) == 0
        assert mode in capsys.readouterr().out


def test_a_fleet_is_not_rehearsed_on_a_simulated_engine(simulated, walk, capsys):
    assert execute(["rehearse", str(simulated), "--streams", "3", "--fast", "--source", walk]) == 2
    told = capsys.readouterr()
    assert told.out == "" and "is simulated" in told.err and "another backend" in told.err


def test_a_stream_through_a_simulated_engine_is_marked_and_its_computing_left_out(simulated, walk, capsys):
    assert execute(["run", str(simulated), "--source", walk]) == 0
    first, summary, _ = capsys.readouterr().err.splitlines()
    assert first.endswith("[SIMULATED]") and summary.endswith("[SIMULATED]") and "computing" not in summary
    assert execute(["run", str(simulated), "--source", walk, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["source"], facts["busy_s"], facts["realtime_factor"]) == ("simulated", None, None)
    assert execute(["run", str(simulated.parents[1]), "--source", walk, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["source"] == "measured" and facts["busy_s"] > 0
    assert source_of(map(Engine.load, (facts["engine"], simulated))) == "simulated", "as a student of --route may be"


def test_a_service_of_a_simulated_engine_is_marked(simulated, walk, capsys):
    assert execute(["serve", str(simulated), "--source", walk, "--http", "off"]) == 0
    first, summary, _ = capsys.readouterr().err.splitlines()
    assert first.endswith("[SIMULATED]") and summary.endswith("[SIMULATED]")
    loaded = ServeSpec(simulated).load()
    health = Health(1.0)
    service = Service(ServeSpec(simulated), loaded, [], health, Manager())
    service.close()
    assert health.facts["source"] == "simulated"
