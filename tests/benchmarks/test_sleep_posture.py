"""The sleep postures' loader, on files made in the layout that the authors' code reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgehar import registry
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets import DATASETS
from edgehar.errors import InputError

PLUGIN = Path(__file__).resolve().parents[2] / "benchmarks" / "datasets" / "sleep_posture.py"


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_extra_files", {room: dict(files) for room, files in registry._extra_files.items()})
    registry.add_plugin(PLUGIN)


def written(root: Path, name: str, values: np.ndarray, stamped: bool = True) -> None:
    (root / "sleep").mkdir(exist_ok=True)
    lines = ["%d,%g,%g,%g;" % (20 * number, *row) for number, row in enumerate(values)] if stamped else [
        "x,y,z"] + ["%g,%g,%g" % tuple(row) for row in values]
    (root / "sleep" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def at_rest(scale: float = 1.0, count: int = 300, seed: int = 0) -> np.ndarray:
    return scale * (np.array([0.0, 0.6, 0.8]) + np.random.default_rng(seed).normal(0, 0.01, (count, 3)))


def test_both_layouts_and_both_units_become_recordings_of_two_tasks(tmp_path: Path) -> None:
    written(tmp_path, "p1_UpLEFT_nguc.txt", at_rest())
    written(tmp_path, "p1_Down_co.txt", at_rest(9.80665), stamped=False)
    down, upleft = DATASETS.create("sleep-posture", root=str(tmp_path)).recordings()
    assert (upleft.subject, upleft.placement, upleft.rate_hz) == ("p1", "chest", 50.0)
    assert set(upleft.labels["activity"]) == {11} and set(upleft.labels["placement"]) == {1}
    assert set(down.labels["activity"]) == {6} and down.placement == "neck"
    np.testing.assert_allclose(upleft.samples, down.samples, atol=1e-3)


def test_people_are_those_at_hand_and_nobody_is_in_two_parts(tmp_path: Path) -> None:
    for person in range(1, 11):
        for place in ("co", "bung"):
            written(tmp_path, "%d_left_%s.txt" % (person, place), at_rest(seed=10 * person + len(place)))
    corpus = cut_corpus("sleep-posture", str(tmp_path))
    assert corpus.parts.train.x.shape[1:] == (3, 100) and set(corpus.parts.test.y) == {"activity", "placement"}
    assert [len(set(part.subjects)) for part in corpus.parts.labelled] == [6, 2, 2]


@pytest.mark.parametrize("name, values, told", [
    ("p1_sideways_co.txt", at_rest(), "p1_sideways_co.txt is not named person_posture_place.txt"),
    ("p1_left_wrist.txt", at_rest(), "is not named"), ("p1_left_co.txt", at_rest(256), "weighs 256 at rest"),
    ("p1_left_co.txt", at_rest()[:, :2], "line 1 of .* is '0,")])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str, values: np.ndarray, told: str) -> None:
    if values.shape[1] == 2:
        (tmp_path / "sleep").mkdir()
        (tmp_path / "sleep" / name).write_text("0,1,2;\n", encoding="utf-8")
    else:
        written(tmp_path, name, values)
    with pytest.raises(InputError, match=told):
        list(DATASETS.create("sleep-posture", root=str(tmp_path)).recordings())


def test_a_folder_without_them_says_where_they_belong(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no folder sleep of text files"):
        DATASETS.create("sleep-posture", root=str(tmp_path)).split()
