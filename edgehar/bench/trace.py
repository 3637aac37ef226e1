"""A power trace: samples, phases, and the conditions meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from edgehar.machine import Conditions

IDLE, LOAD = "idle", "load"
TRIM_S = 1.0  # at both ends of a phase, where the power is on its way


class TracePhase(NamedTuple):
    """A marked stretch of a trace, on the clock of its samples. windows: answered during a load."""

    kind: str
    start_s: float
    end_s: float
    repeat: int = 0
    windows: int = 0

    @property
    def duration_s(self) -> float:
        """Seconds from its begin to its end."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Trace:
    """Raw power samples with marked phases, and all that decides whether they can be trusted.

    time_s: (n,) of one monotonic clock; watts: (n, R), a column a rail. phases: idle,
    load, idle of each repeat. totals: {name: rails that add up to it}, the one to quote
    first. steps_w: watts from one value of a rail to the next, where the meter knows.
    period_s: of a paced load, else None. failure: why the meter ended early, if it did.
    """

    rails: Tuple[str, ...]
    time_s: np.ndarray
    watts: np.ndarray
    phases: Tuple[TracePhase, ...]
    totals: Mapping[str, Tuple[str, ...]]
    steps_w: Mapping[str, float] = field(default_factory=dict)
    conditions: Tuple[Conditions, ...] = ()
    period_s: Optional[float] = None
    failure: str = ""
    meter: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> Dict[str, Any]:
        """Plain values; times to a tenth of a millisecond from the first sample, watts to a tenth of a milliwatt."""
        start_s = float(self.time_s[0]) if len(self.time_s) else 0.0
        return {"rails": list(self.rails), "time_s": np.round(self.time_s - start_s, 4).tolist(),
                "watts": np.round(self.watts, 4).tolist(),
                "phases": [_moved(phase, -start_s)._asdict() for phase in self.phases],
                "totals": {name: list(rails) for name, rails in self.totals.items()},
                "steps_w": dict(self.steps_w), "period_s": self.period_s, "failure": self.failure,
                "conditions": [each._replace(time_s=round(each.time_s - start_s, 3)).to_json()
                               for each in self.conditions],
                "meter": dict(self.meter)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Trace":
        """What `to_json` gave."""
        rails = tuple(value["rails"])
        return cls(rails, np.array(value["time_s"], dtype=float),
                   np.array(value["watts"], dtype=float).reshape(-1, len(rails)),
                   tuple(TracePhase(**each) for each in value["phases"]),
                   {name: tuple(summed) for name, summed in value["totals"].items()}, value["steps_w"],
                   tuple(map(Conditions.from_json, value["conditions"])), value["period_s"], value["failure"],
                   value["meter"])

    @property
    def windows(self) -> int:
        """Windows answered during all loads."""
        return sum(phase.windows for phase in self.phases)

    @property
    def load_s(self) -> float:
        """Seconds of all loads."""
        return sum(phase.duration_s for phase in self.phases if phase.kind == LOAD)


def _moved(phase: TracePhase, by_s: float) -> TracePhase:
    return phase._replace(start_s=round(phase.start_s + by_s, 4), end_s=round(phase.end_s + by_s, 4))


def during(trace: Trace, phase: TracePhase) -> np.ndarray:
    """Which samples (n,) fall into a phase, its edges left out."""
    return (trace.time_s >= phase.start_s + TRIM_S) & (trace.time_s <= phase.end_s - TRIM_S)
