"""Options that several commands take, each written once."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Union

import click

from edgehar.cli._show import names_in_room
from edgehar.settings import HOLD

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

PRECISIONS = ("fp32", "fp16", "int8")
HELP = "help"
TARGETS = ("trt8.5", "trt10", "dla", "ort")  # of edgehar.artifact.targets, which --help need not import


class Hold(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has none
    """A number of windows, or one for each task that is named."""

    name = "N|TASK=N,..."

    def convert(self, value: Any, param: Any, context: Any) -> Union[int, Dict[str, int]]:
        """A number, or {task: number}."""
        if not isinstance(value, str):
            return value
        if value.isdigit():
            return int(value)
        parts = [part.partition("=") for part in value.split(",")]
        if not all(task and number.isdigit() for task, _, number in parts):
            self.fail("'%s' is no number of windows, nor one for each task as in activity=3,placement=10." % value,
                      param, context)
        return {task.strip(): int(number) for task, _, number in parts}


class Below(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has none
    """A confidence, or "fitted" for that of the manifest."""

    name = "CONFIDENCE"

    def convert(self, value: Any, param: Any, context: Any) -> Union[bool, float]:
        """True for "fitted", else a number from 0 to 1."""
        if value == "fitted" or not isinstance(value, str):
            return True if value == "fitted" else value
        try:
            return float(value)
        except ValueError:
            self.fail("'%s' is neither 'fitted' nor a number from 0 to 1." % value, param, context)


class Speed(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has none
    """"max", or a positive factor of real time."""

    name = "max|FACTOR"

    def convert(self, value: Any, param: Any, context: Any) -> Optional[float]:
        """None for "max", else the factor."""
        if value == "max" or value is None:
            return None
        try:
            factor = float(value)
        except ValueError:
            factor = 0.0
        if not 0 < factor < float("inf"):
            self.fail("'%s' is neither 'max' nor a positive number." % value, param, context)
        return factor


FILES = {"sources": (".csv", "csv:path=%s"), "datasets": (".toml", "table:%s")}  # what a file alone was meant to be


def spec_option(room: str, *names: str, **settings: Any) -> Decorator:
    """An option that takes specs of the plug-ins of a room; for NAME:help it prints what NAME takes, and ends."""
    def tell(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        for spec in value if isinstance(value, tuple) else (value,):
            name, _, rest = str(spec or "").partition(":")
            if name.endswith(FILES.get(room, ("?", ""))[0]) and not rest:
                raise click.UsageError("'%s' is a file; write %s" % (name, FILES[room][1] % name), context)
            if HELP in (name.strip(), rest.strip()):
                from edgehar.cli._manuals import show_manual, show_room

                if rest:
                    show_manual(room, name)
                else:
                    show_room(room)
                context.exit()
        return value

    return click.option(*names, callback=tell, **settings)


def speed_option(default: str, told: str) -> Decorator:
    """How fast a signal that is not live is played."""
    return click.option("--speed", type=Speed(), default=default, help="%s  [default: %s]" % (told, default))


def together(*options: Decorator) -> Decorator:
    """Several options as one decorator; --help shows them in this order."""
    def give(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return give


def json_option(what: str = "JSON") -> Decorator:
    """``--json``; what: it prints."""
    return click.option("--json", "as_json", is_flag=True, help="Print %s." % what)


def quiet_option(what: str = "No progress bar.") -> Decorator:
    """``--quiet``."""
    return click.option("--quiet", is_flag=True, help=what)


def root_option(what: str = "Folder with the downloaded corpora; default EDGEHAR_DATA.") -> Decorator:
    """``--root``, the data folder."""
    return click.option("--root", type=click.Path(), metavar="FOLDER", help=what)


def engine_options(several: bool = False) -> Decorator:
    """What runs ENGINE_OR_ARTIFACT; in `several` precisions one by one."""
    precision = ("--precision", "precisions") if several else ("--precision",)
    return together(
        spec_option("backends", "--backend", metavar="NAME[:OPTION=VALUE,...]",
                    help="For an artifact: what runs it; default ort. For an engine: how it is run, e.g. "
                    "trt:sync=spin. NAME:help tells of its options."),
        click.option(*precision, multiple=several, type=click.Choice(PRECISIONS),
                     help="For an artifact; default fp32.%s" % (" Repeatable." if several else "")))


def head_option(what: str = "Decide by this head of one subject, which `edgehar personalise` made for this base.",
                several: bool = False) -> Decorator:
    """``--head``, a file beside the base engine."""
    names = ("--head", "heads") if several else ("--head",)
    return click.option(*names, multiple=several, type=click.Path(), metavar="FILE",
                        help=what + (" Repeatable." if several else ""))


def building_options(example: str) -> Decorator:
    """What an engine is built with. example: ends the help of --backend."""
    return together(
        spec_option("backends", "--backend", default="ort", show_default=True, metavar="NAME[:OPTION=VALUE,...]",
                    help="What runs it, e.g. %s. NAME:help tells of its options." % example),
        click.option("--precision", type=click.Choice(PRECISIONS), help="Default: fp16 for trt, else fp32."))


def board_option(what: str) -> Decorator:
    """``--board``, by name or file."""
    return click.option("--board", "board_name", metavar="NAME|FILE.json", default="xavier-agx", show_default=True,
                        help=what)


def model_option(default: str, what: str) -> Decorator:
    """``--model``, a network and its options."""
    return spec_option("models", "--model", "model_spec", default=default, show_default=True, metavar="SPEC",
                       help="%s. There are: %s; NAME:help tells of the options of one." % (
                           what, names_in_room("models")))


def target_option(what: str, default: Optional[str] = None) -> Decorator:
    """``--target``, what must be able to run a graph."""
    return click.option("--target", type=click.Choice(TARGETS), default=default, show_default=default is not None,
                        help=what)


def constant_option() -> Decorator:
    """``--allow-constant``."""
    return click.option("--allow-constant", is_flag=True, help="Accept a channel that does not move during a window.")


def hop_option(default: str = "the model's") -> Decorator:
    """``--hop``, in samples."""
    return click.option("--hop", type=click.IntRange(1), metavar="SAMPLES",
                        help="From one window to the next.  [default: %s]" % default)


def hold_option(packed: bool = False, by_task: bool = True) -> Decorator:
    """packed: whether a bundle may say it; by_task: whether each task may have its own."""
    own = ", or one number per task, e.g. activity=3,placement=10" if by_task else ""
    told = "  [default: as packed, or %d]" % HOLD if packed else ""
    return click.option("--hold", type=Hold() if by_task else click.IntRange(1), default=None if packed else HOLD,
                        show_default=not packed,
                        help="Windows that must agree before a label changes%s.%s" % (own, told))


def settling_options() -> Decorator:
    """How labels come to stand, and when none does."""
    return together(
        click.option("--settle", "way", type=click.Choice(["hysteresis", "hmm"]), default="hysteresis",
                     show_default=True, help="How a label comes to stand: --hold windows agree, or by a forward filter "
                     "that knows how long activities last."),
        click.option("--unknown", type=Below(), is_flag=False, flag_value="fitted", metavar="[CONFIDENCE]",
                     help="Tell 'unknown' below this confidence; without a number, below what was fitted on "
                     "validation subjects.  [default: always tell a label]"))


def sink_option(examples: str, default: str) -> Decorator:
    """``--sink``, repeatable."""
    return spec_option("sinks", "--sink", "sinks", multiple=True, metavar="SPEC",
                       help="Where decisions go (%s), e.g. %s; NAME:help tells of the options of one. Repeatable.  "
                       "[default: %s]" % (names_in_room("sinks"), examples, default))


def source_option(examples: str, told: str = "", **settings: Any) -> Decorator:
    """``--source``; told: its default, as the help puts it."""
    return spec_option("sources", "--source", metavar="SPEC", **settings,
                       help="Where samples come from (%s), e.g. %s; NAME:help tells of the options of one.%s" % (
                           names_in_room("sources"), examples, "  [default: %s]" % told if told else ""))


def stream_options() -> Decorator:
    """How a stream is cut, fixed and decided, where a bundle may say it too."""
    return together(
        hop_option("as packed, or the model's"), hold_option(packed=True), settling_options(),
        click.option("--missing", type=click.Choice(["refuse", "zero", "hold"]), default="refuse", show_default=True,
                     help="Where a channel is not there, or comes as NaN: refuse, or feed zeros, or its last value."),
        constant_option(),
        speed_option("max", "For a source that is not live: 1.0 is real time."))
