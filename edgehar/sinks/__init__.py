"""Where decisions go, one file each."""

from edgehar.registry import Registry
from edgehar.sinks.base import Sink

SINKS: "Registry[Sink]" = Registry("edgehar.sinks", "Sink")
