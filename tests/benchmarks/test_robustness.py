"""What recipes buy: the table is made of people's figures, paired, and the guide shows what was measured."""

from __future__ import annotations

import importlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from edgehar.results.certificate import Certificate
from edgehar.results.runs import load_all
from tests.results.test_certificate import certificate

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "robust.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results" / "amd-epyc-2-cores" / "robustness"
robustness = importlib.import_module("benchmarks.robustness")


def between(name: str) -> str:
    return re.search(r"<!-- %s -->\n(.*?)<!-- /%s -->" % (name, name), PAGE, re.S).group(1).strip()


def of(name: str, loss: float) -> Certificate:
    """A network that loses so much, of each person, where it is turned by 30 degrees, and as much with a swap."""
    turned = certificate().of("activity", "rotation")[-1]
    rows = []
    for disturbance, strength in (("undisturbed", None), ("rotation", 30), ("rotation", 60), ("rotation", 90),
                                  ("axis-swap", None), ("silent-channels", None), ("offset", 20), ("placement", None)):
        lost = loss if disturbance == "rotation" else 0.0
        rows.append(replace(turned, disturbance=disturbance, strength=strength,
                            people={"03": 0.9 - lost, "04": 0.7 - lost}))
    return certificate(artifact=name, rows={"activity": tuple(rows)})


def test_differences_are_of_the_same_people():
    lines = robustness.table([of("usual", 0.3), of("turned", 0.1)]).splitlines()
    assert lines[0] == "| sensor | usual | turned - usual |"
    assert lines[2] == "| as worn in training | 0.800 | +0.000 [+0.000, +0.000] |"
    assert lines[3] == "| turned by 30 degrees | 0.500 | +0.200 [+0.200, +0.200] |"
    assert len(lines) == 2 + len(robustness.CONDITIONS)


@pytest.mark.parametrize("corpus, people", [("wisdm:device=watch", 8), ("hapt", 9)])
def test_the_guide_shows_what_was_measured_of_the_recipes(corpus, people):
    found = robustness.load(str(RESULTS / "certificates"))[corpus]
    assert between("recipes " + corpus) == robustness.table(found)
    folder = corpus.replace(":", "-").replace("=", "-")
    runs = {run.engine.artifact: run for run in load_all([RESULTS / folder])}
    for each in found:
        assert (each.command, each.synthetic, len(each.people)) == (robustness.COMMAND, False, people)
        assert runs[each.artifact].engine.artifact_sha256 == each.artifact_sha256
        assert runs[each.artifact].command == "edgehar study " + robustness.STUDY


def test_the_guide_shows_the_certificate_of_the_ready_student():
    found = Certificate.load(ROOT / "engines" / "wisdm-watch-s" / "certificate.json")
    assert between("ready") == robustness.figures(found)
