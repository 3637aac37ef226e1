"""Ways to fit a student's last layer to one person, one file each: numpy alone, in seconds, on the device."""

from edgehar.artifact.personalisers.base import Personaliser
from edgehar.registry import Registry

PERSONALISERS: "Registry[Personaliser]" = Registry("edgehar.artifact.personalisers", "Personaliser")
