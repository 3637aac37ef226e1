"""MHEALTH: hand-made logs in its documented layout, then the derived tables at hand, which are refused."""

import shutil
import zipfile

import numpy as np
import pytest

from edgehar.data.channels import choose_channels
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets.mhealth import PEOPLE, Mhealth
from tests.damage import cut_off, refusal

TOP = "MHEALTHDATASET/"
LOG = "mHealth_subject2.log"


def _line(label, first=0.5):
    """Column n holds n, apart from the accelerometers, which weigh 1 g, and the label."""
    weights = {1: float(first), 2: -9.8, 3: 0.7, 15: 5, 16: 6, 17: 7}
    return "\t".join(["%g" % weights.get(n, n) for n in range(1, 24)] + [str(label)])


def _log(labels=(0, 1, 1, 12, 0), repeats=60, first=0.5):
    return [_line(label, first) for label in labels for _ in range(repeats)]


def _write(root, logs, top=TOP, name="mhealth+dataset.zip"):
    path = root / name
    with zipfile.ZipFile(str(path), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(top + "README.txt", "mHealth dataset")
        for log, lines in logs.items():
            archive.writestr(top + log, "\n".join(lines) + "\n")
    return path


def _both(lines):
    return {"mHealth_subject1.log": _log(first=0.6), LOG: lines}


def _read(root):
    return list(Mhealth(root=str(root)).recordings())


def test_a_log_is_a_recording_in_si_units(tmp_path):
    _write(tmp_path, {"mHealth_subject1.log": _log(), "mHealth_subject10.log": _log((5,))})
    first, last = _read(tmp_path)
    assert (first.subject, first.session, first.start_s, len(first.samples)) == ("1", "log", 0.0, 300)
    assert (last.subject, set(last.labels["activity"])) == ("10", {4})
    assert first.labels["activity"].tolist() == [-1] * 60 + [0] * 120 + [11] * 60 + [-1] * 60
    values = dict(zip((channel.name for channel in first.channels), first.samples[0]))
    degree = np.pi / 180
    for name, value in (("chest/shimmer/acc/x", 0.5), ("chest/shimmer/acc/y", -9.8), ("chest/shimmer/ecg/lead1", 4e-3),
                        ("chest/shimmer/ecg/lead2", 5e-3), ("left_ankle/shimmer/acc/x", 6),
                        ("left_ankle/shimmer/gyro/x", 9 * degree), ("left_ankle/shimmer/mag/z", 14),
                        ("right_lower_arm/shimmer/acc/x", 5), ("right_lower_arm/shimmer/gyro/z", 20 * degree),
                        ("right_lower_arm/shimmer/mag/z", 23)):
        assert values[name] == pytest.approx(value), name


def test_stacked_placements_are_recordings_of_one_accelerometer_each(tmp_path):
    _write(tmp_path, {"mHealth_subject1.log": _log()})
    whole, = _read(tmp_path)
    stacked = list(Mhealth(root=str(tmp_path), stacked=True).recordings())
    assert [each.placement for each in stacked] == ["chest", "left_ankle", "right_lower_arm"]
    for number, (one, first) in enumerate(zip(stacked, (0, 5, 14))):
        assert [channel.name for channel in one.channels] == ["acc/x", "acc/y", "acc/z"]
        assert (one.samples == whole.samples[:, first:first + 3]).all()
        assert set(one.labels["placement"]) == {number}
        assert (one.labels["activity"] == whole.labels["activity"]).all()


def test_channels_by_sensor_and_placement():
    assert len(Mhealth.channels) == 23
    assert len(choose_channels(Mhealth.channels, "left_ankle")) == 9
    assert len(choose_channels(Mhealth.channels, "right_lower_arm")) == 9
    assert [channel.placement for channel in choose_channels(Mhealth.channels, "acc/x")] == [
        "chest", "left_ankle", "right_lower_arm"]
    assert not any(channel.kind == "gyro" for channel in choose_channels(Mhealth.channels, "live"))


def test_whole_corpus_becomes_windows_by_person(tmp_path):
    _write(tmp_path, {"mHealth_subject%s.log" % person: _log(first=int(person) / 10) for person in PEOPLE})
    assert Mhealth(root=str(tmp_path)).missing() == ""
    parts = cut_corpus("mhealth", root=str(tmp_path)).parts
    assert [sorted(set(part.subjects), key=int) for part in parts.labelled] == [
        ["1", "2", "3", "6", "7", "8"], ["4", "9"], ["5", "10"]]


def test_every_form_of_the_corpus_reads_alike(tmp_path):
    logs = {"mHealth_subject1.log": _log()}
    for name in ("zip", "flat", "folder"):
        (tmp_path / name).mkdir()
    path = _write(tmp_path / "zip", logs)
    _write(tmp_path / "flat", logs, top="")
    with zipfile.ZipFile(str(path)) as archive:
        archive.extractall(str(tmp_path / "folder"))
    roots = [tmp_path / "zip", tmp_path / "flat", tmp_path / "folder", tmp_path / "folder" / TOP]
    forms = [[(r.subject, r.samples.tobytes()) for r in _read(root)] for root in roots]
    assert forms[0] and all(form == forms[0] for form in forms)


def test_missing_people_are_named(tmp_path):
    folder = tmp_path / TOP
    folder.mkdir()
    for person in ("3", "7"):
        (folder / ("mHealth_subject%s.log" % person)).write_text("\n".join(_log(first=int(person) / 10)) + "\n")
    assert Mhealth(root=str(tmp_path)).missing().endswith("1, 2, 4, 5, 6, 8, 9, 10.")
    assert [recording.subject for recording in _read(tmp_path)] == ["3", "7"]


# ------------------------------------------------------------------ damage


def _refusal(root):
    return refusal(Mhealth(root=str(root)))


@pytest.mark.parametrize("line", (
    _line(1)[:-2], _line(1) + "\t1", _line(1).replace("\t", ","), _line(1).replace("\t", " "), "", _line("walking"),
    _line(1).replace("9.8", "9,8"), _line(1).replace("\t-9.8", "\t"), _line(1).replace("9.8", "x"), "\u00e9",
    _line(1)[:40]))
def test_malformed_line(tmp_path, line):
    lines = _log()
    lines[3] = line
    _write(tmp_path, _both(lines))
    message = _refusal(tmp_path)
    assert "line 4 of %s" % LOG in message and "24 numbers" in message


@pytest.mark.parametrize("value", ("nan", "NaN", "inf", "-Infinity", "1e999"))
def test_no_finite_number(tmp_path, value):
    lines = _log()
    lines[3] = _line(1).replace("-9.8", value)
    _write(tmp_path, _both(lines))
    message = _refusal(tmp_path)
    assert "line 4 of %s" % LOG in message and "finite" in message


@pytest.mark.parametrize("label", ("13", "-1", "1.5"))
def test_unknown_label(tmp_path, label):
    lines = _log()
    lines[3] = _line(label)
    _write(tmp_path, _both(lines))
    message = _refusal(tmp_path)
    assert "line 4 of %s" % LOG in message and "label %s" % label in message


def test_columns_moved_or_in_another_unit(tmp_path):
    for change in (lambda fields: fields[20:23] + fields[:20] + fields[23:],
                   lambda fields: ["%g" % (float(field) / 9.8) for field in fields[:3]] + fields[3:]):
        _write(tmp_path, _both(["\t".join(change(line.split("\t"))) for line in _log()]))
        message = _refusal(tmp_path)
        assert LOG in message and "gravity is 9.8" in message


def test_empty_log(tmp_path):
    _write(tmp_path, _both([]))
    assert LOG in _refusal(tmp_path)


@pytest.mark.parametrize("kept", (0.1, 0.9, 0.99))
def test_truncated_zip(tmp_path, kept):
    path = _write(tmp_path, _both(_log()))
    cut_off(path, kept)
    (tmp_path / "mhealth_raw_data.csv").write_text("alx,aly,alz\n")
    message = _refusal(tmp_path)
    assert path.name in message and "download it again" in message


# ------------------------------------------------------------------ derived tables


@pytest.mark.parametrize("name", (
    "mhealth_raw_data.csv", "mhealth-partial/csv/mHealth_subject1_chest.csv", "mHealth.zip"))
def test_a_derived_table_is_called_one(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("alx,aly,alz,Activity,subject\n")
    message = _refusal(tmp_path)
    assert "is a table derived from MHEALTH" in message and Mhealth.url in message
    assert Mhealth(root=str(tmp_path)).missing() == message


def test_other_files_are_not_called_derived(tmp_path):
    (tmp_path / "README.txt").write_text("none")
    assert "is not in" in _refusal(tmp_path)


def test_the_real_partial_archive_is_refused(corpora, tmp_path):
    if not (corpora / "mhealth-partial.zip").is_file():
        pytest.skip("no mhealth-partial.zip in %s" % corpora)
    message = _refusal(corpora)
    assert "mhealth-partial.zip is a table derived" in message and "mhealth+dataset.zip" in message
    shutil.unpack_archive(str(corpora / "mhealth-partial.zip"), str(tmp_path))
    assert "mhealth-partial is a table derived" in _refusal(tmp_path)
