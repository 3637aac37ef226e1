"""`edgehar scenarios`: what an engine can be asked for, and the options of each."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("scenarios", """List what `bench` can ask of an engine, or show NAME and its settings.

    As `--scenario NAME:help` does.

    \b
    Examples:
      edgehar scenarios paced
      edgehar bench engines/wisdm-watch-s --scenario paced:rate_hz=2""")
