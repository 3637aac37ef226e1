"""Where samples come from, one file each."""

from edgehar.registry import Registry
from edgehar.stream.sources.base import Source

SOURCES: "Registry[Source]" = Registry("edgehar.stream.sources", "Source")
