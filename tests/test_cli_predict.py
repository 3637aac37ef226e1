"""``edgehar predict`` and a simulated ``edgehar bench``: what they print always says that nothing was measured."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("onnxruntime")

from edgehar.cli import execute
from tests.published import FOLDER

STUDENT = str(FOLDER.parent / "engines" / "wisdm-watch-s")


def predicted(capsys, *words):
    assert execute(["predict", STUDENT, *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_table_says_predicted_and_students_are_extrapolations(capsys):
    assert execute(["predict", STUDENT, "--precision", "fp16", "--batch", "1,8,64", "--rate", "50"]) == 0
    told = capsys.readouterr()
    heads = [line for line in told.out.splitlines()
             if "wisdm-watch-s on" in line or "layers" in line or "a window every" in line]
    assert len(heads) == 3 and all(line.startswith("PREDICTED") for line in heads)
    assert "at the wall" in told.out and "at the rails" in told.out and "launch" in told.out
    assert "extrapolation" in told.err


def test_json_holds_what_the_tables_hold(capsys):
    found = predicted(capsys, "--batch", "1,8", "--precision", "fp16", "--precision", "int8", "--rate", "2")
    assert found["source"] == "simulated" and len(found["predictions"]) == 8 and len(found["paced"]) == 18
    for each in found["predictions"]:
        assert each["source"] == "simulated" and each["extrapolation"].startswith("extrapolation")
        assert each["seconds"]["low"] < each["seconds"]["value"] < each["seconds"]["high"]
        assert set(each["energy_j"]) == {"rails", "wall"} and each["layers"][2]["dominant"] == "launch"
    cheapest = [each["wall_j"] for each in found["paced"]]
    assert cheapest == sorted(cheapest)


def test_a_cpu_is_predicted_in_fp32_and_an_onnx_file_will_do(capsys):
    assert execute(["predict", STUDENT + "/model.onnx", "--device", "cpu", "--json"]) == 0
    found, = json.loads(capsys.readouterr().out)["predictions"]
    assert (found["device"], found["precision"], found["graph"]) == ("cpu", "fp32", False)


def test_the_picture_marks_the_cheapest_mode(tmp_path):
    page = tmp_path / "modes.html"
    assert execute(["predict", STUDENT, "--rate", "50", "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.count('class="bar') == 9 and text.count('class="bar best"') == 1
    assert "Predicted, not measured" in text and "idle included" in text


def test_a_mode_too_slow_for_the_rate_is_told_and_not_drawn(tmp_path, capsys):
    page = tmp_path / "modes.html"
    assert execute(["predict", STUDENT, "--rate", "6000", "-o", str(page)]) == 0
    assert "cannot keep up" in capsys.readouterr().out and "cannot keep up" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("words, code, sentence", [
    (["--mode", "MODE_40W"], 2, "choose from"), (["--batch", "1,x"], 2, "whole numbers"),
    (["-o", "x.html"], 2, "add --rate"), (["--board", "orin"], 2, "no board 'orin'"),
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
