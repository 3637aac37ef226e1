"""Distillation methods, one file a method (torch)."""

from edgehar.registry import Registry
from edgehar.training.distillers.base import Distiller

DISTILLERS: "Registry[Distiller]" = Registry("edgehar.training.distillers", "Distiller")
