"""Joules a window from a recorded power trace, with an interval; or a refusal with its reason and an upper bound.

::

    watts            ____________________
                    |                    |
           _________|                    |_________
           idle      load                 idle        one repeat; at least three
            ^ before  ^ n windows          ^ after

Gross energy is what flowed during the load; net is gross less the idle level, which is
interpolated between before and after so that a steady drift cancels.

The interval is made of what was seen and of what could not be: a block bootstrap over
the seconds of each phase (Künsch 1989, Annals of Statistics 17, 1217-1241), widened by
the Birge ratio where repeats disagree by more than their own spread (Birge 1932, Phys.
Rev. 40, 207; used so by CODATA), and the bias that rounding to the meter's steps leaves
in a mean (Widrow and Kollár 2008, Quantization Noise, chapter 9: it vanishes as the
signal's own noise grows beyond half a step). What is below Currie's limit of detection,
3.29 standard errors (Currie 1968, Analytical Chemistry 40, 586), or below three steps of
the meter, counts as not detected.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.bench.rounding import meter_steps_w, rounding_w
from edgehar.bench.trace import IDLE, LOAD, TRIM_S, Trace, TracePhase, during
from edgehar.machine import Conditions
from edgehar.results.people import Interval

MIN_REPEATS, MIN_LOAD_S, MIN_IDLE_S = 3, 60.0, 20.0
SLACK_S = 0.5  # a load ends with its last call, an idle phase with its last sample
BLOCK_S = 5.0  # well above the time for which the power of a board remembers itself
MIN_SAMPLES_A_BLOCK = 3
MAX_GAP_S, MAX_MISSING = 1.0, 0.15
DETECTION = 3.29  # Currie: 1.645 standard errors for each of the two errors, 5 % apiece
MIN_STEPS = 3
MAX_DRIFT = 0.5  # of the net power: half of it is the most by which the level between could be wrong
MAX_COHERENCE = 0.3
Z95 = 1.96
DRAWS = 2000

TOO_SHORT, TOO_FEW, STOPPED = "too short", "too few samples", "the meter stopped"
THROTTLED, CHANGED, IN_STEP = "throttled", "clocks or mode changed", "sampled in step with the load"
DRIFTED, UNDER_FLOOR = "idle drifted", "under the detection floor"


# ------------------------------------------------------------------ what it says


@dataclass(frozen=True)
class Refusal:
    """Why no net energy is stated. reason: one of the words above; sentence: with its figures and a remedy."""

    reason: str
    sentence: str


@dataclass(frozen=True)
class Figure:
    """Energy a window of one rail or total, in joules; powers in watts.

    net_j is None where it is refused; at_most_j is then an upper bound of it, None where
    nothing was recorded. floor_j: the least that could have been detected.
    """

    gross_j: Optional[Interval] = None
    net_j: Optional[Interval] = None
    floor_j: Optional[float] = None
    at_most_j: Optional[float] = None
    idle_w: Optional[float] = None
    load_w: Optional[float] = None
    drift_w: Optional[float] = None


class Found(NamedTuple):
    """A Figure of a trace that can be judged, field by field: of it all but two are known."""

    gross_j: Interval
    net_j: Optional[Interval]
    floor_j: float
    at_most_j: Optional[float]
    idle_w: float
    load_w: float
    drift_w: float


@dataclass(frozen=True)
class Energy:
    """What a trace says of each total and rail. refusal: of the first total; rails may be refused alone."""

    figures: Mapping[str, Figure]
    refusal: Optional[Refusal]
    windows: int
    load_s: float
    repeats: int
    samples: int
    rate_hz: float
    refresh_hz: float
    steps_w: Mapping[str, float]
    remarks: Tuple[str, ...] = ()

    @property
    def quoted(self) -> Figure:
        """The first total."""
        return next(iter(self.figures.values()))

    def to_json(self) -> Dict[str, Any]:
        """{field: value}; figures as a list, the one to quote first."""
        value = asdict(self)
        value["figures"] = [dict(asdict(figure), name=name) for name, figure in self.figures.items()]
        for figure in value["figures"]:
            for key in ("gross_j", "net_j"):
                figure[key] = dict(zip(Interval._fields, figure[key])) if figure[key] else None
        return value


def estimate(trace: Trace, draws: int = DRAWS, seed: int = 0) -> Energy:
    """The energy of one window under the load of `trace`, or why it is not told."""
    steps_w = meter_steps_w(trace)
    refusal = _short(trace) or _starved(trace)
    if refusal:
        return _energy(trace, steps_w, _bounded_by_peaks(trace, steps_w), refusal)
    levels = _levels(trace)
    found = _figures(trace, levels, steps_w, draws, seed)
    refusal = _disturbed(trace) or _in_step(trace) or _undetected(found) or _drifted(found)
    if refusal and refusal.reason != UNDER_FLOOR:
        found = {name: _withheld(each) for name, each in found.items()}
    return _energy(trace, steps_w, {name: Figure(*each) for name, each in found.items()}, refusal)


def _energy(trace: Trace, steps_w: Mapping[str, float], figures: Mapping[str, Figure],
            refusal: Optional[Refusal]) -> Energy:
    rate_hz, refresh_hz = _rates_hz(trace)
    return Energy(figures, refusal, trace.windows, trace.load_s, len(_repeats(trace)), len(trace.time_s), rate_hz,
                  refresh_hz, steps_w, _remarks(trace))


def _columns(trace: Trace) -> Dict[str, np.ndarray]:
    """{total or rail: (R,) of 0 and 1, the rails that add up to it}, totals first."""
    names = {**trace.totals, **{rail: (rail,) for rail in trace.rails if (rail,) not in trace.totals.values()}}
    return {name: np.isin(trace.rails, rails).astype(float) for name, rails in names.items()}


# ------------------------------------------------------------------ can it be judged at all?


def _repeats(trace: Trace) -> List[Tuple[TracePhase, TracePhase, TracePhase]]:
    """The whole repeats: idle, load, idle."""
    numbers = sorted({phase.repeat for phase in trace.phases})
    found = [[phase for phase in trace.phases if phase.repeat == number] for number in numbers]
    return [(each[0], each[1], each[2]) for each in found if [phase.kind for phase in each] == [IDLE, LOAD, IDLE]]


def _short(trace: Trace) -> Optional[Refusal]:
    if trace.failure:
        return Refusal(STOPPED, trace.failure)
    repeats = _repeats(trace)
    if len(repeats) < MIN_REPEATS:
        return Refusal(TOO_SHORT, "%d repeats cannot show how much repeats vary; make at least %d." % (
            len(repeats), MIN_REPEATS))
    for phase in (each for repeat in repeats for each in repeat):
        least_s = MIN_LOAD_S if phase.kind == LOAD else MIN_IDLE_S
        if phase.duration_s < least_s - SLACK_S:
            return Refusal(TOO_SHORT, "one phase of %s lasted %.1f s; it takes at least %g s." % (
                phase.kind, phase.duration_s, least_s))
    if not all(load.windows for _, load, _ in repeats):
        return Refusal(TOO_SHORT, "no window was answered during a load; measure longer.")
    return None


def _starved(trace: Trace) -> Optional[Refusal]:
    for phase in (each for repeat in _repeats(trace) for each in repeat):
        times = trace.time_s[during(trace, phase)]
        wanted = MIN_SAMPLES_A_BLOCK * _block_count(phase)
        if len(times) < wanted:
            return Refusal(TOO_FEW, "%d samples in %.0f s of %s; it takes at least %d, so sample faster." % (
                len(times), phase.duration_s, phase.kind, wanted))
        steps_s = np.diff(np.concatenate([[phase.start_s + TRIM_S], times, [phase.end_s - TRIM_S]]))
        lost_s = steps_s[steps_s > max(MAX_GAP_S, 5 * np.median(steps_s))].sum()
        if lost_s > MAX_MISSING * (phase.duration_s - 2 * TRIM_S):
            return Refusal(TOO_FEW, "samples are missing for %.1f of the %.0f s of one %s; close other programs and "
                                    "measure again." % (lost_s, phase.duration_s, phase.kind))
    return None


def _rates_hz(trace: Trace) -> Tuple[float, float]:
    """Samples a second, and how often a second they differ from the one before: the refresh that could be seen."""
    if len(trace.time_s) < 2:
        return 0.0, 0.0
    span_s = float(trace.time_s[-1] - trace.time_s[0])
    changes = int((np.diff(trace.watts, axis=0) != 0).any(axis=1).sum())
    return (len(trace.time_s) - 1) / span_s, changes / span_s


def _remarks(trace: Trace) -> Tuple[str, ...]:
    first = trace.conditions[0] if trace.conditions else Conditions(0.0)
    if not first.limits_hz and not first.throttles:
        return ("this system reports neither clocks nor throttling, so neither was checked.",)
    loose = machine.unpinned(first)
    if not loose:
        return ()
    return ("clocks were not pinned: %s; pin them (`sudo jetson_clocks` on a Jetson) to compare." % ", ".join(loose),)


# ------------------------------------------------------------------ levels of power


class Levels(NamedTuple):
    """Block means of one repeat, (b, R) each, and how near the load is to the idle after it: 0 to 1."""

    before: np.ndarray
    load: np.ndarray
    after: np.ndarray
    lean: float
    load_s: float
    windows: int


def _levels(trace: Trace) -> List[Levels]:
    return [Levels(_block_means(trace, before), _block_means(trace, load), _block_means(trace, after),
                   (_middle(load) - _middle(before)) / (_middle(after) - _middle(before)), load.duration_s,
                   load.windows)
            for before, load, after in _repeats(trace)]


def _middle(phase: TracePhase) -> float:
    return (phase.start_s + phase.end_s) / 2


def _block_count(phase: TracePhase) -> int:
    return max(2, int((phase.duration_s - 2 * TRIM_S) / BLOCK_S))


def _block_means(trace: Trace, phase: TracePhase) -> np.ndarray:
    """Mean power (b, R) of equal stretches of the trimmed phase: trapezoids on the samples' own times."""
    edges = np.linspace(phase.start_s + TRIM_S, phase.end_s - TRIM_S, _block_count(phase) + 1)
    first, last = np.searchsorted(trace.time_s, [edges[0], edges[-1]])
    near = slice(max(0, first - 1), last + 1)
    grid = np.union1d(edges, trace.time_s[near][(trace.time_s[near] > edges[0]) & (trace.time_s[near] < edges[-1])])
    watts = np.stack([np.interp(grid, trace.time_s[near], rail) for rail in trace.watts[near].T], axis=1)
    energy_j = np.cumsum(np.diff(grid)[:, None] * (watts[1:] + watts[:-1]) / 2, axis=0)
    at_edges = np.concatenate([np.zeros((1, watts.shape[1])), energy_j])[np.searchsorted(grid, edges)]
    return np.diff(at_edges, axis=0) / np.diff(edges)[:, None]


# ------------------------------------------------------------------ figures and their intervals


def _figures(trace: Trace, levels: Sequence[Levels], steps_w: Mapping[str, float], draws: int,
             seed: int) -> Dict[str, Found]:
    random = np.random.default_rng(seed)
    load_s, windows = (np.array([getattr(each, name) for each in levels]) for name in ("load_s", "windows"))
    window_s = load_s.sum() / windows.sum()
    load_w, idle_w = (np.stack(each, axis=1) for each in zip(*(_drawn(each, draws, random) for each in levels)))
    load_error_w, idle_error_w = rounding_w(trace, steps_w, draws, random)
    found = {}
    for name, summed in _columns(trace).items():
        gross_j, net_j = (
            _interval(drawn_w @ summed * load_s / windows, windows, _freedom(levels), error_w @ summed * window_s)
            for drawn_w, error_w in ((load_w, load_error_w), (load_w - idle_w, load_error_w - idle_error_w)))
        gross_j = gross_j._replace(low=max(gross_j.low, min(0.0, gross_j.value)))  # rounding takes no power below none
        step_w = max((steps_w.get(rail, 0.0) for rail, used in zip(trace.rails, summed) if used), default=0.0)
        found[name] = Found(gross_j, *_judged(net_j, step_w * window_s), idle_w=float(np.mean(idle_w[0] @ summed)),
                            load_w=float(np.mean(load_w[0] @ summed)), drift_w=_drift_w(levels, summed))
    return found


def _drawn(level: Levels, draws: int, random: np.random.Generator) -> Tuple[np.ndarray, np.ndarray]:
    """Bootstrap means of load and idle level, (1 + draws, R) each; the first row is what was seen.

    Means of b drawn blocks spread less than means of b new ones, by b - 1 to b; that is put back.
    """
    before, load, after = (_resampled(blocks, draws, random) for blocks in (level.before, level.load, level.after))
    return load, before + level.lean * (after - before)


def _resampled(blocks: np.ndarray, draws: int, random: np.random.Generator) -> np.ndarray:
    count, mean = len(blocks), blocks.mean(axis=0)
    drawn = random.multinomial(count, np.full(count, 1 / count), size=draws) @ blocks / count
    return np.concatenate([mean[None], mean + (drawn - mean) * np.sqrt(count / (count - 1))])


def _freedom(levels: Sequence[Levels]) -> int:
    """Degrees of freedom of the idle levels, which have the fewest blocks."""
    return sum(len(each.before) + len(each.after) - 2 for each in levels)


def _interval(joules: np.ndarray, windows: np.ndarray, freedom: int, rounded: np.ndarray) -> Interval:
    """The mean over repeats with its 95 % interval.

    joules: (1 + draws, r) a window, first as seen; windows: (r,) weights of repeats;
    rounded: (draws,) errors that the meter's rounding could have left.
    """
    weights = windows / windows.sum()
    value = float(joules[0] @ weights)
    student = 1 + (Z95 ** 2 + 1) / (4 * freedom)  # of its quantile over the normal one, first order
    spread = student * _birge(joules, rounded.std()) * ((joules[1:] - joules[0]) @ weights)
    low, high = np.percentile(spread + rounded, [2.5, 97.5])
    return Interval(value, value + float(low), value + float(high))


def _birge(joules: np.ndarray, rounding_sd: float) -> float:
    """How much further repeats lie apart than their own spread explains; at least 1."""
    variance = joules[1:].var(axis=0) + rounding_sd ** 2
    if len(variance) < 2 or not variance.all():
        return 1.0
    mean = (joules[0] / variance).sum() / (1 / variance).sum()
    return max(1.0, float(np.sqrt(((joules[0] - mean) ** 2 / variance).sum() / (len(variance) - 1))))


def _drift_w(levels: Sequence[Levels], summed: np.ndarray) -> float:
    return float(np.mean([(each.after.mean(axis=0) - each.before.mean(axis=0)) @ summed for each in levels]))


# ------------------------------------------------------------------ may it be stated?


def _judged(net_j: Interval, step_j: float) -> Tuple[Optional[Interval], float, Optional[float]]:
    """Net energy, its floor and an upper bound; None for net energy below the floor, else for the bound."""
    error_j = (net_j.high - net_j.low) / (2 * Z95)
    floor_j = max(DETECTION * error_j, MIN_STEPS * step_j)
    if net_j.value >= floor_j:
        return net_j, floor_j, None
    return None, floor_j, max(net_j.high, floor_j)


def _withheld(found: Found) -> Found:
    """Net energy is never above gross."""
    return found._replace(net_j=None, at_most_j=found.gross_j.high)


def _bounded_by_peaks(trace: Trace, steps_w: Mapping[str, float]) -> Dict[str, Figure]:
    """As if the load had drawn its highest sample throughout; for traces too poor for more."""
    loads = [(trace.time_s >= phase.start_s) & (trace.time_s <= phase.end_s)
             for phase in trace.phases if phase.kind == LOAD]
    loaded = np.any(loads, axis=0) if loads else np.zeros(0, dtype=bool)
    if not loaded.any() or not trace.windows:
        return {name: Figure() for name in _columns(trace)}
    steps = np.array([steps_w.get(rail, 0.0) for rail in trace.rails])
    peaks = {name: float(((trace.watts[loaded] + steps) @ summed).max()) for name, summed in _columns(trace).items()}
    return {name: Figure(at_most_j=peak_w * trace.load_s / trace.windows) for name, peak_w in peaks.items()}


def _disturbed(trace: Trace) -> Optional[Refusal]:
    """Throttling, or clocks, mode or cores that were not the same throughout."""
    for reading in trace.conditions[1:]:
        found = machine.throttled(trace.conditions[0], reading)
        if found:
            return Refusal(THROTTLED, "the machine throttled: %s; cool it and measure again." % "; ".join(found))
    for reading in trace.conditions:
        found = machine.changed(trace.conditions[0], reading)
        if any(phase.kind == LOAD and phase.start_s <= reading.time_s <= phase.end_s for phase in trace.phases):
            found += machine.strayed(reading)
        if found:
            return Refusal(CHANGED, "%s; fix mode and clocks and measure again." % "; ".join(found))
    return None


def _in_step(trace: Trace) -> Optional[Refusal]:
    """Whether samples met a paced load at the same moments of its period again and again.

    The bias is the sum over m of the load's m-th Fourier coefficient times the mean of
    exp(2 pi i m phase) over the samples; even sampling leaves the latter near 0.
    """
    if trace.period_s is None:
        return None
    loads = [(load.start_s, trace.time_s[during(trace, load)]) for _, load, _ in _repeats(trace)]
    phases = np.concatenate([(times - start_s) / trace.period_s for start_s, times in loads])
    spacing_s = np.median(np.concatenate([np.diff(times) for _, times in loads]))
    orders = np.arange(1, max(20, int(np.ceil(2 * trace.period_s / spacing_s))) + 1)
    coherence = np.abs(np.exp(2j * np.pi * orders[:, None] * phases).mean(axis=1)).max()
    if coherence <= MAX_COHERENCE:
        return None
    return Refusal(IN_STEP, "a window every %g s and a sample every %.3g s meet at the same moments (coherence %.2f); "
                            "change one of the two." % (trace.period_s, spacing_s, coherence))


def _undetected(figures: Mapping[str, Found]) -> Optional[Refusal]:
    name, figure = next(iter(figures.items()))
    if figure.net_j is not None:
        return None
    return Refusal(UNDER_FLOOR, "the load draws %.3g W more than idle in %s and the least that shows is %.3g W; put "
                                "more load on, or use a finer meter." % (
                                    figure.load_w - figure.idle_w, name, _floor_w(figure)))


def _floor_w(figure: Found) -> float:
    return figure.floor_j / figure.gross_j.value * figure.load_w if figure.gross_j.value else 0.0


def _drifted(figures: Mapping[str, Found]) -> Optional[Refusal]:
    figure = next(iter(figures.values()))
    net_w = figure.load_w - figure.idle_w
    if abs(figure.drift_w) <= MAX_DRIFT * net_w:
        return None
    return Refusal(DRIFTED, "idle power moved by %.3g W from before to after a load of %.3g W; warm the machine up, "
                            "close other programs and measure again." % (figure.drift_w, net_w))
