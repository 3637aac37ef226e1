"""HAPT: hand-made archives in its layout, then the real one."""

import io
import zipfile

import numpy as np
import pytest

from edgehar.data.datasets import DATASETS
from edgehar.data.datasets.hapt import LABELS, Hapt
from edgehar.data.datasets.uci_har import UciHar
from edgehar.data.signals import STANDARD_GRAVITY, UNLABELLED, concatenate, cut
from edgehar.errors import InputError
from tests.damage import cut_off, refusal

TOP = "HAPT Data Set/"
ACC, GYRO = ("RawData/%s_exp01_user01.txt" % kind for kind in ("acc", "gyro"))


def _text(seed, count, centre):
    values = np.random.default_rng(seed).normal(centre, 0.1, size=(count, 3))
    return "\n".join(" ".join(map(repr, row)) for row in values.tolist())  # no final newline, as in the corpus


@pytest.fixture(scope="module")
def layout():
    """Person 1 stands for 2 s, sits down, sits, nothing, walks; person 2 lies."""
    return {
        "README.txt": "text", LABELS: "1 1 5 1 100\n1 1 7 101 160\n1 1 4 161 400\n1 1 1 501 800\n3 2 6 11 300\n",
        ACC: _text(1, 800, (1, 0, 0)), GYRO: _text(2, 800, (0, 0, 0)),
        "RawData/acc_exp03_user02.txt": _text(3, 300, (0, 1, 0)),
        "RawData/gyro_exp03_user02.txt": _text(4, 300, (0, 0, 0))}


def _zip_bytes(files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(TOP + name, text)
            archive.writestr("__MACOSX/%s%s" % (TOP, name), "not data")
    return stream.getvalue()


def _write(root, files, name="HAPT Data Set.zip"):
    (root / name).write_bytes(_zip_bytes(files))
    return root / name


def _read(root, **options):
    return list(Hapt(root=str(root), **options).recordings())


def test_each_experiment_is_one_recording(tmp_path, layout):
    _write(tmp_path, layout)
    found = _read(tmp_path)
    assert [(r.subject, r.session, len(r.samples)) for r in found] == [("1", "exp01", 800), ("2", "exp03", 300)]
    acc, gyro = (np.array(layout[name].split(), dtype=float).reshape(-1, 3) for name in (ACC, GYRO))
    assert (found[0].samples[:, :3] == (acc * STANDARD_GRAVITY).astype(np.float32)).all()
    assert (found[0].samples[:, 3:] == gyro.astype(np.float32)).all()


def test_labels_count_from_1_and_hold_their_last_sample(tmp_path, layout):
    _write(tmp_path, layout)
    first, second = (recording.labels["activity"] for recording in _read(tmp_path))
    names = Hapt().classes["activity"]
    assert [names[k] for k in first[[0, 99, 100, 159, 160, 399]]] == [
        "standing", "standing", "stand_to_sit", "stand_to_sit", "sitting", "sitting"]
    assert (first[400:500] == UNLABELLED).all() and (first[500:] == 0).all()
    assert (second[:10] == UNLABELLED).all() and {names[k] for k in second[10:]} == {"lying"}


def test_transitions_can_be_left_unlabelled(tmp_path, layout):
    _write(tmp_path, layout)
    dataset = DATASETS.create("hapt:transitions=false", root=str(tmp_path))
    first = next(dataset.recordings())
    assert first.classes == UciHar.classes and (first.labels["activity"][100:160] == UNLABELLED).all()
    assert (first.labels["activity"][160:400] == 3).all()
    with pytest.raises(InputError, match="true or false"):
        DATASETS.create("hapt:transitions=some")


def test_windows_are_cut_with_the_labels_of_their_samples(tmp_path, layout):
    _write(tmp_path, layout)
    dataset = Hapt(root=str(tmp_path))
    windows = cut(next(dataset.recordings()), dataset.window, dataset.hop)
    assert windows.y["activity"].tolist() == [-1, -1, -1, 3, 3, -1, -1, -1, 0, 0, 0]
    assert windows.x.shape == (11, 6, 128)


def test_the_split_is_that_of_uci_har():
    ours, theirs = Hapt().split(), UciHar().split()
    assert (ours.train, ours.valid, ours.test) == (theirs.train, theirs.valid, theirs.test)
    assert ours == Hapt(transitions=False).split()


def test_every_form_of_the_archive_reads_alike(tmp_path, layout):
    for name in ("plain", "wrapped", "folder", "itself"):
        (tmp_path / name).mkdir()
    plain = _write(tmp_path / "plain", layout)
    outer = "smartphone+based+recognition+of+human+activities+and+postural+transitions.zip"
    with zipfile.ZipFile(str(tmp_path / "wrapped" / outer), "w") as archive:
        archive.write(str(plain), "HAPT Data Set.zip")
    for top in (tmp_path / "folder" / "HAPT Data Set", tmp_path / "itself"):
        (top / "RawData").mkdir(parents=True)
        for name, text in layout.items():
            (top / name).write_text(text)
    forms = [[(r.session, r.samples.tobytes()) for r in _read(tmp_path / name)]
             for name in ("plain", "wrapped", "folder", "itself")]
    assert forms[0] and all(form == forms[0] for form in forms)


def test_missing_files_are_named(tmp_path, layout):
    _write(tmp_path, layout)
    message = Hapt(root=str(tmp_path)).missing()
    assert "118 of the 122" in message and message.endswith("gyro_exp61_user30.txt.") and ACC not in message
    assert "acc_exp21_user10.txt" in message


# ------------------------------------------------------------------ damage


def _refusal(root):
    return refusal(Hapt(root=str(root)))


@pytest.mark.parametrize("kept", (0, 0.1, 0.9, 0.999))
def test_truncated_zip(tmp_path, layout, kept):
    path = _write(tmp_path, layout)
    cut_off(path, kept)
    message = _refusal(tmp_path)
    assert "HAPT Data Set.zip" in message and "download it again" in message


def test_flipped_byte(tmp_path, layout):
    path = _write(tmp_path, layout)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(str(path)) as archive:
        info = archive.getinfo(TOP + GYRO)
    data[info.header_offset + info.compress_size // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    assert GYRO in _refusal(tmp_path)


def test_another_zip_of_that_name(tmp_path):
    _write(tmp_path, {"something.txt": "else"})
    assert "does not hold HAPT" in _refusal(tmp_path)


@pytest.mark.parametrize("lost", (ACC, GYRO))
def test_one_sensor_of_an_experiment_is_missing(tmp_path, layout, lost):
    _write(tmp_path, {name: text for name, text in layout.items() if name != lost})
    assert lost in _refusal(tmp_path)


def test_no_recording_at_all(tmp_path, layout):
    _write(tmp_path, {LABELS: layout[LABELS]})
    assert ACC in _refusal(tmp_path)


@pytest.mark.parametrize("name", ("RawData/acc_exp01_user02.txt", "RawData/gyro_exp62_user31.txt"))
def test_a_recording_of_someone_else(tmp_path, layout, name):
    _write(tmp_path, dict(layout, **{name: layout[ACC]}))
    message = _refusal(tmp_path)
    assert name in message and "61 experiments" in message


@pytest.mark.parametrize("row", ("NaN 0.1 0.2", "1.0 inf 0.2", "1.0 0.1", "1.0 0.1 0.2 0.3", "1.0 x 0.2", "",
                                 "1.0,0.1,0.2", "1.2.3 0.1 0.2", "\ufffd 0.1 0.2"))
@pytest.mark.parametrize("name", (ACC, GYRO))
def test_damaged_row(tmp_path, layout, name, row):
    lines = layout[name].split("\n")
    lines[3] = row
    _write(tmp_path, dict(layout, **{name: "\n".join(lines)}))
    message = _refusal(tmp_path)
    assert "line 4 of %s" % name in message


def test_file_cut_off_in_its_last_row(tmp_path, layout):
    _write(tmp_path, dict(layout, **{ACC: layout[ACC].rsplit(" ", 1)[0]}))
    assert "line 800 of %s" % ACC in _refusal(tmp_path)


def test_empty_file(tmp_path, layout):
    _write(tmp_path, dict(layout, **{GYRO: ""}))
    assert GYRO in _refusal(tmp_path)


@pytest.mark.parametrize("name", (ACC, GYRO))
def test_a_row_is_missing_in_the_middle_of_one_sensor(tmp_path, layout, name):
    lines = layout[name].split("\n")
    _write(tmp_path, dict(layout, **{name: "\n".join(lines[:400] + lines[401:])}))
    message = _refusal(tmp_path)
    assert ACC in message and GYRO in message and "799" in message and "800" in message


def test_acceleration_in_other_units_or_exchanged_files(tmp_path, layout):
    values = np.array(layout[ACC].split(), dtype=float).reshape(-1, 3) * STANDARD_GRAVITY
    text = "\n".join(" ".join(map(repr, row)) for row in values.tolist())
    for damaged in ({ACC: text}, {ACC: layout[GYRO], GYRO: layout[ACC]}):
        _write(tmp_path, dict(layout, **damaged))
        message = _refusal(tmp_path)
        assert ACC in message and "gravity is 9.8" in message


@pytest.mark.parametrize("line, reason", (
    ("1 1 0 101 160", "activity 0"), ("1 1 13 101 160", "activity 13"), ("1 1 7.5 101 160", "not whole"),
    ("1 2 7 101 160", "it is subject 1's"), ("62 31 7 101 160", "there are 61"), ("1 1 7 0 160", "no stretch"),
    ("1 1 7 160 101", "no stretch"), ("1 1 7 101 801", "a recording of 800"), ("1 1 7 100 160", "another line"),
    ("1 1 7 101 161", ""), ("1 1 7 101", ""), ("1 1 7 101 160 1", ""), ("1 1 walking 101 160", ""),
    ("1 1 7 NaN 160", ""), ("", "")))
def test_damaged_label(tmp_path, layout, line, reason):
    lines = layout[LABELS].split("\n")
    lines[1] = line
    _write(tmp_path, dict(layout, **{LABELS: "\n".join(lines)}))
    message = _refusal(tmp_path)
    named = 3 if line.endswith("161") else 2  # where two overlap, the later line is named
    assert "line %d of %s" % (named, LABELS) in message and reason in message


# ------------------------------------------------------------------ the real corpus


@pytest.fixture(scope="module")
def real(corpora):
    dataset = Hapt(root=str(corpora))
    if dataset.missing():
        pytest.skip(dataset.missing())
    return dataset


def test_the_real_corpus_is_read_whole(real):
    found = list(real.recordings())
    labels = np.concatenate([r.labels["activity"] for r in found])
    assert len(found) == 61 and len({r.subject for r in found}) == 30 and len(labels) == 1122772
    assert np.bincount(labels[labels >= 0]).tolist() == [
        122091, 116707, 107961, 126677, 138105, 136865, 10316, 8029, 12428, 11150, 14418, 10867]
    windows = concatenate([cut(recording, real.window, real.hop) for recording in found])
    assert set(windows.y["activity"]) == set(range(-1, 12))


def test_uci_har_was_made_of_these_recordings(real, corpora):
    """The same people under the same numbers: a published window is found in its person's recordings.

    UCI HAR passed a noise filter, so that a window is near its source and not equal to it.
    """
    theirs = next(r for r in UciHar(root=str(corpora)).recordings() if r.labels["activity"][0] == 0)
    window = theirs.samples[:128, :3]
    nearest = {}
    for recording in real.recordings():
        if int(recording.subject) <= 6:
            acc = recording.samples[:, :3]
            power = np.concatenate([[0.0], np.cumsum((acc.astype(float) ** 2).sum(axis=1))])
            cross = sum(np.correlate(acc[:, axis], window[:, axis], "valid") for axis in range(3))
            distance = power[128:] - power[:-128] - 2 * cross + (window ** 2).sum()
            nearest[recording.subject] = min(nearest.get(recording.subject, np.inf), distance.min())
    assert min(nearest, key=nearest.get) == theirs.subject
    assert nearest[theirs.subject] < 0.2 * min(value for key, value in nearest.items() if key != theirs.subject)
