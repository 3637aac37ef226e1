"""The pattern that the names of many files follow, and what the parts that vary in it seem to stand for."""

from __future__ import annotations

import re
from collections import Counter
from typing import Dict, List, NamedTuple, Sequence, Tuple

TOKEN = re.compile(r"\d+|[A-Za-z]+|[^A-Za-z\d]")
HINTS = {
    "subject": ("subject", "subj", "user", "person", "participant", "people", "proband", "volunteer", "pid", "id", "p",
                "u", "sub"),
    "session": ("session", "sess", "exp", "experiment", "trial", "run", "recording", "rec", "day", "s"),
    "label": ("activity", "act", "label", "class", "gesture", "a"),
    "part": ("part", "segment", "seg", "chunk", "s")}
SENSORS = {"acc", "accel", "accelerometer", "gyro", "gyr", "gyroscope", "mag", "magnetometer", "atr"}
PLACES = {"watch", "phone", "wrist", "waist", "chest", "ankle", "hip", "arm", "leg", "hand", "pocket", "thigh", "head"}
ACTIVITIES = re.compile(r"(?i)(walk|run|jog|sit|stand|lie|lying|stair|cycl|bik|jump|rest|still|climb|sleep|drive)\w*")


class Names(NamedTuple):
    """pattern: a regular expression with groups; values: {group: what it takes}; doubts: questions; files: that fit."""

    pattern: str
    values: Dict[str, List[str]]
    doubts: List[str]
    files: List[str]


def names_of(files: Sequence[str]) -> Names:
    """The pattern of most of `files`, paths with ``/``."""
    kinds = {name: _kind(name) for name in files}
    commonest = Counter(kinds.values()).most_common(1)[0][0]
    chosen = [name for name in files if kinds[name] == commonest]
    columns = list(zip(*(TOKEN.findall(name) for name in chosen)))
    groups, doubts = _groups(columns)
    pieces: List[str] = []
    seen: Dict[str, Tuple[str, ...]] = {}
    for place, column in enumerate(columns):
        name = groups.get(place, "")
        earlier = next((key for key, values in seen.items() if values == column), "")
        if earlier:
            pieces.append("(?P=%s)" % earlier)
        elif name:
            seen[name] = column
            pieces.append("(?P<%s>%s)" % (name, _shape(column)))
        else:
            pieces.append(re.escape(column[0]) if len(set(column)) == 1 else _shape(column))
    values = {name: sorted(set(column)) for name, column in seen.items()}
    return Names("".join(pieces).replace("\\_", "_").replace("\\-", "-").replace("\\ ", " "), values, doubts, chosen)


def _kind(name: str) -> str:
    """The shape of a name: digits and words are each one, what stands between them is itself."""
    return "".join("0" if token.isdigit() else "a" if token.isalpha() else token for token in TOKEN.findall(name))


def _shape(column: Sequence[str]) -> str:
    if all(token.isdigit() for token in column):
        return r"\d+"
    words = sorted(set(column))
    return "|".join(words) if len(words) < 8 else "[A-Za-z]+"


def _groups(columns: Sequence[Tuple[str, ...]]) -> Tuple[Dict[int, str], List[str]]:
    """{place: name of its group} of the places that vary, and questions on those whose words tell nothing."""
    varying = [place for place, column in enumerate(columns) if len(set(column)) > 1]
    found: Dict[int, str] = {}
    doubts: List[str] = []
    distinct: Dict[Tuple[str, ...], int] = {}
    for place in varying:
        if columns[place] in distinct:
            continue
        distinct[columns[place]] = place
        words = {token.lower() for token in columns[place]}
        name = "sensor" if words <= SENSORS else "placement" if words <= PLACES else ""
        if 2 * sum(map(bool, map(ACTIVITIES.fullmatch, words))) >= len(words):
            name = "label"
        before = next((columns[k][0].lower() for k in range(place - 1, -1, -1) if columns[k][0].isalpha()
                       and "/" not in "".join(column[0] for column in columns[k:place])), "")
        name = name or next((each for each, hints in HINTS.items() if before in hints
                             and each not in found.values()), "")
        if name and name not in found.values():
            found[place] = name
    left = [place for place in distinct.values() if place not in found]
    for place in left:
        name = next((each for each in ("subject", "session", "part") if each not in found.values()), "")
        if name:
            found[place] = name
            doubts.append("is '%s' in the names of the files the %s?" % (columns[place][0], name))
    return found, doubts
