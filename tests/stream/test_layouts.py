"""Every layout that ships is read as its logger writes it: the same samples and decisions as from a plain table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data import recognition
from edgehar.data.recognition import layout_names, nearest, recognised
from edgehar.data.signals import STANDARD_GRAVITY
from edgehar.errors import InputError
from edgehar.stream.feed import Feed
from edgehar.stream.sources import SOURCES
from edgehar.stream.stream import Stream

ROOT = Path(__file__).resolve().parents[2]
LOGGERS = ROOT.parent / "shared" / "cases" / "loggers"
SECONDS = 30
EPOCH_MS = 1700000000000


def walk(rate_hz: float) -> np.ndarray:
    """(n, 3) m/s^2: something like a walk."""
    t = np.arange(int(SECONDS * rate_hz)) / rate_hz
    return np.stack([2 * np.sin(11 * t) - 7, 1.5 * np.cos(12 * t) + 4, np.sin(5.5 * t) + 5], axis=1)


def iso(at_ms: int, day: str = "2024-05-07 ") -> str:
    return "%s%02d:%02d:%02d.%03d" % (day, at_ms // 3600000, at_ms // 60000 % 60, at_ms // 1000 % 60, at_ms % 1000)


class Written:
    """A file in a layout, and the same samples (rounded as there) with the same times in a plain table."""

    def __init__(self, rate_hz, line, head="", digits=6, unit=1.0, end="\n"):
        values = np.round(walk(rate_hz) / unit, digits)
        self.times_s = [round(k * 1000 / rate_hz) / 1000 for k in range(len(values))]
        at_ms = [round(1000 * t) for t in self.times_s]
        rows = zip(at_ms, values.tolist())
        self.text = head + "".join(line(number, ms, *row) + end for number, (ms, row) in enumerate(rows))
        self.samples = values * unit

    def plain(self, path: Path) -> Path:
        rows = ["%r,%r,%r,%r" % (t, *row) for t, row in zip(self.times_s, self.samples.tolist())]
        path.write_text("\n".join(["time_s,acc/x,acc/y,acc/z", *rows]) + "\n")
        return path


def comma(text: str) -> str:
    return text.replace(".", ",")


G, MG = STANDARD_GRAVITY, STANDARD_GRAVITY / 1000
DOT_HEAD = "sep=,\nDeviceTag:,left wrist\n\nPacketCounter,SampleTimeFine,Acc_X,Acc_Y,Acc_Z\n"
ACTIGRAPH = ("------------ Data File Created By ActiGraph GT3X+ ActiLife v6 date format %s at 50 Hz  Filter "
             "Normal -----------\nSerial Number: X\nTimestamp,Accelerometer X,Accelerometer Y,Accelerometer Z\r\n")
MAKERS = {
    "sensor-logger": lambda: Written(50, lambda k, ms, x, y, z: "%d,%.9f,%f,%f,%f" % (
        (EPOCH_MS + ms) * 10 ** 6, ms / 1000, z, y, x), "time,seconds_elapsed,z,y,x\n"),
    "phyphox": lambda: Written(100, lambda k, ms, x, y, z: "%.9E,%.9E,%.9E,%.9E,1.0E1" % (ms / 1000, x, y, z),
                               '"Time (s)","Acceleration x (m/s^2)","Acceleration y (m/s^2)","Acceleration z (m/s^2)",'
                               '"Absolute acceleration (m/s^2)"\n'),
    "phyphox-comma": lambda: Written(100, lambda k, ms, x, y, z: comma("%.9E;%.9E;%.9E;%.9E" % (ms / 1000, x, y, z)),
                                     '"Time (s)";"Acceleration x (m/s^2)";"Acceleration y (m/s^2)";'
                                     '"Acceleration z (m/s^2)"\n'),
    "axivity": lambda: Written(50, lambda k, ms, x, y, z: "%s,%.6f,%.6f,%.6f" % (iso(ms), x, y, z), unit=G),
    "actigraph": lambda: Written(50, lambda k, ms, x, y, z: "%s,%.3f,%.3f,%.3f" % (iso(ms, "05/07/2024 "), x, y, z),
                                 ACTIGRAPH % "M/d/yyyy", 3, G, "\r\n"),
    "actigraph-day-first": lambda: Written(50, lambda k, ms, x, y, z: "%s,%.3f,%.3f,%.3f" % (
        iso(ms, "25/05/2024 "), x, y, z), ACTIGRAPH % "d/M/yyyy", 3, G, "\r\n"),
    "empatica-e4": lambda: Written(20, lambda k, ms, x, y, z: "%d,%d,%d" % (x, y, z),
                                   "1433412345.00,1433412345.00,1433412345.00\n20.000000,20.000000,20.000000\n", 0,
                                   G / 64),
    "shimmer": lambda: Written(50, lambda k, ms, x, y, z: "%.10f\t%.10f\t%.10f\t%.10f\t" % (EPOCH_MS + ms, x, y, z),
                               '"sep=\t"\n' + "".join("Shimmer_A1B2_%s_CAL\t" % name for name in (
                                   "Timestamp_Unix", "Accel_LN_X", "Accel_LN_Y", "Accel_LN_Z"))
                               + "\nms\tm/(s^2)\tm/(s^2)\tm/(s^2)\t\n"),
    "movella-dot": lambda: Written(50, lambda k, ms, x, y, z: "%d,%d,%f,%f,%f" % (
        k, (2 ** 32 - 10 ** 7 + 1000 * ms) % 2 ** 32, x, y, z), DOT_HEAD),
    "sensorlog": lambda: Written(50, lambda k, ms, x, y, z: "%s,%f,%f,%f,%f" % (iso(ms), 183726.5 + ms / 1000, x, y, z),
                                 "loggingTime(txt),accelerometerTimestamp_sinceReboot(s),accelerometerAccelerationX(G),"
                                 "accelerometerAccelerationY(G),accelerometerAccelerationZ(G)\n", 6, G),
    "sensorlog-comma": lambda: Written(50, lambda k, ms, x, y, z: comma("%s;%f;%f;%f;%f" % (
        iso(ms), 183726.5 + ms / 1000, x, y, z)),
        "loggingTime(txt);accelerometerTimestamp_sinceReboot(s);accelerometerAccelerationX(G);"
        "accelerometerAccelerationY(G);accelerometerAccelerationZ(G)\n", 6, G),
    "polar": lambda: Written(50, lambda k, ms, x, y, z: "%s;%d;%d;%d;%d" % (
        iso(ms, "2024-05-07T"), 599616000000000000 + ms * 10 ** 6, x, y, z),
        "Phone timestamp;sensor timestamp [ns];X [mg];Y [mg];Z [mg]\n", 0, MG),
    "metamotion": lambda: Written(50, lambda k, ms, x, y, z: "%d,2024-05-07T16.29.30.810,%.3f,%.3f,%.3f,%.3f" % (
        EPOCH_MS + ms, ms / 1000, x, y, z),
        "epoch (ms),timestamp (-0700),elapsed (s),x-axis (g),y-axis (g),z-axis (g)\n", 3, G),
    "arduino": lambda: Written(20, lambda k, ms, x, y, z: "%d\t%.2f\t%.2f\t%.2f" % (
        (2 ** 32 - 4000 + ms) % 2 ** 32, x, y, z), "rst:0x1 (POWERON_RESET),boot:0x13\nMPU6050 Found!\n", 2, 1.0,
        "\r\n"),
    "android": lambda: Written(20, lambda k, ms, x, y, z: "%d,%f,%f,%f" % (5234567891234 + ms * 10 ** 6, x, y, z),
                               "timestamp,x,y,z\n"),
    "plain-tab": lambda: Written(20, lambda k, ms, x, y, z: "%.3f\t%.4f\t%.4f\t%.4f" % (ms / 1000, x, y, z),
                                 "time_s\tacc/x\tacc/y\tacc/z\n", 4),
    "plain-quoted": lambda: Written(20, lambda k, ms, x, y, z: '"%s", "%s", "%s", "%s"' % tuple(
        comma("%.4f" % value) for value in (ms / 1000, x, y, z)), "time_s, acc/x, acc/y, acc/z\n", 4),
    "plain-merged": lambda: Written(20, lambda k, ms, x, y, z: "%.4f,%.4f,%.4f,%.4f,,,\n%.4f,,,,1.5,0.5,0.25" % (
        ms / 1000, x, y, z, ms / 1000 + 0.013), "time_s,acc/x,acc/y,acc/z,gyro/x,gyro/y,gyro/z\n", 4),
}


def test_every_layout_has_an_example_here():
    assert sorted(MAKERS) == layout_names()


@pytest.fixture(scope="module")
def engine():
    pytest.importorskip("onnxruntime")
    from edgehar.backends import BACKENDS, ready_engine

    found = ready_engine(str(ROOT / "engines" / "wisdm-watch-s"))
    with BACKENDS.create(found.backend).open(found, max_batch=1) as session:
        yield found.manifest, session


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_a_layout_is_recognised_and_read_in_si_units(name, tmp_path, engine):
    written, path = MAKERS[name](), tmp_path / "as_exported.txt"
    path.write_bytes(written.text.encode("utf-16" if name == "plain-tab" else "utf-8"))
    assert recognised(recognition.head_of(path)) == [name]
    with SOURCES.create("csv:path=%s" % path, signal=engine[0].signal) as source:
        chunks = list(source.samples())
        assert [channel.name.split("/")[-1] for channel in source.channels] == ["x", "y", "z"]
    samples = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_allclose(samples, written.samples, rtol=1e-6, atol=1e-5)
    times_s = np.concatenate([chunk.times_s for chunk in chunks])
    np.testing.assert_allclose(times_s - times_s[0], written.times_s, atol=3e-6)


@pytest.mark.parametrize("name", sorted(MAKERS))
def test_decisions_are_those_of_a_plain_table(name, tmp_path, engine):
    written, path = MAKERS[name](), tmp_path / "as_exported.txt"
    path.write_bytes(written.text.encode("utf-16" if name == "plain-tab" else "utf-8"))
    plain = written.plain(tmp_path / "plain.csv")
    found, expected = (labels_of(engine, "csv:path=%s" % each) for each in (path, plain))
    assert found == expected and len(found) >= 5


def labels_of(engine, spec):
    manifest, session = engine
    with SOURCES.create(spec, signal=manifest.signal) as source:
        stream = Stream(session, manifest.signal, manifest.tasks)
        return [decision.raw_label for chunk in Feed(source, manifest.signal)
                for decision in stream.push(chunk.samples, chunk.time_s, chunk.begins)]


def test_two_layouts_that_fit_are_asked_about(tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / ("%s.toml" % name)).write_text(
            '[layout]\nhead = "t,a"\nexample = "t,a"\n[time]\ncolumn = "t"\n[channels."acc/x"]\ncolumn = "a"\n'
            'unit = "g"\n')
    monkeypatch.setattr(recognition, "ROOM", tmp_path)
    (tmp_path / "walk.csv").write_text("t,a\n0,1\n0.1,1\n0.2,2\n")
    with pytest.raises(InputError, match="like one and like two; say which: .*layout=one"):
        SOURCES.create("csv:path=%s" % (tmp_path / "walk.csv"))
    with SOURCES.create("csv:path=%s,layout=two" % (tmp_path / "walk.csv")) as source:
        assert source.rate_hz == pytest.approx(10)


def test_an_unknown_file_and_an_unknown_name_get_the_nearest(tmp_path):
    (tmp_path / "new.csv").write_text("timestamp (s),seconds_elapsed,z,y,x\n1,1,2,3,4\n2,2,2,3,4\n")
    with pytest.raises(InputError, match="most like sensor-logger .*layout=sensor-logger"):
        SOURCES.create("csv:path=%s" % (tmp_path / "new.csv"))
    with pytest.raises(InputError, match="did you mean 'phyphox'"):
        recognition.layout_of("phypox")
    assert nearest("zzz;zzz\n") == ""


def test_a_layout_of_ones_own_reads_a_stream(tmp_path):
    (tmp_path / "mine.toml").write_text('[time]\nrate_hz = 50\n[channels."wrist/acc"]\ncolumns = ["a", "b", "c"]\n'
                                        'unit = "mg"\nplus = ["ga", "gb", "gc"]\n')
    (tmp_path / "walk.csv").write_text("a,b,c,ga,gb,gc\n" + "500,0,0,500,0,-1000\n" * 10)
    with SOURCES.create("csv:path=%s,layout=%s" % (tmp_path / "walk.csv", tmp_path / "mine.toml")) as source:
        (chunk,) = source.samples()
    np.testing.assert_allclose(chunk.samples[0], [STANDARD_GRAVITY, 0, -STANDARD_GRAVITY], rtol=1e-6)
    assert source.rate_hz == pytest.approx(50) and source.channels[0].name == "wrist/acc/x"


@pytest.mark.parametrize("line, told", [("x,1,2,3,4", "line 4 holds 'x' where a time"), ("1,2", "line 4 has 2 cells"),
                                        ("1,1,q,2,3", "line 4 holds 'q' where a number")])
def test_a_bad_line_of_a_layout_is_named(tmp_path, line, told):
    path = tmp_path / "bad.csv"
    path.write_text("time,seconds_elapsed,z,y,x\n10000000,1,2,3,4\n20000000,1,2,3,4\n%s\n" % line)
    with pytest.raises(InputError, match=told):
        with SOURCES.create("csv:path=%s" % path) as source:
            list(source.samples())


def test_the_command_lists_and_recognises(tmp_path, capfd):
    assert execute(["layouts"]) == 0
    listed = capfd.readouterr().out
    assert all(name in listed for name in layout_names())
    path = tmp_path / "x.csv"
    path.write_text(MAKERS["polar"]().text)
    assert execute(["layouts", str(path)]) == 0
    assert capfd.readouterr().out.splitlines()[0].startswith("polar ")
    path.write_text("a,b\n1,2\n")
    assert execute(["layouts", str(path)]) == 0
    assert "none of these layouts" in capfd.readouterr().out


@pytest.mark.skipif(not LOGGERS.is_dir(), reason="../shared/cases is absent")
@pytest.mark.parametrize("path", sorted(LOGGERS.glob("*")) if LOGGERS.is_dir() else [], ids=lambda path: path.name)
def test_exports_as_apps_and_devices_write_them_run(path, engine):
    if path.name.startswith("18_"):
        with pytest.raises(InputError, match="does not advance.*ignore=time_s,rate_hz=20") as caught:
            labels_of(engine, "csv:path=%s" % path)
        assert len(labels_of(engine, str(caught.value).rpartition("--source ")[2])) >= 5
        return
    assert len(labels_of(engine, "csv:path=%s" % path)) >= 5
