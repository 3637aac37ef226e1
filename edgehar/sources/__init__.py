"""Where samples come from, one file each."""

from edgehar.registry import Registry
from edgehar.sources.base import Source

SOURCES: "Registry[Source]" = Registry("edgehar.sources", "Source")
