"""Sources: tables read by the chunk with every fault named by line, corpora replayed with gaps between recordings."""

from __future__ import annotations

import io
import math
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.data.channels import triad
from edgehar.data.datasets import DATASETS
from edgehar.data.resampling import resample
from edgehar.errors import InputError
from edgehar.stream.feed import Feed
from edgehar.stream.sources import SOURCES
from edgehar.stream.sources._stamps import pace_of
from edgehar.stream.sources.csv import Csv
from edgehar.stream.sources.replay import Replay
from tests.linear import SIGNAL, add_plugins, noise, same, stream

HEADER = "time_s,wrist/imu/acc/x,wrist/imu/acc/y,wrist/imu/acc/z"


def table(samples: np.ndarray, times_s=None, header: str = HEADER) -> str:
    """A CSV text of samples (n, C)."""
    times_s = np.arange(len(samples)) / 50 if times_s is None else times_s
    rows = [",".join(map(repr, [round(float(t), 6), *map(float, row)])) for t, row in zip(times_s, samples)]
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def written(tmp_path):
    """Writes a text to a file and returns its path."""
    def write(text: str, encoding: str = "utf-8") -> str:
        path = tmp_path / "walk.csv"
        path.write_bytes(text.encode(encoding))
        return str(path)
    return write


def read(source) -> np.ndarray:
    with source:
        return np.concatenate([chunk.samples for chunk in source.samples()])


# ------------------------------------------------------------------ csv: what is read


def test_a_table_is_read_as_written(written):
    samples = noise(300)
    source = Csv(written(table(samples)), chunk_s=0.7)
    assert [channel.name for channel in source.channels] == HEADER.split(",")[1:]
    assert source.rate_hz == pytest.approx(50)
    chunks = list(source.samples())
    assert [len(chunk.samples) for chunk in chunks] == [35] * 8 + [20]
    assert [chunk.time_s for chunk in chunks] == pytest.approx(np.arange(9) * 0.7)
    assert np.array_equal(np.concatenate([chunk.samples for chunk in chunks]), samples)


@pytest.mark.parametrize("name, parts", [
    ("x", ("", "", "", "x")), ("acc/x", ("", "", "acc", "x")), ("wrist/acc/x", ("wrist", "", "acc", "x")),
    ("wrist/imu/acc/x", ("wrist", "imu", "acc", "x")), ("a/b/c/acc/x", ("a", "b/c", "acc", "x"))])
def test_a_header_is_a_channel_of_that_name(written, name, parts):
    (channel,) = Csv(written("%s\n1\n2\n" % name), rate_hz=50).channels
    assert channel.name == name
    assert (channel.placement, channel.sensor, channel.kind, channel.axis) == parts


def test_without_a_time_column_the_stated_rate_makes_the_time(written):
    lines = "acc/x\n" + "".join("%d\n" % number for number in range(60))
    chunks = list(Csv(written(lines), rate_hz=20, chunk_s=1.0).samples())
    assert [chunk.time_s for chunk in chunks] == [0.0, 1.0, 2.0]


def test_standard_input_is_read_as_it_comes(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(table(noise(200))))
    assert np.array_equal(read(SOURCES.create("csv:path=-")), noise(200))


def test_only_the_head_is_read_ahead(monkeypatch):
    text = io.StringIO(table(noise(5000)))
    monkeypatch.setattr("sys.stdin", text)
    next(Csv("-").samples())
    assert text.tell() < len(text.getvalue()) / 10


def test_a_full_chunk_does_not_wait_for_the_row_after_it(monkeypatch):
    """128 rows are read to measure the rate; the thirteenth chunk of ten takes two more, and no third."""
    text = io.StringIO(table(noise(200)))
    monkeypatch.setattr("sys.stdin", text)
    rows = lambda: text.getvalue()[:text.tell()].count("\n") - 1  # noqa: E731
    found = [(len(chunk.samples), rows()) for chunk in Csv("-", chunk_s=0.2).samples()]
    assert found[:14] == [(10, 128)] * 12 + [(10, 130), (10, 140)]


def test_a_clock_in_milliseconds_gives_an_unbiased_rate(written):
    times_s = np.round(np.arange(200) / 64, 3)  # steps of 15 and 16 ms; their median alone says 62.5 Hz
    assert Csv(written(table(noise(200), times_s))).rate_hz == pytest.approx(64, rel=0.002)


def test_a_pause_begins_a_new_chunk_and_leaves_the_rate_alone(written):
    times_s = np.arange(60) / 50
    times_s[20:] += 30.0
    source = Csv(written(table(noise(60), times_s)), chunk_s=10)
    assert source.rate_hz == pytest.approx(50)
    assert [(len(c.samples), c.time_s) for c in source.samples()] == [(20, 0.0), (40, pytest.approx(30.4))]


def test_each_sample_has_its_time_where_the_clock_tells_them_apart(written):
    times_s = np.arange(300) / 50 + np.random.default_rng(0).uniform(0, 0.015, 300)
    source = Csv(written(table(noise(300), times_s)), chunk_s=0.7)
    found = [chunk.times_s for chunk in source.samples()]
    assert not source.even and np.concatenate(found).tolist() == [round(float(time_s), 6) for time_s in times_s]


@pytest.mark.parametrize("text", ["acc/x\n" + "1\n2\n" * 60, table(noise(200), np.round(np.arange(200) / 104, 2))])
def test_without_a_clock_that_tells_samples_apart_none_has_a_time_of_its_own(written, text):
    source = Csv(written(text), rate_hz=104)
    assert source.even and {chunk.times_s for chunk in source.samples()} == {None}


@pytest.mark.parametrize("decimals, rate_hz, even", [(6, 50, True), (3, 64, True), (3, 190, False), (2, 64, False)])
def test_a_clock_may_be_coarse_to_a_tenth_of_a_step(written, decimals, rate_hz, even):
    times_s = np.round(np.arange(200) / rate_hz, decimals)
    source = Csv(written(table(noise(200), times_s)))
    assert source.even == even and source.measured_hz == source.rate_hz == pytest.approx(rate_hz, rel=0.01)


def test_a_pause_or_a_lost_sample_makes_a_table_uneven(written):
    for pause_s in (0.02, 30.0):
        times_s = np.arange(60) / 50
        times_s[20:] += pause_s
        assert not Csv(written(table(noise(60), times_s))).even
    assert Csv(written(table(noise(60)))).even


def test_a_raw_table_comes_out_as_a_corpus_of_it_would(written):
    """Rows as in WISDM: 100 Hz, then 20 Hz, then a gap; the loader's numbers bit for bit."""
    random = np.random.default_rng(0)
    steps = np.concatenate([np.full(300, 0.0099), np.full(100, 0.0499), [7.0], np.full(200, 0.0099)])
    times_s = np.round(11.0 + np.cumsum(steps * random.uniform(0.98, 1.02, len(steps))), 9)
    values = np.round(random.normal(0, 4, (len(steps), 3)), 5)
    rows = ["%.9f,%r,%r,%r" % (time_s, *map(float, row)) for time_s, row in zip(times_s, values)]
    path = written("\n".join([HEADER, *rows]))
    signal = replace(SIGNAL, rate_hz=20.0, max_gap_s=0.2)
    expected = resample(times_s, values, 20.0, 100.0, 0.2)
    assert [len(each.samples) for each in expected] == [160, 40]
    for chunk_s in (0.01, 0.5, 60.0):
        feed = Feed(Csv(path, rate_hz=100, chunk_s=chunk_s), signal)
        chunks = list(feed)
        assert np.array_equal([chunk.time_s for chunk in chunks if chunk.begins], [each.start_s for each in expected])
        assert np.concatenate([chunk.samples for chunk in chunks]).tobytes() == b"".join(
            each.samples.tobytes() for each in expected)


def test_ignored_columns_may_hold_text(written):
    text = "activity,acc/x,note,time_s\nwalking,1,a,0\nwalking,2,,0.02\nrunning,3,c,0.04\n"
    source = Csv(written(text), ignore="activity+note")
    assert [channel.name for channel in source.channels] == ["acc/x"]
    assert read(source).tolist() == [[1], [2], [3]]


def test_a_mark_of_the_encoding_and_blank_lines_are_no_fault(written):
    source = Csv(written("time_s,acc/x\r\n0,1\r\n\r\n0.02,2\r\n\r\n", "utf-8-sig"))
    assert read(source).tolist() == [[1], [2]]


# ------------------------------------------------------------------ csv: what is refused


@pytest.mark.parametrize("body, message", [
    ("0,1,2,3\n0.02,1,2,3\n0.04,1,oops,3\n", r"walk.csv line 4 holds 'oops' in column 'wrist/imu/acc/y'"),
    ("0,1,2,3\n0.02,1,2,1_0\n", r"line 3 holds '1_0'"),
    ("0,1,2,3\n0.02,1,2,3\n0.04,1,\"2,3\n0.06,1,2,3\n", r"line 5 has 3 cells"),
    ("0,1,2,3\n0.02,1,2,3\n0.04,1,2\n0.06,1,2,3\n", r"line 4 has 3 cells and the header names 4 columns"),
    ("0,1,2,3\n0.02,1,2,3\n0.04 1 2 3\n0.06,1,2,3\n", r"line 4 has 1 cells"),
    ("0,1,2,3\n0.02,1,2,3,4\n", r"line 3 has 5 cells"),
    ("0,1,2,3\nsoon,1,2,3\n", r"line 3 holds 'soon' in column 'time_s'"),
    ("", r"holds no sample"),
    ("0,1,2,3\n0,1,2,3\n0,1,2,3\n", r"rate of .*walk.csv cannot be measured because column 'time_s' does not advance"),
])
def test_a_damaged_table_is_named_with_its_line(written, body, message):
    with pytest.raises(InputError, match=message):
        read(Csv(written(HEADER + "\n" + body)))


@pytest.mark.parametrize("cell", ["", " ", "nan", "-inf", "1e39"])
def test_a_cell_without_a_number_is_one_that_did_not_come(written, cell):
    found = read(Csv(written(HEADER + "\n0,1,2,3\n0.02,1,%s,3\n0.04,1,2,3\n" % cell)))
    assert np.isnan(found).tolist() == [[False] * 3, [False, True, False], [False] * 3]


@pytest.mark.parametrize("body, told, lost", [
    ("0.04,1,2", "line 4, its last, is cut short", {"line cut short": 1}),
    ("0.04,1,2,-", "line 4, its last, is cut short", {"line cut short": 1}),
    ("0.04,1,2,3\n\0\0\0\0", "holds NUL characters", {}),
    (HEADER + "\n0.04,1,2,3\n", "line 4 repeats its header", {}),
    ("nan,1,2,3\n0.04,1,2,3\n", "", {"without a time": 1}),
])
def test_what_a_logger_leaves_at_an_end_costs_no_more_than_itself(written, body, told, lost):
    source = Csv(written(HEADER + "\n0,1,2,3\n0.02,1,2,3\n" + body))
    said = []
    source.tell = said.append
    assert len(read(source)) == (2 if lost.get("line cut short") else 3)
    assert dict(source.lost) == lost and told in "".join(said) and len(said) == bool(told)


def test_a_line_without_an_end_is_no_table(written):
    with pytest.raises(InputError, match="longer than 1048576 characters"):
        Csv(written("\0" * (1 << 21)))


@pytest.mark.parametrize("unit, stamps, first_s", [
    ("ms", ["0", "20", "40"], 0.0), ("us", ["1e6", "1020000", "1040000"], 1.0), ("ns", ["0", "2e7", "4e7"], 0.0),
    ("min", ["1", repr(1 + 0.02 / 60), repr(1 + 0.04 / 60)], 60.0), ("days", ["0", "2.3148e-7", "4.6296e-7"], 0.0),
    ("", ["12:00:00:000", "12:00:00:020", "12:00:00:040"], 43200.0),
    ("hms", ["0:00:00.0", "0:00:00.02", "0:00:00,04"], 0),
    ("", ["1970-01-02T01:00:00.00+01:00", "1970-01-02T00:00:00.02Z", "1970-01-01 19:00:00.040-0500"], 86400.0),
])
def test_a_clock_may_count_in_another_unit(written, unit, stamps, first_s):
    lines = ['"%s",1' % stamp for stamp in stamps]
    source = Csv(written("time_s,acc/x\n" + "\n".join(lines) + "\n"), unit=unit)
    (chunk,) = source.samples()
    assert chunk.times_s == pytest.approx(first_s + np.array([0, 0.02, 0.04]), abs=1e-6)
    assert source.rate_hz == pytest.approx(50, rel=0.001)


def test_a_unit_that_there_is_none_of_is_refused(written):
    with pytest.raises(InputError, match="no unit of time 'weeks'; choose from: s, ms, us"):
        Csv(written("time_s,acc/x\n0,1\n1,2\n"), unit="weeks")


def test_packets_with_one_stamp_each_are_read_by_number(written):
    samples = noise(400)
    for times_s in ((np.arange(400) // 8) * 0.16 + 0.14, (np.arange(400) // 20) * 0.4 + (np.arange(400) % 20) * 0.001):
        source = Csv(written(table(samples, times_s)))
        assert source.rate_hz == pytest.approx(50) and "packets of about" in source.remark
        found = list(Feed(source, SIGNAL))
        assert np.concatenate([chunk.samples for chunk in found]).tobytes() == samples.tobytes()
        assert [chunk.time_s for chunk in found] == pytest.approx(
            times_s[0] + 0.02 * np.cumsum([0, *(len(chunk.samples) for chunk in found[:-1])]), abs=1e-6)


def test_a_lost_packet_is_a_gap_of_its_length(written):
    times_s = (np.arange(400) // 8) * 0.16
    kept = times_s != times_s[160]
    found = list(Feed(Csv(written(table(noise(400)[kept], times_s[kept]))), SIGNAL))
    steps_s = np.diff([chunk.time_s for chunk in found]) - 0.02 * np.array([len(chunk.samples) for chunk in found[:-1]])
    assert sorted(np.round(steps_s, 3).tolist())[-2:] == [0.0, 0.16]


def test_columns_that_the_model_does_not_read_may_hold_anything(written):
    text = "time_s,acc/x,hr,acc/y,acc/z,note\n" + "".join("%.2f,1,%s,2,3,resting\n" % (k / 50, "" if k else "80")
                                                          for k in range(9))
    source = Csv(written(text), signal=SIGNAL)
    assert source.remark == "not read, for the model knows no such channel: hr, note"
    (chunk,) = Feed(source, SIGNAL)
    assert chunk.samples.tolist() == [[1, 2, 3]] * 9


def test_a_column_to_ignore_may_hold_a_plus(written):
    text = "epoch (ms),timestamp (+0200),time_s,acc/x,a+b,a\n1,2024-05-07T16.29,0,1,,x\n2,2024-05-07T16.29,0.02,2,,x\n"
    source = Csv(written(text), ignore="timestamp (+0200)+a+b+epoch (ms)+a")
    assert [channel.name for channel in source.channels] == ["acc/x"]


def test_damage_far_down_is_found_when_it_is_reached(written):
    text = table(noise(1000)).splitlines()
    text[900] = text[900].replace(",", ";")
    source = Csv(written("\n".join(text)))
    with pytest.raises(InputError, match="line 901 has 1 cells"):
        read(source)


@pytest.mark.parametrize("text, message", [
    ("", "walk.csv is empty"), ("\n\n", "is empty"), ("1,2,3\n4,5,6\n", "begins with numbers"),
    ("time_s,acc/x,acc/x\n0,1,1\n", "two columns named 'acc/x'"),
    ("ax,ay\n1,2\n", r"no column 'time_s' among its columns ax, ay; state its rate, e.g. 50 Hz: "
                       r"--source csv:path=\S*/walk.csv,rate_hz=50$"),
    ("Timestamp,acc/x\n1,2\n", "columns Timestamp, acc/x; rename 'Timestamp' to 'time_s' if it is in seconds, or "
                                "state its rate"),
    ("t;acc/x\n0,00;1,5\n", r"separates its columns by ';' and not by ','; rewrite it: tr ',;' '.,' < /\S*/walk.csv >"),
    ("t\tacc/x\n0\t1\n", r"separates its columns by tab .*: tr ',\\t' '.,' < /"),
])
def test_a_header_that_says_too_little_is_refused(written, text, message):
    with pytest.raises(InputError, match=message):
        Csv(written(text))


def test_the_way_to_rewrite_a_table_works(written, tmp_path):
    path = written("time_s;acc/x\n0,00;-1,5\n0,02;2\n0,04;3\n")
    with pytest.raises(InputError) as refused:
        Csv(path)
    subprocess.run(str(refused.value).split("rewrite it: ")[1], shell=True, cwd=str(tmp_path), check=True)
    assert read(Csv(str(tmp_path / "commas.csv"))).tolist() == [[-1.5], [2], [3]]


@pytest.mark.parametrize("name, advised", [("label", "ignore=label"), ("activity (x)", "'ignore=activity (x)'")])
def test_a_column_of_words_may_be_ignored_as_advised(written, name, advised):
    path = written("time_s,acc/x,%s\n0,1,walking\n0.02,1,walking\n" % name)
    with pytest.raises(InputError) as refused:
        Csv(path)
    assert "add %s if that column is no channel" % advised in str(refused.value)
    assert len(read(Csv(path, ignore=name))) == 2


def test_a_terminal_is_told_that_it_is_read(monkeypatch, caplog):
    terminal = io.StringIO(table(noise(200)))
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", terminal)
    Csv("-")
    assert caplog.messages == ["reading CSV from the terminal; give path=FILE to read a file."]


def test_a_stated_rate_must_agree_with_the_clock(written):
    path = written(table(noise(100)))
    assert Csv(path, rate_hz=50.5).rate_hz == 50.5
    with pytest.raises(InputError, match="declared with 100 samples per second and its column 'time_s' shows 50"):
        Csv(path, rate_hz=100)


def test_files_that_are_no_tables_are_refused(tmp_path, written):
    with pytest.raises(InputError, match="cannot read .*absent.csv: No such file"):
        Csv(str(tmp_path / "absent.csv"))
    with pytest.raises(InputError, match="not a readable text table"):
        Csv(written("acc/\xe4\n1\n", "latin-1"), rate_hz=50)
    with pytest.raises(InputError, match="no column 'label' to ignore"):
        Csv(written("acc/x\n1\n"), rate_hz=50, ignore="label")


# ------------------------------------------------------------------ replay


@pytest.fixture
def walks(monkeypatch):
    add_plugins(monkeypatch)
    return list(DATASETS.create("walks").recordings())


def test_replay_yields_the_test_people_with_a_gap_between_recordings(walks):
    source = Replay("walks", chunk_s=0.4)
    chunks = list(source.samples())
    assert source.synthetic and source.rate_hz == 50.0 and "pauses of 60 s" in source.remark
    assert np.array_equal(np.concatenate([c.samples for c in chunks]),
                          np.concatenate([walks[2].samples, walks[3].samples]))
    assert chunks[0].time_s == 0.0
    spans_s = [later.time_s - chunk.time_s - len(chunk.samples) / 50 for chunk, later in zip(chunks, chunks[1:])]
    assert sorted(spans_s)[-1] == pytest.approx(60) and sorted(spans_s)[-2] == pytest.approx(0, abs=1e-9)


def test_a_gap_empties_the_stream_between_recordings(walks):
    whole = stream()
    found = [decision for chunk in Replay("walks").samples() for decision in whole.push(chunk.samples, chunk.time_s)]
    assert whole.gaps == 1
    assert len(found) == sum((count - 16) // 5 + 1 for count in (90, 60))
    alone = stream().push(walks[2].samples, 0.0)
    assert same(found[:len(alone)], alone)


@pytest.mark.parametrize("spec, counts", [
    ("replay:dataset=walks,subject=01", [120]), ("replay:dataset=walks,subject=3", [90, 60]),
    ("replay:dataset=walks,part=valid", [100]), ("replay:dataset=walks,part=train", [120])])
def test_people_are_chosen_by_name_or_part(walks, spec, counts):
    samples = [chunk.samples for chunk in SOURCES.create(spec).samples()]
    assert sum(map(len, samples)) == sum(counts)


def test_replay_names_what_it_cannot_find(walks):
    with pytest.raises(InputError, match="Walks has no recording of subject 9; .* there are: 01, 02, 03"):
        list(Replay("walks", subject="9").samples())
    with pytest.raises(InputError, match="no part 'tests'"):
        Replay("walks", part="tests")
    with pytest.raises(InputError, match="no dataset named 'walk'"):
        Replay("walk")


def test_replay_of_the_synthetic_corpus():
    source = SOURCES.create("replay", dataset="synthetic:people=3,minutes=0.1")
    chunks = list(source.samples())
    assert source.synthetic and len(chunks) > 7
    assert all(math.isfinite(chunk.samples.sum()) for chunk in chunks)

# ------------------------------------------------------------------ sample


def signal_of(channels, rate_hz=50.0):
    return replace(SIGNAL, channels=channels, rate_hz=rate_hz)


def test_a_sample_is_of_the_model_s_channels_and_rate_and_says_that_it_is_generated():
    source = SOURCES.create("sample:seconds=7", signal=SIGNAL)
    assert source.channels == SIGNAL.channels and source.rate_hz == 50 and source.synthetic
    assert "synthetic" in source.remark
    assert read(source).shape == (350, 3)


def test_a_sample_rests_then_walks_then_shakes_under_gravity():
    samples = read(SOURCES.create("sample:seconds=60", signal=SIGNAL))
    rest, walk, shake = (samples[start:start + 1000] for start in (0, 1000, 2000))
    assert np.linalg.norm(rest.mean(axis=0)) == pytest.approx(9.81, abs=0.02)
    assert rest.std(axis=0).max() < 0.1 < 1 < walk.std(axis=0).min() < walk.std(axis=0).max() < shake.std(axis=0).min()
    spectrum = np.abs(np.fft.rfft(walk[:, 0] - walk[:, 0].mean()))
    assert np.argmax(spectrum) * 50 / 1000 == pytest.approx(2.0)


def test_only_an_accelerometer_feels_gravity_and_others_move_in_their_own_unit():
    channels = (triad("acc", "m/s^2", "wrist") + triad("linear_acc", "m/s^2", "wrist")
                + triad("gyro", "rad/s", "wrist") + triad("mag", "1", "wrist"))
    samples = read(SOURCES.create("sample", signal=signal_of(channels)))
    means = np.abs(samples.mean(axis=0))
    assert means[:3].max() > 5 and means[3:].max() < 0.1
    acc, _, gyro, mag = samples.std(axis=0).reshape(4, 3).mean(axis=1)
    assert gyro == pytest.approx(0.3 * acc, rel=0.1) and mag == pytest.approx(0.1 * acc, rel=0.1)


def test_a_sample_is_the_same_for_one_seed_and_another_for_another():
    one, again, other = (read(SOURCES.create("sample:seconds=5,seed=%d" % seed, signal=SIGNAL)) for seed in (3, 3, 4))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert np.array_equal(one, read(SOURCES.create("sample:seconds=5,seed=3", signal=SIGNAL, chunk_s=0.02)))


def test_a_slow_sample_leaves_out_what_its_rate_cannot_hold():
    samples = read(SOURCES.create("sample:seconds=60", signal=signal_of(SIGNAL.channels, 10.0)))
    spectrum = np.abs(np.fft.rfft(samples[400:600, 0] - samples[400:600, 0].mean()))
    assert np.argmax(spectrum) * 10 / 200 == pytest.approx(4.0)
    assert np.sort(spectrum)[-2] < 0.1 * spectrum.max()


@pytest.mark.parametrize("seconds", ["0", "-1", "1e9", "nan"])
def test_an_impossible_duration_is_refused(seconds):
    with pytest.raises(InputError, match="more than 0 and at most 86400|must be a (whole )?number"):
        SOURCES.create("sample:seconds=" + seconds, signal=SIGNAL)


def test_the_ready_student_recognises_a_sample_and_says_that_it_is_synthetic(capsys):
    pytest.importorskip("onnxruntime")
    engine = str(Path(__file__).resolve().parents[2] / "engines" / "wisdm-watch-s")
    assert execute(["run", engine, "--source", "sample"]) == 0
    said = capsys.readouterr()
    assert "standing" in said.out and said.err.count("fed synthetic data") == 2 and "decisions: 17" in said.err


def test_a_time_of_1e308_overflows_nothing():
    times_s = np.where(np.arange(100) == 7, 1e308, np.arange(100) / 50)
    with np.errstate(all="raise"):
        pace = pace_of(times_s, np.zeros(100, dtype=bool))
    assert pace.rate_hz == pytest.approx(50) and pace.each and not pace.even
