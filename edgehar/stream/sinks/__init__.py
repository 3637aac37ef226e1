"""Where decisions go, one file each."""

from edgehar.registry import Registry
from edgehar.stream.sinks.base import Sink

SINKS: "Registry[Sink]" = Registry("edgehar.stream.sinks", "Sink")
