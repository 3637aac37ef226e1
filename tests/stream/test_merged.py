"""Sensors on rows of their own: a stream brings them together as training does."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgehar.data.datasets import DATASETS
from edgehar.data.signals import Signal
from edgehar.stream.sources.csv import Csv

TOML = """
[files]
glob = "{subject}.csv"
header = "channels"
[time]
column = "time_s"
[corpus]
rate_hz = 20
window_s = 1
max_gap_s = 0.2
"""
TABLES = """
[channels."wrist/acc"]
columns = ["wrist/acc/x", "wrist/acc/y", "wrist/acc/z"]
unit = "m/s^2"
[channels."wrist/gyro"]
columns = ["wrist/gyro/x", "wrist/gyro/y", "wrist/gyro/z"]
unit = "rad/s"
"""
HEADER = "time_s," + ",".join("wrist/%s/%s" % (kind, axis) for kind in ("acc", "gyro") for axis in "xyz")


def rows(first_s=0.0, count=300, acc_hz=50, gyro_hz=40, late_s=0.013):
    """Lines of accelerometer and gyroscope, each on its own, in the order of time."""
    found = []
    for k in range(count):
        t = first_s + k / acc_hz
        found.append((t, "%.4f,%.5f,%.5f,9.8,,," % (t, np.sin(5 * t), np.cos(3 * t))))
    for k in range(int(count * gyro_hz / acc_hz)):
        t = first_s + late_s + k / gyro_hz
        found.append((t, "%.4f,,,,%.5f,%.5f,1" % (t, np.sin(5 * t), np.cos(3 * t))))
    return [line for _, line in sorted(found)]


@pytest.fixture
def merged(tmp_path):
    """Writes lines to a table; returns what training reads of it and a source for it."""
    def write(lines):
        (tmp_path / "a.csv").write_text("\n".join([HEADER, *lines]) + "\n")
        (tmp_path / "own.toml").write_text(TOML.replace('header = "channels"\n', "") + TABLES)
        dataset = DATASETS.create("table:%s" % (tmp_path / "own.toml"))
        signal = Signal(dataset.channels, 20.0, 20, 10, 0.2)
        return list(dataset.recordings()), Csv(str(tmp_path / "a.csv"), signal=signal)
    return write


def chunks_of(source):
    with source:
        chunks = list(source.samples())
    times_s = np.concatenate([chunk.times_s for chunk in chunks])
    return times_s, np.concatenate([chunk.samples for chunk in chunks])


def test_a_stream_reads_what_training_reads(merged):
    recordings, source = merged(rows())
    assert "rows of their own" in source.remark and source.rate_hz == pytest.approx(20)
    times_s, samples = chunks_of(source)
    (recording,) = recordings
    assert samples.tobytes() == recording.samples.tobytes()
    assert times_s[0] == pytest.approx(recording.start_s)
    np.testing.assert_allclose(samples[5:-5, 0], samples[5:-5, 3], atol=0.02)


def test_rows_sent_twice_or_out_of_order_change_nothing(merged):
    lines = rows()
    _, clean = merged(lines)
    expected = chunks_of(clean)[1]
    lines[40:42] = lines[41:39:-1]
    lines.insert(80, lines[78])
    assert chunks_of(merged(lines)[1])[1].tobytes() == expected.tobytes()


def test_a_gap_of_one_sensor_is_a_gap_of_all(merged):
    lines = [line for line in rows() if not (",,,," in line and 2 < float(line.split(",")[0]) < 3)]
    recordings, source = merged(lines)
    times_s, samples = chunks_of(source)
    assert len(recordings) == 2 and np.diff(times_s).max() > 0.9
    assert samples.tobytes() == b"".join(each.samples.tobytes() for each in recordings)


def test_a_clock_that_is_set_back_begins_anew(merged):
    lines = rows(100) + rows(10)
    times_s, samples = chunks_of(merged(lines)[1])
    back = int(np.argmin(np.diff(times_s)))
    assert times_s[back + 1] == pytest.approx(10.013) and len(samples) == 2 * (back + 1)


def test_a_sensor_that_falls_silent_holds_nothing_up(merged):
    lines = rows(count=3000)
    lines = [line for line in lines if ",,,," not in line or float(line.split(",")[0]) < 5]
    times_s, _ = chunks_of(merged(lines)[1])
    assert 4.5 < times_s[-1] < 5.1


def test_complete_rows_are_left_as_they_are(tmp_path):
    path = tmp_path / "b.csv"
    path.write_text("\n".join([HEADER] + ["%.2f,0,0,9.8,1,2,3" % (k / 50) for k in range(100)]) + "\n")
    acc = tuple(dataclasses.replace(each, unit="") for each in Csv(str(path)).channels)
    source = Csv(str(path), signal=Signal(acc, 20.0, 20, 10, 0.2))
    assert source.rate_hz == pytest.approx(50) and "rows of their own" not in source.remark
