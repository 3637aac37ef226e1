"""May a Run be quoted, and does it keep what was asked?"""

from __future__ import annotations

import os
from typing import List

import numpy as np

from edgehar import machine
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine
from edgehar.bench.energy import CHANGED, DRIFTED, THROTTLED
from edgehar.bench.timing import Calls
from edgehar.errors import ConstraintError, InconclusiveError, InputError, UnstableError
from edgehar.results.percentiles import least_values, percentile_interval
from edgehar.results.runs import BUSY, SIMULATED, THREADS, TOO_FEW, UNJUDGED, UNSTABLE, Run, RunWarning

MAX_VARIATION = 0.10
MIN_SECONDS = 3
SETTLED_SECONDS = 5  # whose medians agree before a measurement that goes on until it is stable ends
UNSTEADY_POWER = (THROTTLED, CHANGED, DRIFTED)


def require_energy(run: Run) -> None:
    """Raise UnstableError or InconclusiveError, by the reason, where energy was measured and is refused."""
    refusal = run.energy.get("refusal")
    if refusal:
        kind = UnstableError if refusal["reason"] in UNSTEADY_POWER else InconclusiveError
        raise kind("the energy of %s in %s is refused, %s: %s" % (
            _named(run), run.scenario["name"], refusal["reason"], refusal["sentence"]))


def per_second_medians(start: np.ndarray, values: np.ndarray, duration_s: float) -> np.ndarray:
    """The median of `values` (n,) that began in each whole second of `duration_s`; empty seconds are left out."""
    second = np.floor(start - start[0]).astype(int) if len(start) else np.zeros(0, dtype=int)
    return np.array([np.median(values[second == k]) for k in range(int(duration_s)) if (second == k).any()])


def stability_warnings(medians: np.ndarray) -> List[RunWarning]:
    """What speaks against quoting a measurement whose seconds had these medians (n,)."""
    if len(medians) < MIN_SECONDS:
        return [RunWarning(UNJUDGED, "%d whole seconds cannot tell whether the machine was steady; measure for %d or "
                                     "more." % (len(medians), MIN_SECONDS))]
    found = []
    variation, last = np.std(medians) / np.mean(medians), medians[-3:]
    drift = (last.max() - last.min()) / np.median(last)
    if variation > MAX_VARIATION:
        found.append(RunWarning(UNSTABLE, "the medians of its seconds vary by %.1f %% (at most %.0f %%)." % (
            100 * variation, 100 * MAX_VARIATION)))
    if drift > MAX_VARIATION:
        found.append(RunWarning(UNSTABLE, "its last three seconds lie %.1f %% apart (at most %.0f %%)." % (
            100 * drift, 100 * MAX_VARIATION)))
    return found


def has_settled(calls: Calls, min_queries: int) -> bool:
    """Whether `calls` may end: as many as wanted, and the medians of the last seconds agree."""
    medians = per_second_medians(calls.due, calls.latency, float(calls.end[-1] - calls.start[0]))
    last = medians[-SETTLED_SECONDS:]
    return (len(calls.end) >= min_queries and len(last) == SETTLED_SECONDS
            and float(np.ptp(last) / np.median(last)) <= MAX_VARIATION)


def timing_warnings(calls: Calls, duration_s: float, min_queries: int) -> List[RunWarning]:
    """What speaks against quoting `calls` of `duration_s`, of which there should be at least `min_queries`."""
    found = stability_warnings(per_second_medians(calls.due, calls.latency, duration_s))
    if len(calls.end) < min_queries:
        found.append(RunWarning(TOO_FEW, "%d of the %d wanted; measure longer." % (len(calls.end), min_queries)))
    return found


def machine_warnings(engine: Engine) -> List[RunWarning]:
    """Asked before the measurement, so that its own load is not in it."""
    cores, load = machine.usable_cores(), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    found = []
    if load > cores:
        found.append(RunWarning(BUSY, "a load of %.1f on %d cores before the measurement; close other programs." % (
            load, cores)))
    if engine.spec.threads > cores:
        found.append(RunWarning(THREADS, "the engine uses %d and this process may use %d cores." % (
            engine.spec.threads, cores)))
    return found


def require_stable(run: Run) -> None:
    """Raise UnstableError where `run` varied too much, InconclusiveError where it was too short to tell."""
    for error, kind in ((UnstableError, UNSTABLE), (InconclusiveError, UNJUDGED)):
        for warning in run.warnings:
            if warning.kind == kind:
                raise error("%s in %s is %s" % (_named(run), run.scenario["name"], warning))


def require_measured(engine: Engine, instead: str = "leave out --strict, --power and --max-p99-ms") -> None:
    """Raise InputError where what `engine` would give is predicted. instead: what the user may do."""
    if BACKENDS.kind(engine.backend).source == SIMULATED:
        raise InputError("%s on backend %s is simulated, and what was not measured can be neither metered nor bounded "
                         "nor quoted; %s, or measure on the board." % (engine.manifest.name, engine.backend, instead))


def require_p99(run: Run, max_p99_s: float) -> None:
    """Raise ConstraintError where the 99th percentile of latency lies above `max_p99_s`; that of batches is not asked.

    Raises InconclusiveError where too few windows were measured to tell: where the percentile's 95 % interval holds
    the limit, or there is none.
    """
    latency = run.measurement("latency")
    if latency is None or run.batched:
        return
    found = percentile_interval(latency.values, 99)
    if found is None:
        raise InconclusiveError("%s in %s was measured %d times, too few for its 99th percentile (%d needed); measure "
                                "longer, with --duration." % (_named(run), run.scenario["name"], len(latency.values),
                                                              least_values(99)))
    told = "%s in %s takes %.3f ms at the 99th percentile (95 %%: %.3f to %.3f)" % (
        _named(run), run.scenario["name"], *(1e3 * each for each in found))
    if found.low > max_p99_s:
        raise ConstraintError("%s and %g ms were allowed; use a smaller model or a lower precision." % (
            told, 1e3 * max_p99_s))
    if found.high > max_p99_s:
        raise InconclusiveError("%s, which does not tell whether it keeps to %g ms; measure longer, with "
                                "--duration." % (told, 1e3 * max_p99_s))


def _named(run: Run) -> str:
    return "%s (%s, %s)" % (run.engine.artifact, run.engine.backend, run.engine.precision)
