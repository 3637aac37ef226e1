"""Files are written whole or not at all: killed in the middle, disk full, failing half-way."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Callable, List

import pytest

from edgehar.errors import InputError
from edgehar.files import (alone_in, alone_with, folder_written_whole, parse_json, read_bytes, read_json, read_toml,
                           sha256_of, sha256_of_json, sweep_half_written, write_json, written_whole)

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


# ------------------------------------------------------------------ what is no plain file


def write(path: Path, text: str = "whole") -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    target, link, dangling = tmp_path / "there" / "page.html", tmp_path / "link", tmp_path / "dangling"
    target.parent.mkdir()
    target.write_text("old", encoding="utf-8")
    link.symlink_to(target)
    dangling.symlink_to(tmp_path / "new" / "page.html")
    write(link)
    write(dangling)
    assert link.is_symlink() and target.read_text(encoding="utf-8") == "whole"
    assert dangling.is_symlink() and (tmp_path / "new" / "page.html").read_text(encoding="utf-8") == "whole"
    assert names_in(target.parent) == ["page.html"]


def test_a_link_to_a_folder_is_followed_and_stays(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "engine", target_is_directory=True)
    for content in ("old", "new"):
        with folder_written_whole(link, MARKER) as temporary:
            (temporary / MARKER).write_text(content, encoding="utf-8")
    assert link.is_symlink() and (tmp_path / "engine" / MARKER).read_text(encoding="utf-8") == "new"
    assert names_in(tmp_path) == ["engine", "link"]


def test_a_link_in_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="cannot write"):
        write(tmp_path / "a")
    assert names_in(tmp_path) == ["a", "b"]


def test_a_pipe_is_written_in_place_where_somebody_reads_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(str(pipe))
    with pytest.raises(InputError, match="no process reads that pipe; start its reader first"):
        write(pipe)
    reader = os.open(str(pipe), os.O_RDONLY | os.O_NONBLOCK)
    write(pipe)
    assert os.read(reader, 99) == b"whole" and stat.S_ISFIFO(pipe.stat().st_mode)
    os.close(reader)
    assert names_in(tmp_path) == ["pipe"]


def test_a_device_is_written_in_place_and_stays_one(tmp_path: Path) -> None:
    before = os.stat("/dev/null")
    (tmp_path / "null").symlink_to("/dev/null")
    write(Path("/dev/null"))
    write(tmp_path / "null")
    with pytest.raises(InputError, match="cannot write /dev/full: No space left on device"):
        write(Path("/dev/full"))
    assert os.path.samestat(before, os.stat("/dev/null")) and (tmp_path / "null").is_symlink()


def test_standard_output_is_written_in_place_whatever_it_leads_to(tmp_path: Path) -> None:
    line = ("from edgehar.files import written_whole\n"
            "print('before', flush=True)\n"
            "with written_whole('/dev/stdout') as temporary: temporary.write_text('whole')\n"
            "print(' after')")
    with open(str(tmp_path / "page.html"), "wb") as page:
        subprocess.run([sys.executable, "-c", line], stdout=page, check=True, env=SAME_PATH)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "before\nwhole after\n"
    done = subprocess.run([sys.executable, "-c", line], stdout=subprocess.PIPE, check=True, env=SAME_PATH)
    assert done.stdout == b"before\nwhole after\n"


def test_a_folder_and_a_socket_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, what in (("folder", "a folder"), ("socket", "a socket")):
            with pytest.raises(InputError, match="it is %s; choose another path" % what):
                write(tmp_path / name)
        with pytest.raises(InputError, match="holds something else"), folder_written_whole(tmp_path / "socket", MARKER):
            pass
    assert names_in(tmp_path) == ["folder", "socket"]


# ------------------------------------------------------------------ what killed writers left


def test_what_a_killed_writer_of_a_file_left_is_removed_by_the_next(tmp_path: Path) -> None:
    line = ("import os\nfrom edgehar.files import written_whole\n"
            "with written_whole(%r, durable=False): os.kill(os.getpid(), 9)" % str(tmp_path / "state.json"))
    for _ in range(3):
        subprocess.run([sys.executable, "-c", line], env=SAME_PATH)
    (tmp_path / ".state.json.mine.part").write_text("not of that form", encoding="utf-8")
    assert len(names_in(tmp_path)) == 4
    with written_whole(tmp_path / "state.json") as living:
        sweep_half_written(tmp_path / "state.json")
        assert living.exists()
        living.write_text("whole", encoding="utf-8")
    assert names_in(tmp_path) == [".state.json.mine.part", "state.json"]


def test_one_at_a_time_is_alone_with_a_file(tmp_path: Path) -> None:
    with alone_with(tmp_path / "new" / ".lock", "busy"):
        with pytest.raises(InputError, match="busy"), alone_with(tmp_path / "new" / ".lock", "busy"):
            pass
    with alone_with(tmp_path / "new" / ".lock", "busy"):
        pass


# ------------------------------------------------------------------ what comes from outside is bounded

DEEP = "[" * 200000 + "]" * 200000


@pytest.mark.parametrize("text", [DEEP, "[" * 200000, '{"a":' * 100000, "[" * 65 + "]" * 65, "1" * 500,
                                  "[-0.%s]" % ("7" * 10 ** 6)])
def test_json_without_measure_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "value.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not readable JSON .(it is nested deeper than 64|a number of more than 4)"):
        read_json(path)


@pytest.mark.parametrize("text", ["a = " + DEEP, "a = " + "[" * 200000, "a = " + "{a=" * 100000, "a = " + "1" * 500,
                                  ".".join("a" * 2000) + " = 1", "[%s]" % ".".join("a" * 2000)])
def test_toml_without_measure_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "value.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not readable TOML|holds more than"):
        read_toml(path)


def test_nested_as_deep_as_is_allowed_is_read(tmp_path: Path) -> None:
    (tmp_path / "value.json").write_text("[" * 64 + "]" * 64, encoding="utf-8")
    read_json(tmp_path / "value.json")
    assert parse_json(b'{"a": [1, {"b": 2.5}]}') == {"a": [1, {"b": 2.5}]} and parse_json("7") == 7


@pytest.mark.parametrize("read", [read_json, read_toml, read_bytes])
def test_a_device_without_an_end_is_not_read_to_its_end(read: Callable) -> None:
    with pytest.raises(InputError, match="/dev/zero holds more than [0-9]+ bytes"):
        read("/dev/zero")


UNOPENED = """
import os, resource, sys
from edgehar.deploy.installation import Installed
from edgehar.errors import EdgeharError
from edgehar.files import UnopenedError, read_json, sha256_of
from pathlib import Path
import edgehar.artifact.manifest as manifest, edgehar.backends._engine as engine
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
folder = Path(sys.argv[1])
for attempt in (lambda: read_json(folder / "installed.json"), lambda: sha256_of(folder / "installed.json"),
                lambda: Installed.load(folder), lambda: manifest._read_manifest(folder / "installed.json"),
                lambda: engine._read_sidecar(folder / "installed.json")):
    try:
        attempt()
        print("read")
    except UnopenedError as error:
        print(error)
"""


def test_what_could_not_be_opened_is_never_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "installed.json").write_text("{}", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", UNOPENED, str(tmp_path)], stdout=subprocess.PIPE, check=True,
                          universal_newlines=True, env=SAME_PATH)
    assert done.stdout.splitlines() == 5 * ["cannot read %s: Too many open files; raise the limit of open files "
                                            "(ulimit -n)." % (tmp_path / "installed.json")]
