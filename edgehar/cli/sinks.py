"""`edgehar sinks`: where decisions can go, and the options of each."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("sinks", """List where decisions can go, or show NAME and its options.

    As `--sink NAME:help` does.

    \b
    Examples:
      edgehar sinks jsonl
      edgehar run engines/wisdm-watch-s --sink jsonl:path=decisions.jsonl""")
