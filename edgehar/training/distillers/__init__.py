"""Distillation methods, one file a method (torch)."""

from edgehar.registry import Registry
from edgehar.training.distillers.base import Method

DISTILLERS: "Registry[Method]" = Registry("edgehar.training.distillers", "Distiller", noun="method")
