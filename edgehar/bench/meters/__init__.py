"""Power meters, one file each: rails, and how many watts each of them carries now."""

from edgehar.bench.meters.base import Meter
from edgehar.registry import Registry

METERS: "Registry[Meter]" = Registry("edgehar.bench.meters", "Meter")
