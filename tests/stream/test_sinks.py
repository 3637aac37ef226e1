"""Sinks: lines for people and for programs, each whole and at once, and a sentence where one cannot be written."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from edgehar.errors import InputError
from edgehar.stream.decision import Decision
from edgehar.stream.sinks import SINKS
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
        "probability": {"activity": 0.7}}


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


def test_a_file_that_filled_the_disk_ends_after_its_last_whole_line(tmp_path):
    path = tmp_path / "decisions.jsonl"
    sink = Jsonl(str(path))
    sink.write(decision())
    sink._lines._stream = HalfWriter(sink._lines._stream)
    with pytest.raises(InputError, match="No space left"):
        sink.write(decision())
    sink.close()
    assert [json.loads(line)["time_s"] for line in path.read_text().splitlines()] == [1.5]


class HalfWriter:
    """A file on a disk that fills up in the middle of a line."""

    def __init__(self, stream) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        self._stream.write(text[:len(text) // 2])
        self._stream.flush()
        raise OSError(28, "No space left on device")

    def close(self) -> None:
        self._stream.close()


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
