"""`edgehar methods`: the ways in which a student learns, and the options of each."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("distillers", """List how a student can learn, or show the method NAME and its options.

    As `--method NAME:help` does. In Python, and as a folder, methods are called distillers.

    \b
    Examples:
      edgehar methods kd
      edgehar distill --data synthetic --method kd:temperature=4 --teacher runs/teacher""")
