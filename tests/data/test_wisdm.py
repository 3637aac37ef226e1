"""WISDM 2019: hand-made archives in its layout, then a few people of the real one."""

import zipfile

import numpy as np
import pytest

from edgehar.data.datasets.wisdm import LETTERS, PEOPLE, Wisdm
from edgehar.errors import InputError
from tests.damage import cut_off, refusal

TOP = "wisdm-dataset/"
KEY = "\n".join("%s = %s" % pair for pair in zip(Wisdm.classes["activity"], LETTERS.decode()))


def _lines(person, letter, times_s, values):
    return ["%s,%s,%d,%r,%r,%r;" % (person, letter, round(time * 1e9), *map(float, row))
            for time, row in zip(times_s, values)]


def _steady(person, letter, start_s, count=200, rate_hz=20.0):
    """At rest; z tells when the run started, in 1000 s."""
    times_s = start_s + np.arange(count) / rate_hz
    return _lines(person, letter, times_s, np.tile([0.5, -9.8, start_s / 1000], (count, 1)))


def _write(root, people, device="watch"):
    path = root / "wisdm-dataset.zip"
    with zipfile.ZipFile(str(path), "w") as archive:
        archive.writestr(TOP + "activity_key.txt", KEY)
        for person, lines in people.items():
            archive.writestr(TOP + "raw/%s/accel/data_%s_accel_%s.txt" % (device, person, device),
                             "\n".join(lines) + "\n")
    return path


def _read(root, **options):
    return list(Wisdm(root=str(root), **options).recordings())


def test_a_change_of_activity_ends_a_recording(tmp_path):
    """Activities out of time order, as in the corpus; exponents as Java prints them, beside the letter E."""
    lines = _steady(1600, "E", 900.0) + _steady(1600, "A", 100.0)
    lines[3] = "1600,E,900150000000,1.0E-4,-9.8,0.9;"
    _write(tmp_path, {"1600": lines})
    standing, walking = _read(tmp_path)
    assert (standing.session, standing.start_s, standing.subject) == ("standing", 900.0, "1600")
    assert (walking.session, walking.start_s, len(walking.samples)) == ("walking", 100.0, 200)
    assert set(standing.labels["activity"]) == {4} and set(walking.labels["activity"]) == {0}
    assert standing.samples[3] == pytest.approx([1e-4, -9.8, 0.9], rel=1e-5)


def test_a_gap_ends_a_recording(tmp_path):
    lines = _steady(1600, "A", 0.0, 100) + _steady(1600, "A", 5.3, 60)
    _write(tmp_path, {"1600": lines})
    found = _read(tmp_path)
    assert [(r.session, r.start_s, len(r.samples)) for r in found] == [
        ("walking", 0.0, 100), ("walking", 5.3, 60)]
    assert all((r.samples[:, 2] == np.float32(r.start_s / 1000)).all() for r in found), "values crossed a gap"


def test_a_second_run_is_a_session_of_its_own(tmp_path):
    lines = _steady(1600, "A", 0.0) + _steady(1600, "B", 20.0) + _steady(1600, "A", 40.0)
    _write(tmp_path, {"1600": lines})
    assert [r.session for r in _read(tmp_path)] == ["walking", "jogging", "walking-2"]


@pytest.mark.parametrize("rate_hz", (25.0, 50.0, 100.0))
def test_faster_runs_come_at_20_hz_without_aliases(tmp_path, rate_hz):
    """A motion of 2 Hz passes; one near the output rate, which would come out as 1 Hz, does not."""
    times_s = np.arange(int(30 * rate_hz)) / rate_hz
    slow, alias = np.sin(4 * np.pi * times_s), np.sin(2 * np.pi * 19.0 * times_s)
    values = np.stack([slow, alias, 9.8 + 1e-5 * slow], axis=1)
    _write(tmp_path, {"1600": _lines(1600, "A", times_s, values)})
    (recording,) = _read(tmp_path)
    at_s = np.arange(len(recording.samples)) / 20.0
    assert len(at_s) == int(times_s[-1] * 20) + 1 and recording.rate_hz == 20.0
    assert recording.measured_hz == pytest.approx(rate_hz, rel=1e-6)
    assert np.abs(recording.samples[8:-8, 0] - np.sin(4 * np.pi * at_s[8:-8])).max() < 0.01
    assert recording.samples[:, 2] == pytest.approx(9.8, abs=1e-4)
    if rate_hz > 2 * 19.0:
        assert np.abs(recording.samples[8:-8, 1]).max() < 0.01


def test_a_run_that_switches_rate_keeps_its_slow_part(tmp_path):
    times_s = np.concatenate([np.arange(100) / 20.0, 5.0 + np.arange(500) / 100.0])
    values = np.random.default_rng(0).normal(size=(600, 3)) + [0, 0, 9.8]
    _write(tmp_path, {"1600": _lines(1600, "A", times_s, values)})
    (recording,) = _read(tmp_path)
    assert np.abs(recording.samples[:94] - values[:94]).max() < 1e-5
    assert recording.measured_hz == pytest.approx(599 / times_s[-1])
    assert (recording.samples[110:190].std(axis=0) < 0.7 * values[110:].std(axis=0)).all()


def test_devices_are_told_apart(tmp_path):
    _write(tmp_path, {"1600": _steady(1600, "A", 0.0)}, device="phone")
    (recording,) = _read(tmp_path, device="phone")
    assert [channel.name for channel in recording.channels] == ["pocket/phone/acc/%s" % axis for axis in "xyz"]
    with pytest.raises(InputError, match="no file like raw/watch"):
        _read(tmp_path)
    with pytest.raises(InputError, match="choose from: watch, phone"):
        Wisdm(device="ring")


def test_missing_people_are_named(tmp_path):
    _write(tmp_path, {person: _steady(person, "A", 0.0) for person in PEOPLE if person not in ("1629", "1640")})
    message = Wisdm(root=str(tmp_path)).missing()
    assert message.endswith(": 1629, 1640.") and "2 of the 51" in message
    assert len(_read(tmp_path)) == 49


def test_split_does_not_depend_on_who_is_at_hand(tmp_path):
    _write(tmp_path, {"1600": _steady(1600, "A", 0.0)})
    split = Wisdm(root=str(tmp_path)).split()
    assert split == Wisdm().split() == Wisdm(device="phone").split()
    assert [len(part) for part in (split.train, split.valid, split.test)] == [31, 10, 10]
    assert split.valid[0] == "1603" and split.test[0] == "1604"


def test_every_form_of_the_archive_reads_alike(tmp_path):
    for name in ("plain", "wrapped", "folder"):
        (tmp_path / name).mkdir()
    plain = _write(tmp_path / "plain", {"1600": _steady(1600, "A", 0.0)})
    wrapped = "wisdm+smartphone+and+smartwatch+activity+and+biometrics+dataset.zip"
    with zipfile.ZipFile(str(tmp_path / "wrapped" / wrapped), "w") as outer:
        outer.write(str(plain), "wisdm-dataset.zip")
    with zipfile.ZipFile(str(plain)) as archive:
        archive.extractall(str(tmp_path / "folder"))
    forms = [[(r.session, r.samples.tobytes()) for r in _read(tmp_path / name)]
             for name in ("plain", "wrapped", "folder")]
    assert forms[0] and all(form == forms[0] for form in forms)


# ------------------------------------------------------------------ damage


def _refusal(root):
    return refusal(Wisdm(root=str(root)))


@pytest.mark.parametrize("line", (
    "1600,A,150000000,1.0,2.0;", "1600,A,150000000,1.0,2.0,3.0,4.0;", "1600,A,150000000,1.0,,3.0;", "",
    "1600,N,150000000,1.0,2.0,3.0;", "1600,A,150000000,1.0,2.0,x;", "1600,A,150000000,1.0,2.0,3.0",
    "1600,A,15000000", "1600 A 150000000 1.0 2.0 3.0;", "\u00e9600,A,150000000,1.0,2.0,3.0;"))
def test_malformed_line(tmp_path, line):
    lines = _steady(1600, "A", 0.0)
    lines[3] = line
    _write(tmp_path, {"1600": lines})
    message = _refusal(tmp_path)
    assert "line 4 of raw/watch/accel/data_1600_accel_watch.txt" in message


def test_the_last_number_of_a_file_is_no_half_a_word(tmp_path):
    """Not read as 3.1: older numpy versions stop there and only warn."""
    lines = _steady(1600, "A", 0.0)
    lines[-1] = lines[-1].rsplit(",", 1)[0] + ",3.1.2;"
    _write(tmp_path, {"1600": lines})
    assert "line %d " % len(lines) in _refusal(tmp_path)


@pytest.mark.parametrize("line, reason", (
    ("1600,A,150000000,1.0,NaN,3.0;", "finite"), ("1600,A,150000000,1.0,-inf,3.0;", "finite"),
    ("1601,A,150000000,1.0,2.0,3.0;", "subject 1601")))
def test_unsound_line(tmp_path, line, reason):
    lines = _steady(1600, "A", 0.0)
    lines[3] = line
    _write(tmp_path, {"1600": lines})
    message = _refusal(tmp_path)
    assert "line 4" in message and reason in message


def test_file_cut_off_in_its_last_line(tmp_path):
    lines = _steady(1600, "A", 0.0)
    _write(tmp_path, {"1600": lines[:-1] + [lines[-1][:20]]})
    assert "line 200" in _refusal(tmp_path)


def test_empty_file(tmp_path):
    _write(tmp_path, {"1600": []})
    assert "data_1600_accel_watch.txt" in _refusal(tmp_path)


@pytest.mark.parametrize("kept", (0.1, 0.9, 0.999))
def test_truncated_zip(tmp_path, kept):
    path = _write(tmp_path, {"1600": _steady(1600, "A", 0.0)})
    cut_off(path, kept)
    message = _refusal(tmp_path)
    assert "wisdm-dataset.zip" in message and "download it again" in message


# ------------------------------------------------------------------ the real corpus


@pytest.fixture(scope="module")
def few_people(corpora, tmp_path_factory):
    """Three real people of the watch: 1608 and 1642 switch between 20 and 100 Hz, 1642 lacks two activities."""
    if not (corpora / "wisdm-dataset.zip").is_file():
        pytest.skip("no wisdm-dataset.zip in %s" % corpora)
    folder = tmp_path_factory.mktemp("wisdm")
    with zipfile.ZipFile(str(corpora / "wisdm-dataset.zip")) as archive:
        for name in ["activity_key.txt"] + ["raw/watch/accel/data_%d_accel_watch.txt" % person
                                            for person in (1600, 1608, 1642)]:
            archive.extract(TOP + name, str(folder))
    return folder


def test_class_names_are_those_of_the_key(few_people):
    text = (few_people / TOP / "activity_key.txt").read_text()
    pairs = [tuple(line.split(" = ")) for line in text.split("\n") if line]
    assert pairs == list(zip(Wisdm.classes["activity"], LETTERS.decode()))


def test_real_people_are_read_whole(few_people):
    found = _read(few_people)
    minutes = {}
    for recording in found:
        key = recording.subject, recording.session
        minutes[key] = minutes.get(key, 0.0) + recording.duration_s / 60
    assert len(minutes) == 18 + 18 + 16
    assert all(2.8 < duration < 3.2 for duration in minutes.values())


def test_real_standing_people_read_gravity(few_people):
    norms = [np.median(np.linalg.norm(r.samples, axis=1)) for r in _read(few_people) if r.session == "standing"]
    assert np.abs(np.array(norms) - 9.81).max() < 0.5


def test_both_devices_are_one_corpus_of_two_placements(tmp_path):
    for device in ("watch", "phone"):
        (tmp_path / device).mkdir()
        _write(tmp_path / device, {"1600": _steady(1600, "A", 0.0), "1603": _steady(1603, "B", 5.0)}, device=device)
    merged = tmp_path / "both"
    merged.mkdir()
    with zipfile.ZipFile(str(merged / "wisdm-dataset.zip"), "w") as target:
        for device in ("watch", "phone"):
            with zipfile.ZipFile(str(next((tmp_path / device).glob("*.zip")))) as source:
                for name in source.namelist():
                    if name not in target.namelist():
                        target.writestr(name, source.read(name))
    found = _read(merged, device="both")
    assert [(each.placement, each.subject) for each in found] == [
        ("wrist", "1600"), ("wrist", "1603"), ("pocket", "1600"), ("pocket", "1603")]
    assert [channel.name for channel in found[0].channels] == ["acc/x", "acc/y", "acc/z"]
    assert {each.placement: set(each.labels["placement"]) for each in found} == {"wrist": {0}, "pocket": {1}}
    watch = _read(merged, device="watch")
    assert all((a.samples == b.samples).all() for a, b in zip(found, watch))


# ------------------------------------------------------------------ devices made alike


def _motion(person, times_s, strength):
    """Gravity and swings of all rates up to 9.8 Hz, (n, 3): one motion, whatever device records it."""
    draw = np.random.default_rng(person)
    rates_hz, phases = draw.uniform(0.1, 9.8, (120, 3)), draw.uniform(0, 6.3, (120, 3))
    swings = np.sin(2 * np.pi * rates_hz * times_s[:, None, None] + phases).sum(axis=1)
    return [0, 0, 9.8] + strength * draw.uniform(0.5, 1.5) * swings / np.sqrt(60)


def _recorded(device, person, rate_hz, step, strength=1.0):
    times_s = np.random.default_rng([person, len(device)]).uniform(0, 0.05) + np.arange(int(60 * rate_hz)) / rate_hz
    return _lines(person, "A", times_s, np.round(_motion(person, times_s, strength) / step) * step)


def _archive_of_one_motion(root, people, phone_hz, strength):
    """Each person's motion, as the corpus' phones and its coarsest watches would have recorded it."""
    with zipfile.ZipFile(str(root / "wisdm-dataset.zip"), "w") as archive:
        archive.writestr(TOP + "activity_key.txt", KEY)
        for device, rate_hz, step in (("phone", phone_hz, 1.5e-5), ("watch", 1 / 0.04992, 2.4e-3)):
            for person in people:
                lines = _recorded(device, int(person), rate_hz, step, strength)
                archive.writestr(TOP + "raw/%s/accel/data_%s_accel_%s.txt" % (device, person, device), "\n".join(lines))


def _probed(recordings, learnt_from):
    """How often a linear probe tells the placement of windows of people beyond the first `learnt_from`.

    It sees what rate and resolution leave behind: the spectrum, and how many values differ.
    """
    people = sorted({recording.subject for recording in recordings})
    features, placements, learnt = [], [], []
    for recording in recordings:
        x = recording.samples[:len(recording.samples) // 50 * 50].reshape(-1, 50, 3).astype(np.float64)
        spectrum = np.log(np.abs(np.fft.rfft((x - x.mean(axis=1, keepdims=True)) * np.hanning(50)[:, None], axis=1))
                          .mean(axis=2) + 1e-3)
        distinct = np.array([[np.log(len(np.unique(window.round(5)))), 1.0] for window in x])
        features.append(np.concatenate([spectrum, distinct], axis=1))
        placements += [2.0 * recording.labels["placement"][0] - 1] * len(x)
        learnt += [recording.subject in people[:learnt_from]] * len(x)
    features, placements, learnt = np.concatenate(features), np.array(placements), np.array(learnt)
    weights = np.linalg.lstsq(features[learnt], placements[learnt], rcond=None)[0]
    return float(((features[~learnt] @ weights > 0) == (placements[~learnt] > 0)).mean())


@pytest.mark.parametrize("phone_hz, strength", [(1 / 0.04992, 0.001), (25.0, 1.0), (50.0, 1.0)])
def test_placement_is_not_read_from_rate_or_resolution(tmp_path, phone_hz, strength):
    """One motion in both files: at rest the steps tell them apart, moving the rate, and nothing once they are alike."""
    _archive_of_one_motion(tmp_path, PEOPLE[:16], phone_hz, strength)
    assert _probed(_read(tmp_path, device="both"), 8) > 0.64
    assert _probed(_read(tmp_path, device="both", alike=True), 8) < 0.56


def test_devices_made_alike_have_one_rate_one_step_and_the_same_people(tmp_path):
    with zipfile.ZipFile(str(tmp_path / "wisdm-dataset.zip"), "w") as archive:
        archive.writestr(TOP + "activity_key.txt", KEY)
        for device, people in (("phone", ("1600", "1601")), ("watch", ("1601", "1602"))):
            for person in people:
                archive.writestr(TOP + "raw/%s/accel/data_%s_accel_%s.txt" % (device, person, device),
                                 "\n".join(_recorded(device, int(person), 20.0, 1e-4)))
    found = _read(tmp_path, device="both", alike=True)
    assert [(r.subject, r.placement, r.rate_hz) for r in found] == [("1601", "wrist", 10.0), ("1601", "pocket", 10.0)]
    steps = found[0].samples / 0.05
    assert np.abs(steps - np.round(steps)).max() < 1e-3 and len(_read(tmp_path, device="both")) == 4
    with pytest.raises(InputError, match="give it with device=both"):
        Wisdm(alike=True)
