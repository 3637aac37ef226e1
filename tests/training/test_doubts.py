"""Few windows are gone through at their own pace; what a part lacks and what was not learnt is told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from edgehar import registry
from edgehar.cli import execute
from edgehar.data.signals import Windows
from edgehar.errors import InputError
from edgehar.training.distillers import DISTILLERS
from edgehar.training.doubts import class_support, guessing, training_doubts
from edgehar.training.epochs import Training
from edgehar.training.loop import fit
from edgehar.training.models import make_model
from edgehar.training.recipe import Pace, Recipe
from tests import small

PLUGIN = """
import numpy as np

from edgehar.data.channels import triad
from edgehar.data.datasets.base import Dataset
from edgehar.data.signals import Recording
from edgehar.data.splits import Split


class Few(Dataset):
    title, synthetic = "Few", True
    rate_hz, window, hop, max_gap_s = 20.0, 64, 32, 0.3
    channels = triad("acc", "m/s^2", "wrist")
    classes = {"activity": ("still", "walk", "run")}

    def __init__(self, root=None, lacks: str = "") -> None:
        super().__init__(root)
        self.lacks = lacks

    def split(self):
        return Split("few", "fixed", ("p1", "p2", "p3"), ("p4", "p5"), ("p6", "p7"))

    def recordings(self):
        for number, person in enumerate(self.split().people):
            part = self.split().part_of(person)
            for label, name in enumerate(self.classes["activity"]):
                if "%s-%s" % (name, part) in self.lacks or "%s-all" % name in self.lacks:
                    continue
                draw = np.random.default_rng([number, label])
                time_s = np.arange(400) / self.rate_hz
                swing = (0.5 + label) * np.sin(2 * np.pi * (0.6 + 0.5 * label) * time_s[:, None] + [0.0, 1.0, 2.0])
                samples = np.array([-8.0, 3.0, 4.0]) + swing + draw.normal(0, 0.2, (400, 3))
                yield Recording(samples.astype(np.float32), {"activity": np.full(400, label, np.int16)}, self.classes,
                                self.rate_hz, self.channels, person, "s%d" % label)
"""


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A corpus of the user's own with 99 windows to train on."""
    monkeypatch.setattr(registry, "_extra_files", {})
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "few.py").write_text(PLUGIN, encoding="utf-8")
    registry.add_plugin(tmp_path / "datasets" / "few.py")


# ------------------------------------------------------------------ pace


@pytest.mark.parametrize("recipe, windows, pace", [
    (Recipe(), 7352, (128, 11764)), (Recipe(), 100_000, (128, 12_000)), (Recipe(), 1280, (128, 2048)),
    (Recipe(), 1279, (127, 2047)), (Recipe(), 99, (9, 159)), (Recipe(), 12, (2, 20)), (Recipe(), 3, (2, 20)),
    (Recipe(epochs=20), 99, (9, 99)), (Recipe(epochs=3), 12, (2, 12)), (Recipe(batch_size=64), 99, (64, 640)),
    (Recipe(windows_per_epoch=32), 99, (9, 32)), (Recipe(windows_per_epoch=320), 99, (9, 99)),
    (Recipe(windows=8000), 99, (9, 200)), (Recipe(windows=8000, epochs=20), 7352, (128, 400)),
    (Recipe.from_mapping({"batch_size": 128, "epochs": 40}), 99, (128, 99)),
    (replace(Recipe.from_mapping({"batch_size": 128}), seed=3), 99, (128, 1280)),
    (Recipe.from_mapping({"epochs": 40}), 12, (2, 12))])
def test_what_is_given_counts_and_the_rest_is_brought_to_the_windows(recipe, windows, pace):
    """A batch is at most a tenth of them, and each is drawn 64 times, where nobody said otherwise."""
    assert recipe.pace(windows) == pace


def test_a_length_is_said_once():
    with pytest.raises(InputError, match="both windows and windows_per_epoch"):
        Recipe(windows=8000, windows_per_epoch=100)
    assert "windows" not in Recipe().to_json() and Recipe(windows=8000).to_json()["windows"] == 8000


@pytest.mark.parametrize("windows", [2, 7, 50, 99, 400, 1279, 1280, 20000])
def test_the_default_recipe_makes_steps_enough_on_any_corpus(windows):
    pace = Recipe().pace(windows)
    assert pace.batch_size <= max(2, windows / 10) and Recipe().steps(windows) >= 400


def test_steps_are_counted_as_they_are_made():
    parts = small.parts()
    for changes in ({}, {"windows_per_epoch": 40}, {"batch_size": 2}, {"windows": 500}):
        recipe = replace(small.RECIPE, **changes)
        run = Training(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), None, DISTILLERS.create("none"),
                       parts.train, parts.valid, recipe)
        assert recipe.epochs * len(run._batches(torch.Generator().manual_seed(0))) == recipe.steps(len(parts.train))


def test_an_epoch_of_several_passes_sees_every_window_in_each():
    parts = small.parts()
    train = parts.train.take(np.arange(12))
    run = Training(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), None, DISTILLERS.create("none"),
                   train, parts.valid, Recipe())
    batches = run._batches(torch.Generator().manual_seed(0))
    assert run.pace == Pace(2, 20) and len(batches) == 10
    seen = torch.cat(batches)
    assert sorted(seen[:12].tolist()) == list(range(12)) and len(set(seen[12:].tolist())) == 8
    assert not torch.equal(seen[:8], seen[12:])


def test_the_pace_is_remembered_where_it_is_not_the_recipe_s(tmp_path):
    parts = small.parts()
    for recipe, told in ((small.recipe(epochs=1), None), (Recipe(epochs=1), {"batch_size": 12, "windows": 126})):
        facts = fit(make_model("mobilenet:size=XS", small.SIGNAL, small.TASKS), parts.train, parts.valid, recipe,
                    tmp_path / str(recipe.batch_size)).facts
        assert facts.get("pace") == told and facts["recipe"]["batch_size"] == recipe.batch_size


@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_corpus_of_99_windows_is_learnt_with_default_settings(few, tmp_path, capsys, seed):
    """With batches of 128, one step an epoch, three of three seeds ended at chance."""
    assert execute(["train", "--data", "few", "--model", "mobilenet:size=S", "--seed", seed, "--quiet", "--json", "-o",
                    str(tmp_path / "t")]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["train_windows"] == 99 and told["pace"] == {"batch_size": 9, "windows": 159}
    assert told["valid_macro_f1"]["activity"] > 0.9 and told["warnings"] == [] and "warning" not in err


# ------------------------------------------------------------------ doubts


@pytest.mark.parametrize("lacks, told", [
    ("", []), ("run-train", ["the training subjects have no window of 'run': that is not learnt"]),
    ("run-valid", ["the validation subjects have no window of 'run': the epoch that is kept is chosen without that"]),
    ("run-test", ["the test subjects have no window of 'run': no test will say"]),
    ("run-all", ["no subject has a window of 'run', so that no network can learn it"]),
    ("run-valid walk-valid", ["the validation subjects have no window of 'walk', 'run'",
                              "the validation subjects have only windows of 'still'"]),
    ("run-all walk-all", ["no subject has a window of 'walk', 'run'",
                          "the training subjects have only windows of 'still'",
                          "the validation subjects have only windows of 'still'",
                          "the test subjects have only windows of"])])
def test_a_class_that_a_part_lacks_is_told_and_the_exit_stays_0(few, tmp_path, capsys, lacks, told):
    assert execute(["train", "--data", "few:lacks=" + lacks, "--model", "mobilenet:size=XS", "--epochs", "10",
                    "--quiet", "--json", "-o", str(tmp_path / "t")]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    of_classes = [sentence for sentence in found["warnings"] if "window" in sentence and "macro-F1 0" not in sentence]
    assert len(of_classes) == len(told) and all(part in each for part, each in zip(told, of_classes))
    assert [line[len("warning: "):] for line in err.splitlines()] == found["warnings"]
    run = {part: counts["run"] for part, counts in found["support"]["activity"].items()}
    assert run == {part: 0 if "run-" + part in lacks or "run-all" in lacks else 11 * people
                   for part, people in (("train", 3), ("valid", 2), ("test", 2))}


def of_part(part: str, *labels: int) -> Windows:
    whole = small.parts().train.take(np.zeros(len(labels), int))
    return replace(whole, y={"activity": np.array(labels)}, part=part)


def test_a_task_of_which_a_part_has_no_label_is_told():
    parts = small.parts()._replace(train=of_part("train", 0, 1, 2), valid=of_part("valid", -1, -1),
                                   test=of_part("test", 0, 1, 2))
    support = class_support(parts, small.TASKS)
    assert support["activity"]["valid"] == {"still": 0, "moving": 0, "shaking": 0}
    sentence, = training_doubts(support, Recipe(), 1000)
    assert "no window of the validation subjects is labelled" in sentence


def test_many_missing_classes_are_counted_and_not_all_named():
    names = tuple("c%02d" % number for number in range(40))
    parts = small.parts()._replace(train=of_part("train", 0, 1), valid=of_part("valid", *range(40)),
                                   test=of_part("test", *range(40)))
    sentence, = training_doubts(class_support(parts, {"activity": names}), Recipe(), 1000)
    assert "'c02', 'c03', 'c04', 'c05', 'c06', 'c07' and 32 more" in sentence


def test_a_training_too_short_to_learn_is_told():
    support = class_support(small.parts(), small.TASKS)
    assert training_doubts(support, Recipe(), 99) == []
    sentence, = training_doubts(support, Recipe.from_mapping({"batch_size": 128, "epochs": 40}), 99)
    assert sentence.startswith("the recipe makes 40 steps of the optimiser on 99 windows")


def test_a_result_at_the_level_of_guessing_is_told_by_the_classes_that_validation_people_have():
    support = class_support(small.parts(), small.TASKS)
    assert guessing({"activity": 0.4}, support) == []
    assert "no more than guessing among 3 classes" in guessing({"activity": 0.33}, support)[0]
    support["activity"]["valid"]["still"] = 0
    assert "guessing among 2 classes" in guessing({"activity": 0.4}, support)[0]
    support["activity"]["valid"]["moving"] = 0
    assert guessing({"activity": 0.4}, support) == []  # one class alone is told elsewhere
