"""An unknown name is answered with what was most likely meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehar.cli import execute
from edgehar.nearest import alternatives, did_you_mean, nearest_names

ROOT = Path(__file__).resolve().parents[2]
KNOWN = ["mobilenet", "resnet", "mtl-net"]


@pytest.mark.parametrize("name, meant", [("mobilnet", ["mobilenet"]), ("Resnet", ["resnet"]), ("xyz", [])])
def test_what_was_meant(name, meant):
    assert nearest_names(name, KNOWN) == meant
    assert did_you_mean(name, KNOWN) == (" (did you mean '%s'?)" % meant[0] if meant else "")
    assert alternatives(name, KNOWN) == (
        "did you mean '%s'" % meant[0] if meant else "there are: mobilenet, resnet, mtl-net")


def test_several_may_be_meant():
    assert alternatives("net", ["nets", "nett", "far"], count=2) == "did you mean 'nett' or 'nets'"


def test_an_option_that_lacks_is_named_and_how_to_write_it(capsys):
    pytest.importorskip("onnxruntime")
    assert execute(["run", str(ROOT / "engines" / "wisdm-watch-s"), "--source", "mqtt"]) == 2
    assert "source 'mqtt' needs topic; write mqtt:topic=TOPIC." in capsys.readouterr().err


@pytest.mark.parametrize("words, told", [
    (["split", "ucihar"], "no dataset named 'ucihar' (did you mean 'uci-har'?)"),
    (["split", "synthetic:peple=3"], "no option 'peple' (did you mean 'people'?)"),
    (["trian"], "there is no command 'trian'; did you mean 'train'")])
def test_the_command_line_says_so(words, told, capsys):
    assert execute(words) == 2
    assert told in " ".join(capsys.readouterr().err.split())
