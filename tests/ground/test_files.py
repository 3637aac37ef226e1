"""Files are written whole or not at all: killed in the middle, disk full, failing half-way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

from edgehar.errors import InputError
from edgehar.files import (alone_in, folder_written_whole, read_json, sha256_of, sha256_of_json, write_json,
                           written_whole)

MARKER = "old.bin"
SAME_PATH = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))


def names_in(folder: Path) -> List[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_with_all_its_content(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "file.txt"
    with written_whole(target) as temporary:
        temporary.write_text("all", encoding="utf-8")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "all"
    assert names_in(target.parent) == ["file.txt"]


def test_a_failing_writer_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old", encoding="utf-8")
    with pytest.raises(RuntimeError), written_whole(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert target.read_text(encoding="utf-8") == "old"
    assert names_in(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o077, 0o600)])
def test_the_user_s_umask_decides_who_may_read(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_json(tmp_path / "file.json", 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file.json").stat().st_mode) == mode


def test_a_folder_takes_the_old_one_s_place_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "old.bin").write_bytes(b"old")
    with folder_written_whole(folder, MARKER) as temporary:
        (temporary / "new.bin").write_bytes(b"new")
        assert names_in(folder) == ["old.bin"]
    assert names_in(folder) == ["new.bin"]
    assert names_in(tmp_path) == ["engine"]


def test_a_failing_writer_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "old.bin").write_bytes(b"old")
    with pytest.raises(RuntimeError), folder_written_whole(folder, MARKER) as temporary:
        (temporary / "half.bin").write_bytes(b"half")
        raise RuntimeError
    assert names_in(folder) == ["old.bin"]
    assert names_in(tmp_path) == ["engine"]


@pytest.mark.parametrize("held", ["thesis.txt", "sub/old.bin"])
def test_a_folder_of_another_kind_is_never_replaced(tmp_path: Path, held: str) -> None:
    path = tmp_path / "notes" / held
    path.parent.mkdir(parents=True)
    path.write_text("all of it", encoding="utf-8")
    with pytest.raises(InputError, match="would be lost"), folder_written_whole(tmp_path / "notes", MARKER):
        pass
    assert path.read_text(encoding="utf-8") == "all of it"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "engine").mkdir()
    with folder_written_whole(tmp_path / "engine", MARKER) as temporary:
        (temporary / "new.bin").write_bytes(b"new")
    assert names_in(tmp_path / "engine") == ["new.bin"]


def test_a_file_in_the_way_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="cannot write"), folder_written_whole(tmp_path / "file" / "engine", MARKER):
        pass
    with pytest.raises(InputError, match="cannot write"), written_whole(tmp_path / "file" / "run.json"):
        pass


# ------------------------------------------------------------------ killed in the middle

WRITER = """
import sys
from edgehar.files import written_whole
for turn in range(10 ** 9):
    with written_whole(sys.argv[1]) as temporary:
        with open(str(temporary), "w") as stream:
            for line in range(2000):
                stream.write("%d\\n" % turn)
    if turn == 3:
        print("writing", flush=True)
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.002, 0.005, 0.011])
def test_a_killed_writer_leaves_the_old_or_the_new_file(tmp_path: Path, delay_s: float) -> None:
    target = tmp_path / "numbers.txt"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE,
                               env=SAME_PATH)
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    try:
        process.wait(timeout=delay_s)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    lines = target.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2000 and len(set(lines)) == 1
    assert all(name == "numbers.txt" or name.endswith(".part") for name in names_in(tmp_path))


HOLDER = """
import sys, time
from edgehar.files import folder_written_whole
with folder_written_whole(sys.argv[1], "kept.json") as temporary:
    (temporary / "half.bin").write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def hold(target: Path) -> "subprocess.Popen[bytes]":
    """A process in the middle of writing the folder `target`."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(target)], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, env=SAME_PATH)
    assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    process.stdout.close()
    return process


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    process = hold(tmp_path / "engine")
    process.kill()
    process.communicate()
    (left,) = names_in(tmp_path)
    assert left.startswith(".engine.") and left.endswith(".part")
    with folder_written_whole(tmp_path / "other", MARKER):
        pass
    assert left in names_in(tmp_path)  # of another folder's writer
    with folder_written_whole(tmp_path / "engine", MARKER):
        assert left not in names_in(tmp_path)
    assert names_in(tmp_path) == ["engine", "other"]


def test_what_a_living_writer_has_is_left_alone(tmp_path: Path) -> None:
    process = hold(tmp_path / "engine")
    with folder_written_whole(tmp_path / "engine", MARKER) as temporary:
        (temporary / "new.bin").write_bytes(b"new")
    assert names_in(tmp_path / "engine") == ["new.bin"] and len(names_in(tmp_path)) == 2
    process.communicate()  # it goes on and ends
    assert process.returncode == 0 and names_in(tmp_path / "engine") == ["half.bin"]
    assert names_in(tmp_path) == ["engine"]


def test_one_at_a_time_is_alone_in_a_folder(tmp_path: Path) -> None:
    with alone_in(tmp_path / "new", "busy"):
        with pytest.raises(InputError, match="busy"), alone_in(tmp_path / "new", "busy"):
            pass
    with alone_in(tmp_path / "new", "busy"):
        assert names_in(tmp_path / "new") == []


def test_nobody_is_refused_where_there_are_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with alone_in(tmp_path, "busy"), alone_in(tmp_path, "busy"):
        pass


def test_only_folders_of_its_own_making_are_swept(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / ".engine.x.part").symlink_to(tmp_path / "kept", target_is_directory=True)
    (tmp_path / ".engine.y.part").write_text("a file's")
    (tmp_path / "engine.z.part").mkdir()
    before = names_in(tmp_path)
    with folder_written_whole(tmp_path / "engine", MARKER):
        pass
    assert names_in(tmp_path) == sorted([*before, "engine"])


# ------------------------------------------------------------------ disk full

LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
from edgehar.errors import InputError
from edgehar.files import write_json, folder_written_whole
try:
    if sys.argv[2] == "file":
        write_json(sys.argv[1], list(range(100000)))
    else:
        with folder_written_whole(sys.argv[1], "kept.json") as temporary:
            (temporary / "small.bin").write_bytes(b"small")
            (temporary / "large.bin").write_bytes(bytes(200000))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize("what", ["file", "folder"])
def test_no_room_left_leaves_the_old_and_one_sentence(tmp_path: Path, what: str) -> None:
    target = tmp_path / "target"
    kept = target if what == "file" else target / "kept.json"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("[]\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", LIMITED, str(target), what], stdout=subprocess.PIPE, check=True,
                          universal_newlines=True, env=SAME_PATH)
    assert done.stdout.startswith("cannot write %s: " % target) and "free space" in done.stdout
    assert kept.read_text(encoding="utf-8") == "[]\n"
    assert names_in(tmp_path) == ["target"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_told_by_the_writer_s_own_error(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    with pytest.raises(InputError, match="No space left on device"):
        with written_whole(target), open("/dev/full", "w") as full:
            full.write("x" * 100000)
    assert names_in(tmp_path) == []


# ------------------------------------------------------------------ JSON and digests


def test_json_goes_out_and_comes_back(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": {"ü": True}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value
    assert list(json.loads((tmp_path / "value.json").read_text(encoding="utf-8"))) == ["a", "b"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"a": 1'])
def test_damaged_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "value.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match="value.json is not readable JSON"):
        read_json(path)


def test_absent_json_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read .*absent.json: No such file"):
        read_json(tmp_path / "absent.json")


def test_digests_are_plain_sha256(tmp_path: Path) -> None:
    path = tmp_path / "bytes.bin"
    path.write_bytes(bytes(range(256)) * 10000)
    assert sha256_of(path) == hashlib.sha256(bytes(range(256)) * 10000).hexdigest()
    assert sha256_of_json({"b": 1, "a": [2, "x"]}) == hashlib.sha256(b'{"a":[2,"x"],"b":1}').hexdigest()
    assert sha256_of_json({"a": 1, "b": 2}) == sha256_of_json({"b": 2, "a": 1}) != sha256_of_json({"a": 1, "b": 3})
