"""``edgehar run``: the happy path, and one sentence with its exit code for everything else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edgehar.artifact.manifest import Artifact
from edgehar.cli._streaming import open_source
from edgehar.cli.run import _percent, _tell_losses
from tests.broker import PATIENCE_S, until
from tests.forked import run_forked
from tests.linear import BACKEND, DATASET, SPLIT, noise, write_artifact

ROOT = Path(__file__).resolve().parents[2]
LINE = [sys.executable, "-c", "from edgehar.cli import main; main()", "--plugin", str(BACKEND), "--plugin",
        str(DATASET), "run"]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """A linear artifact; the first run builds its engine."""
    return write_artifact(tmp_path_factory.mktemp("artifacts") / "linear").folder


def start(*words, **options) -> subprocess.Popen:
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.Popen([*LINE, *map(str, words)], env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, universal_newlines=True, **options)


def run(*words, fed: str = ""):
    """(exit code, stdout, stderr) of one command line."""
    done = run_forked([*LINE[3:], *map(str, words), "--backend", "linear"], Path.cwd(), fed=fed)
    return done.returncode, done.stdout, done.stderr


def table(rate_hz: float = 50.0, columns: str = "time_s,acc/x,acc/y,acc/z", bad: str = "",
          count: int = 120) -> str:
    """CSV text of `count` samples; `bad` replaces the first channel of the last."""
    rows = [["%.4f" % (number / rate_hz), *map(repr, row.tolist())] for number, row in enumerate(noise(count))]
    rows[-1][1] = bad or rows[-1][1]
    return "\n".join([columns] + [",".join(row[:columns.count(",") + 1]) for row in rows]) + "\n"


@pytest.mark.parametrize("words, told", [(["--settle", "hmm"], "exported without stay probabilities"),
                                         (["--unknown"], "edgehar settle"), (["--unknown", "2"], "from 0 to 1")])
def test_what_the_artifact_cannot_settle_is_refused(artifact, words, told):
    refused(run(artifact, *words), 2, told)


def test_a_label_is_unknown_below_a_confidence(artifact, tmp_path):
    for name, words in (("plain", []), ("doubting", ["--unknown", "0.9"])):
        code, _, err = run(artifact, "--sink", "jsonl:path=%s" % (tmp_path / name), *words)
        assert code == 0, err
    plain, doubting = ([json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
                       for name in ("plain", "doubting"))
    assert any(one["label"] != other["label"] for one, other in zip(plain, doubting))
    for one, other in zip(plain, doubting):
        assert other["label"] == {task: "unknown" if one["confidence"][task] < 0.9 else label
                                  for task, label in one["label"].items()}


def refused(result, code: int, *parts: str) -> None:
    """One sentence on stderr, naming `parts`, and no traceback."""
    assert result[0] == code, result[2]
    (sentence,) = [line for line in result[2].splitlines() if not line.startswith(("recognising ", "warning: "))]
    assert sentence.startswith("edgehar: ")
    for part in parts:
        assert part in sentence


# ------------------------------------------------------------------ what it does


def test_replay_of_the_models_own_corpus_by_default(artifact, tmp_path):
    path = tmp_path / "decisions.jsonl"
    code, out, err = run(artifact, "--sink", "console:all=true", "--sink", "jsonl:path=%s" % path)
    assert code == 0, err
    decisions = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(decisions) == len(out.splitlines()) == 24
    first, summary, following = err.splitlines()
    assert first.startswith("recognising activity and placement from 3 channels (m/s^2) at 50 Hz: 0.32 s every 0.10 s; "
                            "its recordings follow one another with pauses of 60 s between")
    assert summary.startswith("decisions: 24, label changes: ")
    assert ", gaps: 1, signal: 3.0 s, computing took " in summary
    assert all(line.endswith("[trained on synthetic data, fed synthetic data]") for line in (first, summary))
    engine = artifact / "built" / "linear-fp32"
    assert following.startswith("next: edgehar bench %s --plugin " % engine)
    again = tmp_path / "again.jsonl"
    assert run(engine, "--sink", "jsonl:path=%s" % again)[0] == 0
    assert again.read_text() == path.read_text()


def test_a_table_on_standard_input_with_its_columns_in_any_order(artifact):
    code, straight, err = run(artifact, "--source", "csv", "--sink", "jsonl", fed=table())
    assert code == 0, err
    turned = table(columns="time_s,acc/z,acc/y,acc/x").splitlines()
    swapped = [",".join([t, z, y, x]) for t, x, y, z in (line.split(",") for line in turned[1:])]
    code, other, err = run(artifact, "--source", "csv", "--sink", "jsonl", fed="\n".join(turned[:1] + swapped))
    assert other == straight and len(straight.splitlines()) == 21
    assert [json.loads(line)["time_s"] for line in straight.splitlines()[:2]] == [0.3, 0.4]


def test_limit_hop_and_quiet(artifact):
    code, out, err = run(artifact, "--source", "csv", "--sink", "console:all=true", "--hop", "1", "--limit-s", "0.4",
                         "--quiet", fed=table())
    assert (code, len(out.splitlines()), err) == (0, 5, "")


def test_a_hold_for_each_task_and_a_student_for_a_placement(artifact, tmp_path):
    """The student has other weights: it decides the activity while the placement is right, and only then."""
    student = write_artifact(tmp_path / "student", seed=4).folder
    line = ["--source", "csv", "--sink", "jsonl", "--quiet"]

    def said(*words):
        code, out, err = run(*words, *line, fed=table())
        assert code == 0, err
        return [json.loads(decision) for decision in out.splitlines()]

    held = ("--hold", "activity=1,placement=2")
    routed = said(artifact, *held, "--route", "placement", "--student", "right=%s" % student)
    alone, other = said(artifact, *held), said(student, *held)
    assert [d["label"]["placement"] for d in routed] == [d["label"]["placement"] for d in alone]
    assert {d["label"]["placement"] for d in routed} == {"left", "right"}
    for mixed, mine, theirs in zip(routed, alone, other):
        assert mixed["raw_label"]["activity"] == (
            theirs if mixed["label"]["placement"] == "right" else mine)["raw_label"]["activity"]


@pytest.mark.parametrize("words, code, parts", [
    (("--route", "placement"), 2, ("--student wrist=ENGINE",)),
    (("--route", "placement", "--student", "right"), 2, ("LABEL=ENGINE",)),
    (("--route", "placement", "--student", "ankle=x"), 2, ("'ankle' is no label of 'placement'", "left, right")),
    (("--route", "placement", "--student", "right=nowhere"), 2, ("nowhere",))])
def test_a_route_that_cannot_be_is_one_sentence(artifact, words, code, parts):
    refused(run(artifact, "--source", "csv", *words, fed=table()), code, *parts)


@pytest.mark.parametrize("hold", ["three", "activity=", "=3", "activity=3;placement=4"])
def test_a_hold_that_is_no_number_is_refused(artifact, hold):
    assert "nor one for each task as in activity=3,placement=10" in run(artifact, "--hold", hold)[2]


def test_real_time_takes_its_time(artifact):
    started_s = time.monotonic()
    code, out, err = run(artifact, "--source", "csv", "--speed", "2", fed=table())
    assert code == 0 and time.monotonic() - started_s > 1.2


def test_a_replay_is_of_the_models_corpus_in_the_root_unless_the_spec_says_otherwise(artifact):
    manifest = replace(Artifact.load(artifact).manifest, data={"dataset": "uci-har", "split": SPLIT.to_json()})
    for spec, expected in (("replay", ("uci-har", "here")), ("replay:dataset=wisdm,root=there", ("wisdm", "there"))):
        dataset = open_source(spec, manifest, "here")._dataset
        assert (dataset.name, dataset.root) == expected


def test_replay_of_another_person(artifact, tmp_path):
    code, out, err = run(artifact, "--source", "replay:dataset=walks,subject=1", "--root", tmp_path, "--quiet")
    assert (code, err) == (0, "") and out
    refused(run(artifact, "--source", "replay:subject=9"), 2, "there are: 01, 02, 03")


def test_a_faster_source_is_resampled_and_told_with_its_rates(artifact):
    code, out, err = run(artifact, "--source", "csv:rate_hz=101", "--sink", "console:all=true",
                         fed=table(rate_hz=100.0, count=240))
    assert code == 0 and len(out.splitlines()) == 21
    first, summary, _ = err.splitlines()
    assert ("; the source's 101 Hz, 100 Hz by its clock, are resampled to 50 Hz, which delays decisions by 0.13 s"
            in first)
    assert ", signal: 2.4 s, computing took " in summary and ", rate: 100 Hz measured, 101 Hz nominal" in summary


def test_rates_stand_in_the_json_and_one_that_is_not_kept_is_warned_of(artifact):
    lines = table(rate_hz=100.0, count=240).splitlines()
    text = "\n".join(lines[:130] + lines[130::3])  # after the rows that its rate is measured from
    code, out, err = run(artifact, "--source", "csv", "--json", fed=text)
    facts = json.loads(out)
    assert (facts["claimed_hz"], facts["resampled"]) == (pytest.approx(100), True)
    assert facts["measured_hz"] == pytest.approx(70, abs=2) and facts["delay_s"] == pytest.approx(0.13, abs=0.005)
    assert "warning: the source declares 100 samples per second and delivered 69" in err
    assert "samples never came and were interpolated" in err
    facts = json.loads(run(artifact, "--json")[1])
    assert (facts["claimed_hz"], facts["measured_hz"], facts["resampled"], facts["delay_s"]) == (50, None, False, 0)


def test_the_summary_as_json_stands_alone_unless_a_sink_is_asked_for(artifact):
    code, out, err = run(artifact, "--source", "csv", "--json", fed=table())
    facts = json.loads(out)
    assert code == 0 and len(err.splitlines()) == 1
    assert (facts["decisions"], facts["gaps"], facts["signal_s"], facts["interrupted"]) == (21, 0, 2.4, False)
    assert facts["trained_on_synthetic"] and not facts["fed_synthetic"]
    assert run(artifact, "--source", "csv", "--json", "--sink", "jsonl", fed=table())[1].count("time_s") == 21


def test_messages_that_were_not_taken_are_told(capsys):
    fed = type("Fed", (), {"keeps_rate": True})()
    lossy = type("Lossy", (), {"dropped": 3, "problem": "a message on x is damaged"})()
    _tell_losses(fed, lossy)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "warning: 3 messages were not taken; the last because: a message on x is damaged."


@pytest.mark.parametrize("sink", ["jsonl", "console:all=true"])
def test_a_reader_that_goes_away_ends_it_quietly(artifact, sink):
    process = start(artifact, "--backend", "linear", "--source", "csv", "--quiet", "--sink", sink,
                    stdin=subprocess.PIPE)
    process.stdout.close()
    err = process.communicate(table())[1]
    assert (process.returncode, err) == (141, "")


def test_acceleration_in_g_is_doubted(artifact):
    lines = table().splitlines()
    in_g = [",".join([t, *(repr(float(value) / 9.81) for value in values)])
            for t, *values in (line.split(",") for line in lines[1:])]
    code, out, err = run(artifact, "--source", "csv", "--quiet", fed="\n".join(lines[:1] + in_g))
    assert code == 0 and err.startswith("warning: acceleration of wrist/imu/acc is 0.") and err.count("\n") == 1


def test_the_help_names_what_may_be_asked_for():
    out = " ".join(start("--help").communicate()[0].split())
    assert "(csv, jsonl, mqtt, replay, sample, serial, udp)" in out and "(console, jsonl, mqtt)" in out


def test_a_share_reads_well():
    assert [_percent(share) for share in (0.00064, 0.0301, 0.5, 25)] == ["0.064 %", "3 %", "50 %", "2,500 %"]


def test_ctrl_c_ends_with_the_summary(artifact, tmp_path):
    path = tmp_path / "decisions.jsonl"
    process = start(artifact, "--backend", "linear", "--speed", "1.0", "--sink", "jsonl:path=%s" % path)
    until(lambda: path.exists() and path.read_text(), "it decides")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "stopped by Ctrl-C" in err
    assert all(json.loads(line) for line in path.read_text().splitlines())


# ------------------------------------------------------------------ what it refuses


def test_a_signal_shorter_than_a_window_is_inconclusive(artifact):
    refused(run(artifact, "--source", "csv", "--limit-s", "0.1", fed=table()), 8, "ended after 0.10 s",
            "a window takes 0.32 s")


def test_a_wrong_rate_says_both_and_touches_nothing(artifact, tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_text("kept\n")
    result = run(artifact, "--source", "csv", "--sink", "jsonl:path=%s" % path, fed=table(rate_hz=25.0))
    refused(result, 2, "delivers 25 samples per second", "reads 50", "does not upsample")
    assert path.read_text() == "kept\n"


def test_a_missing_channel_is_named(artifact):
    refused(run(artifact, "--source", "csv", fed=table(columns="time_s,acc/x,acc/y")), 2,
            "'wrist/imu/acc/z'", "acc/x, acc/y")


def test_a_row_without_all_channels_is_named_with_its_line(artifact):
    lines = table(count=400).splitlines()
    lines[300] = "5.98,1.0"
    code, out, err = run(artifact, "--source", "csv", fed="\n".join(lines))
    assert code == 2 and out and "standard input line 301 has 2 cells" in err.splitlines()[-1]
    assert "decisions: 57, " in err  # what came before it is decided and summed up
    code, out, err = run(artifact, "--source", "csv", "--json", fed="\n".join(lines))
    assert code == 2 and "line 301 has 2 cells" in json.loads(out)["fault"] and json.loads(out)["decisions"] == 57


def test_a_last_line_that_is_cut_short_costs_itself_alone(artifact):
    code, out, err = run(artifact, "--source", "csv", "--json", fed=table() + "2.4,1.0")
    assert code == 0 and "line 122, its last, is cut short" in err
    samples = json.loads(out)["samples"]
    assert samples["arrived"] == 121 and samples["dropped"] == {"line cut short": 1}
    assert samples["decided"] + samples["waiting"] == 120


def test_nan_is_named_and_costs_its_sample_alone(artifact):
    lines = table(count=400).splitlines()
    lines[200:220] = [line.split(",")[0] + ",nan,1,2" for line in lines[200:220]]
    code, out, err = run(artifact, "--source", "csv", fed="\n".join(lines))
    assert code == 0 and "the source holds nan in channel 'wrist/imu/acc/x' at 3.980 s" in err
    assert "gaps: 1," in err and "20 not a number" in err


def test_a_constant_channel_is_refused_unless_allowed(artifact):
    stuck = "\n".join(line if number == 0 else ",".join(line.split(",")[:3] + ["9.81"])
                      for number, line in enumerate(table().splitlines()))
    refused(run(artifact, "--source", "csv", fed=stuck), 2, "'wrist/imu/acc/z' stays at 9.81",
            "--allow-constant accepts that")
    assert run(artifact, "--source", "csv", "--allow-constant", fed=stuck)[0] == 0


@pytest.mark.parametrize("words, parts", [
    (["--speed", "fast"], ["'fast' is neither 'max' nor a positive number"]),
    (["--hold", "0"], ["hold is 0"]), (["--hop", "0"], ["--hop", "x>=1"]),
    (["--source", "cvs"], ["no source named 'cvs'", "csv, jsonl, mqtt, replay"]),
    (["--sink", "jsonl:file=x"], ["no option 'file'"]), (["--precision", "fp8"], ["'fp8' is not one of"]),
])
def test_senseless_options_are_refused(artifact, words, parts):
    refused(run(artifact, *words), 2, *parts)


def test_a_damaged_artifact_and_no_artifact(tmp_path):
    refused(run(tmp_path), 2, "holds no manifest.json")
    folder = write_artifact(tmp_path / "linear").folder
    stored = bytearray((folder / "model.onnx").read_bytes())
    stored[100] ^= 1
    (folder / "model.onnx").write_bytes(bytes(stored))
    refused(run(folder), 6, "model.onnx was changed after export")


def words_of_demo(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "edgehar", "demo", "--speed", "max", *words], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONIOENCODING="ascii"))


def test_the_demo_draws_what_it_recognises_in_any_terminal():
    pytest.importorskip("onnxruntime")
    done = words_of_demo("--seconds", "30")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and "GENERATED signal of no person" in lines[0], done.stderr
    assert max(map(len, lines)) <= 100 and max(map(len, lines[1:-2])) < 80
    assert sum(" s  " in line and line.endswith(tuple("0123456789")) for line in lines[2:]) == 8


def test_the_demo_as_json_is_decisions_alone_and_those_of_its_seed():
    pytest.importorskip("onnxruntime")
    first, again, other = (words_of_demo("--json", "--seed", seed).stdout for seed in ("0", "0", "1"))
    assert len([json.loads(line)["label"]["activity"] for line in first.splitlines()]) == 17
    assert first == again != other


def test_whoever_has_no_corpus_is_told_of_other_sources():
    pytest.importorskip("onnxruntime")
    environment = {key: value for key, value in os.environ.items() if key != "EDGEHAR_DATA"}
    done = subprocess.run([*LINE, str(ROOT / "engines" / "wisdm-watch-s")], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, env=dict(environment, PYTHONPATH=str(ROOT)))
    assert done.returncode == 2 and "set EDGEHAR_DATA" in done.stderr and "--source sample" in done.stderr
