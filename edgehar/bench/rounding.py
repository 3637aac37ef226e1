"""Steps of a meter: how coarse its readings are, and what rounding adds to a level of power."""

from __future__ import annotations

from typing import Dict, Mapping

import numpy as np

from edgehar.bench.trace import IDLE, LOAD, Trace, during


def rounding_w(trace: Trace, steps_w: Mapping[str, float], draws: int, random: np.random.Generator) -> np.ndarray:
    """Errors (2, draws, R) that rounding to steps may leave in the mean of all loads and of all idle phases.

    The same in every repeat, so that repeats do not average it away.
    """
    steps = np.array([steps_w.get(rail, 0.0) for rail in trace.rails])
    half_ranges = np.sqrt(3) * np.stack([_rounding_rms(_noise_w(trace, kind, steps), steps) for kind in (LOAD, IDLE)])
    return random.uniform(-1, 1, size=(2, draws, len(steps))) * half_ranges[:, None, :]


def _noise_w(trace: Trace, kind: str, steps: np.ndarray) -> np.ndarray:
    """Standard deviation (R,) of the power itself within phases: of the samples, less that of rounding them."""
    within = [trace.watts[during(trace, phase)].var(axis=0) for phase in trace.phases if phase.kind == kind]
    return np.sqrt(np.maximum(0.0, np.mean(within, axis=0) - steps ** 2 / 12))


def _rounding_rms(noise_w: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Root mean square (R,) over all true values of the error in the mean of rounded values with normal noise.

    A Fourier series over the step (Widrow and Kollár, chapter 9): a step over the root
    of 12 without noise, a hundredth of that at half a step of noise.
    """
    share = np.divide(noise_w, steps, out=np.zeros_like(steps), where=steps > 0)
    orders = np.arange(1, 50)[:, None]
    return steps / np.pi * np.sqrt((np.exp(-4 * (np.pi * orders * share) ** 2) / orders ** 2).sum(axis=0) / 2)


def meter_steps_w(trace: Trace) -> Dict[str, float]:
    """As the meter states them; else the smallest difference between two values of that rail."""
    return {rail: float(trace.steps_w.get(rail, _smallest_gap(column)))
            for rail, column in zip(trace.rails, trace.watts.T)}


def _smallest_gap(values: np.ndarray) -> float:
    gaps = np.diff(np.unique(np.round(values, 6)))
    return float(gaps.min()) if len(gaps) else 0.0
