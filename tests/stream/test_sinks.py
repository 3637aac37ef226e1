"""Sinks: lines for people and for programs, each whole and at once, and a sentence where one cannot be written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from edgehar.errors import InputError
from edgehar.stream.decision import Decision
from edgehar.stream.sinks import SINKS
from edgehar.stream.sinks._lines import Lines
from edgehar.stream.sinks.base import NotTaken
from edgehar.stream.sinks.console import Console
from edgehar.stream.sinks.jsonl import Jsonl
from tests.linear import decision


def test_console_prints_changes_only(capsys):
    with Console() as sink:
        for time_s, label in enumerate(["still", "still", "walk", "walk", "still"]):
            sink.write(decision(label, time_s))
    assert capsys.readouterr().out.splitlines() == [
        "     0.00 s  still 0.70", "     2.00 s  walk 0.70", "     4.00 s  still 0.70"]


def test_console_prints_all_where_asked_and_says_what_the_window_alone_says(capsys):
    with SINKS.create("console:all=true") as sink:
        sink.write(decision("walk", 1.0))
        sink.write(decision("walk", 2.0, raw="run"))
    assert capsys.readouterr().out.splitlines() == ["     1.00 s  walk 0.70", "     2.00 s  walk (now run 0.70)"]


def test_console_names_the_tasks_where_there_are_several(capsys):
    labels = {"placement": "left", "activity": "walk"}
    with Console() as sink:
        sink.write(Decision(1.0, labels, labels, {task: np.array([0.25, 0.75]) for task in labels}))
    assert capsys.readouterr().out == "     1.00 s  activity: walk 0.75  placement: left 0.75\n"


def test_jsonl_writes_each_line_at_once(tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_text("from an earlier run\n")
    sink = SINKS.create("jsonl:path=%s" % path)
    for number in range(3):
        sink.write(decision("walk", number / 2, raw="run"))
        assert len(path.read_text().splitlines()) == number + 1
    sink.close()
    assert json.loads(path.read_text().splitlines()[1]) == {
        "time_s": 0.5, "label": {"activity": "walk"}, "raw_label": {"activity": "run"},
        "probability": {"activity": 0.7},
        "confidence": {"activity": 0.7}, "quality": 1.0, "staleness_s": 0.0, "begins": False}


def test_jsonl_goes_to_standard_output_and_leaves_it_open(capsys):
    with Jsonl("-") as sink:
        sink.write(decision())
    print("more")
    first, second = capsys.readouterr().out.splitlines()
    assert json.loads(first)["label"] == {"activity": "walk"} and second == "more"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_one_sentence():
    sink = Jsonl("/dev/full")
    with pytest.raises(InputError, match="cannot write to /dev/full: No space left on device; free space"):
        sink.write(decision())
    sink.close()


FILLED = """
import resource, signal, sys
from edgehar.errors import InputError
from edgehar.stream.sinks._lines import Lines
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails, as on a full disk
lines = Lines(sys.argv[1])
lines.write("first")
for limit in (10, 100):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        lines.write("second")
    except InputError as error:
        print(error, open(sys.argv[1]).read())
lines.close()
"""


def test_a_file_that_filled_the_disk_ends_after_its_last_whole_line_and_goes_on(tmp_path):
    path = tmp_path / "lines.txt"
    done = subprocess.run([sys.executable, "-c", FILLED, str(path)], stdout=subprocess.PIPE, check=True,
                          universal_newlines=True, env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)))
    assert done.stdout == "cannot write to %s: File too large; free space or choose another path. first\n\n" % path
    assert path.read_text() == "first\nsecond\n"


def test_a_reader_of_standard_output_that_left_is_the_command_lines_to_tell(monkeypatch):
    reader, writer = os.pipe()
    with open(writer, "w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            Jsonl("-").write(decision())
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)  # for the flush at closing


def test_a_reader_that_left_is_one_sentence(tmp_path):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    sink = Jsonl(pipe)
    sink.write(decision())
    os.close(reader)
    with pytest.raises(InputError, match="Broken pipe; .*keep its reader running"):
        sink.write(decision())
    sink.close()


def test_a_missing_folder_is_made(tmp_path):
    with Jsonl(str(tmp_path / "runs" / "today" / "decisions.jsonl")) as sink:
        sink.write(decision())
    assert (tmp_path / "runs" / "today" / "decisions.jsonl").read_text().count("\n") == 1


def test_a_path_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write .*file/decisions.jsonl: .*; choose another path"):
        Jsonl(str(tmp_path / "file" / "decisions.jsonl"))


def test_a_file_is_gone_on_with_after_its_last_whole_line(tmp_path):
    path = tmp_path / "decisions.jsonl"
    path.write_text('{"time_s": 0}\n{"time_s": 1, "la')  # as a power cut leaves it
    with SINKS.create("jsonl:path=%s,append=true" % path) as sink:
        sink.write(decision(time_s=2.0))
    assert [json.loads(line)["time_s"] for line in path.read_text().splitlines()] == [0, 2]
    with SINKS.create("jsonl:path=%s,append=true" % (tmp_path / "new" / "decisions.jsonl")) as sink:
        sink.write(decision())


def test_full_files_are_set_aside_and_the_oldest_goes(tmp_path):
    path = tmp_path / "decisions.jsonl"
    size = len(json.dumps(decision().to_json())) + 1
    for append in ("false", "true"):
        with SINKS.create("jsonl:path=%s,max_mb=%r,keep=2,append=%s" % (path, 3.5 * size / 1e6, append)) as sink:
            for number in range(8):
                sink.write(decision(time_s=number + 0.5))
                assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 3 * 3.5 * size
    kept = [[json.loads(line)["time_s"] - 0.5 for line in (tmp_path / name).read_text().splitlines()]
            for name in ("decisions.jsonl.2", "decisions.jsonl.1", "decisions.jsonl")]
    assert kept == [[1, 2, 3], [4, 5, 6], [7]] and len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("spec", ["jsonl:append=true", "jsonl:max_mb=1", "jsonl:path={0}/d,keep=0",
                                  "jsonl:path={0}/d,max_mb=-1"])
def test_senseless_files_are_refused(spec, tmp_path):
    with pytest.raises(InputError, match="standard output cannot"):
        SINKS.create(spec.format(tmp_path))


# ------------------------------------------------------------------ readers that do not take, and what is no file


def test_a_reader_that_takes_nothing_is_waited_for_no_longer_than_said(tmp_path):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    lines = Lines(pipe)
    with pytest.raises(NotTaken, match="nobody reads .*pipe; start its reader"):
        lines.write("nobody is there", 0.0)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    written = 0
    with pytest.raises(NotTaken, match="the reader of .*pipe takes nothing"):
        while True:
            lines.write("%d %s" % (written, 9000 * "x"), 0.0)
            written += 1
    assert written > 3
    read = b""
    for _ in range(100):  # the last line was taken in part: the rest comes before the next one
        with suppress(NotTaken):
            lines.write("again", 0.0)
        with suppress(BlockingIOError):
            read += os.read(reader, 1 << 20)
    os.close(reader)
    lines.close()
    rows = read.decode().splitlines()
    assert rows[:written] == ["%d %s" % (number, 9000 * "x") for number in range(written)]
    assert len(rows) > written and set(rows[written:-1]) == {"again"}


def test_another_reader_of_a_pipe_gets_the_next_line(tmp_path):
    pipe = str(tmp_path / "pipe")
    os.mkfifo(pipe)
    lines = Lines(pipe)
    for turn in range(2):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        lines.write("turn %d" % turn, 0.0)
        assert os.read(reader, 99).decode() == "turn %d\n" % turn
        os.close(reader)
        with pytest.raises(InputError, match="Broken pipe"):
            lines.write("nobody", 0.0)
    lines.close()


def test_a_link_is_followed_also_when_a_file_is_set_aside(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "lines")
    lines = Lines(str(tmp_path / "link"), max_bytes=10, keep=2)
    for number in range(3):
        lines.write("line %d" % number)
    lines.close()
    assert (tmp_path / "link").read_text() == "line 2\n" and (tmp_path / "link").is_symlink()
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["lines", "lines.1", "lines.2"]


@pytest.mark.parametrize("append", [False, True])
def test_a_device_stays_one_and_is_not_set_aside(append):
    before = os.stat("/dev/null")
    lines = Lines("/dev/null", append)
    lines.write("gone")
    lines.close()
    with pytest.raises(InputError, match="/dev/null is no file that could be set aside; leave out max_mb"):
        Lines("/dev/null", append, max_bytes=10)
    assert os.path.samestat(before, os.stat("/dev/null"))


def test_two_do_not_write_one_file(tmp_path):
    with SINKS.create("jsonl:path=%s/d,append=true" % tmp_path) as sink:
        sink.write(decision())
        for append in ("true", "false"):
            with pytest.raises(InputError, match="another process writes .*/d; give each a path of its own"):
                SINKS.create("jsonl:path=%s/d,append=%s" % (tmp_path, append))
    assert (tmp_path / "d").read_text().count("\n") == 1
