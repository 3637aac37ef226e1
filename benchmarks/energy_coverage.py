"""Do the intervals of `edgehar.bench.energy` hold? Made-up traces whose energy is known, judged as real ones are.

    python benchmarks/energy_coverage.py [-o FOLDER] [--runs 500]

Each trace is three repeats of 30 s idle, 60 s load, 30 s idle of a made-up AGX Xavier:
six rails with noise that remembers itself for a third of a second, a background that
wakes up now and then, and readings rounded to 8 mA, which is 152 mW at 19 V. What
changes from case to case stands in `CASES`. All is drawn from seeds, so that the same
figures come out on every machine.

Writes one Run a case, source "simulated", with the true energy, the interval or the
floor of every trace, to benchmarks/results/<machine>/energy-coverage.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from edgehar import machine
from edgehar.bench import energy
from edgehar.bench.energy import Energy
from edgehar.bench.meters.base import CARRIER_RAIL, XAVIER_RAILS, XAVIER_STEP_A, totals_of
from edgehar.bench.trace import IDLE, LOAD, Trace, TracePhase
from edgehar.machine import Conditions
from edgehar.results.runs import REFUSED, SIMULATED, EngineFacts, Measurement, Run, RunWarning

IDLE_W = np.array([0.3, 0.5, 1.25, 0.0, 0.2, 2.5])  # tegrastats of a board in mode 7, rail by rail
NOISE_W = np.array([0.04, 0.12, 0.05, 0.0, 0.05, 0.04])
LOAD_SHARE = np.array([0.5, 0.2, 0.1, 0.0, 0.15, 0.05])
SUPPLY_V, CARRIER_V = 19.0, 5.0
STEPS_W = XAVIER_STEP_A * np.array([CARRIER_V if rail == CARRIER_RAIL else SUPPLY_V for rail in XAVIER_RAILS])
REPEATS, IDLE_S, LOAD_S = 3, 30.0, 60.0
WINDOWS = 1000  # a load
MEMORY_S = 0.3
NET_W = 2.0


@dataclass(frozen=True)
class Case:
    """How the traces of one row differ.

    net_w: of the load, within a tenth. noise, step: factors on those of the board. duty:
    share of each `period_s` during which the load is on, at a height that keeps the
    mean. drift_w: over the whole trace. lost: share of samples that are missing, half of
    them in stretches of one to two seconds. floors: instead of `net_w`, the load is this
    many times the detection floor of the same trace without it. wanted: what should
    become of every trace.
    """

    name: str
    net_w: float = NET_W
    noise: float = 1.0
    step: float = 1.0
    rate_hz: float = 10.0
    even: bool = False
    duty: float = 1.0
    period_s: Optional[float] = None
    drift_w: float = 0.0
    lost: float = 0.0
    throttles: bool = False
    floors: Optional[float] = None
    wanted: str = "measured"


CASES = (
    Case("constant"),
    Case("square wave", duty=0.3, period_s=0.5),
    Case("drift", drift_w=1.0),
    Case("steps of 152 mW alone", noise=0.0),
    Case("10 Hz, evenly", even=True),
    Case("1 Hz, evenly", even=True, rate_hz=1.0),
    Case("fine steps, 1.5 mW", step=0.01),
    Case("gaps", lost=0.05),
    Case("half of it missing", lost=0.5, wanted=energy.TOO_FEW),
    Case("twice the floor", floors=2.0),
    Case("twice the floor, fine steps", floors=2.0, step=0.01),
    Case("a quarter of the floor", floors=0.25, wanted=energy.UNDER_FLOOR),
    Case("a quarter of the floor, fine steps", floors=0.25, step=0.01, wanted=energy.UNDER_FLOOR),
    Case("no load", net_w=0.0, wanted=energy.UNDER_FLOOR),
    Case("throttling", throttles=True, wanted=energy.THROTTLED),
    Case("in step with the load", even=True, duty=0.3, period_s=0.5, wanted=energy.IN_STEP),
)


# ------------------------------------------------------------------ traces


def make(case: Case, seed: int) -> Tuple[Trace, float]:
    """A trace and the true net energy of one of its windows, in joules."""
    net_w = case.net_w * np.random.default_rng([seed, 1]).uniform(0.9, 1.1)  # or it would round the same every time
    if case.floors is not None:
        net_w = case.floors * _floor_w(case, seed)
    return _trace(case, seed, net_w), net_w * LOAD_S / WINDOWS


def _floor_w(case: Case, seed: int) -> float:
    """The detection floor of the same board and seed without load."""
    idle = _trace(replace(case, floors=None), seed, 0.0)
    return energy.estimate(idle, draws=500).quoted.floor_j * WINDOWS / LOAD_S


def _trace(case: Case, seed: int, net_w: float) -> Trace:
    random = np.random.default_rng(seed)
    phases = _phases()
    time_s = _times(case, phases[-1].end_s, random)
    watts = IDLE_W * random.uniform(0.8, 1.2, len(IDLE_W)) + case.noise * _noise(time_s, random)
    watts[:, 2] += case.drift_w * time_s / phases[-1].end_s
    for phase in phases:
        if phase.kind == LOAD:
            watts += np.outer(_on(case, phase, time_s), net_w / case.duty * LOAD_SHARE)
    steps_w = case.step * STEPS_W
    rounded = np.round(np.maximum(watts, 0) / steps_w) * steps_w
    kept = _kept(case, time_s, random)
    return Trace(XAVIER_RAILS, time_s[kept], rounded[kept], phases, totals_of(XAVIER_RAILS),
                 dict(zip(XAVIER_RAILS, steps_w)), _readings(case, phases, random), case.period_s)


def _phases() -> Tuple[TracePhase, ...]:
    found: List[TracePhase] = []
    for repeat in range(REPEATS):
        for kind, seconds in ((IDLE, IDLE_S), (LOAD, LOAD_S), (IDLE, IDLE_S)):
            start_s = found[-1].end_s if found else 0.0
            found.append(TracePhase(kind, start_s, start_s + seconds, repeat, WINDOWS if kind == LOAD else 0))
    return tuple(found)


def _times(case: Case, end_s: float, random: np.random.Generator) -> np.ndarray:
    """As `Meter._ticks` draws its waits, or at even steps as jtop does."""
    count = int(end_s * case.rate_hz)
    steps = np.ones(count) if case.even else random.uniform(0.5, 1.5, count)
    return np.cumsum(steps / case.rate_hz)


def _noise(time_s: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(n, R) of normal noise that remembers itself, and a background on the CPU, in the mean 0."""
    memory = np.exp(-np.diff(time_s, prepend=time_s[0] - 10) / MEMORY_S)
    fresh = random.normal(size=(len(time_s), len(NOISE_W))) * np.sqrt(1 - memory ** 2)[:, None]
    noise = np.zeros_like(fresh)
    for row in range(len(time_s)):
        noise[row] = memory[row] * noise[row - 1] + fresh[row]
    noise *= NOISE_W
    bursts = random.uniform(0, time_s[-1], random.poisson(time_s[-1] / 10))
    awake = ((time_s[:, None] >= bursts) & (time_s[:, None] < bursts + 0.5)).sum(axis=1)
    noise[:, 1] += 0.6 * (awake - 0.05)
    return noise


def _on(case: Case, phase: TracePhase, time_s: np.ndarray) -> np.ndarray:
    during = (time_s >= phase.start_s) & (time_s < phase.end_s)
    if case.period_s is None:
        return during.astype(float)
    return (during & ((time_s - phase.start_s) % case.period_s < case.duty * case.period_s)).astype(float)


def _kept(case: Case, time_s: np.ndarray, random: np.random.Generator) -> np.ndarray:
    kept = random.random(len(time_s)) >= case.lost / 2
    for start_s in random.uniform(0, time_s[-1], int(case.lost / 2 * time_s[-1] / 1.5)):
        kept &= ~((time_s >= start_s) & (time_s < start_s + random.uniform(1, 2)))
    return kept


def _readings(case: Case, phases: Tuple[TracePhase, ...], random: np.random.Generator) -> Tuple[Conditions, ...]:
    throttled_s = random.uniform(0, phases[-1].end_s) if case.throttles else np.inf
    return tuple(Conditions(time_s, "7", limits_hz={"gpu": (675.75e6, 675.75e6)}, clocks_hz={"gpu": 675.75e6},
                            throttles={"gpu-throttle-alert": 0, "over-current oc3": int(time_s >= throttled_s)})
                 for time_s in np.arange(0, phases[-1].end_s + 2, 2.0))


# ------------------------------------------------------------------ judgement


class Verdict(NamedTuple):
    """One trace: its true net energy a window and what was said of it. inside: None where it was refused."""

    true_j: float
    value_j: float
    low_j: float
    high_j: float
    at_most_j: float
    refusal: str

    @property
    def inside(self) -> bool:
        return self.low_j <= self.true_j <= self.high_j

    @property
    def half_width(self) -> float:
        return (self.high_j - self.low_j) / 2 / self.true_j


def judge(case: Case, seed: int) -> Verdict:
    trace, true_j = make(case, seed)
    found: Energy = energy.estimate(trace, seed=seed)
    net_j = found.quoted.net_j or (np.nan,) * 3
    bound_j = np.nan if found.quoted.at_most_j is None else found.quoted.at_most_j
    return Verdict(true_j, *net_j, bound_j, found.refusal.reason if found.refusal else "")


class Row(NamedTuple):
    """One case over all its traces, as shares; NaN where there is nothing to take a share of.

    covered: of those measured, how many have the true energy in their interval; bounded:
    of those refused, how many have it below their upper bound. Near the floor the former
    is of those alone that noise lifted above it. half_width: median, of the true energy.
    """

    case: str
    runs: int
    measured: float
    covered: float
    half_width: float
    as_wanted: float
    bounded: float
    reasons: Dict[str, int]


def summarise(case: Case, verdicts: List[Verdict]) -> Row:
    measured = [each for each in verdicts if not each.refusal]
    refused = [each for each in verdicts if each.refusal]
    wanted = "" if case.wanted == "measured" else case.wanted
    return Row(case.name, len(verdicts), len(measured) / len(verdicts), _share(measured, lambda each: each.inside),
               float(np.median([each.half_width for each in measured])) if measured and case.net_w else np.nan,
               _share(verdicts, lambda each: each.refusal == wanted),
               _share(refused, lambda each: each.true_j <= each.at_most_j),
               {reason: sum(each.refusal == reason for each in refused) for reason in
                sorted({each.refusal for each in refused})})


def _share(of: List[Verdict], holds: Callable[[Verdict], bool]) -> float:
    return sum(map(holds, of)) / len(of) if of else np.nan


def run_of(case: Case, verdicts: List[Verdict]) -> Run:
    """All verdicts, in the order of their seeds; a refused trace has no interval and reads null."""
    source = Path(energy.__file__).read_bytes()
    digest = hashlib.sha256(source).hexdigest()
    quantities = [("true net energy", 0), ("net energy", 1), ("low end", 2), ("high end", 3), ("upper bound", 4)]
    return Run(
        scenario={"name": "energy_coverage", "batch": 1, "case": case.name, "runs": len(verdicts),
                  "wanted": case.wanted},
        engine=EngineFacts("energy.estimate", digest, digest, "numpy", "fp64", "made-up power traces", "none",
                           size_bytes=len(source), parameters=0, macs=0, method="none"),
        machine=machine.describe(), synthetic=True, source=SIMULATED,
        measurements=tuple(Measurement(name, "J/window", tuple(_plain(each[column]) for each in verdicts))
                           for name, column in quantities),
        warnings=tuple(RunWarning(REFUSED, reason) for reason in sorted({each.refusal for each in verdicts} - {""})),
        command="python benchmarks/energy_coverage.py --runs %d" % len(verdicts))


def _plain(joules: float) -> Optional[float]:
    return None if np.isnan(joules) else round(float(joules), 8)


def show(row: Row) -> None:
    reasons = ", ".join("%s %d" % item for item in row.reasons.items())
    shares = ["%9.1f %%" % (100 * share) if share == share else "%11s" % "-"
              for share in (row.measured, row.covered, row.half_width, row.as_wanted, row.bounded)]
    print("%-36s %5d %s  %s" % (row.case, row.runs, " ".join(shares), reasons))
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", dest="folder", default="benchmarks/results/%s/energy-coverage" % machine.label())
    parser.add_argument("--runs", type=int, default=500)
    options = parser.parse_args()
    print("%-36s %5s %11s %11s %11s %11s %11s  %s" % (
        "case", "runs", "measured", "covered", "half width", "as wanted", "bounded", "refused"))
    for case in CASES:
        verdicts = [judge(case, seed) for seed in range(options.runs)]
        show(summarise(case, verdicts))
        run_of(case, verdicts).write(Path(options.folder) / (case.name.replace(" ", "-").replace(",", "") + ".json"))


if __name__ == "__main__":
    main()
