"""What could not be written is refused before anything is computed, and a probe leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Callable

import pytest

from edgehar.cli import execute
from edgehar.errors import InputError
from edgehar.probes import probe_file, probe_folder

READY = Path(__file__).resolve().parents[2] / "engines" / "wisdm-watch-s"
UNWRITABLE = "/proc/nowhere"  # where even root can write nothing


@pytest.mark.parametrize("probe", [probe_file, probe_folder])
def test_a_probe_leaves_nothing_behind(probe: Callable[..., None], tmp_path: Path) -> None:
    probe(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("probe", [probe_file, probe_folder])
def test_a_place_that_takes_nothing_is_refused(probe: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (UNWRITABLE, tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="cannot write .*choose another folder"):
            probe(place)


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="it is a folder"):
        probe_file(tmp_path)
    with pytest.raises(InputError, match="cannot write"):
        probe_folder(tmp_path / "file")


def test_a_disk_without_room_is_refused_and_told_how_much_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has [\d.]+ MB left and up to \d+ MB may be needed"):
        probe_folder(tmp_path, 1 << 62)


def test_a_device_takes_what_comes() -> None:
    probe_file(os.devnull)


@pytest.mark.parametrize("line", [
    ["bench", READY, "-o"], ["report", READY, "-o"], ["build", READY, "-o"],
    ["inspect", "synthetic", "-o"], ["split", "synthetic", "-o"], ["describe", READY, "-o"],
    ["predict", READY, "--rate", "1", "-o"], ["pack", READY, "--version", "1.0.0", "--unsigned", "-o"]],
    ids=lambda line: line[0])
def test_no_command_works_for_what_it_cannot_write(line: Any, capsys: pytest.CaptureFixture) -> None:
    for package in ("onnxruntime",):
        pytest.importorskip(package)
    place = UNWRITABLE + (".json" if line[0] == "split" else "")
    assert execute([*map(str, line), place]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("edgehar: cannot write " + place) and len(err.splitlines()) == 1


@pytest.mark.parametrize("line", [["train", "--data", "synthetic"], ["distill", "--teacher", "none", "--data", "none"],
                                  ["export", "none"]], ids=lambda line: line[0])
def test_no_training_begins_for_what_it_cannot_keep(line: Any, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("torch")
    assert execute([*line, "-o", UNWRITABLE]) == 2
    assert capsys.readouterr().err.startswith("edgehar: cannot write " + UNWRITABLE)


def test_what_was_measured_is_shown_where_it_could_no_longer_be_kept(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    pytest.importorskip("onnxruntime")
    from edgehar.results.runs import Run

    def full(run: Run, path: Path) -> Path:
        raise InputError("cannot write %s: No space left on device; free space or choose another folder." % path)

    monkeypatch.setattr(Run, "write", full)
    assert execute(["bench", str(READY), "--duration", "0.2", "--quiet", "-o", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert "wisdm-watch-s" in out and "next:" not in out
    assert "could not be kept" in err.splitlines()[-1]
