"""OpenPack: hand-made sessions in its layout, then the real sample."""

import zipfile

import numpy as np
import pytest

from edgehar.data.channels import choose_channels
from edgehar.data.corpus import cut_corpus
from edgehar.data.datasets._archive import open_archive
from edgehar.data.datasets.openpack import ALIASES, PEOPLE, SENSORS, SESSIONS, USERS, Openpack
from edgehar.data.signals import STANDARD_GRAVITY, cut
from edgehar.errors import InputError
from tests.damage import cut_off, refusal

TOP = "openpack/v1.0.0/"
HEADER = "unixtime,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z,quat_w,quat_x,quat_y,quat_z"
ZERO_MS = 1648531521000  # 2022-03-29 14:25:21 +09:00
SENSOR = "U0209/atr/atr02/S0500.csv"
OPERATIONS = "U0209/annotation/openpack-operations/S0500.csv"


def _sensor(times_ms, acc_x=0.0, gyro_x=0.0):
    """The lines of one sensor: 1 g along z, `acc_x` in g and `gyro_x` in deg/s along x."""
    acc_x, gyro_x = (np.broadcast_to(values, len(times_ms)) for values in (acc_x, gyro_x))
    return [HEADER] + ["%d,%.6f,0.0,1.0,%.6f,0.0,0.0,0.5,0.5,0.5,0.5" % row for row in zip(times_ms, acc_x, gyro_x)]


def _time(ms):
    return "2022-03-29 14:25:%02d.%03d000+09:00" % (21 + ms // 1000, ms % 1000)


def _operations(*rows, user="U0209", session="S0500"):
    """The lines of an annotation; rows: (begin, end, id), in ms after `ZERO_MS`."""
    return ["uuid,user,session,box,id,operation,start,end,actions"] + [
        "op:1,%s,%s,1,%s,Any,%s,%s,act:1;act:2" % (user, session, id_, _time(begin), _time(end))
        for begin, end, id_ in rows]


def _session(user="U0209", session="S0500", count=300):
    """Each sensor turns at a rate of its own, since none is a copy of another."""
    times_ms = ZERO_MS + 30 * np.arange(count)
    names = ["%s/atr/%s/%s.csv" % (user, sensor, session) for sensor in SENSORS]
    files = {name: _sensor(times_ms, gyro_x=sum(ord(letter) << place for place, letter in enumerate(name)) % 997 / 100)
             for name in names}
    files["%s/annotation/openpack-operations/%s.csv" % (user, session)] = _operations(
        (600, 3000, 100), (3000, 6000, 1000), user=user, session=session)
    return files


def _write(root, files):
    path = root / "openpack-sample-v1.0.0.zip"
    with zipfile.ZipFile(str(path), "w") as archive:
        for name, lines in files.items():
            archive.writestr(TOP + name, "\n".join(lines) + "\n")
    return path


def _unpack(root, files):
    for name, lines in files.items():
        path = root / TOP / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def _read(root):
    return list(Openpack(root=str(root)).recordings())


# ------------------------------------------------------------------ one grid


def test_units_become_si(tmp_path):
    files = _session()
    files[SENSOR] = _sensor(ZERO_MS + 30 * np.arange(300), acc_x=0.5, gyro_x=180.0)
    _write(tmp_path, files)
    (recording,) = _read(tmp_path)
    names = [channel.name for channel in recording.channels]
    values = dict(zip(names, recording.samples[7]))
    assert values["left_wrist/atr02/acc/x"] == pytest.approx(0.5 * STANDARD_GRAVITY)
    assert values["left_wrist/atr02/gyro/x"] == pytest.approx(np.pi)
    assert values["right_wrist/atr01/acc/z"] == pytest.approx(STANDARD_GRAVITY)
    assert (recording.subject, recording.session, recording.start_s) == ("U0209", "U0209-S0500", ZERO_MS / 1000)


def test_one_even_clock_passes_samples_unchanged(tmp_path):
    acc = np.round(np.random.default_rng(0).normal(size=300) * 0.3, 4)
    files = _session()
    files[SENSOR] = _sensor(ZERO_MS + 30 * np.arange(300), acc)
    _write(tmp_path, files)
    (recording,) = _read(tmp_path)
    assert np.abs(recording.samples[:, 6] - acc * STANDARD_GRAVITY).max() < 1e-6


@pytest.mark.parametrize("frequency_hz", (0.5, 1.0, 1.5))
def test_four_clocks_come_out_in_phase(tmp_path, frequency_hz):
    """One motion, sampled by clocks that start apart, tick apart and jitter."""
    random, files, omega = np.random.default_rng(3), _session(), 2 * np.pi * frequency_hz
    for sensor, offset_ms, step_ms in zip(SENSORS, (0, 211, 17, 96), (30.0, 29.0, 31.0, 30.3)):
        times_ms = np.round(offset_ms + step_ms * np.arange(2000) + random.uniform(-4, 4, 2000)) + ZERO_MS
        sine = 0.4 * np.sin(omega * (times_ms - ZERO_MS) / 1e3)
        files["U0209/atr/%s/S0500.csv" % sensor] = _sensor(times_ms, sine)
    _write(tmp_path, files)
    (recording,) = _read(tmp_path)
    assert recording.start_s == pytest.approx(ZERO_MS / 1e3 + 0.211, abs=0.005)
    assert recording.measured_hz == pytest.approx(np.mean([1000 / 30, 1000 / 29, 1000 / 31, 1000 / 30.3]), rel=0.001)
    cycles = int(recording.duration_s * frequency_hz)
    at_s = recording.start_s - ZERO_MS / 1e3 + np.arange(len(recording.samples)) / recording.rate_hz
    whole = slice(0, int(cycles / frequency_hz * recording.rate_hz))
    for column in (0, 6, 12, 18):
        found = 2j * np.mean(recording.samples[whole, column] * np.exp(-1j * omega * at_s[whole]))
        assert abs(found / (0.4 * STANDARD_GRAVITY) - 1) < 0.01


@pytest.mark.parametrize("sensor", SENSORS)
def test_a_gap_in_any_sensor_ends_a_recording(tmp_path, sensor):
    files = _session()
    lines = files["U0209/atr/%s/S0500.csv" % sensor]
    files["U0209/atr/%s/S0500.csv" % sensor] = lines[:101] + lines[121:]  # 20 samples lost after the 100th
    _write(tmp_path, files)
    first, second = _read(tmp_path)
    assert (len(first.samples), len(second.samples)) == (100, 180)
    assert (first.session, second.session) == ("U0209-S0500", "U0209-S0500")
    assert second.start_s - first.start_s == pytest.approx(120 * 0.03)


@pytest.mark.parametrize("gaps, counts", (((50, 200), [50, 140, 90]), ((50, 20), [20, 20, 240])))
def test_gaps_of_two_sensors_divide_at_both(tmp_path, gaps, counts):
    files = _session()
    for sensor, lost in zip(("atr01", "atr04"), gaps):
        lines = files["U0209/atr/%s/S0500.csv" % sensor]
        files["U0209/atr/%s/S0500.csv" % sensor] = lines[:lost + 1] + lines[lost + 11:]
    _write(tmp_path, files)
    assert [len(r.samples) for r in _read(tmp_path)] == counts


def test_a_lost_sample_is_bridged(tmp_path):
    files = _session()
    del files[SENSOR][50:52]
    _write(tmp_path, files)
    (recording,) = _read(tmp_path)
    assert len(recording.samples) == 300


# ------------------------------------------------------------------ labels and people


def test_labels_follow_the_milliseconds(tmp_path):
    files = _session()
    files[OPERATIONS] = _operations((600, 3000, 100), (3001, 4500, 8200), (5100, 6000, 1000))
    _write(tmp_path, files)
    (recording,) = _read(tmp_path)
    labels = recording.labels["operation"]
    null = recording.classes["operation"].index("null")
    expected = np.full(300, -1)
    expected[20:100], expected[100:170], expected[170:200] = 0, null, 9  # 600 ms is sample 20, 6000 ms is after 199
    assert (labels == expected).all()


def test_two_user_names_of_one_person_are_one_person(tmp_path):
    files = {}
    for user in ("U0103", "U0210"):
        files.update(_session(user))
    _unpack(tmp_path, files)
    found = _read(tmp_path)
    assert [(r.subject, r.session) for r in found] == [("U0103", "U0103-S0500"), ("U0103", "U0210-S0500")]


def test_people_are_the_documented_ones():
    assert (len(USERS), len(PEOPLE), len(SESSIONS)) == (21, 16, 104)
    assert ALIASES == {"U0210": "U0103", "U0202": "U0105", "U0205": "U0107", "U0203": "U0108", "U0204": "U0110"}
    split = Openpack().split()
    assert [len(part) for part in (split.train, split.valid, split.test)] == [10, 3, 3]
    assert not set(split.train + split.valid + split.test) & set(ALIASES)


def test_every_form_of_the_corpus_reads_alike(tmp_path):
    files = _session()
    for name, write in (("zip", _write), ("folder", _unpack)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, files)
    roots = [tmp_path / "zip", tmp_path / "folder", tmp_path / "folder" / "openpack", tmp_path / "folder" / TOP]
    forms = [[(r.session, r.samples.tobytes()) for r in _read(root)] for root in roots]
    assert forms[0] and all(form == forms[0] for form in forms)


def _write_parts(root, top):
    """A zip a user, as the authors offer them; top: what stands before the paths inside, with a %s for the user."""
    for user, session in (("U0105", "S0100"), ("U0202", "S0200"), ("U0209", "S0500")):
        with zipfile.ZipFile(str(root / (user + ".zip")), "w") as part:
            for name, lines in _session(user, session).items():
                part.writestr((top % user if "%s" in top else top) + name[len(user) + 1:], "\n".join(lines) + "\n")


@pytest.mark.parametrize("top", ["", "%s/", "openpack/v1.0.0/%s/"])
def test_a_zip_for_each_user_is_one_corpus(tmp_path, top):
    _write_parts(tmp_path, top)
    assert [(each.subject, each.session) for each in _read(tmp_path)] == [
        ("U0105", "U0105-S0100"), ("U0105", "U0202-S0200"), ("U0209", "U0209-S0500")]
    assert "holds 3 of the 104 sessions, of 2 of the 16 subjects" in Openpack(root=str(tmp_path)).missing()
    with open_archive(tmp_path, Openpack.distribution) as archive:
        assert list(archive.files()) == ["U0105.zip", "U0202.zip", "U0209.zip"]


def test_the_zips_of_the_users_come_before_the_sample(tmp_path):
    _write(tmp_path, _session())
    _write_parts(tmp_path, "")
    assert len(_read(tmp_path)) == 3


def test_a_damaged_zip_of_one_user_is_named(tmp_path):
    _write_parts(tmp_path, "")
    cut_off(tmp_path / "U0202.zip", 0.5)
    assert "U0202.zip is truncated or damaged" in _refusal(tmp_path)


def test_what_is_missing_is_counted(tmp_path):
    _write(tmp_path, _session())
    message = Openpack(root=str(tmp_path)).missing()
    assert "1 of the 104 sessions, of 1 of the 16 subjects (U0209)" in message and "no split by person" in message
    (tmp_path / "whole").mkdir()
    _unpack(tmp_path / "whole", {name: [""] for pair in SESSIONS for name in _session(*pair, count=1)})
    assert Openpack(root=str(tmp_path / "whole")).missing() == ""


def test_one_person_is_never_split(tmp_path):
    files = _session()
    files[OPERATIONS] = _operations((0, 9000, 100))
    _write(tmp_path, files)
    with pytest.raises(InputError, match="the valid part"):
        cut_corpus("openpack", root=str(tmp_path))


# ------------------------------------------------------------------ damage


def _refusal(root):
    return refusal(Openpack(root=str(root)))


@pytest.mark.parametrize("line", (
    "1648531521090,0,0,1,0,0,0,0.5,0.5,0.5", "1648531521090,0,0,1,0,0,0,0.5,0.5,0.5,0.5,0.5", "",
    "1648531521090,0,,1,0,0,0,0.5,0.5,0.5,0.5", "1648531521090,0,x,1,0,0,0,0.5,0.5,0.5,0.5",
    "1648531521090,0,0 0,1,0,0,0,0.5,0.5,0.5,0.5", "1648531521090;0;0;1;0;0;0;0.5;0.5;0.5;0.5",
    "1648531521090,0,0,1,0,0,0,0.5,0.5,0.5,", "1648531521090,0,\u00e9,1,0,0,0,0.5,0.5,0.5,0.5", "16485"))
def test_malformed_line(tmp_path, line):
    files = _session()
    files[SENSOR][4] = line
    _write(tmp_path, files)
    assert "line 5 of %s" % SENSOR in _refusal(tmp_path)


@pytest.mark.parametrize("value", ("NaN", "nan", "-inf", "1e999"))
def test_no_finite_number(tmp_path, value):
    files = _session()
    files[SENSOR][4] = "1648531521090,0,%s,1,0,0,0,0.5,0.5,0.5,0.5" % value
    _write(tmp_path, files)
    message = _refusal(tmp_path)
    assert "line 5 of %s" % SENSOR in message and "finite" in message


@pytest.mark.parametrize("stamp, reason", ((ZERO_MS + 60, "like the line before"), (ZERO_MS, "0.06 s earlier")))
def test_clock_that_does_not_advance(tmp_path, stamp, reason):
    files = _session()
    files[SENSOR][4] = "%d,0,0,1,0,0,0,0.5,0.5,0.5,0.5" % stamp
    _write(tmp_path, files)
    message = _refusal(tmp_path)
    assert "line 5 of %s" % SENSOR in message and reason in message


@pytest.mark.parametrize("header", (None, "", HEADER.replace("acc_x,acc_y", "acc_y,acc_x"), HEADER + ",extra"))
def test_header_missing_or_other(tmp_path, header):
    files = _session()
    files[SENSOR] = files[SENSOR][1:] if header is None else [header] + files[SENSOR][1:]
    _write(tmp_path, files)
    assert "line 1 of %s" % SENSOR in _refusal(tmp_path)


@pytest.mark.parametrize("factor", (STANDARD_GRAVITY, 0.0))
def test_another_unit_or_a_dead_sensor(tmp_path, factor):
    files = _session()
    files[SENSOR] = [line.replace(",1.0,", ",%s," % factor) for line in files[SENSOR]]
    _write(tmp_path, files)
    message = _refusal(tmp_path)
    assert SENSOR in message and "gravity is 9.8" in message


@pytest.mark.parametrize("lines", ([], [HEADER]))
def test_empty_sensor_file(tmp_path, lines):
    files = _session()
    files[SENSOR] = lines
    _write(tmp_path, files)
    assert SENSOR in _refusal(tmp_path)


@pytest.mark.parametrize("name", (SENSOR, SENSOR.replace("atr02", "atr01"), OPERATIONS))
def test_missing_file(tmp_path, name):
    files = _session()
    files.update(_session(session="S0400"))
    del files[name]
    _unpack(tmp_path, files)
    assert "lacks the file %s" % name in _refusal(tmp_path)


def test_sensor_file_cut_off(tmp_path):
    files = _session()
    files[SENSOR][-1] = files[SENSOR][-1][:20]
    _write(tmp_path, files)
    assert "line 301 of %s" % SENSOR in _refusal(tmp_path)


def test_sensors_that_share_no_time(tmp_path):
    files = _session()
    files[SENSOR] = _sensor(ZERO_MS + 10 ** 9 + 30 * np.arange(300))
    _write(tmp_path, files)
    assert "U0209-S0500 share no time" in _refusal(tmp_path)


@pytest.mark.parametrize("line, reason", (
    ("op:1,U0209,S0500,1,150,Any,%s,%s,", "operation '150'"), ("op:1,U0209,S0500,1,Picking,Any,%s,%s,", "'Picking'"),
    ("op:1,U0208,S0500,1,100,Any,%s,%s,", "belongs to U0208-S0500"),
    ("op:1,U0209,S0400,1,100,Any,%s,%s,", "belongs to U0209-S0400"), ("op:1,U0209", "belongs to")))
def test_foreign_operation(tmp_path, line, reason):
    files = _session()
    files[OPERATIONS][2] = line % (_time(3000), _time(6000)) if "%" in line else line
    _write(tmp_path, files)
    message = _refusal(tmp_path)
    assert "line 3 of %s" % OPERATIONS in message and reason in message


@pytest.mark.parametrize("begin, end, reason", (
    (_time(6000), _time(3000), "ends before it begins"),
    (_time(2000), _time(6000), "begins before the operation above"), ("yesterday", _time(6000), "the time 'yesterday'"),
    ("2022-03-29 14:25:24", _time(6000), "the time"), ("", _time(6000), "the time ''")))
def test_unsound_times_of_an_operation(tmp_path, begin, end, reason):
    files = _session()
    files[OPERATIONS][2] = "op:1,U0209,S0500,1,100,Any,%s,%s," % (begin, end)
    _write(tmp_path, files)
    message = _refusal(tmp_path)
    assert "line 3 of %s" % OPERATIONS in message and reason in message


@pytest.mark.parametrize("lines, reason", (
    ([], "names no column"), (_operations(), "holds no operation"),
    (_operations((0, 900, 100))[1:], "line 1"), (["uuid,user,session,box,operation,start,end"], "no column 'id'")))
def test_unreadable_annotation(tmp_path, lines, reason):
    files = _session()
    files[OPERATIONS] = lines
    _write(tmp_path, files)
    message = _refusal(tmp_path)
    assert OPERATIONS in message and reason in message


def test_undocumented_user(tmp_path):
    files = _session()
    files.update(_session("U0301"))
    _write(tmp_path, files)
    assert "U0301" in _refusal(tmp_path)


@pytest.mark.parametrize("kept", (0.1, 0.9, 0.999))
def test_truncated_zip(tmp_path, kept):
    path = _write(tmp_path, _session())
    cut_off(path, kept)
    message = _refusal(tmp_path)
    assert path.name in message and "download it again" in message


# ------------------------------------------------------------------ the real sample


@pytest.fixture(scope="module")
def sample(corpora):
    if not (corpora / "openpack-sample-v1.0.0.zip").is_file():
        pytest.skip("no openpack-sample-v1.0.0.zip in %s" % corpora)
    return corpora


@pytest.fixture(scope="module")
def real(sample):
    (recording,) = _read(sample)
    return recording


def _table(sample, name):
    with zipfile.ZipFile(str(sample / "openpack-sample-v1.0.0.zip")) as archive:
        lines = archive.read(TOP + name).decode().splitlines()
    return lines[0].split(","), [line.split(",") for line in lines[1:]]


def test_real_sensors_step_by_30_ms_and_pass_unchanged(sample, real):
    for number, sensor in enumerate(SENSORS):
        rows = np.array(_table(sample, "U0209/atr/%s/S0500.csv" % sensor)[1], dtype=np.float64)
        assert set(np.diff(rows[:, 0])) == {30.0} and len(rows) == len(real.samples) == 46800
        assert real.rate_hz == pytest.approx(1000 / 30)
        expected = rows[:, 1:7] * ([STANDARD_GRAVITY] * 3 + [np.pi / 180] * 3)
        assert np.abs(real.samples[:, 6 * number:6 * number + 6] - expected).max() < 1e-4


def test_real_angular_rates_agree_with_the_quaternions(sample, real):
    """Turns of 20 to 80 degrees within 0.3 s are as large by the sensor's own orientation: so deg/s it was."""
    for number, sensor in enumerate(SENSORS):
        rows = np.array(_table(sample, "U0209/atr/%s/S0500.csv" % sensor)[1], dtype=np.float64)
        q = rows[:, 7:] / np.linalg.norm(rows[:, 7:], axis=1, keepdims=True)
        turned = 2 * np.arccos(np.clip(np.abs((q[:-10] * q[10:]).sum(axis=1)), 0, 1))
        integral = np.cumsum(real.samples[:, 6 * number + 3:6 * number + 6].astype(np.float64), axis=0) / real.rate_hz
        by_rate = np.linalg.norm(integral[10:] - integral[:-10], axis=1)
        clear = (by_rate > np.deg2rad(20)) & (by_rate < np.deg2rad(80))
        assert np.median(turned[clear] / by_rate[clear]) == pytest.approx(1, abs=0.03)


def test_real_labels_cover_what_was_annotated(sample, real):
    header, rows = _table(sample, OPERATIONS)
    assert len(rows) == 193 and set(real.labels["operation"]) == set(range(-1, 11))
    begin, end = (np.array([np.datetime64(row[header.index(name)][:-6], "ms").astype(np.int64) for row in rows])
                  for name in ("start", "end"))
    within_s = (np.minimum(end, begin[0] + 46799 * 30) - begin).sum() / 1e3
    named = (real.labels["operation"] >= 0) & (real.labels["operation"] < 10)
    assert named.sum() / real.rate_hz == pytest.approx(within_s, abs=5)
    assert (real.labels["operation"] == 10).sum() / real.rate_hz == pytest.approx(14.6, abs=0.2)


def test_real_sample_cuts_into_windows_of_one_wrist(sample, real):
    windows = cut(real, Openpack.window, Openpack.hop).select(choose_channels(real.channels, "right_wrist"))
    assert windows.x.shape == (730, 6, 128)
    with pytest.raises(InputError, match="the valid part"):
        cut_corpus("openpack", root=str(sample))
