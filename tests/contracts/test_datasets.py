"""What every corpus in the registry keeps to. A corpus whose data is absent is checked in its facts only."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgehar.data.datasets import DATASETS
from edgehar.data.signals import UNLABELLED, cut
from edgehar.errors import InputError

READ = 40  # recordings looked at of each corpus, to keep the test short


DESCRIBED = {"table-mhealth": "table:%s" % (Path(__file__).parents[1] / "data" / "tables" / "mhealth.toml")}


@pytest.fixture(scope="module", params=[*DATASETS.names(), *DESCRIBED])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def spec(name):
    return DESCRIBED.get(name, name)


@pytest.fixture
def facts(spec):
    """The corpus without its data."""
    return DATASETS.create(spec, root="/nonexistent")


@pytest.fixture(scope="module")
def dataset(name, spec, request):
    """The corpus with its data; skips where that is absent."""
    if name not in DESCRIBED and DATASETS.kind(name).synthetic:
        return DATASETS.create(name)
    dataset = DATASETS.create(spec, root=str(request.getfixturevalue("corpora")))
    try:
        next(dataset.recordings())
    except InputError as error:
        pytest.skip("corpus %s cannot be read: %s" % (name, error))
    return dataset


@pytest.fixture(scope="module")
def recordings(dataset):
    return list(islice(dataset.recordings(), READ))


def test_facts_are_stated(facts, name):
    assert facts.name == name
    assert facts.title and facts.licence and facts.citation and facts.__doc__
    assert facts.synthetic or facts.url.startswith("https://")
    assert facts.rate_hz > 0 and facts.max_gap_s > 1 / facts.rate_hz
    assert 0 < facts.hop <= facts.window
    assert len({channel.name for channel in facts.channels}) == len(facts.channels)
    assert all(len(set(names)) == len(names) for names in facts.classes.values())


def test_split_divides_people_and_is_stable(facts):
    split = facts.split()
    people = split.train + split.valid + split.test
    assert split.train and split.valid and split.test and len(set(people)) == len(people)
    assert split.dataset == facts.name and split.name
    assert split.sha256 == facts.split().sha256


def test_absent_data_is_one_sentence(facts):
    if facts.synthetic:
        pytest.skip("synthetic corpora need no data")
    with pytest.raises(InputError) as caught:
        list(facts.recordings())
    assert str(caught.value).count("\n") == 0 and str(caught.value).endswith(".")
    assert facts.missing() == str(caught.value)


def test_two_reads_are_equal(dataset, recordings):
    for first, second in zip(recordings, dataset.recordings()):
        assert (first.subject, first.session, first.start_s) == (second.subject, second.session, second.start_s)
        assert first.samples.tobytes() == second.samples.tobytes()
        assert all((first.labels[task] == second.labels[task]).all() for task in first.labels)


def test_recordings_agree_with_the_facts(dataset, recordings):
    split = dataset.split()
    for recording in recordings:
        assert recording.channels == dataset.channels and recording.rate_hz == dataset.rate_hz
        assert recording.classes == dataset.classes and set(recording.labels) == set(dataset.classes)
        assert recording.samples.dtype == np.float32 and np.isfinite(recording.samples).all()
        assert split.part_of(recording.subject)
        for task, labels in recording.labels.items():
            assert labels.dtype == np.int16
            assert labels.min() >= UNLABELLED and labels.max() < len(recording.classes[task])


def test_parts_of_a_session_stand_apart(recordings):
    ends = {}
    for recording in recordings:
        key = recording.subject, recording.session
        assert recording.start_s > ends.get(key, -np.inf)
        ends[key] = recording.start_s + (len(recording.samples) - 1) / recording.rate_hz


def test_units_are_si(dataset, recordings):
    """The calmest stretch of each accelerometer reads gravity; angular rates stay within what a body does."""
    windows = [cut(recording, dataset.window, dataset.window) for recording in recordings]
    x = np.concatenate([w.x for w in windows]).astype(np.float64)
    for sensor in {(c.placement, c.sensor) for c in dataset.channels}:
        here = [(i, c) for i, c in enumerate(dataset.channels) if (c.placement, c.sensor) == sensor]
        acc = [i for i, c in here if c.kind == "acc"]
        if acc:
            norm = np.linalg.norm(x[:, acc], axis=1)
            calm = norm.std(axis=1) < np.percentile(norm.std(axis=1), 10)
            assert np.median(norm[calm]) == pytest.approx(9.81, abs=0.5)
        gyro = [i for i, c in here if c.kind == "gyro" and not c.derived]
        assert not gyro or 0.05 < np.percentile(np.abs(x[:, gyro]), 99) < 20
