"""DSADS: hand-made archives in its layout, then the real one."""

import io
import zipfile

import numpy as np
import pytest

from edgehar.data.datasets import DATASETS
from edgehar.data.datasets.dsads import Dsads
from edgehar.data.signals import carries_label, concatenate, cut
from edgehar.errors import InputError
from tests.damage import cut_off, refusal

FIRST = "a01/p1/s01.txt"


def _signal(seed, count):
    """(count, 45) samples of a smooth motion, as a body makes it, in units and decimals of the files."""
    random = np.random.default_rng(seed)
    time_s = np.arange(count)[:, None] / 25
    waves = sum(random.normal(size=45) * np.sin(2 * np.pi * (rate * time_s + random.uniform(size=45)))
                for rate in (0.31, 0.77, 1.9))
    rest = np.tile([9.8, 0, 0, 0, 0, 0, 0.8, 0.2, 0.1], 5)
    return np.round(rest + waves * np.tile([1.0] * 3 + [0.5] * 3 + [0.1] * 3, 5), 5)


def _text(rows):
    return "".join(",".join("%.5g" % value for value in row) + "\n" for row in rows)


def _session(activity, person, rows, first=1):
    """Files of rows (n * 125, 45), the segments numbered from `first`."""
    return {"a%02d/p%d/s%02d.txt" % (activity, person, first + k): _text(rows[125 * k:125 * (k + 1)])
            for k in range(len(rows) // 125)}


def _zip_bytes(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr("data/" + name, text)
    return stream.getvalue()


def _write(root, files, name="data.zip"):
    (root / name).write_bytes(_zip_bytes(files))
    return root / name


def _read(root, **options):
    return list(Dsads(root=str(root), **options).recordings())


def _shape(root):
    return [(r.subject, r.session, r.start_s, len(r.samples)) for r in _read(root)]


@pytest.fixture(scope="module")
def layout():
    """Person 1 sits for three segments, person 2 for two."""
    return dict(_session(1, 1, _signal(1, 375)), **_session(1, 2, _signal(2, 250)))


def test_segments_of_one_run_become_one_recording(tmp_path, layout):
    _write(tmp_path, layout)
    first, second = _read(tmp_path)
    assert (first.subject, first.session, first.start_s) == ("1", "sitting", 0.0)
    written = np.array(",".join(layout["a01/p1/s%02d.txt" % n].replace("\n", ",") for n in (1, 2, 3)).split(","))
    values = written[written != ""].astype(float).reshape(375, 45)
    assert (first.samples == values.astype(np.float32)).all()
    assert (second.subject, len(second.samples)) == ("2", 250) and set(first.labels["activity"]) == {0}


def test_a_jump_between_segments_ends_a_recording(tmp_path):
    rows = np.concatenate([_signal(1, 250), _signal(2, 500)])
    _write(tmp_path, _session(1, 1, rows))
    assert _shape(tmp_path) == [("1", "sitting", 0.0, 250), ("1", "sitting", 10.0, 500)]


def test_an_impact_at_a_border_is_no_jump(tmp_path):
    rows = _signal(1, 375)
    rows[250, :3] += 60.0
    _write(tmp_path, _session(1, 1, rows))
    assert _shape(tmp_path) == [("1", "sitting", 0.0, 375)]


def test_a_sensor_at_rest_goes_on(tmp_path):
    """Equal values throughout, and one last digit that changes at the borders."""
    rows = np.tile(_signal(1, 1), (375, 1))
    rows[125:, 6] += 1e-5
    rows[250:, 6] += 1e-5
    _write(tmp_path, _session(1, 1, rows))
    assert _shape(tmp_path) == [("1", "sitting", 0.0, 375)]


def test_a_missing_segment_ends_a_recording(tmp_path):
    files = _session(1, 1, _signal(1, 625))
    del files["a01/p1/s03.txt"]
    _write(tmp_path, files)
    assert _shape(tmp_path) == [("1", "sitting", 0.0, 250), ("1", "sitting", 15.0, 250)]


@pytest.mark.parametrize("filler", ("other", "zeros"))
def test_segments_put_together_of_two_parts_are_taken_apart(tmp_path, filler):
    """As on the stairs: 4 s that go on in the next segment, then 1 s of something else."""
    parts = [np.concatenate([head, _signal(100 + k, 25) if filler == "other" else np.zeros((25, 45))])
             for k, head in enumerate(np.split(_signal(1, 600), 6))]
    files = _session(5, 1, np.concatenate(parts))
    _write(tmp_path, dict(files, **_session(1, 1, _signal(3, 125))))
    found = _shape(tmp_path)[1:]
    assert found[0] == ("1", "ascending_stairs", 0.0, 600)
    rest = [("1", "ascending_stairs-2", 5.0 * k + 4, 25) for k in range(6)]
    assert found[1:] == (rest if filler == "other" else [])


def test_rows_not_measured_end_a_recording(tmp_path):
    rows = _signal(1, 250)
    rows[30:40] = 0.0
    _write(tmp_path, _session(1, 1, rows))
    assert _shape(tmp_path) == [("1", "sitting", 0.0, 30), ("1", "sitting", 1.6, 210)]


def test_a_copy_of_another_person_is_left_out_and_named(tmp_path):
    rows = _signal(1, 510)
    files = dict(_session(1, 1, _signal(2, 250)), **_session(17, 4, rows[10:385]))
    files.update(_session(17, 8, rows[:375]))
    files.update(_session(1, 8, _signal(4, 125)))
    _write(tmp_path, files)
    assert [(r.subject, r.session) for r in _read(tmp_path)] == [("1", "sitting"), ("8", "sitting"), ("4", "rowing")]
    assert "rowing of subject 8 is left out as a copy of subject 4's" in Dsads(root=str(tmp_path)).missing()


def test_placements_choose_channels_and_nothing_else(tmp_path, layout):
    _write(tmp_path, layout)
    whole = _read(tmp_path)
    arms = list(DATASETS.create("dsads:placements=left-arm+right-arm", root=str(tmp_path)).recordings())
    assert [len(r.samples) for r in arms] == [len(r.samples) for r in whole]
    assert (arms[0].samples == whole[0].samples[:, [*range(18, 27), *range(9, 18)]]).all()
    assert [c.name for c in arms[0].channels][:10:3] == [
        "left-arm/imu/acc/x", "left-arm/imu/gyro/x", "left-arm/imu/mag/x", "right-arm/imu/acc/x"]
    assert {c.unit for c in arms[0].channels if c.kind == "mag"} == {"1"}
    for wrong in ("wrist", "torso+torso", ""):
        with pytest.raises(InputError, match="right-leg, left-leg"):
            Dsads(placements=wrong)


def test_windows_are_cut_across_segments(tmp_path, layout):
    _write(tmp_path, layout)
    dataset = Dsads(root=str(tmp_path))
    (first, _) = dataset.recordings()
    windows = cut(first, dataset.window, dataset.hop)
    assert len(windows) == (375 - 64) // 32 + 1
    assert (windows.x[3] == first.samples[96:160].T).all()


def test_split_keeps_the_people_who_share_a_recording_together():
    split = Dsads().split()
    assert (split.train, split.valid, split.test) == (("1", "4", "5", "8"), ("2", "6"), ("3", "7"))
    assert split == Dsads(placements="torso").split()


def test_every_form_of_the_archive_reads_alike(tmp_path, layout):
    for name in ("plain", "wrapped", "folder", "itself"):
        (tmp_path / name).mkdir()
    _write(tmp_path / "plain", layout)
    with zipfile.ZipFile(str(tmp_path / "wrapped" / "daily+and+sports+activities.zip"), "w") as outer:
        outer.writestr("data.zip", _zip_bytes(layout))
    for top in (tmp_path / "folder" / "data", tmp_path / "itself"):
        for name, text in layout.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
    forms = [[(r.subject, r.samples.tobytes()) for r in _read(tmp_path / name)]
             for name in ("plain", "wrapped", "folder", "itself")]
    assert forms[0] and all(form == forms[0] for form in forms)


def test_missing_activities_and_segments_are_named(tmp_path, layout):
    _write(tmp_path, layout)
    message = Dsads(root=str(tmp_path)).missing()
    assert "18 of the 19 activities are missing: standing, " in message and message.endswith(".")
    assert "475 segments of the others are not, the first of them a01/p1/s04.txt" in message


# ------------------------------------------------------------------ damage


def _refusal(root):
    return refusal(Dsads(root=str(root)))


@pytest.mark.parametrize("kept", (0, 0.1, 0.9, 0.999))
def test_truncated_zip(tmp_path, layout, kept):
    path = _write(tmp_path, layout)
    cut_off(path, kept)
    message = _refusal(tmp_path)
    assert "data.zip" in message and "download it again" in message


def test_flipped_byte(tmp_path, layout):
    path = _write(tmp_path, layout)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(str(path)) as archive:
        info = archive.getinfo("data/a01/p2/s02.txt")
    data[info.header_offset + info.compress_size // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    assert "a01/p2/s02.txt" in _refusal(tmp_path)


def test_another_data_zip(tmp_path):
    _write(tmp_path, {"something.txt": "else"})
    message = _refusal(tmp_path)
    assert "does not hold DSADS" in message and Dsads(root=str(tmp_path)).missing() == message


@pytest.mark.parametrize("name", ("a20/p1/s01.txt", "a00/p1/s01.txt", "a01/p9/s01.txt", "a01/p1/s61.txt"))
def test_a_file_of_no_known_activity_person_or_segment(tmp_path, layout, name):
    _write(tmp_path, dict(layout, **{name: layout[FIRST]}))
    message = _refusal(tmp_path)
    assert name in message and "19 activities" in message


@pytest.mark.parametrize("value", ("NaN", "inf", "-inf", "x", "", "1.2.3", "1.0,2.0", "1.0 2.0", "\ufffd"))
@pytest.mark.parametrize("name", (FIRST, "a01/p2/s02.txt"))
def test_damaged_value(tmp_path, layout, name, value):
    lines = layout[name].split("\n")
    lines[6] = ",".join(lines[6].split(",")[:-1] + [value])
    _write(tmp_path, dict(layout, **{name: "\n".join(lines)}))
    assert "line 7 of %s" % name in _refusal(tmp_path)


def test_a_column_is_missing(tmp_path, layout):
    lines = [line.rpartition(",")[0] for line in layout[FIRST].split("\n")]
    _write(tmp_path, dict(layout, **{FIRST: "\n".join(lines)}))
    assert "line 1 of %s" % FIRST in _refusal(tmp_path)


@pytest.mark.parametrize("change", (lambda lines: lines[:60] + lines[61:], lambda lines: lines[:60] + lines[59:],
                                    lambda lines: lines[:1]))
def test_another_number_of_rows(tmp_path, layout, change):
    name = "a01/p1/s02.txt"
    _write(tmp_path, dict(layout, **{name: "\n".join(change(layout[name].split("\n")))}))
    message = _refusal(tmp_path)
    assert name in message and "not 125" in message


def test_empty_file(tmp_path, layout):
    _write(tmp_path, dict(layout, **{"a01/p1/s02.txt": ""}))
    assert "a01/p1/s02.txt" in _refusal(tmp_path)


@pytest.mark.parametrize("damage", ("g", "exchanged"))
def test_other_units_or_exchanged_columns(tmp_path, damage):
    rows = _signal(1, 250)
    if damage == "g":
        rows /= 9.80665
    else:
        rows[:, [18, 19, 20, 24, 25, 26]] = rows[:, [24, 25, 26, 18, 19, 20]]
    _write(tmp_path, _session(1, 1, rows))
    message = _refusal(tmp_path)
    assert "m/s^2" in message and ("columns 1 to 3" if damage == "g" else "columns 19 to 21 (left-arm)") in message


# ------------------------------------------------------------------ the real corpus


@pytest.fixture(scope="module")
def real(corpora):
    dataset = Dsads(root=str(corpora), placements="right-arm")
    try:
        return dataset, list(dataset.recordings())
    except InputError as error:
        pytest.skip(str(error))


def _by_session(found):
    sessions = {}
    for recording in found:
        sessions.setdefault((recording.session, recording.subject), []).append(len(recording.samples))
    return sessions


def test_real_runs_are_chained_as_they_were_cut(real):
    sessions = _by_session(real[1])
    assert all(sessions["sitting", person] == [7500] for person in "123457")
    assert sessions["walking", "1"] == [3750, 3750] and sessions["lying_on_back", "6"] == [1500, 3000, 3000]
    assert sessions["ascending_stairs", "5"] == [750] * 10  # six segments a climb
    assert sessions["ascending_stairs", "3"] == [900] * 5  # 3 s of each segment, twelve a climb
    assert sessions["ascending_stairs", "6"] == [1200] * 5 and ("ascending_stairs-2", "6") not in sessions
    assert sessions["ascending_stairs", "8"] == [1000] * 6 and sessions["ascending_stairs-2", "8"] == [25] * 60


def test_real_samples_are_all_there_but_for_zeros_and_the_copy(real):
    dataset, found = real
    activities = {recording.session.partition("-")[0] for recording in found}
    if activities == {"sitting", "lying_on_back", "ascending_stairs", "walking", "running_on_treadmill", "rowing"}:
        assert sum(len(recording.samples) for recording in found) == 6 * 8 * 7500 - 7500 - 2 * 60 * 25
    assert "rowing of subject 8 is left out as a copy of subject 4's" in dataset.missing()


def test_no_two_real_recordings_share_a_row(real):
    rows = np.concatenate([recording.samples for recording in real[1]])
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_real_windows_are_cut(real):
    dataset, found = real
    windows = concatenate([cut(recording, dataset.window, dataset.hop) for recording in found])
    windows = windows.take(carries_label(windows))
    assert set(windows.subjects) == set("12345678") and windows.x.shape[1:] == (9, 64)
    assert len(windows) >= 10494
