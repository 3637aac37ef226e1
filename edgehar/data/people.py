"""Subjects are named by text: which names are alike, and who of a corpus is in no part of its split."""

from __future__ import annotations

import re
import unicodedata
from typing import Callable, Dict, Iterable, List, Mapping, Sequence


def plain_name(name: str) -> str:
    """What names have in common that differ only by case, blanks, leading zeros or Unicode form."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")  # U+200B: no eye sees it
    return re.sub(r"0*(\d+)", r"\1", " ".join(text.split()))


def people_named(given: str, names: Iterable[str]) -> List[str]:
    """Whom of `names` `given` means: the very name, else those that are alike, such as 05 for 5."""
    names = list(names)
    return [given] if given in names else [name for name in names if plain_name(name) == plain_name(given)]


def alike(names: Iterable[str], aliases: Mapping[str, str], where: str, known: Sequence[str] = (),
          form: str = "aliases = {%s: %s}") -> List[str]:
    """A sentence for each two names that may be one subject and of which `aliases` does not say so.

    aliases: {another name: the person}; a name that stands for itself is a person of its
    own. known: names that are a person's own, rather than another one. form: how one writes
    that the first name is the second's.
    """
    groups: Dict[str, List[str]] = {}
    for name in sorted(set(names), key=lambda name: (name not in known, name)):
        groups.setdefault(plain_name(name), []).append(name)
    found = []
    for group in groups.values():
        people = list(dict.fromkeys(aliases.get(name, name) for name in group))
        unsaid = [name for name in people if name not in aliases]
        if len(people) > 1 and len(unsaid) > 1:
            one, other = map(_shown(unsaid), unsaid[:2])
            found.append("%s names %s and %s, which differ only by case, blanks, leading zeros or Unicode form; say "
                         "by its aliases whether they are one subject, as in %s, or two, as in %s." % (
                             where, one, other, form % (other, one), form % (other, other)))
    return found


def _shown(names: Sequence[str]) -> Callable[[str], str]:
    """How to write `names` so that one tells them apart: those that look the same by the numbers of their letters."""
    looks = {unicodedata.normalize("NFKC", name) for name in names}
    return repr if len(looks) == len(names) else ascii


def outside(people: Iterable[str], split: Sequence[str], left_out: Sequence[str], where: str) -> List[str]:
    """A sentence where `people` who have recordings are in no part of the `split`, and not among those `left_out`."""
    strangers = sorted(set(people) - set(split) - set(left_out), key=lambda name: (len(name), name))
    if not strangers:
        return []
    shown = ", ".join(map(repr, strangers[:8])) + (" and %d more" % (len(strangers) - 8) if len(strangers) > 8 else "")
    return ["%s has recordings of %s, who %s in no part of its split; put them into train, valid or test, or name them "
            "in its left_out." % (where, shown, "is" if len(strangers) == 1 else "are")]
