"""What a network looked at, as it is kept and shown where torch is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgehar import cli
from edgehar.artifact import attribution
from edgehar.artifact.attribution import Attribution, spectrum
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.errors import MismatchError
from edgehar.results import page as report
from edgehar.results.plots import attribution_plot
from tests.results.test_report import Page
from tests.runs import make
from tests.tiny import SIGNAL, tiny_artifact, tiny_facts


def found(count: int = 2, channels: int = 3, samples: int = 64) -> Attribution:
    draw = np.random.default_rng(0)
    focus = draw.uniform(0, 1, (count, samples)).astype(np.float32)
    return Attribution(np.arange(count), draw.normal(0, 3, (count, channels, samples)).astype(np.float32), focus,
                       np.full(count, 0.9, np.float32))


def test_what_is_saved_is_loaded(tmp_path):
    kept = {"activity": found(), "placement": found(1)}
    attribution.save(tmp_path / attribution.FILE, kept)
    read = attribution.load_attribution(tmp_path)
    assert list(read) == ["activity", "placement"]
    for task, each in kept.items():
        for name, array in each._asdict().items():
            np.testing.assert_array_equal(getattr(read[task], name), array)


def test_an_artifact_without_one_has_none(tmp_path):
    assert attribution.load_attribution(tmp_path) == {}


def test_spectrum_finds_rhythm_and_strength_and_no_level():
    time_s = np.arange(128) / 50.0
    x = np.stack([9.81 + 3 * np.sin(2 * np.pi * 6.25 * time_s), np.full(128, 9.81)])
    frequencies_hz, amplitudes = spectrum(x, rate_hz=50.0)
    peak = amplitudes[0].argmax()
    assert frequencies_hz[peak] == pytest.approx(6.25) and amplitudes[0, peak] == pytest.approx(3, rel=0.02)
    assert amplitudes[1].max() < 1e-9


# ------------------------------------------------------------------ shown


def artifact(folder) -> Artifact:
    """The tiny artifact with a window of its first and of its last class."""
    tiny_artifact(folder)
    kept = found(samples=SIGNAL.window)._replace(labels=np.array([0, 2]))
    attribution.save(folder / attribution.FILE, {"activity": kept})
    write_manifest(folder, tiny_facts())
    return Artifact.load(folder)


def test_a_changed_byte_in_it_is_noticed(tmp_path):
    artifact(tmp_path / "a")
    path = tmp_path / "a" / attribution.FILE
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MismatchError, match="attribution.npz was changed"):
        Artifact.load(tmp_path / "a")


def test_the_page_shows_a_picture_for_each_class_that_was_recognised(tmp_path):
    page = report.render([make()], [artifact(tmp_path / "a")])
    words = Page(page).words
    assert "Class activation maps: tiny, activity SYNTHETIC DATA" in words
    assert page.count('class="wide attribution"') == 2
    assert "<strong>still</strong>" in page and "class activation map of running" in page
    assert "class activation map of walking" not in page
    assert "Class activation maps" not in report.render([make()], [tiny_artifact(tmp_path / "b")])


def test_the_ground_is_dark_where_the_network_looked():
    focus = np.zeros((1, SIGNAL.window), np.float32)
    focus[0, 3], focus[0, 9] = 1.0, 0.5
    kept = Attribution(np.array([0]), np.ones((1, 3, SIGNAL.window), np.float32), focus, np.array([0.7]))
    drawn = attribution_plot(kept, 0, "<still>", SIGNAL)
    assert drawn.count('class="focus"') == 2 and "&lt;still&gt;" in drawn
    assert 'fill-opacity="0.500"' in drawn and 'fill-opacity="0.250"' in drawn


def test_only_channels_of_one_unit_share_an_axis():
    turning = tuple(replace(channel, kind="gyro", unit="rad/s") for channel in SIGNAL.channels)
    both = replace(SIGNAL, channels=SIGNAL.channels + turning)
    drawn = attribution_plot(found(1, channels=6, samples=SIGNAL.window), 0, "still", both)
    assert drawn.count("<polyline") == 3 + 2 and "wrist acc (3 of 6 channels)" in drawn


def test_the_command_takes_artifacts(tmp_path, capsys):
    make().write(tmp_path / "run.json")
    artifact(tmp_path / "a")
    words = (tmp_path / "run.json", "--artifact", tmp_path / "a", "-o", tmp_path / "r.html")
    assert cli.execute(["report", *map(str, words)]) == 0
    assert "Class activation maps" in (tmp_path / "r.html").read_text(encoding="utf-8")
