"""How a label comes to stand over many windows, where one window alone may flicker, and when none does.

::

    probabilities of a window -+- hysteresis: `hold` windows must agree before a label changes
                               +- hmm: forward filter, what is believed of all windows so far
                                        -> label and confidence; "unknown" where that is below a threshold

What the filter and the threshold need is fitted by people who are not tested (``edgehar.artifact.sequences``) and
stands in the manifest under "settling"; an artifact without it is settled by hysteresis.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Dict, Mapping, NamedTuple, Optional, Union

import numpy as np

from edgehar.errors import InputError

if TYPE_CHECKING:
    from edgehar.artifact.manifest import Manifest

UNKNOWN = "unknown"
HYSTERESIS, HMM = "hysteresis", "hmm"
WAYS = (HYSTERESIS, HMM)
TINY = 1e-12
Unknown = Union[None, bool, float]  # no threshold, the fitted one, or another


class Stays(NamedTuple):
    """stay: (K,) probability that what a person does is the same a hop later. exponent: what a window's own
    probabilities count; below 1, as overlapping windows say the same thing more than once."""

    stay: np.ndarray
    exponent: float

    def scaled(self, hops: float) -> "Stays":
        """For windows `hops` hops apart: nearer ones say less that is new."""
        return Stays(self.stay ** hops, min(1.0, self.exponent * hops))


class Settling(NamedTuple):
    """How labels come to stand, by task.

    stays: of the tasks that a forward filter settles; hysteresis settles the others. below: confidence under which
    the label is "unknown"; a task that is not named has none.
    """

    stays: Mapping[str, Stays] = {}
    below: Mapping[str, float] = {}

    @classmethod
    def of(cls, manifest: "Manifest", way: str = HYSTERESIS, unknown: Unknown = None,
           hop: Optional[int] = None) -> "Settling":
        """What `manifest` says for one of WAYS. unknown: True for the fitted threshold; hop: samples, its own
        unless given.

        Raises InputError for another way, or where the manifest lacks what is asked for.
        """
        if way not in WAYS:
            raise InputError("there is no way '%s' to settle a label; choose from: %s." % (way, ", ".join(WAYS)))
        facts = manifest.settling
        if not facts and (way == HMM or unknown is True):
            raise InputError("%s was exported without stay probabilities and thresholds; add them with `edgehar settle "
                             "ARTIFACT`, or leave out --settle hmm and give --unknown a number." % manifest.name)
        hops = (manifest.signal.hop if hop is None else hop) / manifest.signal.hop
        stays = {task: Stays(np.array(each["stay"]), each["exponent"]).scaled(hops)
                 for task, each in facts.items()} if way == HMM else {}
        return cls(stays, _thresholds(manifest, way, unknown))


def _thresholds(manifest: "Manifest", way: str, unknown: Unknown) -> Dict[str, float]:
    if unknown is None or unknown is False:
        return {}
    if unknown is True:
        return {task: each["unknown"][way]["below"] for task, each in manifest.settling.items()}
    if not 0 <= unknown <= 1:
        raise InputError("a label cannot be unknown below a confidence of %g; give a number from 0 to 1." % unknown)
    return dict.fromkeys(manifest.tasks, float(unknown))


def told_unknown(manifest: "Manifest", way: str) -> str:
    """What the fitted thresholds cost and bring on validation people, in a sentence."""
    told = ["%s below %.2f: %.0f %% of windows told, %.1f %% of them right, of all %.1f %%" % (
        task, each["below"], 100 * each["coverage"], 100 * each["right"], 100 * each["right_of_all"])
        for task, each in ((task, facts["unknown"][way]) for task, facts in manifest.settling.items())]
    return "unknown (on validation people), " + "; ".join(told)


def believed(belief: np.ndarray, probabilities: np.ndarray, stays: Stays,
             fresh: Union[bool, np.ndarray] = False) -> np.ndarray:
    """One step of the forward filter: (..., K) float64, owned by the caller.

    belief: (..., K) after the window before. probabilities: (..., K) of this one. fresh: (...,) where there is none
    before it. Whoever leaves a class goes to each other one alike. Source: Rabiner, "A Tutorial on Hidden Markov
    Models", 1989.
    """
    ahead = np.where(np.asarray(fresh)[..., None], 1.0 / belief.shape[-1], carried(belief, stays.stay))
    found = ahead * np.power(np.maximum(probabilities, TINY, dtype=np.float64), stays.exponent)
    return found / found.sum(axis=-1, keepdims=True)


def carried(belief: np.ndarray, stay: np.ndarray) -> np.ndarray:
    """(..., K): what is known a hop later of belief (..., K), before anything is heard; stay: (K,)."""
    leaving = belief * (1.0 - stay) / max(1, belief.shape[-1] - 1)
    return belief * stay + leaving.sum(axis=-1, keepdims=True) - leaving

