"""Whatever happens to an installation, one whole version is current: the old one or the new one."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

import numpy as np
import pytest

from edgehar import files
from edgehar.artifact.golden import read_golden
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.backends import BACKENDS, ready_engine
from edgehar.deploy import installation
from edgehar.deploy.bundle import Bundle
from edgehar.deploy.installation import InstallOutcome, current, default_place, install, roll_back, stream_settings
from edgehar.errors import InputError, MismatchError
from tests import linear
from tests.bundles import linear_bundle

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def plugins(monkeypatch) -> None:
    linear.add_plugins(monkeypatch)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Bundle]:
    folder = tmp_path_factory.mktemp("artifacts") / "linear"
    return lambda version="1.0.0", **options: linear_bundle(folder, version, **options)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "place"


def put(bundle: Bundle, place: Path, **options: Any) -> InstallOutcome:
    return install(bundle, place, BACKENDS.create("linear"), **options)


def versions(place: Path) -> List[str]:
    return sorted(path.name.split("-")[0] for path in (place / "versions").iterdir())


def tree(folder: Path) -> Dict[str, Any]:
    """Every name below, with its bytes or where it points."""
    return {str(path.relative_to(folder)): os.readlink(str(path)) if path.is_symlink() else
            path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


# ------------------------------------------------------------------ forth and back


def test_the_first_version_is_an_engine_that_agrees(bundles: Callable, place: Path) -> None:
    outcome = put(bundles(), place)
    told = outcome.to_json()
    assert (told["name"], told["version"], told["previous"], told["changed"]) == ("linear", "1.0.0", None, True)
    assert told["engine"]["fingerprint"] == {"linear": "1"} and told["current"] == str(place / "current")
    engine = ready_engine(place / "current")
    assert engine.sha256 == told["engine"]["sha256"] and all(
        found.passed for found in BACKENDS.create("linear").verify(engine))
    assert Artifact.load(place / "current" / "bundle" / "artifact").sha256 == engine.manifest.sha256


def test_versions_follow_each_other_and_one_is_kept(bundles: Callable, place: Path) -> None:
    for version, kept in (("1.0.0", None), ("1.9.0", "1.0.0"), ("1.10.0", "1.9.0")):
        assert put(bundles(version), place).to_json()["previous"] == kept
    assert versions(place) == ["1.10.0", "1.9.0"]
    back = roll_back(place)
    assert (back.installed.version, back.changed, back.to_json()["previous"]) == ("1.9.0", True, None)
    with pytest.raises(InputError, match="no version before linear 1.9.0 is kept"):
        roll_back(place)
    assert current(place).version == "1.9.0"


def test_after_a_rollback_it_goes_forward_again(bundles: Callable, place: Path) -> None:
    put(bundles("1.0.0"), place)
    new = put(bundles("1.1.0"), place)
    roll_back(place)
    again = put(bundles("1.1.0"), place)
    assert again.installed.folder == new.installed.folder and again.changed
    assert roll_back(place).installed.version == "1.0.0"


def test_the_same_again_changes_nothing(bundles: Callable, place: Path) -> None:
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)
    before = tree(place)
    again = put(bundles("1.1.0"), place)
    assert not again.changed and again.to_json()["previous"] == "1.0.0"
    assert tree(place) == before


def test_a_lower_version_is_only_taken_when_it_is_said(bundles: Callable, place: Path) -> None:
    put(bundles("1.1.0"), place)
    with pytest.raises(MismatchError, match="linear 1.0.9 is below 1.1.0, which is installed"):
        put(bundles("1.0.9"), place)
    with pytest.raises(MismatchError, match="linear 1.1.0 is installed already, with other content"):
        put(bundles("1.1.0", hop=6), place)
    assert versions(place) == ["1.1.0"]
    assert put(bundles("1.0.9"), place, allow_downgrade=True).to_json()["previous"] == "1.1.0"
    assert roll_back(place).installed.version == "1.1.0"


def test_down_and_back_up_never_leads_in_a_circle(bundles: Callable, place: Path) -> None:
    """A version that is taken up again comes after the one that was current, not after what it once came after."""
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)
    put(bundles("1.0.0"), place, allow_downgrade=True)
    assert current(place).before.version == "1.1.0"
    assert roll_back(place).installed.version == "1.1.0" and current(place).before.version == "1.0.0"


def test_a_place_is_of_one_name(bundles: Callable, place: Path) -> None:
    put(bundles(), place)
    with pytest.raises(InputError, match="is where linear is installed, not other; choose another folder with --to"):
        put(bundles("2.0.0", name="other"), place)


def test_another_folder_is_left_alone(bundles: Callable, place: Path) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("all of it")
    with pytest.raises(InputError, match="holds something else than installed bundles"):
        put(bundles(), place)
    assert tree(place) == {"thesis.txt": b"all of it"}


def test_nothing_installed_is_told(place: Path) -> None:
    assert current(place) is None
    with pytest.raises(InputError, match="nothing is installed in .*place"):
        roll_back(place)
    assert not place.exists()


def test_where_it_goes_unless_one_says_otherwise(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_place("watch") == tmp_path / "edgehar" / "watch"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_place("watch") == tmp_path / ".local" / "share" / "edgehar" / "watch"


def test_a_stream_is_set_as_packed_unless_asked_otherwise(bundles: Callable, place: Path, tmp_path: Path) -> None:
    folder = put(bundles(hop=7), place).installed.folder
    assert stream_settings(folder) == {"hop": 7, "hold": 3, "allow_constant": False}
    assert stream_settings(folder, hop=2, allow_constant=True) == {"hop": 2, "hold": 3, "allow_constant": True}
    assert stream_settings(folder, hold=1)["hold"] == 1
    assert stream_settings(tmp_path) == {} and stream_settings(tmp_path, hold=1) == {"hold": 1}


# ------------------------------------------------------------------ refused


@pytest.fixture
def unreproducible(tmp_path: Path, bundles: Callable) -> Bundle:
    """Version 2.0.0, whose golden outputs no backend gives."""
    artifact = linear.write_artifact(tmp_path / "wrong")
    golden = read_golden(artifact.folder / "golden.npz")
    np.savez(str(artifact.folder / "golden.npz"), x=golden.x,
             **{"logits/" + task: logits[::-1] for task, logits in golden.logits.items()})
    write_manifest(artifact.folder, {key: value for key, value in vars(artifact.manifest).items()
                                     if key not in ("files", "tolerances")})
    return linear_bundle(tmp_path / "wrong", "2.0.0")


@pytest.mark.parametrize("first", [None, "1.0.0"])
def test_what_does_not_reproduce_its_golden_outputs_is_refused(bundles: Callable, place: Path, unreproducible: Bundle,
                                                               first: Optional[str]) -> None:
    if first:
        put(bundles(first), place)
    before = tree(place)
    with pytest.raises(MismatchError, match="linear 2.0.0 is refused, and what was current stays so: the linear "
                                            "engine in fp32 does not reproduce its golden outputs"):
        put(unreproducible, place)
    left = {name: content for name, content in tree(place).items() if name not in (".lock", "caches", "versions")}
    assert left == {name: content for name, content in before.items() if name in left}
    if first:
        assert put(bundles("1.0.1"), place).to_json()["previous"] == "1.0.0"


@pytest.mark.parametrize("damaged", ["bundle/artifact/golden.npz", "bundle/bundle.json", "installed.json"])
def test_a_damaged_bundle_is_never_gone_back_to(bundles: Callable, place: Path, damaged: str) -> None:
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)
    path = current(place).before.folder / damaged
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(MismatchError):
        roll_back(place)
    assert current(place).version == "1.1.0"


@pytest.mark.parametrize("damaged", ["weights.npz", "engine.json", ""])
def test_an_engine_that_is_damaged_or_for_another_runtime_is_built_anew_to_go_back(bundles: Callable, place: Path,
                                                                                   monkeypatch, damaged: str) -> None:
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)
    kept = current(place).before.folder
    if damaged:
        (kept / damaged).write_bytes((kept / damaged).read_bytes()[:-3])
    else:
        monkeypatch.setattr(type(BACKENDS.create("linear")), "fingerprint", lambda self: {"linear": "2"})
    back = roll_back(place)
    assert (back.installed.version, back.to_json()["previous"]) == ("1.0.0", None)
    assert tree(place / "current" / "bundle") == tree(kept / "bundle")
    assert not put(bundles("1.0.0"), place).changed
    assert put(bundles("1.1.0"), place).to_json()["previous"] == "1.0.0" and versions(place) == ["1.0.0", "1.1.0"]


def test_a_version_that_no_longer_agrees_is_never_gone_back_to(bundles: Callable, place: Path, monkeypatch) -> None:
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)
    infer = linear.LinearSession.launch
    monkeypatch.setattr(linear.LinearSession, "launch", lambda self, count, slot=0: (
        infer(self, count, slot), self._logits.update({task: -logits for task, logits in self._logits.items()})))
    with pytest.raises(MismatchError, match="linear 1.0.0 is refused, and what was current stays so: the linear"):
        roll_back(place)
    assert current(place).version == "1.1.0"


@pytest.mark.parametrize("damaged", ["weights.npz", "engine.json", "bundle/artifact/golden.npz"])
def test_installing_again_mends_what_is_damaged(bundles: Callable, place: Path, damaged: str) -> None:
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)
    for _ in range(3):  # mended versions can be damaged too
        path = current(place).folder / damaged
        path.write_bytes(path.read_bytes()[:-3])
        mended = put(bundles("1.1.0"), place)
        assert mended.changed and mended.to_json()["previous"] == "1.0.0"
        assert not put(bundles("1.1.0"), place).changed
    assert versions(place) == ["1.0.0", "1.1.0"] and roll_back(place).installed.version == "1.0.0"


def test_an_engine_of_another_machine_is_built_anew(bundles: Callable, place: Path, monkeypatch) -> None:
    put(bundles(), place)
    monkeypatch.setattr(type(BACKENDS.create("linear")), "fingerprint", lambda self: {"linear": "2"})
    again = put(bundles(), place)
    assert again.changed and again.engine.fingerprint == {"linear": "2"}


def test_two_at_once_are_told_apart(bundles: Callable, place: Path) -> None:
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)
    before = tree(place)
    with open(str(place / ".lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for attempt in (lambda: put(bundles("1.2.0"), place), lambda: roll_back(place)):
            with pytest.raises(InputError, match="another installation is at work in .*; wait until it has ended"):
                attempt()
    assert tree(place) == before


def test_whoever_holds_the_link_reads_one_version(bundles: Callable, place: Path) -> None:
    put(bundles("1.0.0"), place)
    engine = ready_engine(place / "current")
    put(bundles("1.1.0"), place)
    assert engine.folder == (place / "versions" / engine.folder.name).resolve() and engine.golden().x.shape[0] == 8


# ------------------------------------------------------------------ disk full

LIMITED = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from tests import linear
from edgehar.backends import BACKENDS
from edgehar.deploy.bundle import read_bundle
from edgehar.errors import InputError
from edgehar.deploy.installation import install
from edgehar.registry import add_plugin
add_plugin(linear.BACKEND)
bundle, builder = read_bundle(sys.argv[2], None), BACKENDS.create("linear")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write beyond the limit fails, as on a full disk
for limit in range(100, 4001, 300):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        install(bundle, sys.argv[3], builder)
        print("installed")
    except InputError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_old_version(bundles: Callable, place: Path, tmp_path: Path) -> None:
    put(bundles("1.0.0"), place)
    bundles("1.1.0").write(tmp_path / "new.ehar")
    before = tree(place)
    done = subprocess.run([sys.executable, "-c", LIMITED, str(ROOT), str(tmp_path / "new.ehar"), str(place)],
                          stdout=subprocess.PIPE, check=True, universal_newlines=True)
    told = done.stdout.splitlines()
    assert told[-1] == "installed" and 5 < len([line for line in told if line.startswith("cannot ")])
    assert all("free space" in line for line in told if line != "installed")
    assert current(place).version == "1.1.0" and current(place).before.version == "1.0.0"
    assert not [name for name in tree(place) if "installing" in name]
    assert {name: content for name, content in tree(place).items() if "1.0.0" in name} == {
        name: content for name, content in before.items() if "1.0.0" in name}


def test_a_disk_that_fails_at_the_last_moment_leaves_the_old_version(bundles: Callable, place: Path,
                                                                     monkeypatch) -> None:
    put(bundles("1.0.0"), place)

    def failing(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(installation, "flush_folder", failing)
    with pytest.raises(InputError, match="cannot install to .*: No space left on device; free space"):
        put(bundles("1.1.0"), place)
    assert current(place).version == "1.0.0" and versions(place) == ["1.0.0"]


def test_what_cannot_be_removed_is_left_for_the_next(bundles: Callable, place: Path, monkeypatch) -> None:
    put(bundles("1.0.0"), place)
    put(bundles("1.1.0"), place)

    def failing(folder: Path, place: Path) -> None:
        if folder.is_dir():
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(installation, "_remove", failing)
        assert put(bundles("1.2.0"), place).changed and current(place).version == "1.2.0"
    put(bundles("1.2.0"), place)
    assert versions(place) == ["1.1.0", "1.2.0"]


def test_a_version_is_on_the_disk_before_it_is_current(bundles: Callable, place: Path, monkeypatch) -> None:
    """All of it is flushed first, then the names that lead to it; a power cut cannot leave a link to nothing."""
    steps: List[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append(os.readlink("/proc/self/fd/%d" % fd)), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (steps.append("=> %s" % Path(b).name), replace(a, b)))
    folder = put(bundles(), place).installed.folder
    assert os.fsync is not fsync and files.os is os
    renamed, switched = steps.index("=> " + folder.name), steps.index("=> current")
    flushed = {Path(step).name for step in steps[:renamed]}
    assert flushed >= {path.name for path in folder.rglob("*") if path.is_file()} | {"bundle", "artifact"}
    assert str(place / "versions") in steps[renamed:switched] and str(place) in steps[switched:]


# ------------------------------------------------------------------ killed

VICTIMS = """
import json, os, random, shutil, signal, sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests import linear
from edgehar.deploy import installation
from edgehar.backends import BACKENDS
from edgehar.deploy.bundle import read_bundle
from edgehar.deploy.installation import current, install, roll_back
from edgehar.registry import add_plugin

os.fsync = lambda descriptor: None  # a kill, unlike a power cut, loses nothing that was written
add_plugin(linear.BACKEND)
file, start, scratch, what = map(Path, sys.argv[2:6])
bundle, builder = read_bundle(file, None), BACKENDS.create("linear")
act = {"install": lambda place: install(bundle, place, builder), "rollback": roll_back}[str(what)]
WRITING = ("os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "os.chmod", "shutil.rmtree", "os.truncate")

def dies_at(step):
    steps = [0]
    def watch(event, arguments):
        writes = event in WRITING or event == "open" and arguments[2] is not None and arguments[2] & os.O_ACCMODE
        if writes:
            steps[0] += 1
            if steps[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)

def victim(place, step, delay_s):
    child = os.fork()
    if not child:
        try:
            if step:
                dies_at(step)
            act(place)
        finally:
            os._exit(0)
    if delay_s is not None:
        time.sleep(delay_s)
        os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])

def is_sound(folder):
    try:
        installation._verified(folder)
        return True
    except Exception:
        return False

def outcome(place, killed):
    found, kept = current(place), sorted((place / "versions").iterdir())
    told = {"killed": killed, "current": found and found.version, "sound": all(map(is_sound, kept)),
            "before": found and found.before and found.before.version}
    act_again = install(bundle, place, builder)
    told.update(again=act_again.installed.version, before_again=act_again.to_json()["previous"],
                left=sorted(path.name for path in place.iterdir()), versions=len(list((place / "versions").iterdir())))
    shutil.rmtree(str(place))
    return told

def places():
    number = 0
    while True:
        number += 1
        place = scratch / str(number)
        shutil.copytree(str(start), str(place), symlinks=True)
        yield place

fresh = places()
step, told = 1 - int(sys.argv[7]), [{"killed": True}]
while told[-1]["killed"]:
    step += int(sys.argv[7])
    place = next(fresh)
    told.append(outcome(place, victim(place, step, None)))
place, started_s = next(fresh), time.monotonic()
victim(place, 0, None)
took_s, draw = time.monotonic() - started_s, random.Random(7)
timed = []
while sum(each["killed"] for each in timed) < int(sys.argv[6]):
    place = next(fresh)
    timed.append(outcome(place, victim(place, 0, draw.uniform(0, took_s))))
print(json.dumps({"stepped": told[1:], "timed": timed}))
"""


def killed(what: str, start: Path, new: Path, timed: int, every: int = 1) -> Dict[str, List[Dict[str, Any]]]:
    """What a kill -9 at every so manieth step that writes, and at `timed` random moments, left of `start`."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        line = [sys.executable, "-c", VICTIMS, ROOT, new, start, scratch, what, timed, every]
        done = subprocess.run(list(map(str, line)), stdout=subprocess.PIPE, check=True, universal_newlines=True)
    return json.loads(done.stdout)


def test_a_kill_at_any_step_or_moment_leaves_the_old_version_or_the_new(bundles: Callable, tmp_path: Path) -> None:
    put(bundles("1.0.0"), tmp_path / "start")
    put(bundles("1.1.0"), tmp_path / "start")
    bundles("1.2.0").write(tmp_path / "new.ehar")
    found = killed("install", tmp_path / "start", tmp_path / "new.ehar", 12)
    everything = found["stepped"] + found["timed"]
    assert sum(each["killed"] for each in found["timed"]) == 12
    assert len(found["stepped"]) > 30 and {each["current"] for each in found["stepped"]} == {"1.1.0", "1.2.0"}
    for each in everything:
        assert (each["current"], each["before"]) in {("1.1.0", "1.0.0"), ("1.2.0", "1.1.0")}
        assert each["sound"] and (each["again"], each["before_again"], each["versions"]) == ("1.2.0", "1.1.0", 2)
        assert each["left"] == [".lock", "caches", "current", "versions"]


def test_a_kill_at_a_step_of_the_first_installation_leaves_none_or_all(bundles: Callable, tmp_path: Path) -> None:
    (tmp_path / "start" / "versions").mkdir(parents=True)
    bundles("1.2.0").write(tmp_path / "new.ehar")
    found = killed("install", tmp_path / "start", tmp_path / "new.ehar", 0, every=3)
    for each in found["stepped"]:
        assert each["current"] in (None, "1.2.0") and each["sound"] and each["again"] == "1.2.0"


def test_a_kill_at_any_step_of_a_rollback_leaves_the_old_version_or_the_new(bundles: Callable,
                                                                            tmp_path: Path) -> None:
    put(bundles("1.0.0"), tmp_path / "start")
    put(bundles("1.1.0"), tmp_path / "start")
    bundles("1.1.0").write(tmp_path / "new.ehar")
    found = killed("rollback", tmp_path / "start", tmp_path / "new.ehar", 5)
    assert {each["current"] for each in found["stepped"]} == {"1.0.0", "1.1.0"}
    for each in found["stepped"] + found["timed"]:
        assert each["sound"] and (each["again"], each["before_again"]) == ("1.1.0", "1.0.0")
