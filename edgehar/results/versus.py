"""Two engines, or two Runs, against each other: how their times relate, and whether that is told and matters.

::

    ratio of A to B      1 - effect       1        1 + effect
    faster       [--*--]     |            |            |
    equal                    |        [---*---]        |
    inconclusive             |      [-----*------------|----]
    slower                   |            |            |  [--*--]
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import numpy as np

from edgehar.errors import ConstraintError, InconclusiveError, InputError, MismatchError
from edgehar.results.people import Interval
from edgehar.results.runs import Run

EFFECT = 0.02  # a relative difference that matters, unless one says otherwise
BLOCKS = 20  # of calls in order, that stand for what a machine does meanwhile
DRAWS = 4000
FASTER, SLOWER, EQUAL, INCONCLUSIVE = "faster", "slower", "equal", "inconclusive"
ALIKE = ("processor", "board", "cores", "usable_cores", "power_mode", "governor", "gpu_clock_mhz", "architecture")


class Versus(NamedTuple):
    """What one quantity of A is against that of B. ratio: A over B, with its 95 % interval; unit: of a and b."""

    quantity: str
    unit: str
    a: float
    b: float
    ratio: Interval
    verdict: str

    def to_json(self) -> Dict[str, Any]:
        """As a dict."""
        return dict(self._asdict(), ratio=self.ratio._asdict())


def judged(ratio: Interval, effect: float) -> str:
    """What `ratio` allows to say: FASTER or SLOWER where it is away from 1 and matters, EQUAL within `effect`."""
    if ratio.low > 1 and ratio.value >= 1 + effect:
        return SLOWER
    if ratio.high < 1 and ratio.value <= 1 - effect:
        return FASTER
    return EQUAL if ratio.low >= 1 - effect and ratio.high <= 1 + effect else INCONCLUSIVE


def ratio_of_rounds(a: Sequence[float], b: Sequence[float], seed: int = 0) -> Interval:
    """The median over rounds of a / b, both (n,) and measured by turns, with a bootstrap interval over rounds."""
    logs = np.log(np.asarray(a, dtype=np.float64) / np.asarray(b, dtype=np.float64))
    drawn = np.random.default_rng(seed).integers(len(logs), size=(DRAWS, len(logs)))
    return _interval(float(np.median(logs)), np.median(logs[drawn], axis=1))


def compare_timings(a: Run, b: Run, effect: float = EFFECT) -> List[Versus]:
    """Latency, and energy a window where both have it, of two Runs of one scenario on one machine.

    The interval of latency is over blocks of calls in order; what the machine did between
    the two Runs is not in it. Raises MismatchError where machine, power mode, clocks,
    scenario or source differ, InputError where no time was measured.
    """
    _require_comparable(a, b)
    first, second = (_latency(run) for run in (a, b))
    ratio = ratio_of_stretches(first, second)
    found = [Versus("latency, median", "s", float(np.median(first)), float(np.median(second)), ratio,
                    judged(ratio, effect))]
    joules = [_joules(run) for run in (a, b)]
    if all(joules):
        one, other = joules
        assert one is not None and other is not None
        spread = Interval(one.value / other.value, one.low / other.high, one.high / other.low)
        found.append(Versus("energy a window", "J", one.value, other.value, spread, judged(spread, effect)))
    return found


def ratio_of_stretches(a: np.ndarray, b: np.ndarray, seed: int = 0) -> Interval:
    """Median of a (n,) over that of b (m,), with a bootstrap interval over blocks of each, in order."""
    random = np.random.default_rng(seed)
    drawn = [_medians_of_blocks(values, random) for values in (a, b)]
    return _interval(float(np.log(np.median(a) / np.median(b))), np.log(drawn[0] / drawn[1]))


def require_not_slower(found: Sequence[Versus]) -> None:
    """Raise ConstraintError where A is slower or dearer, InconclusiveError where that cannot be told."""
    for kind, verdict, told in ((ConstraintError, SLOWER, "is %.1f %% above B's"),
                                (InconclusiveError, INCONCLUSIVE, "is %.1f %% above B's and may be equal")):
        for each in found:
            if each.verdict == verdict:
                raise kind("%s of A %s (95 %%: %+.1f to %+.1f %%)%s" % (
                    each.quantity, told % (100 * (each.ratio.value - 1)), 100 * (each.ratio.low - 1),
                    100 * (each.ratio.high - 1),
                    "." if kind is ConstraintError else "; measure longer, or both by turns: edgehar bench --ab A B."))


def _medians_of_blocks(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(DRAWS,): medians of as many blocks as there are, drawn with replacement, by their own medians."""
    medians = np.array([np.median(block) for block in np.array_split(values, min(BLOCKS, len(values)))])
    return np.median(medians[random.integers(len(medians), size=(DRAWS, len(medians)))], axis=1)


def _interval(log_ratio: float, logs: np.ndarray) -> Interval:
    low, high = np.percentile(logs, [2.5, 97.5])
    return Interval(float(np.exp(log_ratio)), float(np.exp(low)), float(np.exp(high)))


def _latency(run: Run) -> np.ndarray:
    latency = run.measurement("latency")
    if latency is None or len(latency.values) < BLOCKS:
        raise InputError("%s in %s has %d measured times, too few to compare; measure it with `edgehar bench`." % (
            run.engine.artifact, run.scenario["name"], len(latency.values) if latency else 0))
    return np.asarray(latency.values)


def _joules(run: Run) -> Optional[Interval]:
    figures = run.energy.get("figures") if run.energy else None
    net = figures[0]["net_j"] if figures and not run.energy.get("refusal") else None
    return Interval(**net) if net else None


def _require_comparable(a: Run, b: Run) -> None:
    for what, one, other in (("sources", a.source, b.source), ("scenarios", a.asked, b.asked),
                             *(("settings of the scenario, " + key, a.scenario.get(key), b.scenario.get(key))
                               for key in sorted({*a.scenario, *b.scenario})),
                             ("threads", a.engine.threads, b.engine.threads),
                             *((key.replace("_", " "), a.machine.get(key), b.machine.get(key)) for key in ALIKE)):
        if one != other:
            raise MismatchError("the two were measured with unlike %s (%s and %s), so their times cannot be compared; "
                                "measure both alike, best by turns: edgehar bench --ab A B." % (what, one, other))
