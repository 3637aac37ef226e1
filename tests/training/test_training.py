"""One loop: it selects on validation people, survives a kill to the bit, and refuses what would leak."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal as signals
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest


torch = pytest.importorskip("torch")

from edgehar.errors import InputError, MismatchError
from edgehar.results import histories
from edgehar.training.checks import chosen_tasks
from edgehar.training.distillers import DISTILLERS
from edgehar.training.distillers.base import Phase, WithoutTeacher
from edgehar.training.epochs import Training, class_weights
from edgehar.training.evaluation import evaluate, predict
from edgehar.training.facts import weights_sha256
from edgehar.training.folder import Fitted, begun
from edgehar.training.loop import fit
from edgehar.training.models import Ensemble, make_model, teach_as_one
from edgehar.training.recipe import Recipe
from tests import small


def network(spec: str = "mobilenet:size=S", seed: int = 0):
    return make_model(spec, small.SIGNAL, small.TASKS, seed)


def weights(fitted: Fitted):
    return fitted.model.state_dict()


def assert_same(a: Fitted, b: Fitted) -> None:
    for name, value in weights(a).items():
        assert torch.equal(value, weights(b)[name]), name
    assert a.history == b.history


class Stop(Exception):
    """Ends a training from its watcher."""


def stop_after(epoch: int):
    def watch(progress):
        if progress.epoch == epoch:
            raise Stop
    return watch


@pytest.fixture(scope="module")
def parts():
    return small.parts()


@pytest.fixture(scope="module")
def teachers(parts, tmp_path_factory):
    """Two that differ in their width."""
    return [fit(network("resnet:width=%d" % width), parts.train, parts.valid, small.recipe(epochs=3),
                tmp_path_factory.mktemp("teachers") / str(width)) for width in (8, 16)]


def test_learns_what_is_easy(parts, tmp_path):
    fitted = fit(network(), parts.train, parts.valid, small.recipe(epochs=20), tmp_path / "t", facts=small.DATA)
    assert evaluate(fitted.model, parts.test)["activity"] > 0.9


@pytest.mark.parametrize("method", ["none", "smldist"])
def test_resumed_equals_uninterrupted(parts, teachers, tmp_path, method):
    """Weights, moving average, optimiser, heads, adapters and randomness go on as if nothing had happened.

    smldist has phases of one, one and two epochs, so that it is stopped between phases and within one.
    """
    settings = (parts.train, parts.valid, small.recipe(epochs=4, patience=99))
    whole = fit(network(), *settings, tmp_path / "whole", method, teachers)
    for epoch in (1, 2, 3):
        with pytest.raises(Stop):
            fit(network(), *settings, tmp_path / "parts", method, teachers, watch=stop_after(epoch))
        torch.manual_seed(12345)
        np.random.seed(12345)
    resumed = fit(network(seed=9), *settings, tmp_path / "parts", method, teachers)
    assert_same(whole, resumed)
    assert resumed.facts == whole.facts


def start(folder: Path, method: str = "none", *teachers: Path):
    """A training in a process of its own, which need not import torch anew, after its first epoch."""
    heard, told = os.pipe()

    def train() -> None:
        parts = small.parts()
        fit(network(), parts.train, parts.valid, small.recipe(epochs=6, patience=99), folder, method=method,
            teacher=[Fitted.load(teacher) for teacher in teachers],
            watch=lambda progress: os.write(told, b"%d\n" % progress.epoch))

    process = get_context("fork").Process(target=train)
    process.start()
    os.close(told)
    with os.fdopen(heard) as lines:
        assert lines.readline().strip() == "1"
        process.heard = os.dup(heard)  # it must not end for want of a listener
    return process


def end(process, number: int) -> None:
    os.kill(process.pid, number)
    process.join()
    os.close(process.heard)


@pytest.mark.parametrize("method", ["none", "smldist"])
def test_killed_training_goes_on(parts, tmp_path, method):
    """kill -9 in the middle of an epoch; what is left resumes to the weights of an undisturbed run."""
    teacher = fit(network("resnet:width=8"), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "teacher")
    process = start(tmp_path / "killed", method, tmp_path / "teacher")
    time.sleep(0.03)
    end(process, signals.SIGKILL)
    left = sorted(path.name for path in (tmp_path / "killed").iterdir() if not path.name.endswith(".part"))
    assert left in (["checkpoint.pt", "training.json"], ["checkpoint.pt", "history.jsonl", "training.json"])
    recipe = small.recipe(epochs=6, patience=99)
    resumed = fit(network(), parts.train, parts.valid, recipe, tmp_path / "killed", method, teacher)
    whole = fit(network(), parts.train, parts.valid, recipe, tmp_path / "whole", method, teacher)
    assert_same(resumed, whole)


def test_interrupt_leaves_a_resumable_training(parts, tmp_path):
    end(start(tmp_path / "t"), signals.SIGINT)
    assert (tmp_path / "t" / "checkpoint.pt").is_file() and not (tmp_path / "t" / "model.pt").exists()
    fitted = fit(network(), parts.train, parts.valid, small.recipe(epochs=6, patience=99), tmp_path / "t")
    assert len(fitted.history) == 6


def test_a_folder_in_which_another_trains_is_refused_and_left_as_it_is(parts, tmp_path):
    recipe = small.recipe(epochs=6, patience=99)
    process = start(tmp_path / "t")
    os.kill(process.pid, signals.SIGSTOP)
    (tmp_path / "t" / ".model.pt.abc.part").write_bytes(b"half")
    with pytest.raises(InputError, match="another training is at work in .*; wait until it has ended, or choose"):
        fit(network(), parts.train, parts.valid, recipe, tmp_path / "t")
    assert (tmp_path / "t" / ".model.pt.abc.part").exists()
    end(process, signals.SIGKILL)
    assert len(fit(network(), parts.train, parts.valid, recipe, tmp_path / "t").history) == 6


def test_a_finished_training_is_returned_as_it_is(parts, tmp_path):
    first = fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t")
    written = (tmp_path / "t" / "model.pt").stat().st_mtime_ns
    assert_same(first, fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t"))
    assert (tmp_path / "t" / "model.pt").stat().st_mtime_ns == written
    assert not (tmp_path / "t" / "checkpoint.pt").exists()


def test_other_settings_in_the_same_folder_are_refused(parts, tmp_path):
    fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t")
    with pytest.raises(InputError, match="another recipe"):
        fit(network(), parts.train, parts.valid, small.recipe(seed=1), tmp_path / "t")
    with pytest.raises(InputError, match="another train sha256"):
        fit(network(), parts.train.take(np.arange(len(parts.train) - 1)), parts.valid, small.RECIPE, tmp_path / "t")


def upgraded(**data):
    """The facts of the same training by a later version, its data told of in other words."""
    return dict(small.DATA, edgehar="9.0.0", torch="9.0", data=dict(small.DATA["data"], **data))


def test_a_finished_training_stays_good_after_an_upgrade_and_a_move_of_its_data(parts, tmp_path):
    settings = (parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "t")
    first = fit(network(), *settings, facts=small.DATA)
    again = fit(network(), *settings, facts=upgraded(licence="CC", skipped=["/new/place/x is damaged."]))
    assert_same(first, again)
    assert again.facts["edgehar"] == "0.1.0"
    with pytest.raises(InputError, match=r"another data \(dataset: small there, large here\); choose another folder"):
        fit(network(), *settings, facts=upgraded(dataset="large"))


def test_a_half_done_training_goes_on_by_the_version_that_began_it(parts, tmp_path):
    settings = (parts.train, parts.valid, small.RECIPE, tmp_path / "t")
    with pytest.raises(Stop):
        fit(network(), *settings, facts=small.DATA, watch=stop_after(1))
    with pytest.raises(InputError, match=r"another edgehar \(0.1.0 there, 9.0.0 here\); choose another folder, or rem"):
        fit(network(), *settings, facts=upgraded())
    reworded = dict(upgraded(licence="CC"), edgehar="0.1.0")
    del reworded["torch"]
    assert len(fit(network(), *settings, facts=reworded).history) == 3


def test_a_training_that_diverges_is_refused_and_no_success(parts, tmp_path):
    recipe = small.recipe(learning_rate=1e30)
    for _ in range(2):
        with pytest.raises(InputError, match=r"no number in epoch 1 \(labels: nan\); lower learning_rate"):
            fit(network(), parts.train, parts.valid, recipe, tmp_path / "t")
    assert begun(tmp_path / "t") == 0
    assert len(fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t").history) == 3


def test_the_epochs_before_one_that_diverges_are_kept_and_it_is_tried_again(parts, tmp_path, monkeypatch):
    """The same line takes up the epoch before, whose weights are sound, and comes to the same end."""
    update = Training._update
    settings = (parts.train, parts.valid, small.RECIPE)
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(InputError, match="no number in epoch 2"):
            patch.setattr(Training, "_update", lambda run, *given: dict(
                update(run, *given), **({"labels": float("nan")} if run.history else {})))
            fit(network(), *settings, tmp_path / "t")
        assert begun(tmp_path / "t") == 1 and not (tmp_path / "t" / "model.pt").exists()
    assert_same(fit(network(), *settings, tmp_path / "t"), fit(network(), *settings, tmp_path / "whole"))


def test_windows_of_one_sample_are_refused(parts, tmp_path):
    train, valid = (replace(part, x=part.x[:, :, :1]) for part in (parts.train, parts.valid))
    model = make_model("mobilenet:size=S", replace(small.SIGNAL, window=1), small.TASKS)
    with pytest.raises(InputError, match="windows of one sample have no deviation, .*; cut windows of 2 samples"):
        fit(model, train, valid, small.RECIPE, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_lone_window_is_refused(parts, tmp_path):
    with pytest.raises(InputError, match="one window to train on, .*; cut shorter windows, or train on more subjects"):
        fit(network(), parts.train.take(np.arange(1)), parts.valid, small.RECIPE, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_a_task_of_one_class_is_no_decision():
    classes = {"activity": ("still", "moving"), "placement": ("wrist",)}
    assert chosen_tasks(classes) == chosen_tasks(classes, ("activity",)) == {"activity": ("still", "moving")}
    for wrong, told in (("placement", "only one class of task 'placement', so there is nothing to decide"),
                        ("posture", "no task 'posture'")):
        with pytest.raises(InputError, match="%s; choose from: activity" % told):
            chosen_tasks(classes, (wrong,))
    with pytest.raises(InputError, match="no task of two classes or more"):
        chosen_tasks({"placement": ("wrist",)})


def scores_of_validation_people(scores):
    """A stand-in for `evaluate`; training people always score 1."""
    left = iter(scores)
    return lambda model, windows, judged="": {"activity": next(left) if windows.part == "valid" else 1.0}


def test_best_epoch_is_kept_whatever_comes_later(parts, tmp_path, monkeypatch):
    """With scores 0.5, 0.9, 0.1 handed in, the weights kept are those after epoch 2."""
    from edgehar.training import epochs as training

    seen, told = [], scores_of_validation_people([0.5, 0.9, 0.1])

    def score(model, windows, judged=""):
        if windows.part == "valid":
            seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return told(model, windows)

    monkeypatch.setattr(training, "evaluate", score)
    fitted = fit(network(), parts.train, parts.valid, small.recipe(epochs=3, patience=99), tmp_path / "t")
    for name, value in weights(fitted).items():
        assert torch.equal(value, seen[1][name]), name
    assert fitted.history[-1].best_epoch == 2


def test_stops_early_when_validation_no_longer_improves(parts, tmp_path, monkeypatch):
    from edgehar.training import epochs as training

    monkeypatch.setattr(training, "evaluate", lambda model, windows, judged="": {"activity": 0.5})
    fitted = fit(network(), parts.train, parts.valid, small.recipe(epochs=30, patience=2), tmp_path / "t")
    assert len(fitted.history) == 4


def test_seeds_differ_and_repeat(parts, tmp_path):
    runs = [fit(network(), parts.train, parts.valid, small.recipe(epochs=1, seed=seed), tmp_path / name)
            for seed, name in ((0, "a"), (0, "b"), (1, "c"))]
    assert_same(runs[0], runs[1])
    assert not torch.equal(weights(runs[0])["stem.0.weight"], weights(runs[2])["stem.0.weight"])


def test_statistics_come_from_training_people_alone(parts, tmp_path):
    fitted = fit(network(), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "t")
    expected = torch.from_numpy(parts.train.x).mean(dim=(0, 2))
    torch.testing.assert_close(fitted.model.normalise.mean.flatten(), expected)


def test_student_reads_its_own_channels(parts, tmp_path):
    """A student of one axis learns from a teacher of three, over the same windows."""
    teacher = fit(network("resnet:width=8"), parts.train, parts.valid, small.recipe(epochs=2), tmp_path / "teacher")
    one = replace(small.SIGNAL, channels=small.SIGNAL.channels[2:])
    student = make_model("mobilenet:size=S", one, small.TASKS)
    fitted = fit(student, parts.train, parts.valid, small.recipe(epochs=2), tmp_path / "student", "kd", teacher)
    assert set(fitted.history[0].loss) == {"labels", "teacher"}
    assert predict(fitted.model, parts.test.select(one.channels).x)["activity"].shape == (len(parts.test), 3)


def test_the_teacher_is_left_alone(parts, tmp_path):
    teacher = fit(network("resnet:width=8"), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "teacher")
    before = {name: value.clone() for name, value in weights(teacher).items()}
    fit(network(), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "student", "kd", teacher)
    assert all(torch.equal(value, before[name]) for name, value in weights(teacher).items())


def test_teacher_of_another_split_is_refused(parts, tmp_path):
    teacher = fit(network("resnet:width=8"), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "teacher")
    other = replace(parts.train, split_sha256="f" * 64), replace(parts.valid, split_sha256="f" * 64)
    with pytest.raises(MismatchError, match="another split"):
        fit(network(), *other, small.RECIPE, tmp_path / "student", "kd", teacher)
    with pytest.raises(MismatchError, match="different splits"):
        fit(network(), parts.train, other[1], small.RECIPE, tmp_path / "student")


def test_method_without_its_teacher_is_refused(parts, tmp_path):
    with pytest.raises(InputError, match="--teacher"):
        fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t", method="kd")
    assert not (tmp_path / "t" / "training.json").exists()


def test_damaged_checkpoint_says_so(parts, tmp_path):
    with pytest.raises(Stop):
        fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t", watch=stop_after(1))
    checkpoint = tmp_path / "t" / "checkpoint.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged"):
        fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t")


@pytest.mark.parametrize("part", ["kept", "optimiser", "distiller"])
def test_a_checkpoint_of_another_version_says_so(parts, tmp_path, part):
    with pytest.raises(Stop):
        fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t", watch=stop_after(1))
    path = tmp_path / "t" / "checkpoint.pt"
    state = torch.load(str(path), weights_only=True)
    torch.save({key: value for key, value in state.items() if key != part}, str(path))
    with pytest.raises(InputError, match="another version of edgehar .*%s" % part):
        fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t")


def test_damaged_history_says_so(parts, tmp_path):
    fit(network(), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "t")
    (tmp_path / "t" / "history.jsonl").write_text('{"epoch": 1, "lo')
    with pytest.raises(InputError, match="history.jsonl is damaged"):
        Fitted.load(tmp_path / "t")


@pytest.fixture(scope="module")
def finished(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "t"
    fit(network(), parts.train, parts.valid, small.recipe(epochs=1), folder)
    return folder


@pytest.mark.parametrize("file, content, told", [
    ("model.pt", b"", r"model.pt is damaged \(\w+\)"),
    ("training.json", b"{}", "json was left by another version .*'model'"),
    ("training.json", b"[]", "json was left by another version .*'list'"),
    ("history.jsonl", b"", r"is damaged or no history of a training \(it holds no epochs\)")])
def test_what_is_left_of_a_finished_training_is_refused_in_a_sentence(finished, tmp_path, file, content, told):
    shutil.copytree(str(finished), str(tmp_path / "t"))
    (tmp_path / "t" / file).write_bytes(content)
    with pytest.raises(InputError, match="%s.*remove its folder and train again" % told):
        Fitted.load(tmp_path / "t")


def test_weights_of_another_network_say_so(finished, parts, tmp_path):
    shutil.copytree(str(finished), str(tmp_path / "t"))
    torch.save(network("resnet:width=8").state_dict(), str(tmp_path / "t" / "model.pt"))
    for look in (Fitted.load, lambda folder: fit(network(), parts.train, parts.valid, small.recipe(epochs=1), folder)):
        with pytest.raises(InputError, match="model.pt was left by another version .*Missing key.*; remove its folder"):
            look(tmp_path / "t")


def test_history_is_one_line_an_epoch(parts, tmp_path):
    fit(network(), parts.train, parts.valid, small.recipe(epochs=2), tmp_path / "t")
    lines = [json.loads(line) for line in (tmp_path / "t" / "history.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert all(set(line["loss"]) == {"labels"} and "activity" in line["valid_macro_f1"] for line in lines)


def test_windows_per_epoch_bounds_an_epoch(parts, tmp_path):
    run = new_run(parts, windows_per_epoch=32, batch_size=16)
    run.epoch()
    assert run.step == 2


def test_the_average_follows_by_its_decay_and_copies_counters(parts, tmp_path):
    """After one step the decay is still warming up: (1 + 1) / (10 + 1)."""
    run = new_run(parts, ema_decay=0.99)
    before = {name: value.clone() for name, value in run.average.state_dict().items()}
    run._update(torch.arange(16), torch.Generator().manual_seed(0), steps_per_epoch=8)
    for name, value in run.average.state_dict().items():
        mine = run.model.state_dict()[name]
        decay = 2 / 11
        expected = decay * before[name] + (1 - decay) * mine if value.dtype.is_floating_point else mine
        torch.testing.assert_close(value, expected)
    assert run.average.state_dict()["stem.1.num_batches_tracked"] == 1


def test_without_a_decay_the_network_itself_is_kept(parts):
    run = new_run(parts, ema_decay=0.0)
    run._update(torch.arange(16), torch.Generator().manual_seed(0), steps_per_epoch=8)
    assert run.average is run.model


def test_teacher_and_student_see_the_same_augmented_windows(parts, tmp_path):
    teacher = fit(network("resnet:width=8"), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "teacher")
    run = new_run(parts, "kd", teacher.model)
    seen = {}
    run.model.register_forward_pre_hook(lambda module, inputs: seen.update(student=inputs[0]))
    run.lessons.teacher.register_forward_pre_hook(lambda module, inputs: seen.update(teacher=inputs[0]))
    run._update(torch.arange(16), torch.Generator().manual_seed(0), steps_per_epoch=8)
    assert torch.equal(seen["student"], seen["teacher"])
    assert not torch.allclose(seen["student"], run.lessons.x[:16], atol=0.1)


def test_rare_classes_weigh_more_unless_told_otherwise(parts):
    y = {"activity": torch.tensor([0, 0, 0, 1, -1])}
    tasks = {"activity": ("often", "rare", "never")}
    weights = class_weights(y, tasks, balance=True)["activity"]
    torch.testing.assert_close(weights, torch.tensor([4 / 6, 2.0, 0.0]))  # (3 * 4/6 + 1 * 2) / 4 = 1
    assert class_weights(y, tasks, balance=False) == {}
    assert "activity" in new_run(parts).distiller.class_weights
    assert new_run(parts, balance=False).distiller.class_weights == {}


def test_a_kill_between_the_last_checkpoint_and_its_history_loses_nothing(parts, tmp_path, monkeypatch):

    def killed(path, history):
        raise Stop

    recipe = small.recipe(epochs=1)
    with monkeypatch.context() as patch:
        patch.setattr(histories, "write_history", killed)
        with pytest.raises(Stop):
            fit(network(), parts.train, parts.valid, recipe, tmp_path / "t")
    assert len(fit(network(), parts.train, parts.valid, recipe, tmp_path / "t").history) == 1


def test_what_a_kill_left_is_cleared_away(parts, tmp_path):
    with pytest.raises(Stop):
        fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t", watch=stop_after(1))
    for name in (".checkpoint.pt.abc.part", ".history.jsonl.abc.part"):
        (tmp_path / "t" / name).write_bytes(b"half")
    fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "t")
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["history.jsonl", "model.pt", "training.json"]


def test_a_student_of_another_teacher_is_another_training(parts, tmp_path):
    teachers = [fit(network("resnet:width=8", seed), parts.train, parts.valid, small.recipe(epochs=1),
                    tmp_path / ("teacher%d" % seed)) for seed in (1, 2)]
    fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "s", "kd", teachers[0])
    with pytest.raises(InputError, match="another teacher"):
        fit(network(), parts.train, parts.valid, small.RECIPE, tmp_path / "s", "kd", teachers[1])


def test_a_teacher_nobody_asks_is_not_recorded(parts, tmp_path):
    teacher = fit(network("resnet:width=8"), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "teacher")
    fitted = fit(network(), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "s", "none", teacher)
    assert "teacher" not in fitted.facts


def new_run(parts, method="none", teacher=None, **changes):
    distiller = DISTILLERS.create(method) if isinstance(method, str) else method
    run = Training(network(), teacher, distiller, parts.train, parts.valid, small.recipe(**changes))
    run.model.train()
    return run


# ------------------------------------------------------------------ phases


class InTwo(WithoutTeacher):
    """First the second stage alone, then all; tells in which phase it was begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = []

    def phases(self, epochs):
        return [Phase("second stage", 2, ("student.stages.1",), ("level",)), Phase("all", epochs - 2)]

    def begin(self, phase, student):
        self.begun.append(phase.name)

    def step(self, student, x, labels, progress):
        return {"labels": self.label_loss(student, labels), "level": student.stages[-1].square().mean()}


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_phase_changes_what_it_trains_and_not_even_statistics_of_the_rest(parts):
    run = new_run(parts, InTwo(), epochs=4)
    before = state_of(run.model)
    assert set(run.epoch().loss) == {"level"}
    changed = {name for name, value in state_of(run.model).items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("stages.1.") for name in changed)
    assert {name for name in before if name.startswith("stages.1.")} == changed
    run.epoch()
    assert set(run.epoch().loss) == {"labels", "level"} and run.distiller.begun == ["second stage", "all"]
    before = state_of(run.model)
    run.epoch()
    assert not [name for name, value in state_of(run.model).items()
                if torch.equal(value, before[name]) and not name.startswith("normalise.")]


def test_each_phase_has_its_own_warm_up_optimiser_and_average(parts):
    run = new_run(parts, InTwo(), epochs=4, windows_per_epoch=32, warmup_epochs=1)
    rates = []
    set_rate = run._set_learning_rate
    run._set_learning_rate = lambda *given: (set_rate(*given), rates.append(run.optimiser.param_groups[0]["lr"]))
    for _ in range(2):
        run.epoch()
    reached = state_of(run.model)
    run._update_average = lambda step: None
    run.epoch()
    assert rates[:2] == rates[4:6] and rates[0] < rates[1]
    assert len(run.optimiser.state) == len(list(run.model.parameters()))
    assert all(int(state["step"]) == 2 for state in run.optimiser.state.values())
    assert all(torch.equal(value, reached[name]) for name, value in run.average.state_dict().items())


def test_only_epochs_of_the_last_phase_are_candidates_and_try_its_patience(parts, tmp_path, monkeypatch):
    from edgehar.training import epochs as training

    monkeypatch.setattr(training, "evaluate", scores_of_validation_people([0.9, 0.8, 0.2, 0.3, 0.1, 0.1, 0.1]))
    run = new_run(parts, InTwo(), epochs=20, windows_per_epoch=16, patience=1)
    while not run.finished:
        run.epoch()
    assert [past.best_epoch for past in run.history] == [1, 1, 3, 4, 4, 4]
    assert [past.phase for past in run.history] == ["second stage"] * 2 + ["all"] * 4


# ------------------------------------------------------------------ several teachers


def test_an_ensemble_says_the_mean_of_its_members_probabilities(parts, teachers):
    x = torch.from_numpy(parts.valid.x[:8])
    with torch.no_grad():
        members = [torch.softmax(teacher.model(x).logits["activity"], dim=1) for teacher in teachers]
        found = teach_as_one([teacher.model for teacher in teachers])(x)
    torch.testing.assert_close(found.logits["activity"].exp(), (members[0] + members[1]) / 2)
    assert found.embedding.shape == (8, 4 * (8 + 16)) and [each.shape[1] for each in found.stages] == [24, 48, 96]


def test_members_of_an_ensemble_read_their_own_channels(parts):
    """One reads z, one all; the ensemble is fed every channel that any of them reads."""
    one = make_model("resnet:width=8", replace(small.SIGNAL, channels=small.SIGNAL.channels[2:]), small.TASKS).eval()
    every = network("resnet:width=8").eval()
    together = Ensemble([one, every])
    assert {channel.axis for channel in together.signal.channels} == set("xyz")
    x = torch.from_numpy(parts.valid.x[:4])
    fed = x[:, [small.SIGNAL.channels.index(channel) for channel in together.signal.channels]]
    with torch.no_grad():
        alone = [torch.softmax(z, dim=1) for z in (one(x[:, 2:]).logits["activity"], every(x).logits["activity"])]
        torch.testing.assert_close(together(fed).logits["activity"].exp(), (alone[0] + alone[1]) / 2)


def test_members_of_unlike_families_have_no_stages_in_common():
    together = Ensemble([network("resnet:width=8").eval(), network("mobilenet:size=S").eval()])
    assert together(torch.randn(2, 3, 64)).stages == []


def test_one_teacher_alone_is_no_ensemble(teachers):
    assert teach_as_one([teachers[0].model]) is teachers[0].model


def test_a_student_remembers_all_its_teachers(parts, teachers, tmp_path):
    fitted = fit(network(), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "s", "kd", teachers)
    teacher = fitted.facts["teacher"]
    assert teacher["model"] == "ensemble of resnet:width=8 + resnet:width=16"
    assert [member["weights_sha256"] for member in teacher["members"]] == [
        weights_sha256(each.model) for each in teachers]
    assert teacher["parameters"] == sum(each.facts["parameters"] for each in teachers)
    with pytest.raises(InputError, match="another teacher"):
        fit(network(), parts.train, parts.valid, small.recipe(epochs=1), tmp_path / "s", "kd", teachers[::-1])


def test_a_teacher_says_the_same_thing_twice(parts, teachers):
    """No dropout, no statistics of the batch: evaluation mode, in an ensemble too."""
    together = teach_as_one([copy.deepcopy(teacher.model) for teacher in teachers]).requires_grad_().train()
    run = new_run(parts, "kd", together)
    run.epoch()
    asked, x = run.lessons.teacher, run.lessons.x
    first, second, among_others = (asked(x[:count]).logits["activity"][:4] for count in (4, 4, 8))
    assert torch.equal(first, second) and torch.allclose(first, among_others, atol=1e-5)
    assert not any(parameter.requires_grad for parameter in run.lessons.teacher.parameters())


@pytest.mark.parametrize("wrong, word", [
    ({"epochs": 0}, "epochs"), ({"epochs": -1}, "epochs"), ({"batch_size": 0}, "batch_size"),
    ({"learning_rate": float("nan")}, "learning_rate"), ({"learning_rate": 0.0}, "learning_rate"),
    ({"ema_decay": 1.0}, "ema_decay"), ({"seed": 1 << 47}, "seed = .* and below 140737488355328"),
    ({"augmentation": {"shift": 3.0}}, "shift"), ({"augmentation": {"jitter": -1.0}}, "jitter"),
    ({"augmentation": 3}, "augmentation")])
def test_recipes_that_cannot_train_are_refused(wrong, word):
    with pytest.raises(InputError, match=word):
        Recipe.from_mapping(wrong)


def test_recipes_are_checked():
    recipe = Recipe.from_mapping({"epochs": 3, "learning_rate": 1, "augmentation": {"jitter": 0.5}})
    assert (recipe.epochs, recipe.augmentation.jitter) == (3, 0.5)
    for wrong, word in (({"epoch": 3}, "epoch"), ({"epochs": "many"}, "epochs"),
                        ({"augmentation": {"flip": 1}}, "flip")):
        with pytest.raises(InputError, match=word):
            Recipe.from_mapping(wrong)
