"""Options that several commands take are written once."""

from __future__ import annotations

import re
from pathlib import Path

import edgehar.cli
from edgehar.backends.base import PRECISIONS
from edgehar.cli import _options

FOLDER = Path(edgehar.cli.__file__).parent
ONCE = ("--json", "--root", "--quiet", "--allow-constant", "--board", "--model", "--sink", "--speed")


def test_options_that_mean_the_same_everywhere_are_written_once() -> None:
    said = re.compile(r'(?:click\.option\(|spec_option\("\w+",)\s*"(--[a-z-]+)"')
    found = [(name, path.name) for path in sorted(FOLDER.glob("*.py"))
             for name in said.findall(path.read_text(encoding="utf-8"))]
    found.remove(("--model", "serve.py"))  # PLACEMENT=ENGINE, which no other command takes
    assert [each for each in found if each[0] in ONCE] == [(name, "_options.py") for name, _ in found if name in ONCE]
    assert {name for name, _ in found} >= set(ONCE)


def test_what_help_tells_without_the_library_is_what_the_library_says() -> None:
    assert _options.PRECISIONS == PRECISIONS
