"""Units that loggers write, and the SI unit and factor each comes to."""

from __future__ import annotations

import math
from typing import Dict, Tuple

from edgehar.data.signals import STANDARD_GRAVITY

SI: Dict[str, Tuple[str, float]] = {
    "m/s^2": ("m/s^2", 1.0), "cm/s^2": ("m/s^2", 0.01), "mm/s^2": ("m/s^2", 0.001),
    "ft/s^2": ("m/s^2", 0.3048),
    "g": ("m/s^2", STANDARD_GRAVITY), "mg": ("m/s^2", STANDARD_GRAVITY / 1000),
    "rad/s": ("rad/s", 1.0), "deg/s": ("rad/s", math.pi / 180), "mdeg/s": ("rad/s", math.pi / 180000),
    "T": ("T", 1.0), "mT": ("T", 1e-3), "uT": ("T", 1e-6), "nT": ("T", 1e-9), "gauss": ("T", 1e-4),
    "mgauss": ("T", 1e-7), "V": ("V", 1.0), "mV": ("V", 1e-3), "Pa": ("Pa", 1.0), "hPa": ("Pa", 100.0),
    "K": ("K", 1.0), "1": ("1", 1.0), "local": ("local", 1.0)}
