"""`edgehar datasets`: which corpora there are, and all about one of them."""

from __future__ import annotations

import shlex
from typing import Any, Dict, List, Optional, Tuple

import click

from edgehar.cli._options import json_option, root_option
from edgehar.cli._show import at, counted, reading_line, show_json, show_next, show_table

SECTION = "Machine and data"
BY_DEVICE = "by device"


@click.command()
@click.argument("name", required=False)
@root_option()
@click.option("--check", is_flag=True, help="Read all of NAME and list every fault; exit 2 where there is one.")
@click.option("--clear-cache", is_flag=True, help="Remove the recordings kept from earlier readings.")
@json_option()
def command(name: Optional[str], root: Optional[str], check: bool, clear_cache: bool, as_json: bool) -> None:
    """List the corpora, or all about one: subjects, channels, licence.

    What `train` reads of a corpus is kept below XDG_CACHE_HOME, by default in ~/.cache/edgehar,
    so that the next reading is quick; it is read again when a file of the corpus changes.
    """
    from edgehar.cli._corpora import corpus_facts

    if clear_cache:
        _clear(as_json)
        return
    if check:
        _check(name, root, as_json)
        return
    facts = corpus_facts(name, root)
    if as_json:
        show_json(facts[0] if name else facts)
    elif not name:
        _show_all(facts)
    elif facts[0]["loader"]:
        _show_one(name, facts[0], root)
    else:
        _show_unread(facts[0])


def _clear(as_json: bool) -> None:
    from edgehar.data.datasets import cache_folder, clear_cache

    freed = clear_cache()
    if as_json:
        show_json({"folder": str(cache_folder()), "freed_bytes": freed})
    else:
        click.echo("%s: %.1f MB removed" % (cache_folder(), freed / 1e6))


def _check(name: Optional[str], root: Optional[str], as_json: bool) -> None:
    from edgehar.cli._corpora import checked
    from edgehar.errors import InputError

    if not name:
        raise click.UsageError("--check needs the name of a corpus")
    with reading_line() as watch:
        facts = checked(name, root, watch)
    if as_json:
        show_json(facts)
    else:
        _show_checked(facts)
    if facts["unsound"]:
        raise InputError("%s cannot be used as it is, for %s; fix its files or %s." % (
            facts["name"], counted(len(facts["unsound"]), "reason"), facts["told_in"]))
    if facts["faults"]:
        raise InputError("%s is damaged in %s; fix or download it again, or leave that out: edgehar train --data "
                         "%s%s --skip-bad -o runs/teacher" % (
                             facts["name"], counted(len(facts["faults"]), "place"), shlex.quote(name), at(root)))


def _show_checked(facts: Dict[str, Any]) -> None:
    rows = [("recordings", facts["recordings"]), ("subjects", "%(people)d of %(of_people)d" % facts),
            ("hours", "%.2f" % facts["hours"]), ("rate", "%g Hz" % facts["rate_hz"]),
            ("rates measured", "%.4g to %.4g Hz, median %.4g" % facts["measured_hz"] if facts["measured_hz"] else ""),
            ("lacking", facts["lacking"]), ("damaged", str(len(facts["faults"]))),
            ("units and subjects", counted(len(facts["unsound"]), "fault") if facts["unsound"] else "")]
    show_table(facts["name"], ("what", "value"), [row for row in rows if row[1] != ""])
    for fault in facts["faults"] + facts["unsound"] + facts["remarks"]:
        click.echo(fault)


def _show_all(facts: List[Dict[str, Any]]) -> None:
    unread = [each for each in facts if not each["loader"]]
    facts = [each for each in facts if each["loader"]]
    show_table("Corpora", ("name", "title", "rate Hz", "channels", "classes", "subjects", "found"),
               [(each["name"], _title(each), round(each["rate_hz"], 2), len(each["channels"]), _class_counts(each),
                 sum(len(each["split"][part]) for part in ("train", "valid", "test")), each["at_hand"])
                for each in facts])
    for each in facts:
        if each["lacking"]:
            click.echo("%s: %s" % (each["name"], each["lacking"]))
    show_table("Known, without a loader", ("name", "title", "rate Hz", "placements", "activities", "subjects"),
               [(each["name"], each["title"], each["rate_hz"] or BY_DEVICE, len(each["placements"]),
                 len(each["activities"]), each["people"]) for each in unread])
    show_next("edgehar datasets synthetic")


def _show_one(typed: str, facts: Dict[str, Any], root: Optional[str]) -> None:
    rows = [("title", _title(facts)), ("found", facts["at_hand"]), ("lacking", facts["lacking"]),
            ("rate", "%g Hz" % facts["rate_hz"]), ("window", _samples(facts["window"], facts["rate_hz"])),
            ("hop", _samples(facts["hop"], facts["rate_hz"])),
            ("a gap is", "a pause of more than %g s" % facts["max_gap_s"])]
    rows += [("classes of %s" % task, ", ".join(names)) for task, names in facts["classes"].items()]
    rows += [("%s subjects (%s split)" % (part, facts["split"]["name"]), _people(facts["split"][part]))
             for part in ("train", "valid", "test")]
    rows += _origin(facts)
    show_table(facts["name"], ("what", "value"), [row for row in rows if row[1]])
    show_table("Channels", ("channel", "unit", "made by an offline filter"),
               [(channel["name"], channel["unit"], "yes" if channel["derived"] else "")
                for channel in facts["channels"]])
    _show_options(facts["spec"])
    absent = facts["at_hand"] == "no" and facts["downloads"]
    step = "edgehar fetch %s%s" if absent else "edgehar train --data %s%s --model resnet -o runs/teacher"
    spec = "synthetic" if facts["at_hand"] == "no" and not absent else typed
    show_next(step % (shlex.quote(spec), at(root)))


def _show_options(spec: str) -> None:
    """What a spec of the corpus can set."""
    from edgehar.cli._manuals import manual_in, show_options
    from edgehar.registry import parse_spec

    show_options(manual_in("datasets", parse_spec(spec)[0]))
    click.echo()


def _show_unread(facts: Dict[str, Any]) -> None:
    rows = [("title", facts["title"]), ("loader", "none: edgehar does not read it yet"), ("subjects", facts["people"]),
            ("rate", "%g Hz" % facts["rate_hz"] if facts["rate_hz"] else BY_DEVICE)]
    rows += [(key, ", ".join(facts[key])) for key in ("activities", "placements", "sensors")]
    rows += [("note", facts["note"])]
    show_table(facts["name"], ("what", "value"), rows + _origin(facts))
    show_next("edgehar fetch %s" % facts["name"])


def _origin(facts: Dict[str, Any]) -> List[Tuple[str, str]]:
    """Whose a corpus is and where it is, as rows."""
    files = ", ".join(each["file"] for each in facts["downloads"])
    return [(key, facts[key]) for key in ("licence", "citation", "url")] + [("files to fetch", files)]


def _title(facts: Dict[str, Any]) -> str:
    return facts["title"] + (" [synthetic]" if facts["synthetic"] else "")


def _class_counts(facts: Dict[str, Any]) -> str:
    return ", ".join("%d (%s)" % (len(names), task) for task, names in facts["classes"].items())


def _samples(count: int, rate_hz: float) -> str:
    return "%d samples, %.2f s" % (count, count / rate_hz)


def _people(people: Any) -> str:
    return "%d: %s" % (len(people), " ".join(people))
