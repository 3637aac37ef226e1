"""Limits that a certificate has to keep, written as TOML, and whether it does.

::

    task = "activity"              # every task that the model decides, unless one is named
    judged_by = "value"            # or "interval": then its worse end has to keep the limit

    [undisturbed]
    min_macro_f1 = 0.75
    min_worst_person = 0.6

    [rotation]
    up_to = 30                     # the strengths from the mildest to this one; all unless given
    max_drop = 0.05                # of macro-F1, below that of the undisturbed signal

    [unknown]
    max_confidence = 0.6
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from edgehar.errors import AccuracyError, InputError
from edgehar.files import PathLike, read_toml
from edgehar.results.certificate import UNDISTURBED, Certificate, CertificateRow, Unknown
from edgehar.settings import Kind, TEXT, number_kind, require_settings

UNKNOWN = "unknown"
VALUE, INTERVAL = "value", "interval"
_SHARE = number_kind(float, least=0, most=1)
LIMITS = {"min_macro_f1": _SHARE, "max_drop": _SHARE, "min_worst_person": _SHARE, "min_worst_class": _SHARE,
          "max_calibration_error": _SHARE, "min_answered": _SHARE}
OF_DISTURBANCES = {"up_to": number_kind(float, above=0), **LIMITS}
OF_UNKNOWN = {"max_confidence": _SHARE, "min_told_apart": _SHARE}
_TABLE = Kind("a table of limits", lambda value: isinstance(value, dict))

Figures = Tuple[Optional[float], Optional[float], Optional[float]]  # value, low, high


class Breach(NamedTuple):
    """One limit that is not kept. found: None where it was not measured."""

    task: str
    what: str
    limit: str
    bound: float
    found: Optional[float]

    def __str__(self) -> str:
        told = "was not measured" if self.found is None else "is %.3f" % self.found
        return "%s of %s (%s) %s and %s is %g" % (_in_words(self.limit[4:]), self.what, self.task, told,
                                                 "the least" if self.limit.startswith("min") else "the most",
                                                 self.bound)


def _in_words(figure: str) -> str:
    return figure.replace("macro_f1", "macro-F1").replace("_", " ")


class Limits(NamedTuple):
    """tables: {"undisturbed", a disturbance or "unknown": its limits}; task: empty for all; judged_by: see above."""

    tables: Mapping[str, Mapping[str, float]]
    task: str = ""
    judged_by: str = VALUE

    @classmethod
    def load(cls, path: PathLike) -> "Limits":
        """Read a TOML file. Raises InputError for one that holds no limit, or a setting that means nothing."""
        return cls.from_table(read_toml(path), str(path))

    @classmethod
    def from_table(cls, table: Mapping[str, Any], where: str) -> "Limits":
        """As `load`, of what stood in the file `where`."""
        tables = {name: each for name, each in table.items() if isinstance(each, dict)}
        judged_by = Kind('"value" or "interval"', lambda value: value in (VALUE, INTERVAL))
        require_settings(dict(table), {"task": TEXT, "judged_by": judged_by, **dict.fromkeys(tables, _TABLE)}, where)
        for name, each in tables.items():
            known = LIMITS if name == UNDISTURBED else OF_UNKNOWN if name == UNKNOWN else OF_DISTURBANCES
            require_settings(each, known, "[%s] of %s" % (name, where))
        if not any(set(each) - {"up_to"} for each in tables.values()):
            raise InputError("%s sets no limit; write a table such as [undisturbed] with min_macro_f1 = 0.7." % where)
        return cls(tables, table.get("task", ""), table.get("judged_by", VALUE))

    def to_json(self) -> Dict[str, Any]:
        """As the file has it."""
        return {**{name: dict(each) for name, each in self.tables.items()}, "task": self.task,
                "judged_by": self.judged_by}


def breaches(certificate: Certificate, limits: Limits) -> List[Breach]:
    """The limits that `certificate` does not keep, or says nothing about; none where it keeps all.

    Raises InputError for a task that its model does not decide, or a strength that was not measured.
    """
    tasks = [limits.task] if limits.task else sorted(certificate.rows)
    if set(tasks) - set(certificate.rows):
        raise InputError("the limits are for task '%s', which %s does not decide; there are: %s." % (
            limits.task, certificate.artifact, ", ".join(sorted(certificate.rows))))
    return [each for task in tasks for name, table in limits.tables.items()
            for each in _of_table(certificate, task, name, table, limits.judged_by)]


def require_kept(broken: Sequence[Breach], artifact: str) -> None:
    """Raise AccuracyError for the first limit that the model of that name does not keep."""
    if broken:
        raise AccuracyError("%s does not keep its limits: %s%s; train with a recipe that withstands it, or change the "
                            "limit." % (artifact, str(broken[0]), ", and %d more" % (len(broken) - 1)
                                        if len(broken) > 1 else ""))


def _of_table(certificate: Certificate, task: str, name: str, table: Mapping[str, float],
              judged_by: str) -> List[Breach]:
    bounds = {limit: bound for limit, bound in table.items() if limit != "up_to"}
    found: Sequence[Union[CertificateRow, Unknown]] = certificate.of(task, name)
    if name == UNKNOWN:
        found = [certificate.unknown[task]] if task in certificate.unknown else []
    elif "up_to" in table:
        found = _up_to(certificate.of(task, name), table["up_to"], name)
    if not found:
        return [Breach(task, name, limit, bound, None) for limit, bound in bounds.items()]
    return [Breach(task, _told(name, each), limit, bound, value) for each in found
            for limit, bound in bounds.items()
            for value in [_judged(each, limit, judged_by)] if not _keeps(value, limit, bound)]


def _up_to(found: Sequence[CertificateRow], strength: float, name: str) -> Sequence[CertificateRow]:
    """Those from the mildest to `strength`, of either sign."""
    sizes = [abs(each.strength) if each.strength is not None else None for each in found]
    if found and strength not in sizes:
        raise InputError("the limits for %s go up to %g and it was measured at %s; name one of these." % (
            name, strength, ", ".join("%g" % size for size in dict.fromkeys(sizes) if size is not None) or
            "no strength that has an order"))
    last = max((place for place, size in enumerate(sizes) if size == strength), default=-1)
    return found[:last + 1]


def _told(name: str, each: Union[CertificateRow, Unknown]) -> str:
    label = each.label if isinstance(each, CertificateRow) else "movements"
    return ("%s %s" % (name, label)).strip()


def _judged(each: Union[CertificateRow, Unknown], limit: str, judged_by: str) -> Optional[float]:
    """The figure that `limit` is about; where judged by its interval, the worse end, if it has one."""
    kind, figures = limit[:3], _figures(each, limit[4:])
    if judged_by == INTERVAL and None not in figures:
        return figures[1] if kind == "min" else figures[2]
    return figures[0]


def _figures(each: Union[CertificateRow, Unknown], name: str) -> Figures:
    if isinstance(each, Unknown):
        return _three(each.confidence if name == "confidence" else each.told_apart)
    if name == "drop":
        value, low, high = each.change
        return (None if value is None else -value, None if high is None else -high, None if low is None else -low)
    if name in ("macro_f1", "calibration_error"):
        return _three(getattr(each, name))
    single = each.answered if name == "answered" else getattr(each, name)[1]
    return single, None, None


def _three(found: Sequence[Optional[float]]) -> Figures:
    value, low, high = found
    return value, low, high


def _keeps(value: Optional[float], limit: str, bound: float) -> bool:
    if value is None:
        return False
    return value >= bound if limit.startswith("min") else value <= bound
