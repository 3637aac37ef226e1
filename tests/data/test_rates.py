"""A student at half its teacher's rate: the same seconds, window by window, and on the device the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgehar.data.channels import choose_channels, positions
from edgehar.data.corpus import cut_corpus, framed
from edgehar.data.datasets import DATASETS
from edgehar.data.signals import Framing, paired
from edgehar.errors import InputError, MismatchError
from edgehar.stream.feed import Feed
from edgehar.stream.sources.base import Chunk, Source
from tests.linear import SIGNAL

SPEC = "synthetic:people=3,minutes=0.5"
FAST, SLOW = Framing(50.0, 128, 64), Framing(25.0, 64, 32)


@pytest.fixture(scope="module")
def corpora():
    return cut_corpus(SPEC, framing=SLOW), cut_corpus(SPEC, framing=FAST)


def test_paired_windows_span_the_same_seconds_of_the_same_recording(corpora) -> None:
    slow, fast = paired(*(corpus.parts.train for corpus in corpora))
    assert len(slow) == len(fast) > 0.9 * len(corpora[1].parts.train)
    assert np.array_equal(slow.origin * [1, 2], fast.origin)
    assert np.array_equal(slow.subjects, fast.subjects) and np.array_equal(slow.y["activity"], fast.y["activity"])


def test_paired_windows_are_the_same_movement(corpora) -> None:
    """Sample t of the one is sample 2 t of the other, low-passed: closer than to its neighbours."""
    slow, fast = paired(*(corpus.parts.train for corpus in corpora))
    off = lambda by: np.square(slow.x - np.roll(fast.x, -by, axis=2)[:, :, ::2])[:, :, 8:-8].mean()  # noqa: E731
    aside = [float(off(by)) for by in range(-3, 4)]
    assert int(np.argmin(aside)) == 3 and aside[3] < 0.6 * min(aside[2], aside[4])


def test_windows_that_share_no_grid_are_refused(corpora) -> None:
    slow, fast = (corpus.parts.train for corpus in corpora)
    with pytest.raises(InputError, match="do not span the same samples"):
        paired(slow, cut_corpus(SPEC, framing=Framing(40.0, 102, 51)).parts.train)
    with pytest.raises(InputError, match="no window of the two cuts"):
        paired(slow, replace(fast, origin=fast.origin + 1))


class Chopped(Source):
    """The samples of a recording, a few at a time."""

    def __init__(self, recording) -> None:
        self.recording = recording

    @property
    def channels(self):
        return self.recording.channels

    @property
    def rate_hz(self) -> float:
        return self.recording.rate_hz

    def samples(self):
        for first in range(0, len(self.recording.samples), 37):
            yield Chunk(self.recording.samples[first:first + 37], first / self.rate_hz)


def test_the_device_makes_of_the_fast_stream_what_the_student_learnt_from() -> None:
    recording = next(DATASETS.create(SPEC).recordings())
    channels = choose_channels(recording.channels, "kind=acc")
    signal = replace(SIGNAL, channels=channels, rate_hz=SLOW.rate_hz, window=SLOW.window, hop=SLOW.hop)
    live = np.concatenate([chunk.samples for chunk in Feed(Chopped(recording), signal)])
    learnt = framed(recording, SLOW.rate_hz).samples[:, positions(recording.channels, channels)]
    assert live.tobytes() == np.ascontiguousarray(learnt).tobytes()


# ------------------------------------------------------------------ training (torch)


def recipe(**changes):
    from edgehar.training.recipe import Recipe

    return replace(Recipe(epochs=1, batch_size=16, windows_per_epoch=64), **changes)


@pytest.fixture(scope="module")
def teacher(corpora, tmp_path_factory):
    pytest.importorskip("torch")
    from edgehar.training.loop import train

    return train(corpora[1], "resnet:width=8", "all", recipe(), tmp_path_factory.mktemp("teacher"))


def test_a_slow_student_learns_from_a_fast_teacher(corpora, teacher, tmp_path) -> None:
    from edgehar.training.exporting import export
    from edgehar.training.loop import train

    slow, fast = corpora
    fitted = train(slow, "mobilenet:size=S", "kind=acc", recipe(), tmp_path / "s", "kd", teacher, teaching=fast)
    artifact = export(fitted, slow.parts.train, slow.parts.valid, tmp_path / "a", "slow")
    assert (artifact.manifest.signal.rate_hz, artifact.manifest.signal.window) == (25.0, 64)


def test_both_see_one_view(corpora, teacher, monkeypatch) -> None:
    """Turned, stretched and moved alike: what the teacher sees is what the student sees, at twice the samples."""
    import torch

    from edgehar.training.augment import Augmentation
    from edgehar.training.distillers import DISTILLERS
    from edgehar.training.models import make_model
    from edgehar.training.loop import _Run

    slow, fast = corpora
    signal = replace(SIGNAL, channels=slow.dataset.channels, rate_hz=25.0, window=64, hop=32)
    seen = []
    monkeypatch.setattr(teacher.model, "forward", lambda x, ask=teacher.model.forward: seen.append(x) or ask(x))
    strong = recipe(augmentation=Augmentation(rotation_deg=60.0, scale=0.5, jitter=0.0, shift=0.25))
    run = _Run(make_model("mobilenet:size=S", signal, {"activity": slow.dataset.classes["activity"]}), teacher.model,
               DISTILLERS.create("kd"), slow.parts.train, slow.parts.valid, strong, teaching=fast.parts.train)
    del seen[:]
    view, _ = run._look(torch.arange(32), torch.Generator().manual_seed(5))
    theirs = seen[0][:, :, ::2]
    off, plain = ((a - b)[:, :, 8:-8].square().mean() for a, b in ((view, theirs), (view, run.x[:32])))
    assert off < 0.05 * plain


def test_what_does_not_fit_is_refused(corpora, teacher, tmp_path) -> None:
    from edgehar.training.loop import train

    slow, fast = corpora
    line = (slow, "mobilenet:size=S", "kind=acc")
    with pytest.raises(MismatchError, match="the teacher learnt windows of 128 samples at 50 Hz"):
        train(*line, recipe(), tmp_path / "a", "kd", teacher)
    with pytest.raises(InputError, match="use views = 0"):
        train(*line, recipe(views=2), tmp_path / "b", "kd", teacher, teaching=fast)
