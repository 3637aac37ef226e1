"""The documentation is built without a warning, and its tutorials do what they show."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_" + name, str(SITE / (name + ".py")))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


notebooks, build = script("notebooks"), script("build")


def without_numbers(text: str) -> str:
    return re.sub(r"\d[\d.,]*", "#", text)


@pytest.mark.parametrize("path", notebooks.tutorials(), ids=lambda path: path.stem)
def test_a_tutorial_says_what_it_said_when_it_was_executed(path, monkeypatch):
    """But for numbers, which depend on versions and processors."""
    pytest.importorskip("onnxruntime")
    notebook = notebooks.read(path)
    if "edgehar[train" in notebook["cells"][0]["source"][-1]:
        pytest.importorskip("torch")
    monkeypatch.chdir(ROOT)
    said = notebooks.execute(notebook)
    assert [without_numbers(text) for text in said] == [without_numbers(text) for text in notebooks.kept(notebook)]


@pytest.mark.parametrize("path", notebooks.tutorials(), ids=lambda path: path.stem)
def test_a_tutorial_is_a_notebook_of_a_day_and_says_that_its_signal_is_generated(path):
    notebook = notebooks.read(path)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    page = notebooks.as_markdown(notebook)
    assert re.search(r"\*Executed on 20\d\d-\d\d-\d\d\.\*", page) and re.search("generated|synthetic", page)
    assert all(kept or "print" not in "".join(cell["source"]) for kept, cell in zip(
        notebooks.kept(notebook), (cell for cell in notebook["cells"] if cell["cell_type"] == "code")))


def test_the_record_is_of_what_was_printed():
    notebook = {"metadata": {}, "cells": [
        {"cell_type": "markdown", "source": ["# One"]},
        {"cell_type": "code", "id": "a", "source": ["x = 2\n", "print(x)"], "outputs": []},
        {"cell_type": "code", "id": "b", "source": ["print(x + 1)\nprint()"], "outputs": []}]}
    assert notebooks.execute(notebook) == ["2\n", "3\n\n"]
    assert notebooks.kept(notebooks.keep(notebook, ["2\n", "3\n\n"])) == ["2\n", "3\n\n"]
    assert "```text\n3\n```" in notebooks.as_markdown(notebook)


# ------------------------------------------------------------------ pages


def test_links_lead_to_pages_or_name_files():
    text = build.guide("[a](docs/ON_THE_BOARD.md#x) [b](edgehar/errors.py) [c](https://a.b) [d](#e)", "README.md")
    assert text == "[a](on-the-board.md) b (`edgehar/errors.py`) [c](https://a.b) [d](#e)"
    assert build.guide("[log](../README.md)", "docs/containers.md") == "[log](index.md)"


def test_a_picture_is_shown_from_the_site_s_own_folder():
    text = build.guide("![Cost](../benchmarks/fma.c) [x](STUDIES.md)", "docs/guide.md")
    assert text == "![Cost](pictures/benchmarks-fma.c) [x](studies.md)"


def test_every_guide_has_a_page_and_the_readme_is_the_first():
    pages = build.guides()
    assert list(pages)[0] == "index" and pages["studies"] == "docs/STUDIES.md"
    assert set(pages.values()) == {"README.md"} | {"docs/" + path.name for path in SITE.glob("*.md")}


def test_a_link_to_nothing_is_refused():
    with pytest.raises(FileNotFoundError, match="README.md links to gone.md"):
        build.guide("[a](gone.md)", "README.md")


def test_every_command_and_every_public_module_has_its_place():
    commands = build.commands()
    for path in (ROOT / "edgehar" / "cli").glob("[!_]*.py"):
        assert "## edgehar %s\n" % path.stem.replace("_", "-") in commands
    modules = set(build.modules())
    assert {"edgehar", "edgehar.stream.stream", "edgehar.data.datasets", "edgehar.data.datasets.wisdm"} <= modules
    assert not [name for name in modules if "._" in name or ".cli." in name + "."]


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info < (3, 11), reason="the site is built on the workstation's Python")
def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    pytest.importorskip("torch")
    done = subprocess.run([sys.executable, str(SITE / "build.py"), "-o", str(tmp_path / "site")], cwd=str(tmp_path),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    stream = (tmp_path / "site" / "edgehar.stream.stream.html").read_text(encoding="utf-8")
    assert "One wearer" in stream and "edgehar.stream.stream.Stream.push" in stream
    assert "edgehar verify" in (tmp_path / "site" / "commands.html").read_text(encoding="utf-8")
    studies = (tmp_path / "site" / "studies.html").read_text(encoding="utf-8")
    assert "SMLDist, part by part" in studies and 'alt="Differences on WISDM"' in studies
    assert "sitting" in (tmp_path / "site" / "stream-tutorial.html").read_text(encoding="utf-8")
