"""What a training told of its epochs is read back, drawn, and refused where it is damaged."""

from __future__ import annotations

import json
import math

import pytest

from edgehar.errors import InputError
from edgehar.results import histories
from edgehar.results.plots import history_plot

EPOCHS = [{"epoch": 1, "loss": {"stage1": 2.0}, "valid_macro_f1": {"activity": 0.4}, "best_epoch": 1,
           "phase": "stage 1",
           "figures": {"importance/activity/mlp": 0.25, "importance/activity/linear": 0.75, "entropy": 1.0}},
          {"epoch": 2, "loss": {"labels": 1.0}, "valid_macro_f1": {"activity": 0.6}, "best_epoch": 2,
           "phase": "logits",
           "figures": {"importance/activity/mlp": 0.5, "importance/activity/linear": 0.5, "entropy": 0.5}}]


def write(folder, epochs):
    path = folder / histories.FILE
    path.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs), encoding="utf-8")
    return path


def test_figures_are_grouped_by_name_and_an_epoch_without_one_is_left_open(tmp_path):
    write(tmp_path, EPOCHS)
    curves = histories.load_history(tmp_path).curves()
    assert list(curves) == ["loss", "macro-F1", "importance/activity", "entropy"]
    assert curves["importance/activity"] == {"mlp": [0.25, 0.5], "linear": [0.75, 0.5]}
    assert curves["macro-F1"] == {"validation": [0.4, 0.6]}
    assert curves["loss"]["labels"][1] == 1.0 and math.isnan(curves["loss"]["labels"][0])


def test_the_overfitting_gap_of_each_task_is_drawn_where_training_people_were_scored(tmp_path):
    figures = {"macro-F1/training, activity": 0.9, "macro-F1/training, placement": 0.8,
               "macro-F1/average, activity": 0.7}
    epoch = dict(EPOCHS[0], valid_macro_f1={"activity": 0.5, "placement": 0.75}, best_epoch=1, figures=figures)
    write(tmp_path, [epoch])
    found = histories.load_history(tmp_path)
    assert found.gaps() == {"activity": [pytest.approx(0.4)], "placement": [pytest.approx(0.05)]}
    curves = found.curves()
    assert curves["overfitting gap"] == found.gaps() and curves["macro-F1"]["average, activity"] == [0.7]
    write(tmp_path, EPOCHS)
    assert histories.load_history(tmp_path).gaps() == {}


def test_a_file_of_another_name_is_a_history_too(tmp_path):
    path = write(tmp_path, EPOCHS).rename(tmp_path / "smldist-seed0.history.jsonl")
    found = histories.load_history(path)
    assert (found.name, found.kept) == ("smldist-seed0", 2)


def test_every_line_is_drawn_and_the_kept_epoch_marked(tmp_path):
    write(tmp_path, EPOCHS)
    found = histories.load_history(tmp_path)
    picture = history_plot(found.curves(), found.kept, "<student>")
    assert picture.count("<polyline") == 6 and picture.count('class="leader"') == 4
    assert "&lt;student&gt;" in picture and "nan" not in picture


def test_one_epoch_makes_a_picture(tmp_path):
    write(tmp_path, EPOCHS[:1])
    found = histories.load_history(tmp_path)
    assert "nan" not in history_plot(found.curves(), found.kept, found.name)


@pytest.mark.parametrize("text", ["", "{", "[1]\n", '{"epoch": 1}\n'])
def test_a_damaged_history_is_refused(tmp_path, text):
    (tmp_path / histories.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="no history of a training"):
        histories.load_history(tmp_path)


def test_a_folder_without_one_is_refused(tmp_path):
    with pytest.raises(InputError, match="edgehar train"):
        histories.load_history(tmp_path)
