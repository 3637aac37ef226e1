"""Runtimes in one table: what fails is a row, times are ratios within a turn, the page holds what was found."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from edgehar.artifact.manifest import Artifact
from edgehar.bench import runtimes
from edgehar.bench.runtimes import Candidate, RuntimeTable, TurnTimes, batches_of, compare_runtimes, write_page
from edgehar.cli import execute
from tests.tiny import tiny_artifact


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return tiny_artifact(tmp_path_factory.mktemp("runtimes") / "tiny")


@pytest.fixture(scope="module")
def found(artifact):
    return compare_runtimes(artifact, batches=(1, 8), turns=5)


def test_every_backend_that_measures_is_a_row_and_so_is_what_is_missing(found):
    rows = {(each.backend, each.precision): each for each in found.candidates}
    assert list(rows)[:2] == [("ort", "fp32"), ("ort", "int8")] and ("sim", "fp32") not in rows
    assert "TensorRT" in rows["trt", "fp16"].failure and not rows["trt", "fp16"].timings
    for precision in ("fp32", "int8"):
        row = rows["ort", precision]
        assert not row.failure and row.size_bytes > 500 and row.golden[0].passed
        assert [each.batch for each in row.timings] == [1, 8] and all(each.seconds > 0 for each in row.timings)
        assert all(each.ratio_low <= each.ratio <= each.ratio_high for each in row.timings)
    assert [each.ratio for each in rows["ort", "fp32"].timings] == [1, 1] and found.marks == ["SYNTHETIC DATA"]


def test_what_fails_says_why(artifact):
    (row,) = compare_runtimes(artifact, ["ort"], ["fp16"], (1,), turns=5).candidates
    assert "has no precision 'fp16'" in row.failure and not row.timings and not row.golden


def test_times_are_compared_within_a_turn():
    calls = {(0, 1): lambda: time.sleep(0.006), (1, 1): lambda: time.sleep(0.001)}
    seconds = runtimes._turns(calls, 5, lambda text: None)
    slow, fast = (runtimes._timing(place, 1, seconds) for place in (0, 1))
    assert slow.ratio == 1 and fast.ratio > 1.5 and slow.seconds > 0.005
    assert len(seconds[0, 1]) == len(seconds[1, 1]) == 5


def row(backend, *timings, failure=""):
    return Candidate(backend, "fp32", failure, 10, (), (), [TurnTimes(batch, s, 1, 1, 1) for batch, s in timings])


def test_the_fastest_is_told_for_each_batch():
    table = RuntimeTable("m", "0", "now", {}, (), "", 5, [row("a", (1, 2.0), (8, 5.0)), row("b", (1, 1.0)),
                                                 row("c", failure="no")])
    assert table.fastest(1).backend == "b" and table.fastest(8).backend == "a" and table.fastest(64) is None
    assert batches_of(table) == [1, 8]


def test_the_page_and_json_hold_every_row(found, tmp_path):
    page = write_page(found, tmp_path / "t.html").read_text(encoding="utf-8")
    assert page.count("<tr>") == 1 + len(found.candidates) and "TensorRT for Python" in page and "SYNTHETIC" in page
    told = json.loads(write_page(found, tmp_path / "t.json").read_text(encoding="utf-8"))
    assert len(told["candidates"]) == len(found.candidates) and told["artifact_sha256"] == found.artifact_sha256
    assert np.isfinite(told["candidates"][0]["timings"][0]["seconds"])


def test_the_command_shows_the_table_and_what_to_build(artifact, tmp_path, capsys):
    line = ["runtimes", str(artifact.folder), "--turns", "5", "--batch", "1", "-o", str(tmp_path / "t.html")]
    assert execute(line) == 0
    said = capsys.readouterr().out
    assert "us/window at 1" in said and "trt in fp16: TensorRT" in said and (tmp_path / "t.html").is_file()
    assert said.splitlines()[-1].startswith("next: edgehar build %s --backend ort --precision " % artifact.folder)
    assert execute([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["turns"] == 5


def test_build_takes_the_fastest_backend_that_verifies(artifact, capsys):
    assert execute(["build", str(artifact.folder), "--backend", "auto", "--precision", "int8"]) == 0
    assert "ort is the fastest here of: ort" in capsys.readouterr().err
    assert Artifact.load(artifact.folder).folder.joinpath("built", "ort-int8", "engine.json").is_file()
    assert execute(["build", str(artifact.folder), "--backend", "auto", "--precision", "fp16"]) == 7
    assert "no backend here runs it (ort: " in capsys.readouterr().err
