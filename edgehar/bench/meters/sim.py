"""Power of a board that is not there, to rehearse `bench --power` without one."""

from __future__ import annotations

import random
import time
from typing import Any, Dict, Iterator, Optional, Tuple

from edgehar.artifact.boards import load_board
from edgehar.bench.meters.base import MODULE_SCOPE, SIMULATED_POWER, XAVIER_RAILS, Meter, PowerSample
from edgehar.errors import InputError

STEP_W = 0.155  # of a rail of an AGX Xavier at 19.4 V
LOADED = XAVIER_RAILS[0]


class Sim(Meter):
    """The rails of `board` at idle, and `load_w` more on one of them while this process keeps a core busy.

    Nothing of it is measured, and its figures are marked so.

    board: name, or a file as `edgehar calibrate` writes it. load_w: watts more of a busy core. seed: of the noise.
    noise_w: standard deviation
    of a rail, before it is rounded to the steps of the board's chips; interval_s: mean
    time between samples.
    """

    scope = MODULE_SCOPE
    accuracy = "made up, not measured"
    mark = SIMULATED_POWER

    def __init__(self, board: str = "xavier-agx", load_w: float = 2.0, noise_w: float = 0.1, interval_s: float = 0.1,
                 seed: int = 0) -> None:
        super().__init__()
        if not (load_w >= 0 and noise_w >= 0 and interval_s > 0):
            raise InputError("meter sim has load_w=%s, noise_w=%s, interval_s=%s; the first two must be 0 or more, the "
                             "last above 0." % (load_w, noise_w, interval_s))
        rails = load_board(board).rails
        if not rails:
            raise InputError("board '%s' tells no power of rails; give another one to meter sim." % board)
        self._idle_w = rails["idle_w"] / len(XAVIER_RAILS)
        self._board, self._load_w, self._noise_w, self._interval_s = board, load_w, noise_w, interval_s
        self._draw = random.Random(seed)

    @property
    def rails(self) -> Tuple[str, ...]:
        """Those of an AGX Xavier."""
        return XAVIER_RAILS

    def missing(self) -> Optional[str]:
        """None: nothing is needed."""
        return None

    def samples(self) -> Iterator[PowerSample]:
        """Idle watts, and load by how busy this process was since the last sample."""
        then_s, worked_s = time.monotonic(), time.process_time()
        for _ in self._ticks(self._interval_s):
            now_s, work_s = time.monotonic(), time.process_time()
            busy = min(1.0, (work_s - worked_s) / max(now_s - then_s, 1e-6))
            then_s, worked_s = now_s, work_s
            yield PowerSample(now_s, tuple(self._shown(rail, busy) for rail in self.rails))

    def steps_w(self) -> Dict[str, float]:
        """The step that its values are rounded to."""
        return dict.fromkeys(self.rails, STEP_W)

    def facts(self) -> Dict[str, Any]:
        """What it was asked to make up."""
        return {"board": self._board, "load_w": self._load_w, "noise_w": self._noise_w}

    def _model(self) -> str:
        return ""

    def _shown(self, rail: str, busy: float) -> float:
        watts = self._idle_w + (self._load_w * busy if rail == LOADED else 0.0) + self._draw.gauss(0.0, self._noise_w)
        return max(0.0, round(watts / STEP_W) * STEP_W)
