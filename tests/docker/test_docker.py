"""Images, compose files and manifest: checked by the tools of their trade, and against what edgehar really does."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from tests.house.test_packaging import pins, required

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = ("Dockerfile.jetson", "Dockerfile.cpu")
COMPOSES = ("jetson", "cpu")
NVIDIA = "nvcr.io/nvidia/"
EXISTING = {  # images that were seen in their registry or in public use; l4t-jetpack has none for R35.5 and later
    NVIDIA + "l4t-jetpack:r35.4.1", NVIDIA + "l4t-tensorrt:r8.5.2-runtime", NVIDIA + "l4t-tensorrt:r8.5.2.2-devel",
    NVIDIA + "l4t-cuda:11.4.19-devel", NVIDIA + "l4t-cuda:11.4.19-runtime", "python:3.11-slim-bookworm"}
SETTINGS = {"JTOP_GID": "999", "SOURCE": "mqtt:host=broker,topic=wearers/anna/samples"}
PROOF = ROOT / "benchmarks" / "results" / "arm64-emulated" / "log.txt"


def checker(name: str) -> str:
    """The program of that name, on PATH or where CI puts it; skips where there is none."""
    found = shutil.which(name, path=os.pathsep.join([os.path.join(os.environ.get("CONTAINER_CHECKERS", ""), "bin"),
                                                     os.environ.get("PATH", "")]))
    if not found:
        pytest.skip("there is no %s; .ci/run installs it" % name)
    return str(found)


def run(*words: str, **settings: Any) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300,
                          **settings)


def instructions(name: str) -> List[str]:
    """The instructions of a Dockerfile, each on one line, comments left out."""
    text = re.sub(r"(?m)^#.*\n", "", (DOCKER / name).read_text(encoding="utf-8"))
    return [line.strip() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


# ------------------------------------------------------------------ images


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_has_nothing_to_say(name):
    done = run(checker("hadolint"), "--no-color", str(DOCKER / name))
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_every_stage_is_of_one_base_that_exists(name):
    lines = instructions(name)
    assert {line.split()[1] for line in lines if line.startswith("FROM ")} == {"${BASE}"}
    assert [line[len("ARG BASE="):] in EXISTING for line in lines if line.startswith("ARG BASE=")] == [True]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_is_of_a_user_without_rights_and_holds_no_built_engine(name):
    lines = instructions(name)
    assert [line for line in lines if line.startswith("USER ")] == ["USER 1000"]
    assert "engines/*/built" in (DOCKER / (name + ".dockerignore")).read_text(encoding="utf-8").splitlines()


def test_no_step_of_the_build_needs_a_gpu():
    """docker build sees neither the GPU nor libcuda: `import tensorrt` and `import pycuda` fail there."""
    for text in instructions("Dockerfile.jetson") + (DOCKER / "install.sh").read_text(encoding="utf-8").splitlines():
        assert not re.search(r"import (tensorrt|pycuda)|edgehar (doctor|build|verify)|nvidia-smi", text), text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there_and_not_ignored(name):
    allowed = [line[1:] for line in (DOCKER / (name + ".dockerignore")).read_text().splitlines() if line[:1] == "!"]
    for line in instructions(name):
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists() and any(Path(source).match(each) for each in allowed), source


def test_pycuda_is_pinned_with_all_it_needs():
    pinned = pins(DOCKER / "constraints-jetson.txt")
    assert set(required({"jetson"}, "3.8")) - set(required(set(), "3.8")) - {"jetson-stats"} <= set(pinned)
    assert {"mako", "platformdirs", "pytools"} <= set(pinned)  # what its metadata ask for, beside what the board has
    assert not set(pinned) & set(pins(DOCKER / "constraints-py38.txt"))


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 8), reason="the board's image is of Python 3.8")
def test_the_steps_of_the_image_that_need_no_gpu_make_an_environment_that_works(tmp_path):
    """The very lines of the Dockerfile, but for pycuda, which takes nvcc."""
    place = str(tmp_path / "environment")
    steps = [step.strip() for line in instructions("Dockerfile.jetson") if line.startswith("RUN docker/install.sh")
             for step in line[len("RUN "):].split("&&") if "install.sh pycuda" not in step]
    assert [step.split()[1] for step in steps] == ["environment", "edgehar"]
    python = os.path.realpath(os.path.join(sys.base_prefix, "bin", "python3.8"))
    for step in steps:
        line = step.replace("/opt/edgehar", place) + (" --python " + python if "environment" in step else "")
        done = run("bash", *line.split(), cwd=str(ROOT), env=dict(os.environ, PIP_NO_COMPILE="1"))  # half the time
        if done.returncode and "Connection" in done.stderr:
            pytest.skip("no package index can be reached")
        assert done.returncode == 0, done.stderr
    done = run(place + "/bin/edgehar", "verify", str(ROOT / "engines" / "wisdm-watch-s"), cwd=str(tmp_path))
    assert done.returncode == 0 and "agrees" in done.stdout, done.stderr
    assert run(place + "/bin/python", "-c", "import numpy; print(numpy.__version__)").stdout.strip() == "1.23.5"


# ------------------------------------------------------------------ compose


def composed(name: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    return run(checker("docker-compose"), "-f", str(DOCKER / ("compose.%s.yaml" % name)), "config",
               env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **settings})


@pytest.fixture(scope="module")
def services() -> Dict[str, Dict[str, Any]]:
    """The one service of each compose file as docker-compose understands it."""
    yaml = pytest.importorskip("yaml")
    found = {name: composed(name, **SETTINGS) for name in COMPOSES}
    assert not [done.stderr for done in found.values() if done.returncode]
    return {name: yaml.safe_load(done.stdout)["services"]["edgehar"] for name, done in found.items()}


@pytest.fixture(params=COMPOSES)
def service(request, services) -> Dict[str, Any]:
    return services[request.param]


def test_a_service_may_do_no_more_than_it_must(service):
    assert service["read_only"] and service["user"] == "1000:1000" and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
    assert service["mem_limit"] and service["cpus"] and service["pids_limit"]
    assert service["restart"] == "unless-stopped" and service["logging"]["options"]["max-size"]
    assert all(port["published"] if isinstance(port, dict) else port.startswith("127.0.0.1:")
               for port in service["ports"])


def test_a_service_starts_as_the_command_line_has_it(service):
    parsed = served(service["command"])
    assert parsed["path"].startswith("/engines/") and parsed["address"] == ("0.0.0.0", 9746)
    volumes = [volume.split(":")[1] if isinstance(volume, str) else volume["target"] for volume in service["volumes"]]
    assert {os.path.dirname(parsed["state"]), "/engines", "/cache"} <= set(volumes)


def served(words: List[str]) -> Dict[str, Any]:
    """The options of an `edgehar serve` as its own parser reads them."""
    from edgehar.cli.serve import command

    assert words[0] == "serve"
    return dict(command.make_context("serve", list(words[1:])).params)


def test_the_jetson_gets_its_gpu_and_its_groups(services):
    service = services["jetson"]
    assert service["runtime"] == "nvidia" and service["group_add"] == ["44", "999"]
    assert served(service["command"])["backend"] == "trt"
    assert any("/run/jtop.sock" in str(volume) for volume in service["volumes"])


@pytest.mark.parametrize("name, lacking, told", [
    ("jetson", "JTOP_GID", "check_fit.sh"), ("jetson", "SOURCE", "SOURCE=mqtt:"), ("cpu", "SOURCE", "SOURCE=mqtt:")])
def test_what_compose_must_be_told_it_asks_for(name, lacking, told):
    done = composed(name, **{key: value for key, value in SETTINGS.items() if key != lacking})
    assert done.returncode != 0 and told in done.stderr


class _Probed(http.server.BaseHTTPRequestHandler):
    code = 200

    def do_GET(self) -> None:
        self.send_response(self.code if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Probed)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("code, exit_code", [(200, 0), (503, 1)])
@pytest.mark.parametrize("name", COMPOSES)
def test_the_health_check_says_what_the_service_says(name, code, exit_code, port, monkeypatch):
    monkeypatch.setattr(_Probed, "code", code)
    text = (DOCKER / ("compose.%s.yaml" % name)).read_text(encoding="utf-8")
    line = re.search(r"test: \[CMD, python3, -c, \"(.+)\"\]", text).group(1)
    assert "127.0.0.1:9746/health" in line
    assert run(sys.executable, "-c", line.replace("9746", str(port))).returncode == exit_code


# ------------------------------------------------------------------ manifest


def documents() -> List[Dict[str, Any]]:
    yaml = pytest.importorskip("yaml")
    return list(yaml.safe_load_all((DOCKER / "daemonset.yaml").read_text(encoding="utf-8")))


def pod() -> Dict[str, Any]:
    return next(each for each in documents() if each["kind"] == "DaemonSet")["spec"]["template"]


@pytest.mark.parametrize("version", ["1.28", "1.35"])
def test_the_manifest_is_valid(version):
    done = run(checker("kubernetes-validate"), "--strict", "-k", version, str(DOCKER / "daemonset.yaml"),
               env=dict(os.environ, PYTHONPATH=os.environ.get("CONTAINER_CHECKERS", "")))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manifest_s_probes_are_pages_of_the_service():
    from edgehar.deploy.health import Health
    from edgehar.deploy.pages import _page

    container = pod()["spec"]["containers"][0]
    probes = {kind: container[kind + "Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert probes == {"startup": "/live", "liveness": "/live", "readiness": "/health"}
    pages = [*probes.values(), pod()["metadata"]["annotations"]["prometheus.io/path"]]
    assert not any(_page(Health(stale_s=60.0), path)[0] == 404 for path in pages)
    assert container["ports"] == [{"name": "http", "containerPort": 9746}]
    assert pod()["metadata"]["annotations"]["prometheus.io/port"] == "9746"


def test_a_pod_starts_as_the_command_line_has_it_and_writes_where_it_may():
    container = pod()["spec"]["containers"][0]
    parsed = served(container["args"])
    assert parsed["address"] == ("0.0.0.0", 9746) and parsed["backend"] == "trt"
    assert set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))) <= {each["name"] for each in container["env"]}
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {os.path.dirname(parsed["state"]), "/engines", "/cache", "/tmp"} <= mounts
    assert {mount["name"] for mount in container["volumeMounts"]} == {each["name"] for each in pod()["spec"]["volumes"]}


def test_a_pod_may_do_no_more_than_it_must():
    spec = pod()["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["supplementalGroups"] == [44]
    assert spec["automountServiceAccountToken"] is False and spec["runtimeClassName"] == "nvidia"
    container = spec["containers"][0]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                                            "capabilities": {"drop": ["ALL"]}}
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}


# ------------------------------------------------------------------ a site


def site_services() -> Dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    text = (DOCKER / "compose.site.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text))["services"])


def test_a_site_of_broker_gateway_and_rehearsal_starts_as_their_commands_have_it():
    from edgehar.cli.rehearse import command as rehearse
    from edgehar.stream.topics import Topic

    services = site_services()
    gateway = served(services["gateway"]["command"])
    assert gateway["address"] == ("0.0.0.0", 9746) and gateway["places"] == 100
    sent = dict(rehearse.make_context("rehearse", services["rehearsal"]["command"][1:]).params)
    topics = [re.search(r"topic=([^,]+)", text).group(1) for text in (gateway["source"], sent["to"])]
    assert topics[0] == topics[1] and Topic(topics[0]).many and sent["wearers"] <= gateway["places"]
    volumes = [volume.split(":")[1] for volume in services["gateway"]["volumes"]]
    assert {os.path.dirname(gateway["state"]), "/engines", "/cache"} <= set(volumes)


def test_the_services_of_a_site_may_do_no_more_than_they_must():
    for service in site_services().values():
        assert service["read_only"] and service["user"] == "1000:1000" and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"] and "privileged" not in service
        assert service["mem_limit"] and service["cpus"] and service["pids_limit"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_site_is_one_that_docker_compose_understands():
    done = run(checker("docker-compose"), "-f", str(DOCKER / "compose.site.yaml"), "config",
               env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")})
    assert done.returncode == 0, done.stderr


def gateways() -> Dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    found = yaml.safe_load_all((DOCKER / "gateways.yaml").read_text(encoding="utf-8"))
    return next(each for each in found if each["kind"] == "StatefulSet")["spec"]


def test_each_gateway_has_a_part_of_the_site_and_keeps_it():
    spec = gateways()
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    parsed = served(container["args"])
    assert parsed["state"].startswith("/var/lib/edgehar/") and parsed["address"] == ("0.0.0.0", 9746)
    for told in (parsed["source"], *parsed["sinks"]):
        assert "topic=site/$(PART)/{wearer}/" in told and "password_file=/secrets/" in told and "ca=/secrets/" in told
    assert "client=gateway-$(PART)" in parsed["source"]
    names = {each["name"] for each in container["env"]}
    assert set(re.findall(r"\$\((\w+)\)", " ".join(container["args"]))) <= names
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    volumes = {each["name"] for each in pod["volumes"]} | {
        each["metadata"]["name"] for each in spec["volumeClaimTemplates"]}
    assert set(mounts) == volumes and mounts["state"] == "/var/lib/edgehar"
    assert container["securityContext"]["readOnlyRootFilesystem"] and pod["securityContext"]["runAsNonRoot"]


@pytest.mark.parametrize("version", ["1.28", "1.35"])
def test_the_manifest_of_gateways_is_valid(version):
    done = run(checker("kubernetes-validate"), "--strict", "-k", version, str(DOCKER / "gateways.yaml"),
               env=dict(os.environ, PYTHONPATH=os.environ.get("CONTAINER_CHECKERS", "")))
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------ does the board fit


@pytest.fixture
def board(tmp_path, monkeypatch) -> Path:
    """File system of a board that fits, with stand-ins for docker and jtop on PATH; returns its root."""
    root, programs = tmp_path / "root", tmp_path / "bin"
    place(root / "etc/nv_tegra_release", "# R35 (release), REVISION: 6.4, GCID: 1, BOARD: t186ref, EABI: aarch64\n")
    place(root / "etc/group", "root:x:0:\nvideo:x:44:nvidia\njtop:x:998:nvidia\n")
    place(root / "etc/nvidia-container-runtime/host-files-for-container.d/l4t.csv", "")
    place(programs / "jtop", "#!/bin/sh\necho jtop 4.3.1\n")
    place(programs / "stat", "#!/bin/sh\necho 1000\n")
    place(programs / "docker", "#!/bin/sh\ncase $1 in info) echo 'io.containerd.runc.v2 nvidia runc ' ;;\n"
                               "image) echo nvcr.io/nvidia/l4t-jetpack:r35.4.1 ;; esac\n")
    (root / "run").mkdir()
    listen(root / "run" / "jtop.sock", monkeypatch)
    monkeypatch.setenv("PATH", str(programs) + os.pathsep + os.environ["PATH"])
    return root


def place(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def listen(path: Path, monkeypatch: Any) -> None:
    """Leave a socket at `path`, by a short relative name, as the kernel takes no long ones."""
    with monkeypatch.context() as there, socket.socket(socket.AF_UNIX) as made:
        there.chdir(path.parent)
        made.bind(path.name)


def fit(root: Path) -> "subprocess.CompletedProcess[str]":
    return run("bash", str(DOCKER / "check_fit.sh"), "--root", str(root))


def test_a_board_that_fits(board):
    done = fit(board)
    assert (done.returncode, done.stdout) == (0, "JTOP_GID=998\nJETSON_STATS=4.3.1\n"), done.stderr
    assert "LACKING" not in done.stderr and "L4T R35.6.4 runs an image of R35.4.1" in done.stderr


@pytest.mark.parametrize("file, text, told", [
    ("etc/nv_tegra_release", "# R36 (release), REVISION: 4.0, GCID: 1\n", "flash JetPack 5.1.2"),
    ("etc/nv_tegra_release", "# R32 (release), REVISION: 7.1, GCID: 1\n", "flash JetPack 5.1.2"),
    ("etc/nv_tegra_release", "# R35 (release), REVISION: 2.1, GCID: 1\n", "dist-upgrade"),
    ("etc/nv_tegra_release", "", "compose.cpu.yaml"),
    ("etc/group", "video:x:39:\njtop:x:998:\n", "group video is 39"),
    ("etc/group", "video:x:44:\n", "no group jtop"),
    ("run/jtop.sock", None, "restart jtop.service"),
    ("etc/nvidia-container-runtime/host-files-for-container.d/l4t.csv", None, "--reinstall nvidia-l4t-init"),
    ("../bin/docker", "#!/bin/sh\n[ $1 = info ] && echo 'runc '\n", "no runtime nvidia"),
    ("../bin/docker", "#!/bin/sh\nexit 1\n", "systemctl start docker"),
    ("../bin/stat", "#!/bin/sh\necho 0\n", "chown -R 1000 engines")])
def test_a_board_that_does_not_fit_hears_why_and_what_to_do(board, file, text, told):
    (board / file).unlink()
    if text is not None:
        place(board / file, text)
    done = fit(board)
    lacking = [line for line in done.stderr.splitlines() if line.startswith("LACKING")]
    assert done.returncode == 1 and len(lacking) == 1 and told in lacking[0], done.stderr


def test_an_image_of_another_base_is_held_against_the_board(board):
    place(board / "../bin/docker", "#!/bin/sh\ncase $1 in info) echo 'nvidia ' ;; image) echo x/y:r35.6.9 ;; esac\n")
    assert "older than the image's R35.6.9" in fit(board).stderr


def test_a_board_without_jtop_s_version_is_still_served(board):
    place(board / "../bin/jtop", "#!/bin/sh\nexit 1\n")
    done = fit(board)
    assert done.returncode == 0 and done.stdout == "JTOP_GID=998\n" and "JETSON_STATS=X.Y.Z" in done.stderr


# ------------------------------------------------------------------ ARM


def test_the_proof_on_arm_says_what_it_is():
    text = PROOF.read_text(encoding="utf-8")
    assert text.startswith("EMULATED: aarch64") and "$ uname -m; ldd" in text and "\naarch64\n" in text
    assert "Python 3.8.10" in text and "numpy==1.23.5" in text and "onnxruntime==1.19.2" in text
    assert text.count("agrees") == 2 and "fp32" in text and "int8" in text and "decisions:" in text
    assert len(re.findall(r"(?m)^\d+ passed", text)) == 2 and "failed" not in text
    assert not re.search(r"\bin \d+\.\d+s\b|computing took|\d ms\b", text), "no time on an emulator means anything"


@pytest.mark.skipif(not os.environ.get("ARM64_PROOF"), reason="takes root and ten minutes; set ARM64_PROOF to a folder "
                                                              "that may hold a root file system, and see its log")
def test_everything_holds_on_arm_again():
    done = run("bash", str(DOCKER / "arm64.sh"), os.environ["ARM64_PROOF"])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("script", ["arm64.sh", "check_fit.sh", "install.sh"])
def test_every_script_is_one_and_may_be_run(script):
    assert run("bash", "-n", str(DOCKER / script)).returncode == 0 and os.access(str(DOCKER / script), os.X_OK)


