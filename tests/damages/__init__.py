"""One small corpus each, and the ways to damage it beyond those of `tests.damage.common`."""

from typing import Dict, List

from tests.damage import Damage, Sample
from tests.damages import dsads, hapt, mhealth, openpack, uci_har, wisdm

_CORPORA = {"uci-har": uci_har, "hapt": hapt, "wisdm": wisdm, "dsads": dsads, "openpack": openpack, "mhealth": mhealth}
SAMPLES: Dict[str, Sample] = {name: module.SAMPLE for name, module in _CORPORA.items()}
DAMAGES: Dict[str, List[Damage]] = {name: module.DAMAGES for name, module in _CORPORA.items()}
