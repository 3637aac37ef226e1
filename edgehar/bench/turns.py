"""Two engines timed by turns, so that what the machine does meanwhile is done to both.

::

    round   1            2            3
          |A A A|B B B|B B B|A A A|A A A|B B B| ...     a median a turn, a ratio a round
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from edgehar import machine
from edgehar.backends import BACKENDS
from edgehar.backends.base import Engine
from edgehar.bench.timing import Clock, back_to_back, endless_inputs
from edgehar.bench.verdicts import require_measured
from edgehar.results.versus import EFFECT, Versus, judged, ratio_of_rounds

LEAST_ROUNDS = 5


class Turns(NamedTuple):
    """Medians of the turns of A and of B, seconds, one a round, and what they tell."""

    a_s: Tuple[float, ...]
    b_s: Tuple[float, ...]
    versus: Versus


def by_turns(call_a: Callable[[], Any], call_b: Callable[[], Any], seconds: float, turn_s: float,
             effect: float = EFFECT, clock: Clock = time.monotonic,
             tell: Callable[[float], Any] = lambda share: None) -> Turns:
    """Time two calls by turns of `turn_s` for `seconds`, and five rounds at least; whoever begins changes each round.

    The first call of a turn is not counted. tell: is given the share that is done.
    """
    calls = (call_a, call_b)
    medians: Tuple[List[float], List[float]] = ([], [])
    rounds = max(LEAST_ROUNDS, int(round(seconds / (2 * turn_s))))
    for number in range(rounds):
        for which in ((0, 1), (1, 0))[number % 2]:
            calls[which]()
            medians[which].append(float(np.median(back_to_back(calls[which], turn_s, clock, _nothing).latency)))
        tell((number + 1) / rounds)
    ratio = ratio_of_rounds(*medians)
    a_s, b_s = (float(np.median(each)) for each in medians)
    return Turns(tuple(medians[0]), tuple(medians[1]), Versus("latency, median", "s", a_s, b_s, ratio,
                                                             judged(ratio, effect)))


def engines_by_turns(engines: Sequence[Engine], batch: int, seconds: float, turn_s: float, effect: float = EFFECT,
                     tell: Callable[[float], Any] = lambda share: None) -> Turns:
    """Two engines, each on its own golden inputs. Raises InputError for a simulated one."""
    first, second = engines
    for engine in engines:
        require_measured(engine)
    with BACKENDS.create(first.backend).open(first, max_batch=batch) as one, \
            BACKENDS.create(second.backend).open(second, max_batch=batch) as other:
        mine, theirs = (endless_inputs(engine.golden().x, batch, 0) for engine in engines)
        return by_turns(lambda: one.infer(next(mine)), lambda: other.infer(next(theirs)), seconds, turn_s, effect,
                        tell=tell)


def turns_facts(engines: Sequence[Engine], found: Turns, batch: int, turn_s: float, effect: float,
                command: str) -> Dict[str, Any]:
    """All of a comparison by turns, to be kept."""
    sides = {key: {"artifact": engine.manifest.name, "sha256": engine.sha256, "backend": engine.backend,
                   "precision": engine.spec.precision, "threads": engine.spec.threads, "medians_s": medians}
             for key, engine, medians in zip("ab", engines, (found.a_s, found.b_s))}
    return dict(sides, batch=batch, turn_s=turn_s, effect=effect, versus=found.versus.to_json(), source="measured",
                command=command, machine=machine.describe())


def _nothing() -> None:
    """Between calls."""
