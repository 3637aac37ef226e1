"""``edgehar datasets``: which corpora there are, and all about one of them."""

from __future__ import annotations

from typing import Any, Dict, Optional

import click

from edgehar.cli._show import show_json, show_next, show_table


@click.command()
@click.argument("name", required=False)
@click.option("--root", type=click.Path(), help="Folder with the downloaded corpora; default EDGEHAR_DATA.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: Optional[str], root: Optional[str], as_json: bool) -> None:
    """List the corpora, or all about one: people, channels, licence."""
    from edgehar.cli._corpora import listing, listings

    facts = [listing(name, root).to_json()] if name else [each.to_json() for each in listings(root)]
    if as_json:
        show_json(facts[0] if name else facts)
    elif name:
        _show_one(facts[0])
    else:
        _show_all(facts)


def _show_all(facts: Any) -> None:
    show_table("Corpora", ("name", "title", "rate Hz", "channels", "classes", "people", "at hand"),
               [(each["name"], _title(each), each["rate_hz"], len(each["channels"]), _class_counts(each),
                 sum(len(each["split"][part]) for part in ("train", "valid", "test")), each["at_hand"])
                for each in facts])
    for each in facts:
        if each["lacking"]:
            click.echo("%s: %s" % (each["name"], each["lacking"]))
    show_next("edgehar datasets NAME, or edgehar train --data NAME --model resnet -o runs/teacher")


def _show_one(facts: Dict[str, Any]) -> None:
    rows = [("title", _title(facts)), ("at hand", facts["at_hand"]), ("lacking", facts["lacking"]),
            ("rate", "%g Hz" % facts["rate_hz"]), ("window", _samples(facts["window"], facts["rate_hz"])),
            ("hop", _samples(facts["hop"], facts["rate_hz"])),
            ("a gap is", "a pause of more than %g s" % facts["max_gap_s"])]
    rows += [("classes of %s" % task, ", ".join(names)) for task, names in facts["classes"].items()]
    rows += [("%s people (%s split)" % (part, facts["split"]["name"]), _people(facts["split"][part]))
             for part in ("train", "valid", "test")]
    rows += [(key, facts[key]) for key in ("licence", "citation", "url")]
    show_table(facts["name"], ("what", "value"), [row for row in rows if row[1]])
    show_table("Channels", ("channel", "unit", "made by an offline filter"),
               [(channel["name"], channel["unit"], "yes" if channel["derived"] else "")
                for channel in facts["channels"]])
    show_next("edgehar train --data %s --model resnet -o runs/teacher" % facts["name"])


def _title(facts: Dict[str, Any]) -> str:
    return facts["title"] + (" [synthetic]" if facts["synthetic"] else "")


def _class_counts(facts: Dict[str, Any]) -> str:
    return ", ".join("%d (%s)" % (len(names), task) for task, names in facts["classes"].items())


def _samples(count: int, rate_hz: float) -> str:
    return "%d samples, %.2f s" % (count, count / rate_hz)


def _people(people: Any) -> str:
    return "%d: %s" % (len(people), " ".join(people))
