"""`edgehar meters`: what measures power, and the options of each."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("meters", """List what can measure power, or show NAME and its options.

    As `--power NAME:help` does.

    \b
    Examples:
      edgehar meters jtop
      edgehar bench engines/wisdm-watch-s --power jtop""")
