"""`edgehar personalisers`: how a student's last layer is fitted to one person, and the options of each way."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("personalisers", """List how `personalise` can fit a last layer, or show NAME.

    As its `--method NAME:help` does.

    \b
    Examples:
      edgehar personalisers map
      edgehar personalise engines/student --method map:strength=1 --source csv:path=anna.csv \\
          --labels anna-labels.csv -o anna
    """)
