"""`edgehar models`: the networks, and the options of each."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("models", """List the networks, or show the family NAME and its options.

    As `--model NAME:help` does.

    \b
    Examples:
      edgehar models mobilenet
      edgehar train --data synthetic --model resnet:width=32""")
