"""What a plug-in tells of itself: what it is, and the options that a spec may give it.

All of it is read from docstrings and signatures, so that nothing is written twice. A
docstring tells of options as this one does of `name`::

    name, other: what they are. third: what that is.

at the beginning of a sentence; the docstring of the class counts first, then those of the
classes it is derived from, then the module's.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from edgehar.registry import PLAIN, TOLD, Registry, plain_kinds


class Option(NamedTuple):
    """What a spec may set. default: None where it is needed, or stands for a choice of the plug-in's own."""

    name: str
    kind: str
    default: Any
    needed: bool
    told: str


class Manual(NamedTuple):
    """title: one sentence. text: paragraphs that follow it; one that begins with a space is to stand as it is."""

    name: str
    title: str
    text: Tuple[str, ...]
    options: Tuple[Option, ...]

    def to_json(self) -> Dict[str, Any]:
        """For scripts."""
        return dict(self._asdict(), text=list(self.text), options=[each._asdict() for each in self.options])


def title_of(registry: "Registry[Any]", name: str) -> str:
    """The first sentence of the plug-in's file, which is not imported; what is wrong with a file that is none."""
    path = registry.path(name)
    try:
        told = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError) as error:
        return "cannot be read: %s" % " ".join(str(error).split())
    return _first_sentence(told or "")


def manual_of(registry: "Registry[Any]", name: str, given: Sequence[str] = ()) -> Manual:
    """All that the plug-in tells of itself; `given` are parameters that no spec sets.

    Raises InputError for an unknown name or a plug-in that cannot be loaded.
    """
    kind = registry.kind(name)
    parameters = inspect.signature(kind).parameters
    docs = _docs_of(kind)
    told: Dict[str, str] = {}
    for doc in docs:
        for key, text in _sayings(doc, list(parameters)).items():
            told.setdefault(key, text)
    options = [Option(key, _kind_of(each), None if each.default is each.empty else each.default,
                      each.default is each.empty, told.get(key, ""))
               for key, each in parameters.items() if key not in given and each.name != "self"
               and plain_kinds(each.annotation) is not None and each.kind is each.POSITIONAL_OR_KEYWORD]
    own, module = docs[0], docs[-1]
    title = _first_sentence(module) or _first_sentence(own)
    prose = [*_prose(module, list(parameters)), *_prose(own, list(parameters))]
    return Manual(name.replace("_", "-"), title, tuple(each for each in prose if each != title), tuple(options))


def _docs_of(kind: type) -> List[str]:
    """Docstrings of the class, of those it is derived from and of how these are made, and last of its module."""
    found = [inspect.cleandoc(kind.__dict__.get("__doc__") or "")]
    for each in kind.__mro__:
        if each.__module__.split(".")[0] in ("builtins", "abc", "torch", "typing"):
            continue
        if each is not kind:
            found.append(inspect.cleandoc(each.__dict__.get("__doc__") or ""))
        found.append(inspect.cleandoc(getattr(each.__dict__.get("__init__"), "__doc__", None) or ""))
    return [*found, inspect.cleandoc(inspect.getmodule(kind).__doc__ or "")]


def _first_sentence(doc: str) -> str:
    return " ".join(doc.split("\n\n")[0].split())


def _paragraphs(doc: str) -> Iterator[str]:
    """Each on one line; what is indented as it stands, without the mark that announces it."""
    for block in re.split(r"\n\s*\n", doc):
        if block.startswith(" "):
            yield textwrap.indent(textwrap.dedent(block), "  ")
        elif block.strip() not in ("", "::"):
            yield re.sub(r"``?", "`", " ".join(block.split())).replace("::", ":")


def _saying(names: Sequence[str]) -> "re.Pattern[str]":
    """Where a sentence begins that tells of some of `names`."""
    one = r"(?:%s)(?: \([^)]*\))?" % "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    return re.compile(r"(?:^|(?<=[.;] ))(%s(?:(?:, | and )%s)*): " % (one, one))


def _sayings(doc: str, names: Sequence[str]) -> Dict[str, str]:
    """{option: what is said of it}."""
    found: Dict[str, str] = {}
    for paragraph in _paragraphs(doc) if names else ():
        marks = list(_saying(names).finditer(paragraph))
        for mark, after in zip(marks, [*marks[1:], None]):
            text = paragraph[mark.end():after.start() if after else None].strip().rstrip(";.")
            for remark in re.finditer(r"(\w+)(?: \(([^)]*)\))?", re.sub(r" and (?=\w+)", ", ", mark.group(1))):
                key, aside = remark.groups()
                if key in names:
                    found[key] = "%s%s" % (text, " (%s)" % aside if aside else "")
    return found


def _prose(doc: str, names: Sequence[str]) -> List[str]:
    """The paragraphs without what they say of options."""
    if not names:
        return list(_paragraphs(doc))
    found = []
    for paragraph in _paragraphs(doc):
        mark = None if paragraph.startswith(" ") else _saying(names).search(paragraph)
        found.append(paragraph[:mark.start()].strip() if mark else paragraph)
    return [each for each in found if each]


def _kind_of(parameter: inspect.Parameter) -> str:
    kinds = plain_kinds(parameter.annotation) or ()
    if not kinds and parameter.default not in (None, parameter.empty):
        kinds = tuple(each for each in PLAIN if type(parameter.default) is each)
    return " or ".join(TOLD[each] for each in kinds) or "text"
