"""Dockerfile.cpu built for real by docker/local_image.sh, and run as compose runs it; IMAGE_FOLDER says where it lies.

It runs without a container engine: in namespaces of its own, its root file system mounted read-only, as user 1000
without capabilities, and with the mounts of compose.cpu.yaml. The network is the machine's.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("IMAGE_FOLDER", "/nowhere"))
MOUNTS = {"/engines": "engines", "/cache": "cache", "/var/lib/edgehar": "state"}  # as in compose.cpu.yaml
SAMPLES = 1200
PATIENCE_S = 120
ENTER = """set -e
root=$1 && shift
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount -t tmpfs tmpfs "$root/tmp"
while [ "$1" != -- ]; do mount --bind "$2" "$root$1" && shift 2; done
shift
exec chroot "$root" setpriv --reuid 1000 --regid 1000 --clear-groups --bounding-set=-all --no-new-privs "$@"
"""

pytestmark = pytest.mark.skipif(not (FOLDER / "image.json").is_file() or os.getuid() != 0,
                                reason="no image: docker/local_image.sh made none, or this is not root")


@pytest.fixture(scope="module")
def config():
    return json.loads((FOLDER / "image.json").read_text(encoding="utf-8"))["OCIv1"]["config"]


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """What the image may write to, user 1000's; the artifact that ships lies in /engines."""
    made = tmp_path_factory.mktemp("volumes")
    for name in MOUNTS.values():
        (made / name).mkdir()
    shutil.copytree(str(ROOT / "engines" / "wisdm-watch-s"), str(made / "engines" / "wisdm-watch-s"),
                    ignore=shutil.ignore_patterns("built"))
    rows = ["time_s,acc/x,acc/y,acc/z"] + ["%.2f,%.1f,%.1f,%.1f" % (
        at / 20, at * 7 % 11 / 10, at * 5 % 13 / 10, 9 + at * 3 % 7 / 10) for at in range(SAMPLES)]
    (made / "engines" / "wave.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for path in [made, *made.rglob("*")]:
        os.chown(str(path), 1000, 1000)
    return made


@pytest.fixture
def command(config, volumes):
    """Arguments -> the line that runs them in the image."""
    def line(*arguments, entry=None):
        binds = [part for place, name in MOUNTS.items() for part in (place, str(volumes / name))]
        return ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh",
                str((FOLDER / "root").resolve()), *binds, "--", "env", "-i", "-C", config["WorkingDir"], *config["Env"],
                *(entry or config["Entrypoint"]), *arguments]

    return line


@pytest.fixture
def run(command):
    def ran(*arguments, **how):
        done = subprocess.run(command(*arguments, **how), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=PATIENCE_S)
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    return ran


def test_it_runs_doctor_as_user_1000_on_a_root_that_nobody_writes_to(config, run):
    assert (config["User"], config["Entrypoint"], config["Cmd"]) == ("1000", ["edgehar"], ["doctor"])
    assert config["ExposedPorts"] == {"9746/tcp": {}}
    code, told = run(*config["Cmd"])
    assert code == 0 and "edgehar" in told and "ort" in told
    places = "for place in / /opt /home/edgehar /etc; do touch $place/it 2>/dev/null && echo wrote $place; done"
    volumes = "touch /tmp/it /cache/it /engines/it /var/lib/edgehar/it && echo volumes"
    assert run("id -u; %s; %s" % (places, volumes), entry=["sh", "-c"]) == (0, "1000\nvolumes\n")


def test_no_layer_has_the_certificates_of_the_machine_that_built_it(run):
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.is_file():
        pytest.skip("this machine has no bundle of certificates")
    ours = (FOLDER / "root" / "etc" / "ssl" / "certs" / "ca-certificates.crt").read_text(encoding="utf-8")
    stock = set(Path(FOLDER / "root" / "usr" / "share" / "ca-certificates" / "mozilla").glob("*.crt"))
    assert ours.count("BEGIN CERTIFICATE") <= len(stock)


def test_it_verifies_and_measures(run, volumes):
    code, told = run("verify", "/engines/wisdm-watch-s")
    assert code == 0 and "agrees" in told
    code, told = run("bench", "/engines/wisdm-watch-s", "--duration", "1", "-o", "/var/lib/edgehar/bench")
    assert code == 0, told
    assert list((volumes / "state" / "bench").rglob("*.json"))


def test_its_service_tells_its_health_to_the_outside_and_ends_in_order(command):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = command("serve", "/engines/wisdm-watch-s", "--source", "csv:path=/engines/wave.csv", "--speed", "2",
                   "--sink", "jsonl:path=/var/lib/edgehar/decisions.jsonl",
                   "--state", "/var/lib/edgehar/state.json", "--http", "0.0.0.0:%d" % port)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as service:
        try:
            health = wait_for_health(port, service)
            assert health["decisions"] > 0
            pid = int(subprocess.check_output(["ps", "-o", "pid=", "--ppid", str(service.pid)]))
            os.kill(pid, signal.SIGTERM)
            said = service.communicate(timeout=PATIENCE_S)[0].decode()
        finally:
            service.kill()
    assert service.returncode == 0, said


def wait_for_health(port, service):
    """The first health that has a decision; the service may end before only if something is wrong."""
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends and service.poll() is None:
        try:
            with urllib.request.urlopen("http://127.0.0.1:%d/health" % port, timeout=5) as answer:
                found = json.loads(answer.read().decode())
            if found.get("decisions", 0) > 0:
                return found
        except (urllib.error.URLError, ConnectionError, ValueError):
            pass
        time.sleep(0.1)
    raise AssertionError("no health: " + (service.stdout.read().decode() if service.poll() is not None else "in time"))
