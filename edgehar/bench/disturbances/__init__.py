"""Disturbances, one file each: what goes wrong with a sensor on a body, at several strengths."""

from __future__ import annotations

from edgehar.bench.disturbances.base import Disturbance
from edgehar.registry import Registry

DISTURBANCES: "Registry[Disturbance]" = Registry("edgehar.bench.disturbances", "Disturbance")
