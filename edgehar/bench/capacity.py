"""How many windows a second an engine takes while its 99th percentile keeps to a bound.

Each rate is tried by the scenario `server`: arrivals at random, latency from when each
was due. The first is a quarter of what the engine does back to back; rates are doubled
until one is not kept, and then halved between, by ratio.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from edgehar.bench.scenarios import load_scenario
from edgehar.bench.scenarios.base import Trial
from edgehar.errors import ConstraintError
from edgehar.results.people import Interval
from edgehar.results.percentiles import least_values, percentile_interval
from edgehar.results.runs import OVERLOADED

BEGINNING = 0.25  # of the rate back to back
LEAST = 1 / 64  # of the first rate, below which the search ends
CLOSE = 1.05  # ratio of a rate that is not kept to one that is, at which the search ends
MOST_TRIALS = 24
KEPT, BROKEN, UNTOLD = "kept", "not kept", "inconclusive"


class Tried(NamedTuple):
    """One rate. p99_s: with its 95 % interval, None where too few windows were answered to tell; verdict: KEPT, ..."""

    rate_hz: float
    p99_s: Optional[Interval]
    verdict: str

    def to_json(self) -> Dict[str, Any]:
        """As a dict."""
        return dict(self._asdict(), p99_s=self.p99_s and self.p99_s._asdict())


def find_max_rate(trial: Trial, p99_s: float, duration_s: float,
                  tell: Callable[[Tried], Any] = lambda tried: None) -> List[Tried]:
    """Every rate that was tried, in order; the largest that is KEPT is what the engine takes.

    A rate is KEPT where the whole interval of its percentile lies within `p99_s`; what
    cannot be told counts as not kept. duration_s: of a trial, longer where the percentile
    takes more windows. Raises ConstraintError where not even the lowest rate is kept.
    """
    found: List[Tried] = []
    kept_hz, broken_hz = 0.0, math.inf
    rate_hz = first_hz = BEGINNING / _service_s(trial)
    while len(found) < MOST_TRIALS and broken_hz > CLOSE * kept_hz:
        found.append(_tried(trial, rate_hz, p99_s, duration_s))
        tell(found[-1])
        if found[-1].verdict == KEPT:
            kept_hz = rate_hz
        else:
            broken_hz = rate_hz
        if not kept_hz and rate_hz <= LEAST * first_hz:
            break
        rate_hz = _next(kept_hz, broken_hz)
    if not kept_hz:
        raise ConstraintError("%s keeps its 99th percentile within %g ms at no rate, down to %.3g windows a second; "
                              "allow more, use a smaller model, or close other programs." % (
                                  trial.engine.manifest.name, 1e3 * p99_s, found[-1].rate_hz))
    return found


def max_rate_hz(found: List[Tried]) -> float:
    """The largest rate that was kept."""
    return max(each.rate_hz for each in found if each.verdict == KEPT)


def _next(kept_hz: float, broken_hz: float) -> float:
    if not kept_hz:
        return broken_hz / 2
    return 2 * kept_hz if math.isinf(broken_hz) else math.sqrt(kept_hz * broken_hz)


def _service_s(trial: Trial) -> float:
    """Median seconds of a call, back to back."""
    found = load_scenario("single_stream:warmup_s=0.2,duration_s=0.5").measure(trial)
    return next(each for each in found.measurements if each.name == "latency").median


def _tried(trial: Trial, rate_hz: float, p99_s: float, duration_s: float) -> Tried:
    longest_s = max(duration_s, 1.2 * least_values(99) / rate_hz)
    settings: Dict[str, Any] = {"rate_hz": rate_hz, "duration_s": longest_s, "warmup_s": 0.5}
    found = replace(load_scenario("server"), **settings).measure(trial)
    latency = next(each for each in found.measurements if each.name == "latency")
    interval = percentile_interval(latency.values, 99)
    if any(warning.kind == OVERLOADED for warning in found.warnings):
        return Tried(rate_hz, interval, BROKEN)
    if interval is None:
        return Tried(rate_hz, None, UNTOLD)
    return Tried(rate_hz, interval, KEPT if interval.high <= p99_s else BROKEN if interval.low > p99_s else UNTOLD)
