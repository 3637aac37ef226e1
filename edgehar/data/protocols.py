"""How the subjects of a corpus are divided: protocol and its options -> Split.

::

    own                                             the corpus' documented split
    folds:n=5,fold=1                                leave a fifth of the subjects out, five times
    leave-one-out:person=3                          one subject is tested on
    placement-shift:train=torso+left-arm,test=left-leg    other subjects, and the sensor worn elsewhere
    session-shift:train=S01*+S02*,test=S05*         other subjects, and other sessions
    in-time:person=U0209                            one subject, each session trained on early, tested on later
    paper-random:seed=0                             LEAKS: windows shuffled, as many papers do

Test subjects are nobody's training or validation subjects, but under ``in-time``, for corpora
of which one subject is found, and ``paper-random``, which is there to show what leakage
is worth; whatever comes of them is marked.
"""

from __future__ import annotations

import inspect
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Tuple

from edgehar.data.people import people_named
from edgehar.data.splits import Split, require_apart
from edgehar.errors import InputError
from edgehar.nearest import did_you_mean
from edgehar.registry import parse_spec, quoted

OWN = "own"


class People(NamedTuple):
    """Who a corpus has. own: its documented split; aliases, together: as in ``splits.require_apart``."""

    own: Split
    aliases: Mapping[str, str]
    together: Sequence[Sequence[str]]

    def units(self) -> List[Tuple[str, ...]]:
        """Everybody in natural order, as groups that stay in one part."""
        groups = {name: tuple(group) for group in self.together for name in group}
        everybody = sorted(self.own.people, key=lambda name: (len(name), name))
        return list(dict.fromkeys(groups.get(name, (name,)) for name in everybody))


def make_split(protocol: str, people: People) -> Split:
    """The Split that `protocol` names, e.g. ``folds:n=5,fold=1``.

    Raises InputError for an unknown protocol or option, or one the corpus has too few subjects for.
    """
    name = parse_spec(protocol)[0]
    maker = PROTOCOLS.get(name.replace("_", "-"))
    if maker is None:
        raise InputError("there is no protocol '%s'%s; choose from: %s." % (
            name, did_you_mean(name, PROTOCOLS), ", ".join(PROTOCOLS)))
    options = parse_spec(protocol, maker)[1]  # where a name is text, whatever it looks like
    allowed = list(inspect.signature(maker).parameters)[1:]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise InputError("protocol %s has no option '%s'; it takes: %s." % (
            name, unknown[0], ", ".join(allowed) or "none"))
    try:
        split = maker(people, **options)
    except TypeError as error:
        raise InputError("protocol %s cannot use its options (%s); it takes: %s." % (
            name, error, ", ".join(allowed))) from error
    require_apart(split, people.aliases, people.together)
    return split


def every_fold(protocol: str, people: People) -> List[str]:
    """`protocol` alone, or each of its folds, or each subject of ``leave-one-out``, where it names none."""
    name, options = parse_spec(protocol)
    n = options.get("n", 5 if name == "folds" else 0)
    if n and "fold" not in options:
        whole = protocol if "n" in options else "%s:n=%d" % (name, n)
        return ["%s,fold=%d" % (whole, fold) for fold in range(1, n + 1 if isinstance(n, int) else 2)]
    if name.replace("_", "-") == "leave-one-out" and "person" not in options:
        return ["leave-one-out:person=%s" % quoted(unit[0], declared=True) for unit in people.units()]
    return [protocol]


def own(people: People) -> Split:
    """The split that the corpus or edgehar documents for it."""
    return people.own


def folds(people: People, n: int = 5, fold: int = 1) -> Split:
    """Of `n` groups of subjects, `fold` (from 1) is tested on, the next is selected on, the rest trained on."""
    units = people.units()
    if not (isinstance(n, int) and isinstance(fold, int) and 3 <= n <= len(units) and 1 <= fold <= n):
        raise InputError("%s cannot be divided by folds:n=%s,fold=%s; n is 3 to %d (its people) and fold 1 to n." % (
            people.own.dataset, n, fold, len(units)))
    groups = [_flat(units[group::n]) for group in range(n)]
    test, valid = groups[fold - 1], groups[fold % n]
    train = _flat([unit for unit in units if not set(unit) & set(test + valid)])
    return Split(people.own.dataset, "folds:n=%d,fold=%d" % (n, fold), train, valid, test)


def leave_one_out(people: People, person: str = "") -> Split:
    """`person` (with whoever shares recordings) is tested on; a fifth of the others, the next in order, selected on."""
    units = people.units()
    meant = people_named(person, _flat(units))
    test = next((unit for unit in units if len(meant) == 1 and meant[0] in unit), None)
    if test is None:
        raise InputError("%s has no subject '%s' to leave out; there are: %s." % (
            people.own.dataset, person, ", ".join(_flat(units))))
    others = units[units.index(test) + 1:] + units[:units.index(test)]
    selected = others[:max(1, len(others) // 5)]
    train, valid = (_flat([unit for unit in units if unit in chosen]) for chosen in (
        others[len(selected):], selected))
    return Split(people.own.dataset, "leave-one-out:person=%s" % "+".join(test), train, valid, test)


def placement_shift(people: People, train: str, test: str, n: int = 0, fold: int = 1) -> Split:
    """Trained and selected on sensors at `train`, tested on sensors at `test`; subjects by its own split or folds."""
    places = {"train": _listed(train), "valid": _listed(train), "test": _listed(test)}
    return _shifted(people, "placement-shift:train=%s,test=%s" % (train, test), n, fold, placements=places)


def session_shift(people: People, train: str, test: str, n: int = 0, fold: int = 1) -> Split:
    """Trained and selected on sessions like `train`, tested on sessions like `test`; subjects as above."""
    patterns = {"train": _listed(train), "valid": _listed(train), "test": _listed(test)}
    return _shifted(people, "session-shift:train=%s,test=%s" % (train, test), n, fold, sessions=patterns)


def in_time(people: People, person: str = "") -> Split:
    """`person` trains with the first 60 % of each session, selects with the next 20 and is tested on the last 20."""
    everybody = _flat(people.units())
    meant = tuple(people_named(person, everybody))
    if len(meant) != 1:
        raise InputError("%s has no subject '%s' to divide in time; there are: %s." % (
            people.own.dataset, person, ", ".join(everybody)))
    return Split(people.own.dataset, "in-time:person=%s" % meant[0], meant, meant, meant, in_time=True)


def paper_random(people: People, seed: int = 0) -> Split:
    """LEAKS: everybody's overlapping windows shuffled and dealt 60/20/20, as in many papers."""
    if not isinstance(seed, int) or seed < 0:
        raise InputError("paper-random has seed=%s; it must be a whole number from 0 on." % seed)
    everybody = _flat(people.units())
    return Split(people.own.dataset, "paper-random:seed=%d" % seed, everybody, everybody, everybody,
                 shuffle_seed=seed)


def _shifted(people: People, name: str, n: int, fold: int, placements: Mapping[str, Tuple[str, ...]] = {},
             sessions: Mapping[str, Tuple[str, ...]] = {}) -> Split:
    base = folds(people, n, fold) if n else people.own
    return Split(base.dataset, "%s,n=%d,fold=%d" % (name, n, fold) if n else name, base.train, base.valid, base.test,
                 placements, sessions)


def _flat(units: Sequence[Sequence[str]]) -> Tuple[str, ...]:
    return tuple(name for unit in units for name in unit)


def _listed(text: Any) -> Tuple[str, ...]:
    return tuple(part for part in str(text).split("+") if part)


PROTOCOLS: Dict[str, Callable[..., Split]] = {
    OWN: own, "folds": folds, "leave-one-out": leave_one_out, "placement-shift": placement_shift,
    "session-shift": session_shift, "in-time": in_time, "paper-random": paper_random}
