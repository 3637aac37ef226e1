"""`deploy.sh push`, `rollback` and `bench`, over a real ssh to devices on loopback, each with its own Python 3.8."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple

import numpy as np
import pytest

pytest.importorskip("cryptography")

from edgehar.artifact.golden import read_golden
from edgehar.artifact.manifest import Artifact, write_manifest
from edgehar.deploy.packing import StreamSettings, pack
from edgehar.deploy.signing import generate_keys, read_private_key
from edgehar.results.runs import load_all
from tests.house.test_packaging import pins
from tests.loopback import ROOT, Device, Ended, Workstation, ended, missing, script

pytestmark = pytest.mark.skipif(bool(missing()), reason="no device on loopback: %s" % missing())
STUDENT = ROOT / "engines" / "wisdm-watch-s"
KILLS = 5


class Release(NamedTuple):
    """What a workstation pushes: --bundle FILE.ehar --key NAME.pub."""

    bundle: Path
    key: Path

    @property
    def arguments(self) -> List[Any]:
        return ["--bundle", self.bundle, "--key", self.key]


class Fleet(NamedTuple):
    """Two devices, both with 1.0.0 at first, and what can be pushed to them."""

    workstation: Workstation
    one: Device
    two: Device
    first_push: Ended
    pack: Callable[..., Release]

    def push(self, *devices: Device, version: str, more: Any = ()) -> Ended:
        release = self.pack(version)
        return self.workstation.deploy("push", *(device.address for device in devices), *release.arguments, *more)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    workstation = Workstation(folder / "workstation")
    packed = packer(folder / "releases")
    one, two = (Device(folder / name, workstation) for name in ("one", "two"))
    try:
        first = workstation.deploy("push", one.address, two.address, *packed("1.0.0").arguments)
        yield Fleet(workstation, one, two, first, packed)
    finally:
        one.stop()
        two.stop()


def packer(folder: Path) -> Callable[..., Release]:
    """Signed bundles of the ready student, each made once."""
    folder.mkdir()
    keys = generate_keys(folder / "release")

    def release(version: str, artifact: Path = STUDENT) -> Release:
        path = folder / ("student %s.ehar" % version)  # with a blank, as people name files
        if not path.exists():
            bundle = pack(Artifact.load(artifact), version, StreamSettings(hop=100))
            bundle.signed(read_private_key(keys.private)).write(path)
        return Release(path, keys.public)

    return release


def results(done: Ended) -> List[str]:
    """What the table at the end says of each device."""
    lines = done.words.splitlines()
    return [line.split(None, 2)[2] for line in lines[lines.index("device                       s  result") + 1:]]


# ------------------------------------------------------------------ as it should go


def test_one_command_brings_two_devices_to_recognise_a_stream(fleet: Fleet) -> None:
    assert fleet.first_push.status == 0, fleet.first_push.words
    assert results(fleet.first_push) == 2 * ["installed wisdm-watch-s 1.0.0, was nothing; 81 decisions"]
    assert [fleet.one.version(), fleet.two.version()] == ["1.0.0", "1.0.0"]


def test_the_environment_is_what_is_pinned_and_came_without_the_internet(fleet: Fleet) -> None:
    pip = fleet.one.root / "current" / "environment" / "bin" / "pip"
    listed = subprocess.run([str(pip), "list", "--format=json"], stdout=subprocess.PIPE).stdout
    here = {each["name"].lower().replace("_", "-"): each["version"] for each in json.loads(listed.decode())}
    pinned = pins(ROOT / "docker" / "constraints-py38.txt")
    assert {name: here.get(name) for name in pinned} == pinned
    assert "torch" not in here


def test_the_same_again_changes_nothing(fleet: Fleet) -> None:
    before = fleet.one.release()
    again = fleet.push(fleet.one, fleet.two, version="1.0.0")
    assert again.status == 0 and results(again) == 2 * ["unchanged wisdm-watch-s 1.0.0"], again.words
    assert again.words.count(" 0 files, 0 KiB to send; there is wisdm-watch-s 1.0.0") == 2
    assert fleet.one.release() == before


def test_a_dry_run_changes_nothing(fleet: Fleet) -> None:
    before = tree(fleet.one.root)
    dry = fleet.push(fleet.one, version="1.0.9", more=["--dry-run"])
    assert dry.status == 0 and results(dry) == ["dry run, nothing was sent or changed"], dry.words
    assert " 1 files, " in dry.words and tree(fleet.one.root) == before


def test_an_upgrade_sends_only_what_is_new_goes_no_lower_and_can_be_rolled_back(fleet: Fleet) -> None:
    up = fleet.push(fleet.one, version="1.1.0")
    assert results(up) == ["installed wisdm-watch-s 1.1.0, was wisdm-watch-s 1.0.0; 81 decisions"], up.words
    assert " 1 files, " in up.words and "environment" not in up.words
    assert fleet.one.version() == "1.1.0"
    lower = fleet.push(fleet.one, version="1.0.9")
    assert lower.status == 6 and "1.0.9 is below 1.1.0" in results(lower)[0], lower.words
    assert fleet.one.version() == "1.1.0"
    back = fleet.workstation.deploy("rollback", fleet.one.address)
    assert back.status == 0 and results(back) == ["rolled-back to wisdm-watch-s 1.0.0"], back.words
    assert fleet.one.version() == "1.0.0"
    nothing = fleet.workstation.deploy("rollback", fleet.one.address)
    assert nothing.status == 2 and "no earlier release is kept" in nothing.words
    assert fleet.one.version() == "1.0.0"


# ------------------------------------------------------------------ what is refused or rolled back


def test_one_that_does_not_reproduce_its_golden_outputs_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    wrong = shutil.copytree(str(STUDENT), str(tmp_path / "wrong"),
                            ignore=shutil.ignore_patterns("built", "certificate.json"))
    artifact = Artifact.load(wrong)
    golden = read_golden(artifact.folder / "golden.npz")
    np.savez(str(artifact.folder / "golden.npz"), x=golden.x,
             **{"logits/" + task: logits[::-1] for task, logits in golden.logits.items()})
    write_manifest(artifact.folder, {key: value for key, value in vars(artifact.manifest).items()
                                     if key not in ("files", "tolerances")})
    before = tree(fleet.two.root / "releases")
    release = fleet.pack("3.0.0", Path(wrong))
    done = fleet.workstation.deploy("push", fleet.two.address, *release.arguments)
    assert done.status == 6 and "does not reproduce its golden outputs" in results(done)[0], done.words
    assert tree(fleet.two.root / "releases") == before and fleet.two.version() == "1.0.0"


def test_a_signature_of_another_key_is_refused(fleet: Fleet, tmp_path: Path) -> None:
    stranger = generate_keys(tmp_path / "stranger")
    done = fleet.workstation.deploy("push", fleet.two.address, "--bundle", fleet.pack("1.1.0").bundle,
                                    "--key", stranger.public)
    assert done.status == 6 and "signed by none of the 1 keys" in results(done)[0], done.words
    assert fleet.two.version() == "1.0.0"


def test_what_fails_where_it_is_to_run_is_rolled_back(fleet: Fleet, saboteur: Path) -> None:
    """It passes every trial before the switch; afterwards, as the current one, it fails."""
    before = fleet.two.release()
    done = fleet.push(fleet.two, fleet.one, version="2.0.0")
    assert done.status == 3 and results(done)[0] == "rolled-back to wisdm-watch-s 1.0.0", done.words
    assert results(done)[1].startswith("installed wisdm-watch-s 2.0.0"), "one that fails holds up no other"
    saboteur.unlink()
    assert fleet.two.release() == before and fleet.two.version() == "1.0.0"
    assert len(os.listdir(str(fleet.two.root / "releases"))) == 1


@pytest.fixture
def saboteur(fleet: Fleet) -> Iterator[Path]:
    """Ends whatever streams through the second device's `current` with 3, where that is not what is there now."""
    place = fleet.two.home / ".local" / "lib" / "python3.8" / "site-packages" / "usercustomize.py"
    place.parent.mkdir(parents=True)
    place.write_text("import os\nwords = open('/proc/self/cmdline').read()\n"
                     "if 'csv:path=-' in words and '.edgehar/current/' in words and %r not in os.readlink("
                     "os.path.expanduser('~/.edgehar/current')): os._exit(3)\n" % fleet.two.release())
    yield place
    shutil.rmtree(str(fleet.two.home / ".local"))


# ------------------------------------------------------------------ whatever comes between


def test_a_cut_connection_leaves_a_whole_version_and_the_same_line_goes_on(fleet: Fleet) -> None:
    release = fleet.pack("1.6.0")
    pushing = fleet.workstation.start("push", fleet.two.address, *release.arguments)
    wait_for(lambda: (fleet.two.root / "releases" / ".building").exists())
    for pid in fleet.two.sessions():
        os.kill(pid, signal.SIGKILL)
    done = ended(pushing)
    assert done.status == 7 and "lost the connection; run the same line again" in results(done)[0], done.words
    assert fleet.two.version() in ("1.0.0", "1.6.0")
    again = fleet.push(fleet.two, version="1.6.0")
    assert again.status == 0 and fleet.two.version() == "1.6.0", again.words


def test_a_file_that_arrives_in_part_is_not_kept(fleet: Fleet) -> None:
    sha = "0" * 64
    done = fleet.one.on_device("receive", sha, text="the first half")
    assert done.status == 2 and "arrived damaged or in part" in done.words
    assert not [name for name in os.listdir(str(fleet.one.root / "files")) if name == sha or name.startswith(".")]


def test_killed_at_any_moment_a_whole_version_is_current(fleet: Fleet) -> None:
    manifests = [manifest_of(fleet, version) for version in ("1.7.0", "1.8.0")]
    seen, device, moment = set(), fleet.one, random.Random(7)
    for turn in range(KILLS):
        installing = device.start("install", manifests[turn % 2], "--allow-downgrade")
        time.sleep(moment.uniform(0, 3))
        os.killpg(installing.pid, signal.SIGKILL)
        installing.communicate()
        seen.add(device.version())
    done = device.on_device("install", manifests[0], "--allow-downgrade")
    assert done.status == 0 and device.version() == "1.7.0", done.words
    assert seen <= {"1.7.0", "1.8.0"}


def manifest_of(fleet: Fleet, version: str) -> str:
    """Push that version to the first device; returns the name of its manifest there."""
    assert fleet.push(fleet.one, version=version, more=["--allow-downgrade"]).status == 0
    return sha256((fleet.one.root / "current" / "manifest").read_bytes()).hexdigest()


def test_one_killed_between_switch_and_trial_is_undone(fleet: Fleet) -> None:
    device = fleet.two
    before = device.release()
    assert fleet.push(device, version="2.2.0").status == 0
    (device.root / "current" / "proven").unlink()
    done = device.on_device("rollback")
    assert done.status == 2 and device.release() == before, done.words


def test_two_pushes_at_once_leave_one_whole_version(fleet: Fleet) -> None:
    more = ["--allow-downgrade"]
    both = [fleet.workstation.start("push", fleet.one.address, *fleet.pack(version).arguments, *more)
            for version in ("1.8.1", "1.8.2")]
    outcomes = [ended(each) for each in both]
    assert [each.status for each in outcomes] == [0, 0], outcomes
    assert fleet.one.version() in ("1.8.1", "1.8.2")
    kept = [len(os.listdir(str(fleet.one.root / name))) for name in ("releases", "environments")]
    assert kept == [2, 1], "the current one and the one before, and the environment of both"


def test_whoever_comes_second_waits(fleet: Fleet) -> None:
    holding = subprocess.Popen(["flock", str(fleet.one.root / "lock"), "sleep", "60"], start_new_session=True)
    wait_for(lambda: subprocess.run(["flock", "-n", str(fleet.one.root / "lock"), "true"]).returncode == 1)
    waiting = fleet.one.start("rollback")
    assert waiting.stdout.readline() == "another push or bench is at work there; waiting for it\n"
    os.killpg(holding.pid, signal.SIGKILL)
    holding.wait()
    words, _ = waiting.communicate(timeout=60)
    assert "rolled-back" in words or "no earlier release" in words


# ------------------------------------------------------------------ a full disk


@pytest.fixture
def small_disk(fleet: Fleet, tmp_path: Path) -> Iterator[Device]:
    """A device whose home is a disk of 100 MiB; it has the files of the second one and borrows its environment."""
    home = tmp_path / "disk"
    home.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "edgehar-test", str(home)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        pytest.skip("no small disk can be mounted here: %s" % done.stdout.decode().strip())
    device = Device(tmp_path / "device", fleet.workstation, home)
    try:
        shutil.copytree(str(fleet.two.root / "files"), str(device.root / "files"))
        (device.root / "environments").symlink_to(fleet.two.root / "environments")
        yield device
    finally:
        device.stop()
        subprocess.run(["umount", "-l", str(home)], check=True)


def test_a_full_disk_leaves_the_version_that_is_there(fleet: Fleet, small_disk: Device) -> None:
    device = small_disk
    first = fleet.push(device, version="1.0.0")
    assert first.status == 0, first.words
    fill(device.home, left_kib=300)
    told = fleet.push(device, version="1.1.0")
    assert told.status == 7 and "0 MiB free in" in results(told)[0] and "free some space" in results(told)[0]
    unaware = device.on_device("install", manifest_for(fleet, device, "1.1.0"))
    assert unaware.status == 2 and "space" in unaware.words, unaware.words
    assert device.version() == "1.0.0" and device.on_device("receive", "0" * 64, text="x" * 2 ** 20).status == 2
    (device.home / "filler").unlink()
    assert fleet.push(device, version="1.1.0").status == 0 and device.version() == "1.1.0"


def manifest_for(fleet: Fleet, device: Device, version: str) -> str:
    """A manifest of that version, with its bundle, laid on the device past all checks of room."""
    bundle = fleet.pack(version).bundle.read_bytes()
    sha = sha256(bundle).hexdigest()
    (device.root / "files" / sha).write_bytes(bundle)
    lines = (device.root / "current" / "manifest").read_text().splitlines()
    content = "".join(("%s %d bundle.ehar" % (sha, len(bundle)) if line.endswith(".ehar") else line) + "\n"
                      for line in lines)
    name = sha256(content.encode()).hexdigest()
    (device.root / "files" / name).write_text(content)
    return name


def fill(folder: Path, left_kib: int) -> None:
    state = os.statvfs(str(folder))
    (folder / "filler").write_bytes(b"\0" * (state.f_bavail * state.f_frsize - left_kib * 1024))


# ------------------------------------------------------------------ what a device lacks


def test_a_jetson_is_told_what_it_lacks_with_remedies(fleet: Fleet) -> None:
    script(fleet.one.bin / "nvpmodel", "exit 0")  # which makes it one
    try:
        done = fleet.push(fleet.one, version="1.9.0")
    finally:
        (fleet.one.bin / "nvpmodel").unlink()
    assert done.status == 7 and results(done)[0].startswith("not ready: TensorRT cannot be imported")
    assert "run: sudo apt install python3-libnvinfer" in done.words and "run: sudo usermod -aG video" in done.words


def test_what_hinders_is_told_in_one_sentence_and_holds_up_no_other(fleet: Fleet, tmp_path: Path) -> None:
    bare, foreign, strange = (Device(tmp_path / name, fleet.workstation) for name in ("bare", "foreign", "strange"))
    (bare.bin / "python3.8").unlink()
    (foreign.folder / "authorized_keys").write_text("")
    forget_host(fleet.workstation, strange)
    strange.home.chmod(0o755)
    try:
        addresses = [device.address for device in (bare, foreign, strange, fleet.two)]
        done = fleet.workstation.deploy("push", *addresses, "somebody@127.0.0.1:1", *fleet.pack("2.5.0").arguments)
    finally:
        for device in (bare, foreign, strange):
            device.stop()
    said = results(done)
    assert done.status == 7
    assert said[0].startswith("not ready: Python 3.8 is not installed; run: sudo apt install python3.8")
    assert said[1].startswith("unreachable: it accepts no key of this user; run: ssh-copy-id")
    assert said[2].startswith("unreachable: its host key is not known here or has changed; compare it: ssh")
    assert said[3].startswith("installed wisdm-watch-s 2.5.0") and fleet.two.version() == "2.5.0"
    assert said[4].startswith("unreachable: no connection (")
    assert not [device for device in (bare, foreign, strange) if device.root.exists()]


def forget_host(workstation: Workstation, device: Device) -> None:
    known = workstation.folder / "known_hosts"
    kept = [line for line in known.read_text().splitlines() if ":%d " % device.port not in line]
    known.write_text("\n".join(kept) + "\n")


@pytest.mark.parametrize("arguments, sentence", [
    ((), "say where, e.g. anna@xavier-1"),
    (("a@b",), "give the bundle with --bundle FILE.ehar"),
    (("a@b", "--bundle"), "--bundle needs a value"),
    (("a@b", "--bundle", "{bundle}", "--key", "{private}"), "is a private key, which stays here"),
    (("a b", "--bundle", "{bundle}", "--key", "{public}"), "'a b' is no user@host"),
    (("-oProxyCommand=x", "--bundle", "{bundle}", "--key", "{public}"), "push has no option -oProxyCommand=x"),
    (("a@b", "--bundle", "{bundle}", "--key", "{public}", "--jobs", "0"), "--jobs is how many devices"),
])
def test_what_cannot_be_meant_is_told(fleet: Fleet, arguments: Any, sentence: str) -> None:
    release = fleet.pack("1.0.0")
    words = [each.format(bundle=release.bundle, public=release.key, private=release.key.with_suffix(".key"))
             for each in arguments]
    done = fleet.workstation.deploy("push", *words)
    assert done.status == 2 and sentence in done.words and done.words.count("\n") == 1, done.words


# ------------------------------------------------------------------ bench


@pytest.fixture
def jetson(fleet: Fleet) -> Iterator[Device]:
    """The first device with an nvpmodel and a jetson_clocks that note their calls; in mode 7, clocks free."""
    device = fleet.one
    script(device.bin / "nvpmodel", NVPMODEL)
    script(device.bin / "jetson_clocks", JETSON_CLOCKS)
    (device.home / "mode").write_text("7\n")
    (device.home / "clocks").write_text("free\n")
    (device.home / "calls").write_text("")
    yield device
    for name in ("nvpmodel", "jetson_clocks"):
        (device.bin / name).unlink()


NVPMODEL = r"""echo "nvpmodel $*" >>"$HOME/calls"
case $1 in
  -q) printf 'NVPM WARN: 4\n2\nNV Fan Mode:quiet\nNV Power Mode: MODE_%s\n%s\nNVPM WARN: patching\n12\n' \
    "$(cat "$HOME/mode")" "$(cat "$HOME/mode")" ;;
  -m)
    if [ "$2" = 1 ]; then  # the one that switches off parts of the GPU
      echo "NVPM WARN: Reboot required for changing to this power mode: 1"
      echo "NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:"
      read -r answer && echo "answered $answer" >>"$HOME/calls"
      exit 1
    fi
    echo "$2" >"$HOME/mode" ;;
esac"""
JETSON_CLOCKS = r"""echo "jetson_clocks $1" >>"$HOME/calls"
case $1 in
  --store)
    if [ -e "$2" ]; then echo "File $2 already exists. Can I overwrite it? Y/N:"; read -r answer; exit 1; fi
    cp "$HOME/clocks" "$2" ;;
  --restore) cp "$2" "$HOME/clocks" ;;
  "") echo pinned >"$HOME/clocks" ;;
esac"""
SHORT = ("--", "--warmup", "0.2", "--duration", "1")


def power(device: Device) -> List[str]:
    return [(device.home / name).read_text().strip() for name in ("mode", "clocks")]


def measuring(device: Device) -> List[int]:
    """Process ids of `edgehar bench` on that device."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words, variables = ((place / name).read_bytes().split(b"\0") for name in ("cmdline", "environ"))
        except OSError:
            continue
        if b"bench" in words and b"HOME=" + str(device.home).encode() in variables:
            found.append(int(place.name))
    return found


def leads_on_device(pid: int) -> bool:
    """Whether the process is the device's shell that leads a session; some have ended since they were listed."""
    try:
        return os.getsid(pid) == pid and b"on_device" in Path("/proc/%d/cmdline" % pid).read_bytes()
    except OSError:
        return False


def test_a_bench_sets_power_and_clocks_restores_them_and_brings_its_runs(fleet: Fleet, jetson: Device,
                                                                         tmp_path: Path) -> None:
    done = fleet.workstation.deploy("bench", jetson.address, "--mode", "0", "--clocks", "-o", tmp_path / "runs", *SHORT)
    assert done.status == 0, done.words
    assert "power mode 7 and its clocks are restored" in done.words and power(jetson) == ["7", "free"]
    run, = load_all([tmp_path / "runs"])
    assert (run.machine["power_mode"], run.engine.artifact) == ("MODE_0", "wisdm-watch-s")
    changes = [line for line in (jetson.home / "calls").read_text().splitlines() if line[-2:] not in ("-q", "ow")]
    assert changes == ["jetson_clocks --store", "nvpmodel -m 0", "jetson_clocks --store", "jetson_clocks ",
                       "jetson_clocks --restore", "nvpmodel -m 7", "jetson_clocks --restore"]
    assert os.listdir(str(jetson.root / "runs")) == [] and not (jetson.root / "power").exists()


def test_a_bench_whose_connection_is_cut_restores_them_and_its_runs_come_with_the_next(fleet: Fleet, jetson: Device,
                                                                                       tmp_path: Path) -> None:
    more = ["--scenario", "single_stream", "--scenario", "offline", "--warmup", "0.2", "--duration", "4"]
    benching = fleet.workstation.start("bench", jetson.address, STUDENT, "--mode", "0", "--clocks", "-o",
                                       tmp_path / "runs", "--", *more)
    wait_for(lambda: any((jetson.root / "runs").glob("*.json")))
    assert power(jetson) == ["0", "pinned"]
    for pid in jetson.sessions():
        os.kill(pid, signal.SIGKILL)
    done = ended(benching)
    assert done.status == 7 and "lost the connection" in done.words, done.words
    wait_for(lambda: power(jetson) == ["7", "free"] and not measuring(jetson))
    again = fleet.workstation.deploy("bench", jetson.address, "-o", tmp_path / "runs", *SHORT)
    assert again.status == 0, again.words
    assert len(load_all([tmp_path / "runs"])) == 2


def test_power_is_restored_where_the_shell_that_was_to_do_it_is_killed(fleet: Fleet, jetson: Device,
                                                                       tmp_path: Path) -> None:
    benching = fleet.workstation.start("bench", jetson.address, "--mode", "0", "-o", tmp_path, "--", "--duration", "60")
    wait_for(lambda: power(jetson)[0] == "0" and len(measuring(jetson)) > 1)
    os.kill(next(pid for pid in measuring(jetson) if leads_on_device(pid)), signal.SIGKILL)
    assert ended(benching).status != 0
    wait_for(lambda: power(jetson)[0] == "7" and not measuring(jetson))


def test_what_a_bench_left_behind_that_the_device_did_not_survive_is_restored(fleet: Fleet, jetson: Device) -> None:
    left = jetson.root / "power"
    left.mkdir()
    for name, content in (("mode", "3\n"), ("clocks", "as before\n"), ("changed", "")):
        (left / name).write_text(content)
    done = fleet.workstation.deploy("bench", jetson.address, "--mode", "1")
    assert done.status == 7 and power(jetson) == ["3", "as before"]


def test_nvpmodel_s_question_about_a_reboot_is_never_answered(fleet: Fleet, jetson: Device) -> None:
    done = fleet.workstation.deploy("bench", jetson.address, "--mode", "1")
    assert done.status == 7 and "power mode 1 needs a reboot, which is left to you" in results(done)[0], done.words
    assert "answered" not in (jetson.home / "calls").read_text() and power(jetson) == ["7", "free"]


def test_a_user_who_may_not_set_the_power_mode_is_told_how(fleet: Fleet, jetson: Device) -> None:
    script(jetson.bin / "nvpmodel", "exit 1")
    done = fleet.workstation.deploy("bench", jetson.address, "--mode", "0")
    assert done.status == 7 and "may not run nvpmodel without a password; run: echo" in results(done)[0]
    assert "NOPASSWD" in results(done)[0]


@pytest.mark.parametrize("arguments, sentence", [
    ((), "say where"),
    (("a@b", "--mode", "MAXN"), "--mode is a number of /etc/nvpmodel.conf, not 'MAXN'"),
    (("a@b", "nowhere"), "nowhere is no artifact; edgehar export makes one"),
    (("a@b", "--duration", "3"), "bench has no option --duration; what is for edgehar bench comes after --"),
])
def test_what_cannot_be_measured_is_told(fleet: Fleet, arguments: Any, sentence: str) -> None:
    done = fleet.workstation.deploy("bench", *arguments)
    assert done.status == 2 and sentence in done.words and done.words.count("\n") == 1, done.words


def tree(folder: Path) -> List[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("**/*") if "environments" not in path.parts)


def wait_for(condition: Callable[[], bool], limit_s: float = 60) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.02)
