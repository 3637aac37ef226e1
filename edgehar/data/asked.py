"""A signal in a few words: ``wrist/acc,wrist/gyro@50Hz,window=128,hop=64``."""

from __future__ import annotations

import re
from typing import Dict, List, Sequence, Tuple

from edgehar.data.channels import Channel, choose_channels, triad
from edgehar.data.signals import Signal
from edgehar.data.units import SI
from edgehar.errors import InputError
from edgehar.nearest import alternatives

TRIADS = {"acc": "m/s^2", "linear_acc": "m/s^2", "gravity": "m/s^2", "gyro": "rad/s", "mag": "T"}
EXAMPLE = "wrist/acc@50Hz,window=128"
SETTINGS = ("window", "hop", "max_gap_s")
USUAL_GAP = 5  # samples
_WORDS = re.compile(r"(?P<channels>[^@]+)@ ?(?P<rate>[0-9.]+(e[-+]?\d+)?) ?(Hz)?(?P<settings>(,[^,]*)*)$",
                    re.IGNORECASE)


def asked_signal(text: str, have: Sequence[Channel] = (), max_gap_s: float = 0.0) -> Signal:
    """The signal that `text` asks for: channels, rate, window and perhaps hop and max_gap_s.

    have: channels of a corpus, from which they are chosen; without, they are named by what they
    measure. max_gap_s: unless `text` says it; 0: five samples. Raises InputError for what cannot
    be read, or does not exist.
    """
    found = _WORDS.match(text.strip())
    if found is None:
        raise InputError("'%s' tells no signal; write channels, rate and window as in %s." % (text, EXAMPLE))
    rate_hz = _number(found.group("rate"), "a rate")
    settings = _settings(found.group("settings"))
    if "window" not in settings:
        raise InputError("'%s' does not say how many samples a window has; write as in %s." % (text, EXAMPLE))
    window = _count(settings["window"], "window")
    hop = _count(settings["hop"], "hop") if "hop" in settings else max(1, window // 2)
    gap_s = _number(settings["max_gap_s"], "max_gap_s") if "max_gap_s" in settings else max_gap_s or USUAL_GAP / rate_hz
    terms = [term.strip() for term in found.group("channels").split(",")]
    channels = _chosen(terms, have) if have else [channel for term in terms for channel in _named(term)]
    _require_once(channels)
    return Signal(tuple(channels), rate_hz, window, hop, gap_s)


def _settings(text: str) -> Dict[str, str]:
    given: Dict[str, str] = {}
    for word in filter(None, text.split(",")):
        key, _, value = word.partition("=")
        if key.strip() not in SETTINGS:
            raise InputError("'%s' is no setting of a signal; %s." % (word, alternatives(key, SETTINGS)))
        given[key.strip()] = value.strip()
    return given


def _count(text: str, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) < 1:
        raise InputError("%s is '%s' and must be a whole number of samples above 0." % (what, text))
    return int(text)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError("'%s' is no number above 0; give %s as in %s." % (text, what, EXAMPLE))
    return value


def _chosen(terms: Sequence[str], have: Sequence[Channel]) -> List[Channel]:
    """In the order of the terms, which is the order in which the network takes them."""
    found = ([channel for channel in have if _names(term, channel)] for term in terms)
    return [channel for term, named in zip(terms, found) for channel in named or choose_channels(have, term)]


def _names(term: str, channel: Channel) -> bool:
    """Whether the parts of `term` stand in the channel's name, in their order: ``wrist/acc`` in ``wrist/imu/acc/x``."""
    parts = iter(channel.name.split("/"))
    return all(part in parts for part in term.split("/"))


def _named(term: str) -> Tuple[Channel, ...]:
    name, _, unit = term.partition("=")
    parts = [part for part in name.split("/") if part]
    axis = parts.pop() if len(parts) > 1 and parts[-1] in ("x", "y", "z") else ""
    kind = parts.pop() if parts else ""
    placement, sensor = parts[0] if parts else "", "/".join(parts[1:])
    unit = unit or TRIADS.get(kind, "")
    if not unit:
        raise InputError("what '%s' measures is not known (known are %s); write its SI unit, as in chest/ecg=V." % (
            term, ", ".join(TRIADS)))
    if SI.get(unit, ("", 0.0))[1] != 1.0:
        raise InputError("'%s' is no SI unit and edgehar feeds SI units; write it without a unit, or as in chest/ecg=V "
                         "(a network that wants g takes --deviation 9.80665)." % unit)
    if kind in TRIADS and not axis:
        return triad(kind, unit, placement, sensor)
    return (Channel(kind, axis, unit, placement, sensor),)


def _require_once(channels: Sequence[Channel]) -> None:
    names = [channel.name for channel in channels]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError("channel '%s' is asked for twice; name each once, in the network's order." % twice)


