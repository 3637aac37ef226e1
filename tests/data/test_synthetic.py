"""The generator: its options, its determinism, and that people differ."""

import numpy as np
import pytest

from edgehar.data.datasets import DATASETS
from edgehar.data.datasets.synthetic import Synthetic
from edgehar.data.parts import partition
from edgehar.data.signals import concatenate, cut, windows_sha256
from edgehar.errors import InputError


def _windows(**options):
    dataset = Synthetic(**options)
    return concatenate([cut(recording, 128, 64) for recording in dataset.recordings()])


def test_a_seed_fixes_every_bit():
    small = {"people": 3, "minutes": 0.2}
    assert windows_sha256(_windows(seed=5, **small)) == windows_sha256(_windows(seed=5, **small))
    assert windows_sha256(_windows(seed=5, **small)) != windows_sha256(_windows(seed=6, **small))


def test_more_people_leave_the_first_as_they_are():
    few, many = (list(Synthetic(people=people, minutes=0.2).recordings()) for people in (3, 4))
    assert len(many) > len(few)
    assert all((a.samples == b.samples).all() for a, b in zip(few, many))


def test_placements_do_not_change_each_other():
    wrist, waist, both = (_windows(people=3, minutes=0.2, placements=p) for p in ("wrist", "waist", "wrist+waist"))
    assert both.channels == wrist.channels + waist.channels and len(both.channels) == 12
    assert (both.x[:, :6] == wrist.x).all() and (both.x[:, 6:] == waist.x).all()


def test_gaps_end_recordings():
    parts = {}
    for recording in Synthetic(people=5, minutes=2.0).recordings():
        parts.setdefault((recording.subject, recording.session), []).append(recording)
    broken = [session for session in parts.values() if len(session) > 1]
    assert len(parts) == 5 * 7 and 0 < len(broken) < len(parts)
    for session in broken:
        for before, after in zip(session[:-1], session[1:]):
            assert after.start_s - before.start_s - before.duration_s > 0.4


@pytest.mark.parametrize("people, sizes", ((3, (1, 1, 1)), (5, (3, 1, 1)), (12, (7, 2, 3)), (20, (12, 4, 4))))
def test_split_takes_people_in_order(people, sizes):
    split = Synthetic(people=people).split()
    assert (len(split.train), len(split.valid), len(split.test)) == sizes
    assert split.train + split.valid + split.test == tuple("person-%03d" % n for n in range(1, people + 1))


def test_every_part_has_every_activity():
    dataset = Synthetic(people=5, minutes=0.3)
    parts = partition(dataset.recordings(), dataset.split(), dataset.window, dataset.hop)
    for part in parts.labelled:
        assert set(part.y["activity"]) == set(range(7))


def test_options_come_from_a_spec():
    dataset = DATASETS.create("synthetic:people=4,minutes=0.5,seed=9,placements=wrist+waist", root="/nonexistent")
    assert (dataset.people, dataset.minutes, dataset.seed, len(dataset.channels)) == (4, 0.5, 9, 12)
    assert dataset.missing() == ""


@pytest.mark.parametrize("option", ({"people": 2}, {"people": 2.5}, {"minutes": 0.0}, {"minutes": float("nan")},
                                    {"seed": -1}, {"seed": "x"}, {"placements": "ankle"}, {"placements": "wrist+wrist"},
                                    {"placements": ""}))
def test_unusable_options_are_one_sentence(option):
    with pytest.raises(InputError) as caught:
        Synthetic(**option)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_activities_are_neither_alike_nor_trivial():
    """Nearest mean of simple features, trained on 7 people: well above chance, well below perfect."""
    dataset = Synthetic()
    parts = partition(dataset.recordings(), dataset.split(), dataset.window, dataset.hop)
    train, test = (np.concatenate([w.x.mean(axis=2), w.x.std(axis=2)], axis=1) for w in (parts.train, parts.test))
    scale = train.std(axis=0)
    means = np.stack([train[parts.train.y["activity"] == k].mean(axis=0) for k in range(7)])
    nearest = (((test[:, None] - means) / scale) ** 2).sum(axis=2).argmin(axis=1)
    accuracy = (nearest == parts.test.y["activity"]).mean()
    assert 0.4 < accuracy < 0.97


def test_the_gyroscope_is_the_rate_of_the_turning_accelerometer():
    """While somebody sits still, gravity turns in the sensor's axes as the gyroscope says."""
    recording = next(r for r in Synthetic(minutes=1.0).recordings() if r.session == "lying")
    acc, gyro = np.float64(recording.samples[:, :3]), np.float64(recording.samples[:, 3:])
    smooth = np.ones(50) / 50
    acc, gyro = (np.stack([np.convolve(c, smooth, "valid") for c in s.T], axis=1) for s in (acc, gyro - gyro.mean(0)))
    turning = np.gradient(acc, 1 / recording.rate_hz, axis=0)
    expected = np.cross(gyro, acc)
    assert np.corrcoef(turning.ravel(), expected.ravel())[0, 1] > 0.5


def test_stacked_placements_are_the_same_signals_under_one_name():
    whole = list(Synthetic(people=3, minutes=0.2, placements="wrist+waist").recordings())
    stacked = list(Synthetic(people=3, minutes=0.2, placements="wrist+waist", stacked=True).recordings())
    assert [each.placement for each in stacked] == ["wrist", "waist"] * len(whole)
    assert [channel.name for channel in stacked[0].channels][:4] == ["acc/x", "acc/y", "acc/z", "gyro/x"]
    for recording, wrist, waist in zip(whole, stacked[::2], stacked[1::2]):
        assert (np.concatenate([wrist.samples, waist.samples], axis=1) == recording.samples).all()
        assert set(wrist.labels["placement"]) == {0} and set(waist.labels["placement"]) == {1}
