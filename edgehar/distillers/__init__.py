"""Distillation methods, one file a method (torch)."""

from edgehar.distillers.base import Distiller
from edgehar.registry import Registry

DISTILLERS: "Registry[Distiller]" = Registry("edgehar.distillers", "Distiller")
