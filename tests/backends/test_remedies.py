"""What a refused engine tells one to say is said, and works."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Dict, List

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

pytest.importorskip("onnxruntime")
pytest.importorskip("cryptography")

from edgehar.backends import ort
from edgehar.backends._engine import BuildSpec, Engine, rebuilding
from edgehar.cli import execute
from edgehar.deploy.packing import StreamSettings, pack
from tests.artifact.test_artifact import flip_byte
from tests.bundles import KEY
from tests.tiny import tiny_artifact


def remedy(said: str, **placeholders: Path) -> List[str]:
    """The words of the command in backticks, without `edgehar`, its capitals filled in."""
    command = re.search(r"`edgehar (.+?)`", said).group(1)
    words = shlex.split(command)
    return [str(placeholders.get(word.replace(".", "_"), word)) for word in words]


def refused(path: Path, capsys: Any) -> str:
    capsys.readouterr()
    assert execute(["verify", str(path)]) == 6
    return capsys.readouterr().err.splitlines()[-1]


DAMAGES: Dict[str, Any] = {
    "an older onnxruntime": lambda folder, patch: None,
    "a changed graph": lambda folder, patch: flip_byte(folder / "model.onnx"),
    "a changed sidecar": lambda folder, patch: (folder / "engine.json").write_text("{}"),
    "a graph that is gone": lambda folder, patch: (folder / "model.onnx").unlink(),
}


@pytest.fixture(params=sorted(DAMAGES))
def harm(request, monkeypatch):
    """Do to an engine what makes it refuse; an older runtime built it before this one is at hand."""
    with monkeypatch.context() as patch:
        if request.param == "an older onnxruntime":
            patch.setattr(ort, "_runtime_version", lambda: "1.10.0")
        yield lambda folder: (patch.undo(), DAMAGES[request.param](folder, monkeypatch))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_an_engine_beside_its_artifact(tmp_path, capsys, harm, precision):
    tiny_artifact(tmp_path / "my artifact")
    assert execute(["build", str(tmp_path / "my artifact"), "--precision", precision]) == 0
    engine = tmp_path / "my artifact" / "built" / ("ort-" + precision)
    harm(engine)
    said = refused(engine, capsys)
    words = remedy(said)
    assert words[:2] == ["build", str(tmp_path / "my artifact")]
    assert execute(words + ([] if "--precision" in words else ["--precision", precision])) == 0
    assert execute(["verify", str(engine)]) == 0


def test_an_engine_elsewhere(tmp_path, capsys, harm):
    tiny_artifact(tmp_path / "a")
    assert execute(["build", str(tmp_path / "a"), "-o", str(tmp_path / "engine")]) == 0
    harm(tmp_path / "engine")
    words = remedy(refused(tmp_path / "engine", capsys), ARTIFACT=tmp_path / "a")
    assert execute(words) == 0
    assert execute(["verify", str(tmp_path / "engine")]) == 0


@pytest.mark.parametrize("trust", [["--unsigned"], ["--key", "NAME.pub"]])
def test_an_engine_that_was_installed(tmp_path, capsys, harm, trust):
    bundle = pack(tiny_artifact(tmp_path / "a"), "1.0.0", StreamSettings(16)).signed(KEY)
    bundle.write(tmp_path / "tiny.ehar")
    (tmp_path / "key.pub").write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    place, trust = tmp_path / "place", [word.replace("NAME.pub", str(tmp_path / "key.pub")) for word in trust]
    install = ["install", str(tmp_path / "tiny.ehar"), *trust, "--to", str(place)]
    assert execute(install) == 0
    harm((place / "current").resolve())
    words = remedy(refused(place / "current", capsys), FILE_ehar=tmp_path / "tiny.ehar", NAME_pub=tmp_path / "key.pub")
    assert words[:-2] == install or words[:len(install)] == install
    assert execute(words) == 0
    assert execute(["verify", str(place / "current")]) == 0


def test_the_command_has_the_options_of_the_build(tmp_path):
    spec = BuildSpec("int8", options={"batch": [1, 8], "calibrator": "minmax", "graph": False})
    engine = Engine(tmp_path / "e", "trt", spec, None, {}, {})
    backend = "trt:batch=1+8,calibrator=minmax,graph=false"
    assert remedy(engine.rebuilding) == ["build", "ARTIFACT", "--backend", backend, "--precision", "int8", "-o",
                                         str(tmp_path / "e")]
    assert remedy(rebuilding(tmp_path / "e")) == ["build", "ARTIFACT", "-o", str(tmp_path / "e")]
