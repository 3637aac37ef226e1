"""`edgehar backends`: what runs a network, and the options of each."""

from edgehar.cli._rooms import room_command

SECTION = "Plug-ins"

command = room_command("backends", """List what can run a network, or show NAME and its options.

    As `--backend NAME:help` does.

    \b
    Examples:
      edgehar backends trt
      edgehar build engines/wisdm-watch-s --backend sim:mode=MODE_15W""")
