"""Results: a Run survives the disk unchanged, is never overwritten, and tells when it was tampered with."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from edgehar.errors import InconclusiveError, InputError
from edgehar.files import sha256_of_json, write_json
from edgehar.results.runs import UNSTABLE, EngineFacts, Measurement, Run, RunWarning, load_all

ENGINE = EngineFacts("student", "a" * 64, "e" * 64, "ort", "fp32", "corpus", "mobilenet", seed=3, teacher=None)
RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def example() -> Run:
    return Run(
        scenario={"name": "accuracy", "batch": 64}, engine=ENGINE,
        machine={"python": "3.8", "packages": {"numpy": "1.23"}},
        measurements=(Measurement("latency", "s", (0.25, 1e-05, 3.0)), Measurement("empty", "J", ())),
        people={"activity": {"ä": [[3, 1], [0, 4]], "b": [[1, 0], [2, 2]]}},
        classes={"activity": ("sit", "walk")}, split={"name": "fixed", "sha256": "0" * 64}, synthetic=True,
        command="edgehar bench student", warnings=(RunWarning(UNSTABLE, "it varied."),))


# ------------------------------------------------------------------ Run


def test_a_run_survives_the_disk(tmp_path):
    written = example()
    read = Run.load(written.write(tmp_path / "deep" / "run.json"))
    assert asdict(read) == asdict(written)
    assert isinstance(read.measurements[0], Measurement) and read.classes["activity"] == ("sit", "walk")


def test_its_measurements_and_confusions_are_found_by_name(tmp_path):
    read = Run.load(example().write(tmp_path / "run.json"))
    assert read.measurement("latency").values == (0.25, 1e-05, 3.0)
    assert read.measurement("energy") is None
    assert read.confusions("activity")["b"].tolist() == [[1, 0], [2, 2]]
    assert read.confusions("activity")["b"].dtype == np.int64
    assert read.confusions("placement") == {}


def test_a_run_is_never_overwritten(tmp_path):
    path = example().write(tmp_path / "run.json")
    before = path.read_bytes()
    with pytest.raises(InputError, match="never overwritten"):
        example().write(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", [
    lambda value: value["measurements"][0]["values"].__setitem__(0, 0.24),
    lambda value: value["people"]["activity"]["b"][0].__setitem__(0, 2),
    lambda value: value.update(synthetic=False), lambda value: value.update(source="simulated"),
    lambda value: value.update(warnings=[]), lambda value: value.pop("sha256")])
def test_a_changed_run_is_refused(tmp_path, change):
    path = example().write(tmp_path / "run.json")
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(InputError, match="was changed after it was written"):
        Run.load(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 99, "engine": {}}', '{"schema": 1}'])
def test_what_is_no_run_is_refused(tmp_path, text):
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(InputError):
        Run.load(path)


@pytest.mark.parametrize("change", [
    lambda value: value.update(humidity={"percent": 40}), lambda value: value.pop("warnings"),
    lambda value: value.update(measurements=[{"name": "latency", "unit": "s"}]),
    lambda value: value.update(classes=["sit", "walk"])])
def test_a_run_of_another_edgehar_is_refused_with_the_way_out(tmp_path, change):
    value = example().to_json()
    del value["sha256"]
    change(value)
    write_json(tmp_path / "run.json", dict(value, sha256=sha256_of_json(value)))
    with pytest.raises(InputError, match=r"run.json was written by another edgehar \(.*\); update edgehar\.$"):
        load_all([tmp_path])


def test_runs_are_loaded_from_files_and_folders(tmp_path):
    for name in ("b.json", "a.json", "deep/c.json"):
        example().write(tmp_path / "runs" / name)
    alone = example().write(tmp_path / "alone.json")
    assert len(load_all([tmp_path / "runs", alone])) == 4


def test_an_empty_folder_and_a_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.json"):
        with pytest.raises(InputError):
            load_all([path])


def test_reliability_and_events_survive_the_disk(tmp_path):
    bins = {"count": [0, 3], "confidence": [0, 2.75], "right": [0, 2]}
    run = replace(example(), calibration={"activity": {"b": bins}}, events={"activity": {"b": {"delays_s": [[0.5]]}}})
    read = Run.load(run.write(tmp_path / "run.json"))
    assert asdict(read) == asdict(run)
    assert read.reliabilities("activity")["b"].tolist() == [[0, 3], [0, 2.75], [0, 2]]
    assert read.reliabilities("placement") == {}


def test_committed_runs_from_before_these_fields_keep_their_digest():
    values = {path: json.loads(path.read_text(encoding="utf-8")) for path in sorted(RESULTS.glob("**/*.json"))}
    runs = {path: value for path, value in values.items() if "scenario" in value}  # beside certificates and others
    assert len(runs) > 50
    for path, value in runs.items():
        assert Run.load(path).to_json()["sha256"] == value["sha256"]


def test_a_run_of_sentences_is_read_by_kind_and_keeps_its_digest(tmp_path):
    """Schema 1 kept each warning as one sentence."""
    told = ["unstable: it varied.", "no CUDA graph: a kernel of its own.", "it rained."]
    value = dict(example().to_json(), schema=1, warnings=told)
    del value["sha256"]
    write_json(tmp_path / "old.json", dict(value, sha256=sha256_of_json(value)))
    read = Run.load(tmp_path / "old.json")
    assert read.warnings == (RunWarning(UNSTABLE, "it varied."), RunWarning("", told[1]), RunWarning("", told[2]))
    assert list(map(str, read.warnings)) == told and read.to_json()["sha256"] == sha256_of_json(value)


def test_facts_that_were_not_told_are_not_written_and_strange_ones_are_kept():
    written = replace(ENGINE, more={"trained_on": "a corpus"}, tasks=("activity",)).to_json()
    assert set(written) == {"artifact", "artifact_sha256", "sha256", "backend", "precision", "dataset", "model", "seed",
                            "teacher", "trained_on", "tasks"}
    assert written["teacher"] is None and EngineFacts.from_json(written).to_json() == written
    with pytest.raises(TypeError, match="model"):
        EngineFacts.from_json({key: value for key, value in written.items() if key != "model"})


# ------------------------------------------------------------------ Measurement


def test_a_percentile_needs_ten_values_beyond_it():
    values = tuple(float(k) for k in range(1000))
    assert Measurement("latency", "s", values).percentile(99) == pytest.approx(np.percentile(values, 99))
    assert Measurement("latency", "s", values[:20]).percentile(50) == 9.5
    for count, percent in ((999, 99), (99, 90), (19, 50), (99, 10), (0, 50), (1000, 100)):
        with pytest.raises(InconclusiveError, match="too few"):
            Measurement("latency", "s", values[:count]).percentile(percent)


def test_the_median_by_hand():
    assert Measurement("latency", "s", (1.0, 2.0, 9.0)).median == 2.0
