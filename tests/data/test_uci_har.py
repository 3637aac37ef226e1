"""UCI HAR: hand-made archives in its layout, then the real one."""

import io
import zipfile

import numpy as np
import pytest

from edgehar.data.datasets._archive import open_archive
from edgehar.data.datasets.uci_har import UciHar
from edgehar.data.signals import STANDARD_GRAVITY, concatenate, cut
from tests.damage import cut_off, refusal

STEMS = ["%s_%s" % (kind, axis) for kind in ("total_acc", "body_acc", "body_gyro") for axis in "xyz"]
TOP = "UCI HAR Dataset/"


def _signal(seed, count):
    """(count, 9) numbers of five significant digits, as the files hold them: 1 g, and motion in both acc."""
    values = np.random.default_rng(seed).normal(0, 0.1, size=(count, 9))
    values[:, :3] = values[:, 3:6] + [0.8, 0.5, 0.3]
    return np.array([[float("%.4e" % value) for value in row] for row in values])


def _windows(signal):
    return [signal[start:start + 128] for start in range(0, len(signal) - 127, 64)]


def _part(part, people, labels, windows):
    table = np.stack(windows)
    files = {"%s/subject_%s.txt" % (part, part): "\n".join(map(str, people)) + "\n",
             "%s/y_%s.txt" % (part, part): "\n".join(map(str, labels)) + "\n"}
    for column, stem in enumerate(STEMS):
        rows = ["  " + "  ".join("%.7e" % value for value in row) for row in table[:, :, column]]
        files["%s/Inertial Signals/%s_%s.txt" % (part, stem, part)] = "\n".join(rows) + "\n"
    return files


@pytest.fixture(scope="module")
def layout():
    """Train: person 1 walks (3 windows), then takes stairs (2), person 3 sits (1). Test: person 2."""
    first, stairs, third, second = _signal(1, 256), _signal(4, 192), _signal(3, 128), _signal(2, 192)
    files = _part("train", [1] * 5 + [3], [1, 1, 1, 2, 2, 4], _windows(first) + _windows(stairs) + _windows(third))
    files.update(_part("test", [2, 2], [6, 6], _windows(second)))
    return files


def _zip_bytes(files, top=TOP):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(top + name, text)
            archive.writestr("__MACOSX/%s%s" % (top, name), "not data")
    return stream.getvalue()


def _write(root, files):
    path = root / "UCI HAR Dataset.zip"
    path.write_bytes(_zip_bytes(files))
    return path


def _summary(root):
    return [(r.subject, r.session, r.samples.tobytes()) for r in UciHar(root=str(root)).recordings()]


def test_neighbours_become_recordings(tmp_path, layout):
    _write(tmp_path, layout)
    found = list(UciHar(root=str(tmp_path)).recordings())
    assert [(r.subject, r.session, len(r.samples)) for r in found] == [
        ("1", "train-row-1", 256), ("1", "train-row-4", 192), ("3", "train-row-6", 128), ("2", "test-row-1", 192)]
    assert [r.labels["activity"][0] for r in found] == [0, 1, 3, 5]
    expected = _signal(1, 256) * ([STANDARD_GRAVITY] * 6 + [1.0] * 3)
    assert (found[0].samples == expected.astype(np.float32)).all()


@pytest.mark.parametrize("column", range(9))
def test_one_value_that_its_neighbour_does_not_repeat(tmp_path, column):
    """Every second half is stored twice, so that a changed digit in one signal shows."""
    windows = [window.copy() for window in _windows(_signal(1, 192))]
    windows[1][5, column] += 1e-4
    files = _part("train", [1, 1], [1, 1], windows)
    files.update(_part("test", [2, 2], [1, 1], _windows(_signal(2, 192))))
    _write(tmp_path, files)
    assert "line 2 of train/Inertial Signals/%s_train.txt" % STEMS[column] in refusal(UciHar(root=str(tmp_path)))


def test_every_form_of_the_archive_reads_alike(tmp_path, layout):
    for name in ("plain", "wrapped", "beside", "itself"):
        (tmp_path / name).mkdir()
    _write(tmp_path / "plain", layout)
    with zipfile.ZipFile(str(tmp_path / "wrapped" / "human+activity+recognition+using+smartphones.zip"), "w") as outer:
        outer.writestr("UCI HAR Dataset.names", "text")
        outer.writestr("UCI HAR Dataset.zip", _zip_bytes(layout))
    for top in (tmp_path / "beside" / "UCI HAR Dataset", tmp_path / "itself"):
        for name, text in layout.items():
            (top / name).parent.mkdir(parents=True, exist_ok=True)
            (top / name).write_text(text)
    forms = [_summary(tmp_path / name) for name in ("plain", "wrapped", "beside", "itself")]
    assert forms[0] and all(form == forms[0] for form in forms)
    assert UciHar(root=str(tmp_path / "wrapped")).missing() == ""


def test_derived_channels_are_marked():
    assert [channel.derived for channel in UciHar.channels] == [False] * 3 + [True] * 6


def test_split_keeps_the_published_test_people():
    split = UciHar().split()
    assert split.test == ("2", "4", "9", "10", "12", "13", "18", "20", "24")
    assert split.valid == ("7", "16", "23", "29") and len(split.train) == 17


# ------------------------------------------------------------------ damage


def _refusal(root):
    return refusal(UciHar(root=str(root)))


@pytest.mark.parametrize("kept", (0, 0.0001, 0.5, 0.99))
def test_truncated_zip(tmp_path, layout, kept):
    path = _write(tmp_path, layout)
    cut_off(path, kept)
    message = _refusal(tmp_path)
    assert "UCI HAR Dataset.zip" in message and "download it again" in message


def test_flipped_byte(tmp_path, layout):
    path = _write(tmp_path, layout)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(str(path)) as archive:
        info = archive.getinfo(TOP + "train/Inertial Signals/body_gyro_y_train.txt")
    data[info.header_offset + info.compress_size // 2] ^= 0xFF
    path.write_bytes(bytes(data))
    assert "body_gyro_y_train.txt" in _refusal(tmp_path)


def test_truncated_zip_inside_a_zip(tmp_path, layout):
    with zipfile.ZipFile(str(tmp_path / "human+activity+recognition+using+smartphones.zip"), "w") as outer:
        outer.writestr("UCI HAR Dataset.zip", _zip_bytes(layout)[:5000])
    assert "damaged" in _refusal(tmp_path)


def test_missing_member(tmp_path, layout):
    name = "test/Inertial Signals/body_acc_z_test.txt"
    _write(tmp_path, {key: text for key, text in layout.items() if key != name})
    assert name in _refusal(tmp_path)
    assert name in UciHar(root=str(tmp_path)).missing()


def test_another_zip_of_that_name(tmp_path):
    _write(tmp_path, {"something.txt": "else"})
    assert "does not hold UCI HAR" in _refusal(tmp_path)


@pytest.mark.parametrize("word", ("NaN", "inf", "1.2.3", "", "1.0 2.0"))
def test_damaged_number(tmp_path, layout, word):
    name = "train/Inertial Signals/total_acc_y_train.txt"
    lines = layout[name].split("\n")
    lines[3] = " ".join([word] + lines[3].split()[1:])
    _write(tmp_path, dict(layout, **{name: "\n".join(lines)}))
    message = _refusal(tmp_path)
    assert "line 4" in message and "total_acc_y_train.txt" in message


@pytest.mark.parametrize("label", ("0", "7", "1.5"))
def test_unknown_label(tmp_path, layout, label):
    _write(tmp_path, dict(layout, **{"test/y_test.txt": "6\n%s\n" % label}))
    assert "line 2" in _refusal(tmp_path)


@pytest.mark.parametrize("name", ("test/y_test.txt", "test/Inertial Signals/body_acc_x_test.txt"))
def test_a_row_too_few(tmp_path, layout, name):
    _write(tmp_path, dict(layout, **{name: layout[name].split("\n")[0] + "\n"}))
    assert name in _refusal(tmp_path)


# ------------------------------------------------------------------ the real corpus


def test_cutting_gives_back_the_published_windows(corpora):
    """All 10,299, each value and label, read here straight from the text."""
    dataset = UciHar(root=str(corpora))
    if dataset.missing():
        pytest.skip(dataset.missing())
    found = list(dataset.recordings())
    windows = concatenate([cut(recording, dataset.window, dataset.hop) for recording in found])
    assert windows.x.shape == (10299, 9, 128)
    starts = {"train": 0, "test": 7352}
    with open_archive(corpora, UciHar.distribution) as archive:
        for part, start in starts.items():
            labels, people = (np.array(archive.read("%s/%s_%s.txt" % (part, key, part)).split(), dtype=int)
                              for key in ("y", "subject"))
            rows = slice(start, start + len(labels))
            assert (windows.y["activity"][rows] == labels - 1).all()
            assert (windows.subjects[rows].astype(int) == people).all()
            for column, stem in enumerate(STEMS):
                text = archive.read("%s/Inertial Signals/%s_%s.txt" % (part, stem, part))
                values = np.fromstring(text.decode("ascii"), sep=" ").reshape(-1, 128)
                values *= 1.0 if "gyro" in stem else STANDARD_GRAVITY
                assert (windows.x[rows, column] == values.astype(np.float32)).all()
    assert len(found) == 857
