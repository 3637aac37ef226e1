"""``edgehar personalise``: record, fit, judge, write; and the commands that then decide by a head."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from edgehar.artifact.personal import load_head
from edgehar.artifact.manifest import Artifact
from tests.forked import run_forked
from tests.tiny import SIGNAL, TASKS, tiny_artifact

NAMES = TASKS["activity"]
STRETCH_S = 8.0


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_artifact(tmp_path_factory.mktemp("artifacts") / "tiny").folder


def movement(label: int, seconds: float, seed: int = 0) -> np.ndarray:
    """(T, 3) of a class as this wearer does it: of another strength and lean than the others."""
    draw, time_s = np.random.default_rng([label, seed]), np.arange(int(seconds * SIGNAL.rate_hz)) / SIGNAL.rate_hz
    swing = (1 + 3 * label) * np.sin(2 * np.pi * (1 + label) * time_s[:, None] + [0, 1, 2])
    return np.array([label - 1.0, 9.81 - 2 * label, 2.0 * label]) + swing + draw.normal(0, 0.2, (len(time_s), 3))


def write_table(path: Path, samples: np.ndarray) -> None:
    with open(str(path), "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["time_s", "acc/x", "acc/y", "acc/z"])
        table.writerows([["%.3f" % (number / SIGNAL.rate_hz), *map(repr, row.tolist())]
                         for number, row in enumerate(samples)])


def record(folder: Path, name: str = "anna", seconds: float = STRETCH_S, order=(0, 1, 2), seed: int = 0):
    """Files of one enrolment: samples, and marks of the classes in `order`."""
    source, labels = folder / (name + ".csv"), folder / (name + "-labels.csv")
    write_table(source, np.concatenate([movement(label, seconds, seed) for label in order]))
    lines = ["%g,%g,%s" % (place * seconds, (place + 1) * seconds, NAMES[label]) for place, label in enumerate(order)]
    labels.write_text("\n".join(["start_s,end_s,label", *lines]) + "\n")
    return source, labels


def line(*words, cwd: Path, **variables: str):
    return run_forked([str(word) for word in words], cwd, variables)


def personalise(base: Path, folder: Path, *words, **recorded):
    source, labels = record(folder, **recorded)
    return line("personalise", base, "--source", "csv:path=%s" % source, "--labels", labels, "-o", folder / "head",
                *words, cwd=folder)


def test_a_head_is_fitted_judged_and_written(base, tmp_path):
    before = Artifact.load(base).sha256
    done = personalise(base, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "held-back halves" in done.stdout and "next: edgehar run %s --head %s" % (base, tmp_path) in done.stdout
    head = load_head(tmp_path / "head")
    assert head.wearer == "head" and head.base_sha256 == before == Artifact.load(base).sha256
    assert head.enrolment["seconds"] == {name: pytest.approx(STRETCH_S, abs=0.7) for name in NAMES}
    assert head.enrolment["gate"]["verdict"] == "better" and head.enrolment["method"] == "map"


def test_json_tells_what_the_head_keeps(base, tmp_path):
    done = personalise(base, tmp_path, "--json", "--wearer", "Anna B.", "--method", "map:strength=3")
    told = json.loads(done.stdout)
    assert told["wearer"] == "Anna B." and told["method"] == "map:strength=3" and told["signed"] is False
    assert told["sha256"] == load_head(tmp_path / "head").sha256 and told["wearings"] == 1


def test_two_wearings_are_enrolled_together(base, tmp_path):
    pairs = [record(tmp_path, name, seed=seed) for seed, name in enumerate(("monday", "friday"))]
    words = [word for source, labels in pairs for word in ("--source", "csv:path=%s" % source, "--labels", labels)]
    done = line("personalise", base, *words, "-o", tmp_path / "head", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert told["wearings"] == 2 and told["seconds"]["still"] == pytest.approx(2 * STRETCH_S, abs=1.4)


def test_too_little_keeps_the_base(base, tmp_path):
    done = personalise(base, tmp_path, seconds=1.5)
    assert done.returncode == 8 and "too little was recorded" in done.stderr and "1.92 s" in done.stderr
    assert not (tmp_path / "head").exists()


def test_no_better_keeps_the_base(base, tmp_path):
    """The second half of what is marked as each class was another one."""
    half = STRETCH_S / 2
    samples = np.concatenate([movement(label, half) for label in (0, 1, 1, 2, 2, 0)])
    source, labels = record(tmp_path)
    write_table(source, samples)
    done = line("personalise", base, "--source", "csv:path=%s" % source, "--labels", labels, "-o", tmp_path / "head",
                cwd=tmp_path)
    assert done.returncode == 3 and "is not clearly better on the other half" in done.stderr
    assert "the base is kept and nothing was written" in done.stderr and not (tmp_path / "head").exists()


def test_the_wearer_is_guided_by_the_samples(base, tmp_path):
    seconds, settle_s = 8.0, 3.0
    source, _ = record(tmp_path, seconds=seconds + settle_s)
    done = line("personalise", base, "--source", "csv:path=%s" % source, "--guided", "--seconds", seconds, "-o",
                tmp_path / "head", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    told = [each for each in done.stderr.splitlines() if " of 3: " in each]
    assert told == ["%d of 3: %s, for 8 s after 3 s to change over" % (number, name)
                    for number, name in enumerate(NAMES, start=1)]
    assert load_head(tmp_path / "head").enrolment["seconds"]["still"] == pytest.approx(seconds, abs=0.7)


@pytest.mark.parametrize("words, told", [
    ([], "needs samples"),
    (["--source", "csv:path=x.csv"], "either --labels FILE.csv for each --source, or --guided"),
    (["--source", "csv:path=x.csv", "--guided", "--labels", "y.csv"], "either --labels"),
    (["--source", "csv:path=x.csv", "--source", "csv:path=y.csv", "--labels", "y.csv"], "its own --labels")])
def test_what_was_done_must_be_said_once(base, tmp_path, words, told):
    done = line("personalise", base, *words, "-o", "head", cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr


@pytest.mark.parametrize("text, told", [
    ("start_s,end_s,label\n0,8,walkin\n", "line 2 says 'walkin', which is none of the model's classes (did you mean "
     "'walking'?)"),
    ("start_s,end_s,label\n8,1,still\n", "line 2 ends at 1 s and begins at 8 s"),
    ("start_s,end_s,label\n0,eight,still\n", "line 2 holds '0,eight' where seconds belong"),
    ("begin,end,label\n0,8,still\n", "has no column 'start_s'"),
    ("start_s,end_s,label\n", "marks nothing")])
def test_marks_that_cannot_be_read_are_refused_by_their_line(base, tmp_path, text, told):
    source, labels = record(tmp_path)
    labels.write_text(text)
    done = line("personalise", base, "--source", "csv:path=%s" % source, "--labels", labels, "-o", "head", cwd=tmp_path)
    assert done.returncode == 2 and told in done.stderr


def decisions(folder: Path, base: Path, *words):
    """The raw labels of a run over a later recording."""
    source, _ = record(folder, "later", order=(2, 0, 1), seed=7)
    done = line("run", base, "--source", "csv:path=%s" % source, "--sink", "jsonl:path=said.jsonl", "--quiet", *words,
                cwd=folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(each)["raw_label"]["activity"] for each in (folder / "said.jsonl").read_text().splitlines()]


def test_a_stream_decides_by_the_head(base, tmp_path):
    assert personalise(base, tmp_path).returncode == 0
    plain, personal = decisions(tmp_path, base), decisions(tmp_path, base, "--head", "head")
    truth = [NAMES[label] for label in np.repeat((2, 0, 1), int(STRETCH_S * SIGNAL.rate_hz))]
    at = SIGNAL.window // 2 + SIGNAL.hop * np.arange(len(personal))
    right = [np.mean([said == truth[place] for said, place in zip(each, at)]) for each in (plain, personal)]
    assert right[1] > 0.9 > right[0]


def test_a_folded_head_says_the_same(base, tmp_path):
    assert personalise(base, tmp_path).returncode == 0
    done = line("personalise", base, "--fold", "head", "-o", "own", cwd=tmp_path)
    assert done.returncode == 0 and "next: edgehar build own" in done.stdout, done.stderr
    assert decisions(tmp_path, tmp_path / "own") == decisions(tmp_path, base, "--head", "head")


def test_a_head_of_another_base_is_refused_everywhere(base, tmp_path):
    assert personalise(base, tmp_path).returncode == 0
    other = tiny_artifact(tmp_path / "other", name="other").folder
    source, _ = record(tmp_path, "later")
    for words in (["run", other, "--source", "csv:path=%s" % source], ["verify", other],
                  ["serve", other, "--source", "csv:path=%s" % source, "--http", "off"],
                  ["rehearse", other, "--source", "csv:path=%s" % source, "--fast"]):
        done = line(*words, "--head", "head", cwd=tmp_path)
        assert done.returncode == 6 and "was fitted to the artifact tiny" in done.stderr, done.stderr


def test_a_service_decides_by_the_head(base, tmp_path):
    assert personalise(base, tmp_path).returncode == 0
    source, _ = record(tmp_path, "later", order=(2, 0, 1), seed=7)
    done = line("serve", base, "--source", "csv:path=%s" % source, "--http", "off", "--head", "head", "--sink",
                "jsonl:path=served.jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    served = (tmp_path / "served.jsonl").read_text().splitlines()
    assert [json.loads(each)["raw_label"]["activity"] for each in served] == decisions(tmp_path, base, "--head", "head")


def test_heads_are_rehearsed(base, tmp_path):
    assert personalise(base, tmp_path).returncode == 0
    source, _ = record(tmp_path, "later")
    for words in (["--head", "head"], ["--own-heads"]):
        done = line("rehearse", base, "--source", "csv:path=%s" % source, "--streams", 5, "--seconds", 2, "--fast",
                    "--json", *words, cwd=tmp_path)
        told = json.loads(done.stdout)
        assert told["own_heads"] is True and told["decisions"] > 0 and told["way"] == "full window"


def test_a_signed_head_is_verified_against_whom_this_machine_trusts(base, tmp_path):
    pytest.importorskip("cryptography")
    from edgehar.deploy.signing import generate_keys

    keys, trusted = generate_keys(tmp_path / "anna-key"), tmp_path / "config" / "edgehar" / "trusted"
    assert personalise(base, tmp_path, "--key", keys.private).returncode == 0
    config = {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    assert "signed, by nobody who is trusted here" in line(
        "verify", base, "--head", "head", cwd=tmp_path, **config).stdout
    trusted.mkdir(parents=True)
    (trusted / "other.pub").write_bytes(generate_keys(tmp_path / "other").public.read_bytes())
    refused = line("verify", base, "--head", "head", cwd=tmp_path, **config)
    assert refused.returncode == 6 and "signed by a key that is not trusted here" in refused.stderr
    (trusted / "anna.pub").write_bytes(keys.public.read_bytes())
    assert "signed by %s, which is trusted here" % keys.fingerprint in line(
        "verify", base, "--head", "head", cwd=tmp_path, **config).stdout
