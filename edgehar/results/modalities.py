"""What each sensor is worth: the same network on every choice of them, ranked by accuracy against cost.

A study file asks for it by a table of its own; every choice becomes a network
``<network>@<choice>`` of the study::

    [modalities]
    network = "alone"               # of the study, trained again on each choice
    by = "placement"                # every subset of the values of placement, kind, sensor or axis,
    most = 2                        # of up to so many, among what the network sees
    rates_hz = [12.5]               # and each of them at these rates, too

    [modalities.channels]           # or choices of your own, as patterns
    wrist-acc = "placement=wrist/kind=acc"
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from edgehar.data.channels import CHOOSABLE, Channel, choose_channels
from edgehar.errors import InputError
from edgehar.results.contrasts import Contrast, compare_methods
from edgehar.results.grouping import CHOICE
from edgehar.results.rows import AccuracyRow, accuracy_rows, on_front
from edgehar.results.runs import Run
from edgehar.settings import COUNT, RATES, TEXT, TEXTS

SETTINGS = {"network": TEXT, "by": TEXT, "most": COUNT, "rates_hz": RATES, "channels": TEXTS}


def choices(settings: Mapping[str, Any], channels: Sequence[Channel]) -> Dict[str, Dict[str, Any]]:
    """{name of the choice: {"channels": pattern, "rate_hz": where it is not the corpus' own}}, among `channels`.

    Raises InputError for settings that choose nothing.
    """
    patterns = dict(settings.get("channels", {}))
    if "by" in settings:
        patterns.update(_subsets(settings["by"], settings.get("most", len(channels)), channels))
    if not patterns:
        raise InputError("[modalities] names no choice; give by = \"placement\", or a table [modalities.channels].")
    exact = {name: _exact(choose_channels(channels, pattern)) for name, pattern in patterns.items()}
    found: Dict[str, Dict[str, Any]] = {name: {"channels": pattern} for name, pattern in exact.items()}
    for rate_hz in settings.get("rates_hz", ()):
        found.update(("%s%s%gHz" % (name, CHOICE, rate_hz), {"channels": pattern, "rate_hz": float(rate_hz)})
                     for name, pattern in exact.items())
    return found


def _subsets(field: str, most: int, channels: Sequence[Channel]) -> Iterator[Tuple[str, str]]:
    """(name, pattern) of every set of up to `most` values that `channels` have in `field`."""
    if field not in CHOOSABLE:
        raise InputError("[modalities] has by = '%s'; choose one of: %s." % (field, ", ".join(CHOOSABLE)))
    values = list(dict.fromkeys(getattr(channel, field) for channel in channels))
    for count in range(1, min(most, len(values)) + 1):
        for chosen in combinations(values, count):
            yield "+".join(chosen), "%s=%s" % (field, "+".join(chosen))


def _exact(channels: Sequence[Channel]) -> str:
    """A pattern of these channels and no others."""
    return ",".join(channel.name for channel in channels)


class Modality(NamedTuple):
    """One choice of sensors. best: whether no other is as accurate at fewer MACs.

    gain: against the most accurate choice that sees a part of its channels at the same
    rate, which is named by `over`; None where there is none.
    """

    name: str
    row: AccuracyRow
    best: bool
    over: str = ""
    gain: Optional[Contrast] = None


def ranking(network: str, runs: Mapping[str, Sequence[Run]]) -> List[Modality]:
    """The choices of `network` among the `runs` of each name, task by task, the most accurate first."""
    rows = {name.split(CHOICE, 1)[1]: {row.task: row for row in accuracy_rows(found)} for name, found in runs.items()
            if name.split(CHOICE)[0] == network and CHOICE in name}
    found: List[Modality] = []
    for task in sorted({task for each in rows.values() for task in each}):
        of_task = {name: each[task] for name, each in rows.items() if task in each}
        ranked = sorted(of_task, key=lambda name: -of_task[name].macro_f1.value)
        for name in ranked:
            over = next((other for other in ranked if _is_part(of_task[other], of_task[name])), "")
            gain = _gain(task, *(runs["%s%s%s" % (network, CHOICE, each)] for each in (name, over))) if over else None
            found.append(Modality(name, of_task[name], on_front(of_task[name], list(of_task.values())), over, gain))
    return found


def _is_part(part: AccuracyRow, whole: AccuracyRow) -> bool:
    seen, more = (set(row.engine.channel_names) for row in (part, whole))
    return seen < more and part.engine.rate_hz == whole.engine.rate_hz


def _gain(task: str, runs: Sequence[Run], others: Sequence[Run]) -> Contrast:
    return next(found for found in compare_methods(runs, others) if found.row.task == task)
