"""`edgehar disturbances`: what can happen to a sensor, and what a model is measured with."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("disturbances", """List what `robust` does to sensors, or show NAME.

    As `--disturbance NAME:help` does.

    \b
    Examples:
      edgehar disturbances rotation
      edgehar robust engines/student --disturbance rotation
    """)
