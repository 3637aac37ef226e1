"""Plug-ins of the user's own: named anywhere, kept in what is next, and told as theirs where they fail."""

from __future__ import annotations

import os
import shlex
import textwrap
from pathlib import Path
from typing import Callable

import pytest

from edgehar.cli import execute, plugins_first
from edgehar.cli._line import typed_line
from edgehar import registry
from edgehar.registry import added_plugins

CORPUS = '''
"""Mine: a corpus that is made up here."""

import numpy as np

from edgehar import Dataset, Recording, Split, triad


class Mine(Dataset):
    """minutes: of each person. colour: of nothing."""

    title, licence, citation = "Mine", "ours", "none"
    synthetic = True
    rate_hz, window, hop, max_gap_s = 25.0, 64, 32, 0.2
    channels = triad("acc", "m/s^2", "wrist")
    classes = {"activity": ("sit", "walk")}

    def __init__(self, root=None, skip_bad: bool = False, minutes: float = 0.5, colour: str = "red"):
        super().__init__(root, skip_bad)
        self.minutes = minutes

    def split(self):
        return Split("mine", "fixed", ("a", "b"), ("c",), ("d",))

    def recordings(self):
        for number, person in enumerate("abcd"):
            draw, count = np.random.default_rng(number), int(60 * self.minutes * self.rate_hz)
            labels = (np.arange(count) > count // 2).astype(np.int16)
            samples = draw.normal((0, 0, 9.81), 0.1 + labels[:, None], (count, 3)).astype(np.float32)
            yield Recording(samples, {"activity": labels}, self.classes, self.rate_hz, self.channels, person, "one")
'''

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a file of a plug-in below an empty working folder; changes: what is replaced in the sound corpus."""
    for known in ("_loaded", "_extra_files", "_extra_modules"):  # other tests of this process have some
        monkeypatch.setattr(registry, known, type(getattr(registry, known))())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("EDGEHAR_DATA", raising=False)
    monkeypatch.delenv("EDGEHAR_PLUGINS", raising=False)

    def make(name: str = "mine.py", *changes: str, text: str = CORPUS) -> Path:
        for before, after in zip(changes[::2], changes[1::2]):
            assert text.count(before) == 1, before
            text = text.replace(before, after)
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return path

    return make


def said(capsys: pytest.CaptureFixture, line: str, code: int = 0) -> str:
    capsys.readouterr()
    done = execute(shlex.split(line))
    out, err = capsys.readouterr()
    assert done == code, out + err
    return out if not code else err


# ------------------------------------------------------------------ named


@pytest.mark.parametrize("line", ["--plugin mine.py datasets mine", "datasets --plugin mine.py mine",
                                  "datasets mine --plugin mine.py", "datasets mine --plugin=mine.py"])
def test_a_plugin_is_named_anywhere_and_kept_in_what_is_next(write: Write, capsys, line: str) -> None:
    write()
    told = said(capsys, line)
    assert "Mine [synthetic]" in told and "minutes=NUMBER" in told
    assert told.splitlines()[-1] == "next: edgehar train --data mine --model resnet -o runs/teacher --plugin mine.py"
    assert added_plugins() == [], "it is forgotten after the line"


@pytest.mark.parametrize("name", ["mine.py", "datasets/mine.py", "some where/else/mine.py"])
def test_a_file_may_lie_anywhere(write: Write, capsys, name: str) -> None:
    write(name)
    assert shlex.quote(name) in said(capsys, "datasets mine --plugin '%s'" % name).splitlines()[-1]


def test_what_the_variable_and_the_project_name_needs_no_option(write: Write, capsys, monkeypatch) -> None:
    write("one.py", '"mine"', '"one"')
    write("lib/two.py", '"mine"', '"two"')
    monkeypatch.setenv("EDGEHAR_PLUGINS", os.pathsep.join(["one.py", ""]))
    Path("edgehar.toml").write_text('[plugins]\nfiles = ["lib/two.py"]\n', encoding="utf-8")
    for name in ("one", "two"):
        assert said(capsys, "datasets " + name).splitlines()[-1].endswith("-o runs/teacher")


@pytest.mark.parametrize("text, told", [
    ('[plugins]\nfiles = ["nowhere.py"]\n', "no plug-in: there is no such file; it is named in edgehar.toml"),
    ('[plugin]\nfiles = []\n', "edgehar.toml has no setting 'plugin' (did you mean 'plugins'?)"),
    ('[plugins]\nfile = []\n', "[plugins] of edgehar.toml has no setting 'file' (did you mean 'files'?)"),
    ('[plugins]\nfiles = "mine.py"\n', "it must be a list of distinct texts"),
    ('plugins = 3\n', "it must be a table of settings"), ('[plugins\n', "edgehar.toml"),
])
def test_a_project_file_that_says_something_else_is_refused(write: Write, capsys, text: str, told: str) -> None:
    Path("edgehar.toml").write_text(text, encoding="utf-8")
    assert told in said(capsys, "datasets", 2)


def test_a_module_is_named_as_python_imports_it(write: Write, capsys, monkeypatch, tmp_path: Path) -> None:
    write("shop/__init__.py", text="")
    write("shop/helpers.py", text='TITLE = "From a package"\n')
    write("shop/mine.py", 'title, licence, citation = "Mine"', 'title, licence, citation = TITLE',
          "from edgehar import Dataset", "from shop.helpers import TITLE\nfrom edgehar import Dataset")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    assert "From a package" in said(capsys, "datasets mine --plugin shop.mine")
    assert "is no plug-in" in said(capsys, "datasets mine --plugin shop.helpers", 2)
    assert "there is no file and no module of that name" in said(capsys, "datasets mine --plugin shop.nothing", 2)


def test_the_line_is_sorted_and_nothing_else_is_touched() -> None:
    assert plugins_first(["run", "x", "--plugin", "a.py", "-v", "--plugin=b.py", "--", "--plugin", "c"]) == [
        "--plugin", "a.py", "--plugin=b.py", "run", "x", "-v", "--", "--plugin", "c"]
    assert plugins_first(["run", "--plugin"]) == ["--plugin"]


def test_a_plugin_without_a_file_is_refused(write: Write, capsys) -> None:
    assert "'--plugin' requires an argument" in said(capsys, "datasets --plugin", 2)


def test_a_run_keeps_the_line_with_its_plugin(write: Write, monkeypatch, capsys) -> None:
    kept = []
    monkeypatch.setattr("edgehar.cli.datasets._show_all", lambda facts: kept.append(typed_line(
        __import__("click").get_current_context())))
    path = write().resolve()
    said(capsys, "datasets --plugin %s" % path)
    assert kept == ["edgehar datasets --plugin mine.py"]


# ------------------------------------------------------------------ at fault


@pytest.mark.parametrize("name, text, told", [
    ("nowhere.py", None, "nowhere.py is no plug-in: there is no such file"),
    ("mine.pyy", "x", "mine.pyy is no plug-in: it is no Python file; name it mine.py."),
    ("mine.py", "import os\n", "is no plug-in: it has no class for edgehar; derive one public class from one of them "
                               "(Backend, Dataset, Distiller, Disturbance, Meter, Model, "
                               "Personaliser, Scenario, Sink, Source)"),
    ("mine.py", "class (\n", "mine.py cannot be loaded (SyntaxError: "),
    ("datasets/mine.py", "class (\n", "mine.py cannot be loaded (SyntaxError: "),
    ("datasets/mine.py", "\nimport no_such_package\n",
     "mine.py cannot be loaded (ModuleNotFoundError: No module named 'no_such_package', line 2); fix it"),
    ("datasets/mine.py", "import sys\nsys.exit(3)\n", "mine.py cannot be loaded (SystemExit: 3, line 2); fix it"),
    ("datasets/mine.py", "x = 1\n", "must define exactly one public Dataset class; it defines 0"),
])
def test_what_cannot_be_loaded_says_why(write: Write, capsys, name: str, text: str, told: str) -> None:
    if text is not None:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    assert told in said(capsys, "datasets mine --plugin " + name, 2)


@pytest.mark.parametrize("taken, where", [("wisdm", "edgehar"), ("mine", "mine.py")])
def test_a_taken_name_is_refused(write: Write, capsys, taken: str, where: str) -> None:
    write()
    write("other/%s.py" % taken)
    told = said(capsys, "datasets %s --plugin mine.py --plugin other/%s.py" % (taken, taken), 2)
    assert "has a name that is taken: there is a dataset '%s' already, in " % taken in told and where in told
    assert "Mine" in said(capsys, "datasets mine --plugin mine.py --plugin ./mine.py"), "the same file twice is one"


@pytest.mark.parametrize("spec, told", [
    ("mine:minutes=long", "option minutes of dataset 'mine' must be a number, not 'long'"),
    ("mine:skip_bad=3", "must be true or false"),
    ("mine:minuts=1", "dataset 'mine' has no option 'minuts' (did you mean 'minutes'?)"),
])
def test_options_are_checked_by_what_the_plugin_declares(write: Write, capsys, spec: str, told: str) -> None:
    write()
    assert told in said(capsys, "split %s --plugin mine.py" % spec, 2)


def test_an_option_that_lacks_is_named(write: Write, capsys) -> None:
    write("mine.py", "root=None, skip_bad: bool = False, minutes: float = 0.5",
          "minutes: float, root=None, skip_bad: bool = False")
    told = said(capsys, "split mine --plugin mine.py", 2)
    assert "dataset 'mine' needs minutes; write mine:minutes=MINUTES" in told


FAULTS = [
    (("person, \"one\")", "NAMES[person], \"one\")"), "NameError: name 'NAMES' is not defined"),
    (("draw, count = ", "draw, count = {}['ankle'], 1 or "), "KeyError: 'ankle'"),
    (("{\"activity\": labels}", "{\"activity\": labels.nonsense}"), "AttributeError: "),
    (("return Split(\"mine\"", "return Split(1 / 0"), "ZeroDivisionError: "),
]


@pytest.mark.parametrize("changes, told", FAULTS)
def test_a_fault_in_a_plugin_is_told_with_file_and_line(write: Write, capsys, changes, told: str) -> None:
    path = write("mine.py", *changes)
    line = 1 + next(number for number, text in enumerate(path.read_text().splitlines()) if changes[1] in text)
    found = said(capsys, "datasets mine --check --plugin mine.py", 2)
    assert "there is a fault in the plug-in mine.py line %d (%s" % (line, told) in found


@pytest.mark.parametrize("changes, told", [
    (("    def recordings(self):", "    def records(self):"), "dataset 'mine' (mine.py) lacks recordings() of Dataset"),
    (("rate_hz, window, hop, max_gap_s = 25.0, 64, 32, 0.2", "rate_hz, hop, max_gap_s = 25.0, 32, 0.2"),
     "dataset 'mine' (mine.py) lacks window; give it a value in the class, as `window = ...`."),
    (("self.minutes = minutes", "self.minutes = int('x' + str(minutes))"),
     "dataset 'mine' cannot use its options (invalid literal for int() with base 10: 'x0.5', mine.py line 19); "),
])
def test_what_lacks_in_a_plugin_is_named(write: Write, capsys, changes, told: str) -> None:
    write("mine.py", *changes)
    assert told in said(capsys, "datasets mine --plugin mine.py", 2)


def test_a_fault_that_a_plugin_may_have_caused_elsewhere_names_it(write: Write, capsys) -> None:
    write("mine.py", "channels = triad(\"acc\", \"m/s^2\", \"wrist\")", "channels = 7")
    told = said(capsys, "datasets mine --plugin mine.py", 1)
    assert "this is a fault of edgehar, or of what mine.py gives to it (TypeError: " in told


def test_debug_shows_the_traceback(write: Write, capsys) -> None:
    write("mine.py", *FAULTS[1][0])
    assert "Traceback" in said(capsys, "datasets mine --check --plugin mine.py --debug", 2)


def test_a_fault_of_edgehar_is_not_laid_at_the_door_of_a_plugin_of_another_line(write: Write, capsys,
                                                                               monkeypatch) -> None:
    write()
    said(capsys, "datasets mine --plugin mine.py")
    monkeypatch.setattr("edgehar.cli._corpora.corpus_facts", lambda *given: 1 / 0)
    assert "this is a fault of edgehar (ZeroDivisionError: " in said(capsys, "datasets", 1)
