"""The command of a room: its plug-ins, or one of them with its options."""

from __future__ import annotations

from typing import Optional

import click

from edgehar.cli._manuals import manual_in, show_manual, show_room
from edgehar.cli._options import json_option
from edgehar.cli._show import show_json


def room_command(room: str, told: str) -> click.Command:
    """The command that lists a room, or tells all about one of its plug-ins; told: its help."""
    @click.command(help=told)
    @click.argument("name", required=False)
    @json_option()
    def command(name: Optional[str], as_json: bool) -> None:
        if name and as_json:
            show_json(manual_in(room, name).to_json())
        elif name:
            show_manual(room, name)
        else:
            show_room(room, as_json)

    return command
