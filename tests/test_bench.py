"""Bench: what is timed and what is not, who is scored, and what may be quoted."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgehar import bench, cli
from edgehar.artifact import Artifact, write_manifest
from edgehar.backends import BACKENDS
from edgehar.backends.base import BuildSpec
from edgehar.bench import Scenario, default_scenario, load_scenario
from edgehar.errors import ConstraintError, InconclusiveError, InputError, MismatchError, UnstableError
from edgehar.results import Measurement, Run
from edgehar.signals import Windows, triad
from tests.linear import CHANNELS, SIGNAL, LinearSession, add_plugins, noise

SCENARIOS = Path(__file__).resolve().parents[1] / "benchmarks" / "scenarios"
CLASSES = ("still", "walk", "run")
SHA = "5" * 64


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    add_plugins(monkeypatch)
    bench._held_out_windows.cache_clear()


def sign_weights() -> np.ndarray:
    """(3, C * T): "walk" where the last sample of the first channel is above 0, "run" where it is below."""
    weights = np.zeros((3, len(CHANNELS), SIGNAL.window), np.float32)
    weights[1, 0, -1], weights[2, 0, -1] = 1, -1
    return weights.reshape(3, -1)


def write_artifact(folder: Path, split: str = SHA, dataset: str = "walks") -> Artifact:
    folder.mkdir(parents=True)
    buffer = io.BytesIO()
    np.savez(buffer, activity=sign_weights())
    (folder / "model.onnx").write_bytes(buffer.getvalue())
    x = np.stack([noise(SIGNAL.window, seed).T for seed in range(4)])
    session = LinearSession({"activity": sign_weights()}, max_batch=4)
    np.savez(str(folder / "golden.npz"), x=x, **{"logits/activity": session.infer(x)["activity"]})
    np.savez(str(folder / "calibration.npz"), x=x)
    write_manifest(folder, dict(
        name="sign", created="2024-01-01T00:00:00Z", edgehar="0", signal=SIGNAL, tasks={"activity": CLASSES},
        data={"dataset": dataset, "synthetic": True, "licence": "free", "citation": "none",
              "split": {"name": "fixed", "sha256": split}},
        model={"spec": "sign", "parameters": 2, "macs": 144},
        training={"method": "kd", "teacher": "big", "seed": 7},
        onnx={"opset": 16, "ir_version": 8, "operators": []},
        golden={"kind": "synthetic", "count": 4}, calibration={"kind": "windows", "count": 4}))
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


# ------------------------------------------------------------------ scenarios


def test_committed_scenarios_are_the_defaults():
    names = [path.stem for path in sorted(SCENARIOS.glob("*.toml"))]
    assert set(bench.NAMES) <= set(names)
    for name in bench.NAMES:
        assert load_scenario(SCENARIOS / ("%s.toml" % name)) == default_scenario(name)
    assert load_scenario(SCENARIOS / "paced_wearable.toml").rate_hz == 2


def test_dash_equals_underscore():
    assert load_scenario("single-stream") == Scenario("single_stream")


@pytest.mark.parametrize("text, told", [
    ('name = "offline"\nbatches = 3', "batches"), ("batch = 3", "names no scenario"), ('name = "sprint"', "sprint"),
    ('name = "offline"\nbatch = 2.5', "whole number"), ('name = "offline"\nbatch = "8"', "whole number"),
    ('name = "paced"\nrate_hz = 0', "above 0"), ('name = "paced"\nrate_hz = nan', "number"),
    ('name = "single_stream"\nbatch = 4', "one at a time"), ('name = "offline"\nduration_s = inf', "finite"),
    ("name = ", "not readable TOML"), ('name = "offline"\nwarmup_s = -1', "at least 0")])
def test_a_bad_scenario_file_is_refused_in_one_sentence(tmp_path, text, told):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InputError, match=told):
        load_scenario(tmp_path / "bad.toml")


def test_a_missing_scenario_file_and_an_unknown_name_are_refused(tmp_path):
    for spec in (tmp_path / "none.toml", "sprint"):
        with pytest.raises(InputError):
            load_scenario(spec)


# ------------------------------------------------------------------ timing, on a clock made by hand


def test_paced_latency_counts_from_the_moment_a_window_was_due(engine, monkeypatch):
    """::

        due    0.0   0.1   0.2   0.3          the second call takes 0.25 and makes two others late
        start  0.0   0.1   0.35  0.40
        end    0.05  0.35  0.40  0.45
    """
    fake = FakeTime([9.0, 0.05, 0.25, 0.05, 0.05]).patch(monkeypatch)
    found = run(engine, Scenario("paced", warmup_s=0, duration_s=0.4, rate_hz=10), fake)
    assert values(found, "latency") == pytest.approx((0.05, 0.25, 0.20, 0.15))
    assert values(found, "lateness") == pytest.approx((0, 0, 0.15, 0.10), abs=1e-9)
    assert values(found, "service") == pytest.approx((0.05, 0.25, 0.05, 0.05))
    assert values(found, "deadline_misses") == (3.0,)


def test_an_engine_too_slow_for_the_rate_is_stopped_and_the_unreached_windows_are_missed(engine, monkeypatch):
    fake = FakeTime([1.0] * 100).patch(monkeypatch)
    found = run(engine, Scenario("paced", warmup_s=0, duration_s=2, rate_hz=10), fake)
    assert values(found, "latency") == pytest.approx((1.0, 1.9, 2.8, 3.7, 4.6))
    assert values(found, "deadline_misses") == (20.0,)
    assert any(warning.startswith("overloaded: 15 of 20") for warning in found.warnings)


def test_warm_up_is_never_counted(engine, monkeypatch):
    fake = FakeTime([0.5, 0.5] + [0.125] * 8).patch(monkeypatch)
    found = run(engine, Scenario("single_stream", warmup_s=1.0, duration_s=1.0), fake)
    assert len(fake.calls) == 10
    assert values(found, "latency") == (0.125,) * 8


def test_offline_keeps_latency_and_throughput_of_each_batch(engine, monkeypatch):
    fake = FakeTime([1.0, 0.5, 0.25, 0.25]).patch(monkeypatch)
    found = run(engine, replace(default_scenario("offline"), batch=6, warmup_s=0, duration_s=1), fake)
    assert fake.calls == [6] * 4
    assert values(found, "latency") == pytest.approx((0.5, 0.25, 0.25))
    assert values(found, "throughput") == pytest.approx((12, 24, 24))


def test_inputs_are_the_golden_windows_in_an_order_of_the_seed():
    golden = np.arange(5, dtype=np.float32).reshape(5, 1, 1)
    inputs = bench._inputs(golden, 3, seed=1)
    first = np.concatenate([next(inputs).ravel() for _ in range(5)])
    assert sorted(first.tolist()) == sorted(list(range(5)) * 3)
    again = bench._inputs(golden, 3, seed=1)
    assert np.concatenate([next(again).ravel() for _ in range(5)]).tolist() == first.tolist()


def test_phases_are_told_in_order(engine):
    told = []
    bench.run(engine, Scenario("single_stream", warmup_s=0, duration_s=0.01), on_phase=told.append)
    assert told == ["warm-up", "measuring"]


def test_the_run_tells_engine_machine_and_scenario(engine):
    scenario = Scenario("single_stream", warmup_s=0, duration_s=0.01)
    found = bench.run(engine, scenario, command="edgehar bench sign")
    facts = found.engine
    assert (facts["backend"], facts["precision"], facts["threads"]) == ("linear", "fp32", 1)
    assert (facts["sha256"], facts["artifact_sha256"]) == (engine.sha256, engine.manifest.sha256)
    assert (facts["method"], facts["teacher"], facts["seed"]) == ("kd", "big", 7)
    assert (facts["parameters"], facts["macs"], facts["dataset"]) == (2, 144, "walks")
    assert facts["size_bytes"] == (engine.folder / "weights.npz").stat().st_size
    assert found.scenario["duration_s"] == 0.01 and found.machine["python"] and found.split["sha256"] == SHA
    assert found.synthetic and found.source == "measured" and found.command == "edgehar bench sign"


# ------------------------------------------------------------------ may it be quoted?


def test_steady_seconds_give_no_warning():
    assert bench.stability_warnings(np.array([1.0, 1.02, 0.99, 1.0, 1.01])) == []


def test_varying_seconds_and_a_late_drift_are_unstable():
    assert "vary by 20.0 %" in bench.stability_warnings(np.array([0.8, 1.2] * 5))[0]
    drifting = bench.stability_warnings(np.array([1.0] * 20 + [1.0, 1.06, 1.12]))
    assert len(drifting) == 1 and "last three seconds lie 11.3 % apart" in drifting[0]


def test_two_seconds_are_too_short_to_judge():
    assert bench.stability_warnings(np.array([1.0, 1.0]))[0].startswith(bench.UNJUDGED)


def test_medians_are_of_whole_seconds():
    start = np.array([5.0, 5.5, 5.9, 6.2, 7.1])
    medians = bench.per_second_medians(start, np.array([1.0, 2.0, 9.0, 4.0, 100.0]), duration_s=2.5)
    assert medians.tolist() == [2.0, 4.0]


def test_an_unsteady_measurement_is_warned_of(engine, monkeypatch):
    fake = FakeTime([0.01] + [0.01] * 200 + [0.02] * 200).patch(monkeypatch)
    found = run(engine, Scenario("single_stream", warmup_s=0, duration_s=5, min_queries=10), fake)
    assert any(warning.startswith(bench.UNSTABLE) for warning in found.warnings)
    with pytest.raises(UnstableError):
        bench.require_stable(found)


def test_too_few_queries_are_warned_of(engine, monkeypatch):
    fake = FakeTime([0.5] * 9).patch(monkeypatch)
    found = run(engine, Scenario("single_stream", warmup_s=0, duration_s=4), fake)
    assert any(warning.startswith("too few queries: 8 of the 1000") for warning in found.warnings)
    bench.require_stable(found)


def test_a_busy_machine_and_too_many_threads_are_warned_of(engine, monkeypatch):
    monkeypatch.setattr(bench.machine, "usable_cores", lambda: 2)
    monkeypatch.setattr(bench.os, "getloadavg", lambda: (2.5, 0.0, 0.0), raising=False)
    threaded = SimpleNamespace(spec=BuildSpec(threads=4))
    assert [warning.split(":")[0] for warning in bench._machine_warnings(threaded)] == [
        "busy machine", "too many threads"]
    assert [warning.split(":")[0] for warning in bench._machine_warnings(engine)] == ["busy machine"]


def timed_run(latency_s, scenario="single_stream") -> Run:
    return Run({"name": scenario}, {"artifact": "a", "backend": "b", "precision": "fp32"}, {},
               (Measurement("latency", "s", tuple(latency_s)),))


def test_the_latency_bound_is_on_the_99th_percentile():
    latency_s = [0.001] * 980 + [0.005] * 20
    bench.require_p99(timed_run(latency_s), 0.006)
    bench.require_p99(timed_run(latency_s, "offline"), 0.001)
    with pytest.raises(ConstraintError, match="5.000 ms"):
        bench.require_p99(timed_run(latency_s), 0.004)
    with pytest.raises(InconclusiveError):
        bench.require_p99(timed_run(latency_s[:900]), 0.006)


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
    found = bench.run(engine, default_scenario("accuracy"), handmade_windows(*HAND))
    assert found.people == {"activity": {"a": [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
                                         "b": [[0, 0, 0], [0, 2, 0], [0, 0, 1]]}}
    assert found.classes == {"activity": CLASSES} and found.measurements == ()


def test_the_engines_channels_are_selected(engine):
    windows = handmade_windows(*HAND)
    gyro = triad("gyro", "rad/s", "wrist", "imu")
    wide = replace(windows, x=np.concatenate([np.full_like(windows.x, 9), windows.x], axis=1),
                   channels=gyro + CHANNELS)
    scenario = default_scenario("accuracy")
    assert bench.run(engine, scenario, wide).people == bench.run(engine, scenario, windows).people


@pytest.mark.parametrize("changed, told", [
    ({"split": "6" * 64}, "another split"), ({"part": "train"}, "train people"), ({"part": ""}, "unknown people"),
    ({"rate_hz": 20.0}, "at 20 Hz"), ({"classes": {"activity": ("still", "run", "walk")}}, "activity"),
    ({"classes": {}}, "nothing")])
def test_windows_that_are_not_the_engines_test_people_are_refused(engine, changed, told):
    with pytest.raises(MismatchError, match=told):
        bench.run(engine, default_scenario("accuracy"), handmade_windows(*HAND, **changed))


def test_accuracy_without_windows_is_refused(engine):
    with pytest.raises(InputError, match="test people"):
        bench.run(engine, default_scenario("accuracy"))


def test_windows_for_an_engine_are_those_of_the_test_people(tmp_path):
    from edgehar.datasets import DATASETS

    artifact = write_artifact(tmp_path / "sign", DATASETS.create("walks").split().sha256)
    engine = BACKENDS.create("linear").build(artifact, BuildSpec(), tmp_path / "engine")
    windows = bench.windows_for(engine)
    assert set(windows.subjects) == {"03"} and windows.part == "test"
    assert len(windows) == (90 - 16) // 5 + 1 + (60 - 16) // 5 + 1


# ------------------------------------------------------------------ the command


def edgehar(capsys, *words):
    """(exit code, stdout, stderr) of one command line, in this process so that its plug-ins are there."""
    code = cli.execute(["bench", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.fixture
def artifact(tmp_path, monkeypatch):
    from edgehar.datasets import DATASETS

    monkeypatch.chdir(tmp_path)
    return write_artifact(tmp_path / "sign", DATASETS.create("walks").split().sha256).folder


SHORT = ("--backend", "linear", "--warmup", 0, "--duration", 0.2)


def test_the_command_writes_one_run_a_scenario_and_names_the_next(artifact, capsys):
    code, out, _ = edgehar(capsys, artifact, *SHORT, "--scenario", "single_stream", "--scenario", "offline",
                           "--scenario", "accuracy", "--batch", 8)
    assert code == 0, out
    runs = [Run.load(path) for path in sorted(Path("runs/bench").glob("*.json"))]
    assert [found.scenario["name"] for found in runs] == ["accuracy", "offline", "single_stream"]
    assert [found.scenario["batch"] for found in runs] == [8, 8, 1]
    assert all(path.name.startswith("sign-linear-fp32-") for path in Path("runs/bench").iterdir())
    assert "SYNTHETIC DATA" in out and "macro-F1" in out
    assert out.strip().splitlines()[-1] == "next: edgehar report runs/bench -o report.html"


def test_the_recorded_command_repeats_the_run_and_holds_no_absolute_path(artifact, capsys):
    edgehar(capsys, artifact, *SHORT, "--quiet", "-o", artifact.parent / "out")
    found = Run.load(next((artifact.parent / "out").glob("*.json")))
    assert found.command == "edgehar bench sign --backend linear --duration 0.2 --warmup 0.0 --output out --quiet"


def test_json_is_the_only_thing_on_stdout(artifact, capsys):
    code, out, _ = edgehar(capsys, artifact, *SHORT, "--json", "--scenario", "paced", "--scenario", "accuracy")
    paced, accuracy = json.loads(out)["runs"]
    assert code == 0 and paced["calls"] == 10 and paced["p99_s"] is None
    assert paced["windows_per_s"] is None and paced["deadline_misses"] is not None
    assert accuracy["tasks"]["activity"]["people"] == 1 and accuracy["synthetic"]
    assert Path(accuracy["path"]).is_file()


@pytest.mark.parametrize("words, code, told", [
    (("--max-p99-ms", "0.000001"), 4, "99th percentile"), (("--max-p99-ms", "10000"), 0, ""),
    (("--scenario", "paced", "--max-p99-ms", "10000"), 8, "too few"), (("--strict",), 8, "too short"),
    (("--scenario", "accuracy", "--max-p99-ms", "1"), 2, "bounds the latency"), (("--rate", "3"), 2, "means nothing"),
    (("--scenario", "sprint"), 2, "sprint"), (("--precision", "fp16"), 2, "fp16")])
def test_gates_and_their_exit_codes(artifact, capsys, words, code, told):
    line = SHORT if "accuracy" not in words else SHORT[:2]
    line = line[:-1] + (0.5,) if words[0] == "--max-p99-ms" else line
    found, _, err = edgehar(capsys, artifact, *line, *words)
    assert found == code, err
    assert told in err and len(err.strip().splitlines()) == (1 if code else 0)


def test_an_unstable_measurement_fails_strict_and_its_run_is_kept(artifact, capsys, monkeypatch):
    monkeypatch.setattr(bench, "stability_warnings", lambda medians: [bench.UNSTABLE + "it varied."])
    assert edgehar(capsys, artifact, *SHORT)[0] == 0
    code, _, err = edgehar(capsys, artifact, *SHORT, "--strict", "-o", "strict")
    assert code == 5 and "unstable" in err
    assert len(list(Path("strict").glob("*.json"))) == 1


def test_a_model_of_another_split_exits_with_6_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    foreign = write_artifact(tmp_path / "foreign", "6" * 64).folder
    code, _, err = edgehar(capsys, foreign, "--backend", "linear", "--scenario", "accuracy")
    assert code == 6 and "another split" in err
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
