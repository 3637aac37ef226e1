"""`edgehar sources`: where samples can come from, and the options of each."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("sources", """List where samples can come from, or show NAME, what it reads and its options.

    As `--source NAME:help` does.

    \b
    Examples:
      edgehar sources mqtt
      edgehar run engines/wisdm-watch-s --source csv:path=walk.csv,rate_hz=20""")
