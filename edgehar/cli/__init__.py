"""The command line: one command, one file, each holding a click command named `command`.

A file says by ``SECTION`` where the help lists its command. Commands are thin: parse, call
the library, show the result and the next useful command. Errors are raised where they
happen and translated here, once, to one sentence on stderr and an exit code; the table of
codes is in ``edgehar.errors``.
"""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import sys
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional, Sequence, Tuple

import click

from edgehar import __version__
from edgehar.errors import EdgeharError, InputError, MissingError
from edgehar.packages import absent, broken, broken_in

SECTIONS = ("Machine and data", "Train", "Run", "Deploy", "Measure", "Plug-ins")  # of the help; a command says its own
OTHERS = "More commands"
INTERRUPTED = 130
PIPE_CLOSED = 141
OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
NO_TEMPORARY = "No usable temporary directory"  # so begins what the standard library says


class Ending(NamedTuple):
    """How a failed command ends: one sentence (none where silence is right) and the exit code."""

    sentence: str
    exit_code: int


class Commands(click.Group):
    """The files of this folder. Listing imports each small file, running one imports that one alone."""

    def list_commands(self, context: click.Context) -> List[str]:
        """The names of the files, sorted, with ``-`` for ``_``."""
        files = (module.name for module in pkgutil.iter_modules(__path__))
        return sorted(name.replace("_", "-") for name in files if not name.startswith("_"))

    def get_command(self, context: click.Context, name: str) -> Optional[click.Command]:
        """The command of that file; None where there is none."""
        if name not in self.list_commands(context):
            return None
        command: click.Command = _module(name).command
        return command

    def resolve_command(self, context: click.Context, args: List[str]) -> Tuple[
            Optional[str], Optional[click.Command], List[str]]:
        """As click does; an unknown command is refused with the nearest names."""
        known = self.list_commands(context)
        if args[0] not in known:
            from edgehar.nearest import alternatives

            raise click.UsageError("there is no command '%s'; %s" % (args[0], alternatives(args[0], known, count=3)),
                                   context)
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command with its whole first sentence, below the SECTION that its file names."""
        names = self.list_commands(context)
        rows: Dict[str, List[Tuple[str, str]]] = {section: [] for section in (*SECTIONS, OTHERS)}
        for name in names:
            module = _module(name)
            section = getattr(module, "SECTION", OTHERS)
            rows[section if section in rows else OTHERS].append(
                (name.ljust(max(map(len, names))), module.command.get_short_help_str(limit=1000)))
        for section, listed in rows.items():
            if listed:
                with formatter.section(section):
                    formatter.write_dl(listed)

    def invoke(self, context: click.Context) -> object:
        """Run the command; keep click from giving a closed pipe and Ctrl-C endings of its own."""
        try:
            return super().invoke(context)
        except (BrokenPipeError, KeyboardInterrupt) as error:
            raise _Stopped(explain(error)) from error


def _module(name: str) -> Any:
    """The file of a command."""
    return importlib.import_module("%s.%s" % (__name__, name.replace("-", "_")))


class _Stopped(Exception):
    """Carries the outcome of an interruption past click."""

    def __init__(self, outcome: Ending) -> None:
        super().__init__(outcome.sentence)
        self.outcome = outcome


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="edgehar %(version)s")
@click.option("--plugin", "plugins", multiple=True, metavar="FILE.py|MODULE", type=click.Path(),
              help="Add a plug-in of your own, as `edgehar new` writes one; may stand anywhere in the line. Others are "
              "named in EDGEHAR_PLUGINS and edgehar.toml.")
@click.option("-v", "--verbose", count=True, help="Log what is decided to stderr, each line with its time "
              "and module; -vv logs more.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error; may stand anywhere in the line.")
@click.pass_context
def edgehar(context: click.Context, plugins: Sequence[str], verbose: int, debug: bool) -> None:
    """Wearable-sensor recordings in, a verified real-time activity recogniser out.

    \b
    The way, one command a step:
      train    a teacher from recordings         distill  a small student from it
      export   the student to a checked artifact build    an engine for this machine
      verify   that it still agrees              run      it on a live or replayed signal
      bench    its accuracy and latency          report   everything on one page
      pack     all of it into one signed file    install  it on a device, or rollback

    Start with `edgehar demo` (a ready student at work), `edgehar doctor` (is all here?) and
    `edgehar datasets` (what can I train on?).

    \b
    Exit codes:
      0 done                        5 measurement unstable
      1 a fault of edgehar          6 artifact or engine does not match
      2 input or options unusable   7 device, package, network missing
      3 accuracy gate failed        8 too few samples to tell
      4 latency bound not kept      130 stopped by Ctrl-C, 141 output closed
    """
    from edgehar.cli._logging import show_notes

    context.call_on_close(show_notes(verbose))
    from edgehar.plugins import add_plugins

    add_plugins(plugins)


def main() -> NoReturn:
    """The console script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller, as a service manager may
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
    sys.exit(execute(sys.argv[1:]))


def execute(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code, having told what went wrong in one sentence on stderr."""
    from edgehar.registry import plugins_kept

    words = plugins_first([word for word in arguments if word != "--debug"]) or ["--help"]
    with plugins_kept():
        try:
            code = edgehar.main(words, prog_name="edgehar", standalone_mode=False)
            sys.stdout.flush()
        except SystemExit:
            raise
        except BaseException as error:  # a broken library of Rust panics with a kind that is no Exception
            if "--debug" in arguments:
                import traceback

                traceback.print_exc()
            return _tell(explain(error))
    return code if type(code) is int else 0


def plugins_first(words: Sequence[str]) -> List[str]:
    """The line with each ``--plugin FILE`` before the command, wherever it was typed."""
    first: List[str] = []
    rest: List[str] = []
    left = list(words)
    while left and left[0] != "--":
        word = left.pop(0)
        if word == "--plugin" and not left:
            return [word]  # to be refused
        if word == "--plugin":
            first += [word, *left[:1]]
            left = left[1:]
        else:
            (first if word.startswith("--plugin=") else rest).append(word)
    return [*first, *rest, *left]


def explain(error: BaseException) -> Ending:
    """The outcome that stands for `error`."""
    if isinstance(error, _Stopped):
        return error.outcome
    if isinstance(error, EdgeharError):
        return Ending(str(error), error.exit_code)
    if isinstance(error, click.ClickException):
        return Ending(_usage_sentence(error), error.exit_code)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return Ending("stopped by Ctrl-C; nothing is half-written, and a training continues when the same line is "
                      "typed again.", INTERRUPTED)
    if isinstance(error, BrokenPipeError):
        return Ending("", PIPE_CLOSED)
    return _of_this_machine(error) or _of_a_plugin(error) or Ending(
        "this is a fault of edgehar (%s: %s); add --debug for the traceback and report it." % (
            type(error).__name__, error), EdgeharError.exit_code)


def _of_a_plugin(error: BaseException) -> Optional[Ending]:
    """The outcome where a plug-in of the user's raised `error`, or may have caused it; None where none was used."""
    from edgehar.registry import fault_place, loaded_plugins

    told = "%s: %s" % (type(error).__name__, error)
    place = fault_place(error)
    if place:
        return Ending("there is a fault in the plug-in %s (%s); fix it; --debug shows the traceback." % (place, told),
                      InputError.exit_code)
    if loaded_plugins():
        return Ending("this is a fault of edgehar, or of what %s gives to it (%s); add --debug for the traceback, and "
                      "look there before you report it." % (" or ".join(loaded_plugins()), told),
                      EdgeharError.exit_code)
    return None


def _of_this_machine(error: BaseException) -> Optional[Ending]:
    """The outcome where the machine lacks a package, memory or disk space, else None."""
    package = broken_in(error)
    if package:
        own = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == package
        sentence = absent(package) if own else broken(package, str(error) or type(error).__name__)
        return Ending(sentence.replace("the package", "this command needs the package", 1).replace(
            " is ", ", which is ", 1), MissingError.exit_code)
    if isinstance(error, MemoryError):
        return Ending("this machine ran out of memory; close other programs or use less data at once.",
                       MissingError.exit_code)
    if isinstance(error, OSError) and error.errno in OUT_OF_DESCRIPTORS:
        return Ending("too many files are open (%s); raise the limit with `ulimit -n`, or end other programs." % (
            error.filename or error.strerror), MissingError.exit_code)
    if isinstance(error, FileNotFoundError) and (error.strerror or "").startswith(NO_TEMPORARY):
        return Ending("no folder for temporary files may be written; set TMPDIR to one that may.",
                      InputError.exit_code)
    if isinstance(error, OSError) and error.errno in OUT_OF_SPACE:
        return Ending("the disk is full (%s); free space or choose another folder with -o." % (
            error.filename or error.strerror), InputError.exit_code)
    return None


def _tell(outcome: Ending) -> int:
    if outcome.exit_code == PIPE_CLOSED:
        _forget_stdout()
    if outcome.sentence:
        click.echo("edgehar: %s" % " ".join(outcome.sentence.splitlines()), err=True)
    return outcome.exit_code


def _usage_sentence(error: click.ClickException) -> str:
    """click's message on one line, with the help that would have prevented it."""
    message = " ".join(error.format_message().split()).rstrip(".?")
    context = getattr(error, "ctx", None)
    return "%s; see `%s --help`." % (message[:1].lower() + message[1:], context.command_path if context else "edgehar")


def _forget_stdout() -> None:
    """The reader of our output has gone: let Python's last flush at exit go nowhere, quietly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
