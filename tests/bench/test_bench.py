"""Bench: what is timed and what is not, who is scored, and what may be quoted."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgehar import __version__, cli
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.bench import accuracy, run as bench, streaming, timing, verdicts
from edgehar.bench.scenarios import SCENARIOS
from edgehar.data.channels import triad
from edgehar.data.signals import Recording, Windows
from edgehar.data.splits import Split
from edgehar.errors import ConstraintError, InconclusiveError, InputError, MismatchError, UnstableError
from edgehar.results.events import EventScores, score_events
from edgehar.results.rows import accuracy_rows
from edgehar.results.runs import NOT_SCORED, UNJUDGED, UNSTABLE, EngineFacts, Measurement, Run, RunWarning
from edgehar.stream.stream import Stream
from tests.linear import CHANNELS, SIGNAL, LinearSession, add_plugins, noise

CLASSES = ("still", "walk", "run")
SPLIT = Split("walks", "fixed", ("01",), ("02",), ("03",))
SHA = SPLIT.sha256


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    add_plugins(monkeypatch)
    accuracy._held_out_windows.cache_clear()


def sign_weights() -> np.ndarray:
    """(3, C * T): "walk" where the last sample of the first channel is above 0, "run" where it is below."""
    weights = np.zeros((3, len(CHANNELS), SIGNAL.window), np.float32)
    weights[1, 0, -1], weights[2, 0, -1] = 1, -1
    return weights.reshape(3, -1)


def write_artifact(folder: Path, split: Split = SPLIT, dataset: str = "walks") -> Artifact:
    folder.mkdir(parents=True)
    buffer = io.BytesIO()
    np.savez(buffer, activity=sign_weights())
    (folder / "model.onnx").write_bytes(buffer.getvalue())
    x = np.stack([noise(SIGNAL.window, seed).T for seed in range(4)])
    session = LinearSession({"activity": sign_weights()}, max_batch=4)
    np.savez(str(folder / "golden.npz"), x=x, **{"logits/activity": session.infer(x)["activity"]})
    np.savez(str(folder / "calibration.npz"), windows=x)
    write_manifest(folder, dict(
        name="sign", created="2024-01-01T00:00:00Z", edgehar="0", signal=SIGNAL, tasks={"activity": CLASSES},
        data={"dataset": dataset, "synthetic": True, "licence": "free", "citation": "none",
              "split": dict(split.to_json(), sha256=split.sha256)},
        model={"spec": "sign", "parameters": 2, "macs": 144},
        training={"method": "kd", "teacher": "big", "seed": 7},
        onnx={"opset": 16, "ir_version": 8, "operators": []},
        golden={"kind": "synthetic", "count": 4, "people": []},
        calibration={"kind": "windows", "count": 4, "people": ["01"]}))
    return Artifact.load(folder)


@pytest.fixture
def engine(tmp_path):
    return BACKENDS.create("linear").build(write_artifact(tmp_path / "sign"), BuildSpec(), tmp_path / "engine")


class FakeTime:
    """A clock on which only `sleep` and the calls' services pass time."""

    def __init__(self, services) -> None:
        self.now, self.services, self.calls = 100.0, iter(services), []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def patch(self, monkeypatch) -> "FakeTime":
        launch = LinearSession.launch

        def timed(session, count, slot=0):
            self.calls.append(count)
            self.now += next(self.services)
            launch(session, count, slot)

        monkeypatch.setattr(LinearSession, "launch", timed)
        return self


def run(engine, scenario, fake):
    return bench.run(engine, scenario, clock=fake.clock, sleep=fake.sleep)


def values(found: Run, name: str):
    return found.measurement(name).values


# ------------------------------------------------------------------ timing, on a clock made by hand


def test_paced_latency_counts_from_the_moment_a_window_was_due(engine, monkeypatch):
    """::

        due    0.0   0.1   0.2   0.3          the second call takes 0.25 and makes two others late
        start  0.0   0.1   0.35  0.40
        end    0.05  0.35  0.40  0.45
    """
    fake = FakeTime([9.0, 0.05, 0.25, 0.05, 0.05]).patch(monkeypatch)
    found = run(engine, SCENARIOS.create("paced", warmup_s=0, duration_s=0.4, rate_hz=10), fake)
    assert values(found, "latency") == pytest.approx((0.05, 0.25, 0.20, 0.15))
    assert values(found, "lateness") == pytest.approx((0, 0, 0.15, 0.10), abs=1e-9)
    assert values(found, "service") == pytest.approx((0.05, 0.25, 0.05, 0.05))
    assert values(found, "deadline_misses") == (3.0,)


def test_an_engine_too_slow_for_the_rate_is_stopped_and_the_unreached_windows_are_missed(engine, monkeypatch):
    fake = FakeTime([1.0] * 100).patch(monkeypatch)
    found = run(engine, SCENARIOS.create("paced", warmup_s=0, duration_s=2, rate_hz=10), fake)
    assert values(found, "latency") == pytest.approx((1.0, 1.9, 2.8, 3.7, 4.6))
    assert values(found, "deadline_misses") == (20.0,)
    assert any(str(warning).startswith("overloaded: 15 of 20") for warning in found.warnings)


def test_warm_up_is_never_counted(engine, monkeypatch):
    fake = FakeTime([0.5, 0.5] + [0.125] * 8).patch(monkeypatch)
    found = run(engine, SCENARIOS.create("single_stream", warmup_s=1.0, duration_s=1.0), fake)
    assert len(fake.calls) == 10
    assert values(found, "latency") == (0.125,) * 8


def test_offline_keeps_latency_and_throughput_of_each_batch(engine, monkeypatch):
    fake = FakeTime([1.0, 0.5, 0.25, 0.25]).patch(monkeypatch)
    found = run(engine, SCENARIOS.create("offline", batch=6, warmup_s=0, duration_s=1), fake)
    assert fake.calls == [6] * 4
    assert values(found, "latency") == pytest.approx((0.5, 0.25, 0.25))
    assert values(found, "throughput") == pytest.approx((12, 24, 24))


def test_inputs_are_the_golden_windows_in_an_order_of_the_seed():
    golden = np.arange(5, dtype=np.float32).reshape(5, 1, 1)
    inputs = timing.endless_inputs(golden, 3, seed=1)
    first = np.concatenate([next(inputs).ravel() for _ in range(5)])
    assert sorted(first.tolist()) == sorted(list(range(5)) * 3)
    again = timing.endless_inputs(golden, 3, seed=1)
    assert np.concatenate([next(again).ravel() for _ in range(5)]).tolist() == first.tolist()


def test_phases_are_told_in_order(engine):
    told = []
    bench.run(engine, SCENARIOS.create("single_stream", warmup_s=0, duration_s=0.01), on_phase=told.append)
    assert told == ["warm-up", "measuring"]


def test_the_run_tells_engine_machine_and_scenario(engine):
    scenario = SCENARIOS.create("single_stream", warmup_s=0, duration_s=0.01)
    found = bench.run(engine, scenario, command="edgehar bench sign")
    facts = found.engine
    assert (facts.backend, facts.precision, facts.threads) == ("linear", "fp32", 1)
    assert (facts.sha256, facts.artifact_sha256) == (engine.sha256, engine.manifest.sha256)
    assert (facts.method, facts.teacher, facts.seed) == ("kd", "big", 7)
    assert (facts.parameters, facts.macs, facts.dataset) == (2, 144, "walks")
    assert facts.size_bytes == (engine.folder / "weights.npz").stat().st_size
    assert found.scenario["duration_s"] == 0.01 and found.machine["python"] and found.split["sha256"] == SHA
    assert found.machine["packages"]["edgehar"] == __version__
    assert found.synthetic and found.source == "measured" and found.command == "edgehar bench sign"


# ------------------------------------------------------------------ may it be quoted?


def test_steady_seconds_give_no_warning():
    assert verdicts.stability_warnings(np.array([1.0, 1.02, 0.99, 1.0, 1.01])) == []


def test_varying_seconds_and_a_late_drift_are_unstable():
    assert "vary by 20.0 %" in verdicts.stability_warnings(np.array([0.8, 1.2] * 5))[0].text
    drifting = verdicts.stability_warnings(np.array([1.0] * 20 + [1.0, 1.06, 1.12]))
    assert len(drifting) == 1 and "last three seconds lie 11.3 % apart" in drifting[0].text


def test_two_seconds_are_too_short_to_judge():
    assert verdicts.stability_warnings(np.array([1.0, 1.0]))[0].kind == UNJUDGED


def test_medians_are_of_whole_seconds():
    start = np.array([5.0, 5.5, 5.9, 6.2, 7.1])
    medians = verdicts.per_second_medians(start, np.array([1.0, 2.0, 9.0, 4.0, 100.0]), duration_s=2.5)
    assert medians.tolist() == [2.0, 4.0]


def test_an_unsteady_measurement_is_warned_of(engine, monkeypatch):
    fake = FakeTime([0.01] + [0.01] * 200 + [0.02] * 200).patch(monkeypatch)
    found = run(engine, SCENARIOS.create("single_stream", warmup_s=0, duration_s=5, min_queries=10), fake)
    assert any(warning.kind == UNSTABLE for warning in found.warnings)
    with pytest.raises(UnstableError):
        verdicts.require_stable(found)


def test_too_few_queries_are_warned_of(engine, monkeypatch):
    fake = FakeTime([0.5] * 9).patch(monkeypatch)
    found = run(engine, SCENARIOS.create("single_stream", warmup_s=0, duration_s=4), fake)
    assert any(str(warning).startswith("too few queries: 8 of the 1000") for warning in found.warnings)
    verdicts.require_stable(found)


def test_a_busy_machine_and_too_many_threads_are_warned_of(engine, monkeypatch):
    monkeypatch.setattr(verdicts.machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(verdicts.os, "getloadavg", lambda: (2.5, 0.0, 0.0), raising=False)
    threaded = SimpleNamespace(spec=BuildSpec(threads=4))
    assert [warning.kind for warning in verdicts.machine_warnings(threaded)] == [
        "busy machine", "too many threads"]
    assert [warning.kind for warning in verdicts.machine_warnings(engine)] == ["busy machine"]


def timed_run(latency_s, **settings) -> Run:
    return Run(dict({"name": "made up"}, **settings), EngineFacts("a", "", "", "b", "fp32", "c", "m"), {},
               (Measurement("latency", "s", tuple(latency_s)),))


def test_the_latency_bound_is_on_the_99th_percentile():
    latency_s = [0.001] * 980 + [0.005] * 20
    verdicts.require_p99(timed_run(latency_s), 0.006)
    verdicts.require_p99(timed_run(latency_s, batch=8), 0.001)
    with pytest.raises(ConstraintError, match="5.000 ms"):
        verdicts.require_p99(timed_run(latency_s), 0.004)
    with pytest.raises(InconclusiveError, match="366 times, too few for its 99th percentile .368 needed."):
        verdicts.require_p99(timed_run(latency_s[:366]), 0.006)


def test_a_bound_within_the_interval_of_the_percentile_is_inconclusive():
    latency_s = np.linspace(0.001, 0.101, 1001)
    verdicts.require_p99(timed_run(latency_s), 0.10071)
    with pytest.raises(InconclusiveError, match="does not tell whether it keeps to 100 ms"):
        verdicts.require_p99(timed_run(latency_s), 0.1)
    with pytest.raises(ConstraintError, match="at the 99th percentile"):
        verdicts.require_p99(timed_run(latency_s), 0.0992)


# ------------------------------------------------------------------ accuracy


def handmade_windows(x_last, labels, subjects, part="test", split=SHA, **changed) -> Windows:
    """Windows whose first channel ends in `x_last`; the rest is 0."""
    count = len(x_last)
    x = np.zeros((count, len(CHANNELS), SIGNAL.window), np.float32)
    x[:, 0, -1] = x_last
    whole = Windows(x, {"activity": np.array(labels)}, np.array(subjects), np.array(["a"] * count),
                    np.zeros((count, 2), np.int64), SIGNAL.rate_hz, CHANNELS, {"activity": CLASSES}, split, part)
    return replace(whole, **changed)


HAND = ([1, 1, -1, -1, 1, -1], [1, 1, 2, 1, 2, -1], ["b", "b", "b", "a", "a", "a"])


def test_confusions_are_right_and_by_person(engine):
    found = bench.run(engine, SCENARIOS.create("accuracy"), handmade_windows(*HAND))
    assert found.people == {"activity": {"a": [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
                                         "b": [[0, 0, 0], [0, 2, 0], [0, 0, 1]]}}
    assert found.classes == {"activity": CLASSES} and found.measurements == ()
    assert found.events == {}


def test_calibration_is_recorded_by_person_and_without_the_unlabelled(engine):
    """Logits 0, x, -x at x = 1: each window's winner is as sure as softmax makes it, about 0.67, bin 9 of 15."""
    found = bench.run(engine, SCENARIOS.create("accuracy"), handmade_windows(*HAND))
    sure = np.exp(1) / (1 + np.exp(1) + np.exp(-1))
    assert list(found.calibration["activity"]) == ["a", "b"]
    bins = found.reliabilities("activity")
    assert bins["b"][:, 9].tolist() == pytest.approx([3, 3 * sure, 3], abs=1e-5)
    assert bins["a"][:, 9].tolist() == pytest.approx([2, 2 * sure, 0], abs=1e-5)
    assert bins["a"][0].sum() == 2 and int(sure * 15) == 9


def test_the_engines_channels_are_selected(engine):
    windows = handmade_windows(*HAND)
    gyro = triad("gyro", "rad/s", "wrist", "imu")
    wide = replace(windows, x=np.concatenate([np.full_like(windows.x, 9), windows.x], axis=1),
                   channels=gyro + CHANNELS)
    scenario = SCENARIOS.create("accuracy")
    assert bench.run(engine, scenario, wide).people == bench.run(engine, scenario, windows).people


@pytest.mark.parametrize("changed, told", [
    ({"split": "6" * 64}, "another split"), ({"part": "train"}, "train people"), ({"part": ""}, "unknown people"),
    ({"rate_hz": 20.0}, "at 20 Hz"), ({"classes": {"activity": ("still", "run", "walk")}}, "activity"),
    ({"classes": {}}, "nothing")])
def test_windows_that_are_not_the_engines_test_people_are_refused(engine, changed, told):
    with pytest.raises(MismatchError, match=told):
        bench.run(engine, SCENARIOS.create("accuracy"), handmade_windows(*HAND, **changed))


def test_accuracy_without_a_channel_is_that_of_zeros_and_says_so(engine):
    """The network looks at the first channel alone: without it all is "still"."""
    whole, blind, deaf = (bench.run(engine, SCENARIOS.create("accuracy"), handmade_windows(*HAND), missing=missing)
                          for missing in ("", "acc/x", "acc/y"))
    assert blind.engine.missing == "acc/x" and "missing" not in whole.engine.to_json()
    assert np.array(blind.people["activity"]["b"])[:, 0].sum() == 3 and deaf.people == whole.people
    assert [row.label for row in accuracy_rows([whole, blind])] == ["sign", "sign, without acc/x"]


def test_accuracy_without_windows_is_refused(engine):
    with pytest.raises(InputError, match="test people"):
        bench.run(engine, SCENARIOS.create("accuracy"))


def test_windows_for_an_engine_are_those_of_the_test_people(tmp_path):
    artifact = write_artifact(tmp_path / "sign")
    engine = BACKENDS.create("linear").build(artifact, BuildSpec(), tmp_path / "engine")
    windows = accuracy.windows_for(engine)
    assert set(windows.subjects) == {"03"} and windows.part == "test"
    assert len(windows) == (90 - 16) // 5 + 1 + (60 - 16) // 5 + 1


# ------------------------------------------------------------------ streaming


def acted(said: str, labels: str, session: str = "a", subject: str = "03", **changed) -> Recording:
    """A recording on which the engine says `said` (w, r) at each sample while `labels` (s, w, r, -) is true."""
    samples = np.zeros((len(said), 3), np.float32)
    samples[:, 0] = [{"w": 5, "r": -5}[letter] for letter in said]
    true = np.array(["swr".find(letter) for letter in labels], np.int16)
    whole = Recording(samples, {"activity": true}, {"activity": CLASSES}, SIGNAL.rate_hz, CHANNELS, subject, session)
    return replace(whole, **changed)


def streamed(engine, *recordings, **settings) -> Run:
    scenario = replace(SCENARIOS.create("streaming"), **dict({"hop": 1, "hold": 1}, **settings))
    return bench.run(engine, scenario, recordings=recordings)


def test_events_of_a_stream_are_scored_by_person(engine):
    """A window takes 16 samples, so the first decision stands from sample 15 on."""
    first = acted("w" * 30 + "r" * 10, "w" * 25 + "r" * 15)
    second = acted("w" * 20, "r" * 18 + "--", session="b")
    found = streamed(engine, first, second)
    scores = EventScores.from_json(found.events["activity"]["03"])
    assert scores.true.tolist() == [0, 1, 2] and scores.deleted.tolist() == [0, 0, 1]
    assert scores.detected.tolist() == [0, 2, 1] and scores.inserted.tolist() == [0, 1, 0]
    assert scores.delays_s == ((), (15 / 50,), (5 / 50,))
    assert (scores.signal_s, scores.labelled_s) == pytest.approx((60 / 50, 58 / 50))
    assert found.people == {} and found.measurements == () and found.warnings == ()


def test_hop_and_hold_are_those_of_the_scenario_and_recorded(engine):
    """Every fifth sample from 15 on decides; the third r of them, at sample 45, is the first to be shown."""
    recording = acted("w" * 31 + "r" * 29, "w" * 25 + "r" * 35)
    found = streamed(engine, recording, hop=0, hold=3)
    assert (found.scenario["hop"], found.scenario["hold"]) == (SIGNAL.hop, 3) == (5, 3)
    assert found.events["activity"]["03"]["delays_s"] == [[], [15 / 50], [(45 - 25) / 50]]


def test_the_stream_is_that_of_edgehar_run(engine):
    """The labels that are scored are those a Stream gives on the same samples in chunks."""
    samples = noise(400, 9)
    true = np.tile(np.repeat([0, 1, 2], 40), 4)[:400].astype(np.int16)
    recording = replace(acted("w" * 400, "w" * 400), samples=samples, labels={"activity": true})
    found = streamed(engine, recording, hop=5, hold=2)
    said = np.full(400, -1)
    with BACKENDS.create("linear").open(engine, max_batch=1) as session:
        stream = Stream(session, SIGNAL, {"activity": CLASSES}, 5, 2)
        for start in range(0, 400, 7):
            for decision in stream.push(samples[start:start + 7]):
                said[int(round(decision.time_s * SIGNAL.rate_hz)):] = CLASSES.index(decision.label["activity"])
    assert found.events["activity"]["03"] == score_events(true, said, 3, SIGNAL.rate_hz).to_json()


def test_the_engines_channels_are_selected_from_recordings(engine):
    narrow = acted("w" * 30 + "r" * 10, "w" * 25 + "r" * 15)
    wide = replace(narrow, samples=np.concatenate([np.full((40, 3), -7, np.float32), narrow.samples], axis=1),
                   channels=triad("gyro", "rad/s", "wrist", "imu") + CHANNELS)
    assert streamed(engine, wide).events == streamed(engine, narrow).events


def test_a_recording_that_lacks_a_task_is_neither_right_nor_wrong_there(engine):
    found = streamed(engine, replace(acted("w" * 40, "w" * 40), labels={}))
    assert EventScores.from_json(found.events["activity"]["03"]).labelled_s == 0
    assert sum(found.events["activity"]["03"]["detected"]) == 0


def test_recordings_shorter_than_a_window_are_told_and_not_scored(engine):
    found = streamed(engine, acted("w" * 15, "r" * 15), acted("w" * 40, "w" * 40, session="b"))
    assert found.events["activity"]["03"]["true"] == [0, 1, 0]
    assert found.warnings == (RunWarning(NOT_SCORED, "1 recordings (0.3 s in all) are shorter than a window of 0.32 s "
                                                     "and end before its first decision."),)
    with pytest.raises(InconclusiveError, match="no recording of the test people of walks"):
        streamed(engine, acted("w" * 15, "r" * 15))


@pytest.mark.parametrize("changed, told", [
    ({"subject": "01"}, "of person 01 is not kept for testing by split 'fixed'"), ({"rate_hz": 20.0}, "has 20 Hz"),
    ({"classes": {"activity": ("still", "run", "walk")}}, "decides task 'activity'")])
def test_recordings_that_are_not_the_engines_test_people_are_refused(engine, changed, told):
    with pytest.raises(MismatchError, match=told):
        streamed(engine, acted("w" * 40, "w" * 40, **changed))


def test_streaming_without_recordings_is_refused(engine):
    with pytest.raises(InputError, match="recordings of test people"):
        bench.run(engine, SCENARIOS.create("streaming"))


def test_a_split_that_deals_out_windows_has_no_recording_to_stream(tmp_path):
    leaky = Split("walks", "paper-random", ("01", "02", "03"), ("01", "02", "03"), ("01", "02", "03"), shuffle_seed=0)
    artifact = write_artifact(tmp_path / "leaky", leaky)
    engine = BACKENDS.create("linear").build(artifact, BuildSpec(), tmp_path / "engine")
    with pytest.raises(MismatchError, match="deals out single windows"):
        streamed(engine, acted("w" * 40, "w" * 40))


def test_recordings_for_an_engine_are_those_of_the_test_people(engine):
    found = list(streaming.recordings_for(engine))
    assert [(each.subject, each.session) for each in found] == [("03", "a"), ("03", "b")]
    with pytest.raises(MismatchError, match="the corpus is synthetic"):
        streaming.recordings_for(engine, "synthetic")


# ------------------------------------------------------------------ the command


def edgehar(capsys, *words):
    """(exit code, stdout, stderr) of one command line, in this process so that its plug-ins are there."""
    code = cli.execute(["bench", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_artifact(tmp_path / "sign").folder


SHORT = ("--backend", "linear", "--warmup", 0, "--duration", 0.2)


def test_the_command_writes_one_run_a_scenario_and_names_the_next(artifact, capsys):
    code, out, _ = edgehar(capsys, artifact, *SHORT, "--scenario", "single_stream", "--scenario", "offline",
                           "--scenario", "accuracy", "--batch", 8)
    assert code == 0, out
    runs = [Run.load(path) for path in sorted(Path("runs/bench").glob("*.json"))]
    assert [found.scenario["name"] for found in runs] == ["accuracy", "offline", "single_stream"]
    assert [found.scenario.get("batch") for found in runs] == [8, 8, None] and runs[2].batch == 1
    assert all(path.name.startswith("sign-linear-fp32-") for path in Path("runs/bench").iterdir())
    assert "SYNTHETIC DATA" in out and "macro-F1" in out
    assert out.strip().splitlines()[-1] == "next: edgehar report runs/bench -o report.html"


def test_missing_channels_are_scored_beside_the_whole(artifact, capsys):
    code, out, _ = edgehar(capsys, artifact, "--backend", "linear", "--scenario", "accuracy", "--missing", "acc/x",
                           "--json")
    assert code == 0 and [told.get("missing") for told in json.loads(out)["runs"]] == [None, "acc/x"]


def test_the_recorded_command_repeats_the_run_and_holds_no_absolute_path(artifact, capsys):
    edgehar(capsys, artifact, *SHORT, "--quiet", "-o", artifact.parent / "out")
    found = Run.load(next((artifact.parent / "out").glob("*.json")))
    assert found.command == "edgehar bench sign --backend linear --duration 0.2 --warmup 0.0 --output out --quiet"


def test_json_is_the_only_thing_on_stdout(artifact, capsys):
    code, out, _ = edgehar(capsys, artifact, *SHORT, "--json", "--scenario", "paced", "--scenario", "accuracy")
    paced, accuracy = json.loads(out)["runs"]
    assert paced["streams"] == {} == accuracy["streams"]
    assert 0 <= accuracy["tasks"]["activity"]["calibration_error"]["value"] <= 1
    assert code == 0 and paced["calls"] == 10 and paced["p99_s"] is None
    assert paced["windows_per_s"] is None and paced["deadline_misses"] is not None
    assert accuracy["tasks"]["activity"]["people"] == 1 and accuracy["synthetic"]
    assert Path(accuracy["path"]).is_file()


def test_streaming_from_the_command_line(artifact, capsys):
    words = (artifact, "--backend", "linear", "--scenario", "streaming", "--hop", 4, "--hold", 2)
    code, out, _ = edgehar(capsys, *words)
    assert code == 0 and "Streams of test people of walks, SYNTHETIC DATA" in out and "hold 2" in out
    code, out, _ = edgehar(capsys, *words, "--json", "-o", "again")
    (told,) = json.loads(out)["runs"]
    stream = told["streams"]["activity"]
    assert told["synthetic"] and told["tasks"] == {} and (stream["hop"], stream["hold"]) == (4, 2)
    assert stream["events"]["true"] == 2 and stream["people"] == 1 and stream["signal_s"] == 3.0
    assert stream["median_delay_s"] is None and set(stream["share_detected"]) == {"value"}
    assert Run.load(told["path"]).command.endswith("--hop 4 --hold 2 --output again --json")


@pytest.mark.parametrize("words, code, told", [
    (("--scenario", "accuracy", "--hold", "2"), 2, "--hold means nothing to accuracy"),
    (("--max-p99-ms", "0.000001"), 4, "99th percentile"), (("--max-p99-ms", "10000"), 0, ""),
    (("--scenario", "paced", "--max-p99-ms", "10000"), 8, "too few"), (("--strict",), 8, "too short"),
    (("--scenario", "accuracy", "--max-p99-ms", "1"), 2, "bounds the latency"), (("--rate", "3"), 2, "means nothing"),
    (("--missing", "acc/x"), 2, "told by accuracy"),
    (("--scenario", "accuracy", "--missing", "each"), 2, "reads a single sensor"),
    (("--scenario", "accuracy", "--missing", "gyro"), 2, "no channel matches"),
    (("--scenario", "sprint"), 2, "sprint"), (("--precision", "fp16"), 2, "fp16")])
def test_gates_and_their_exit_codes(artifact, capsys, words, code, told):
    line = SHORT if "accuracy" not in words else SHORT[:2]
    line = line[:-1] + (0.5,) if words[0] == "--max-p99-ms" else line
    found, _, err = edgehar(capsys, artifact, *line, *words)
    assert found == code, err
    assert told in err and len(err.strip().splitlines()) == (1 if code else 0)


def test_an_unstable_measurement_fails_strict_and_its_run_is_kept(artifact, capsys, monkeypatch):
    monkeypatch.setattr(verdicts, "stability_warnings", lambda medians: [RunWarning(UNSTABLE, "it varied.")])
    assert edgehar(capsys, artifact, *SHORT)[0] == 0
    code, _, err = edgehar(capsys, artifact, *SHORT, "--strict", "-o", "strict")
    assert code == 5 and "unstable" in err
    assert len(list(Path("strict").glob("*.json"))) == 1


def test_a_model_of_another_corpus_exits_with_6_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foreign = write_artifact(tmp_path / "foreign", Split("rides", "fixed", ("01",), ("02",), ("03",))).folder
    code, _, err = edgehar(capsys, foreign, "--backend", "linear", "--scenario", "accuracy")
    assert code == 6 and "divides the people of rides and the corpus is walks" in err
    assert not Path("runs").exists()


def test_an_engine_is_not_benched_in_a_precision_it_is_not_in(artifact, capsys):
    engine = BACKENDS.create("linear").build(Artifact.load(artifact), BuildSpec(), artifact.parent / "engine")
    assert edgehar(capsys, engine.folder, "--warmup", 0, "--duration", 0.05)[0] == 0
    code, _, err = edgehar(capsys, engine.folder, "--precision", "int8")
    assert code == 2 and "int8 was asked for" in err


def test_a_changed_engine_exits_with_6(artifact, capsys):
    edgehar(capsys, artifact, *SHORT)
    weights = artifact / "built" / "linear-fp32" / "weights.npz"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert edgehar(capsys, weights.parent, "--duration", 0.05)[0] == 6
