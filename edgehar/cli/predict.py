"""`edgehar predict`: time and energy of an artifact on a board that is not there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import click

from edgehar.cli._options import PRECISIONS, board_option, json_option
from edgehar.cli._show import show_json, show_next, show_table, show_warnings

SECTION = "Measure"
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>%s</title>
<style>body { font: 15px/1.5 system-ui, sans-serif; max-width: 880px; margin: 40px auto; padding: 0 20px; color: #222 }
svg { width: 100%%; height: auto } text { font-size: 12px; fill: #222 } .tick { fill: #777 } .grid { stroke: #ddd }
.bar { fill: #9aa7b4 } .bar.best { fill: #2f7d5b }</style>
<h1>%s</h1>
%s
<p>At the wall, from published figures of other networks. Bars are what a window adds to idle; idle is taken as
equal in all modes, give or take 5 %%, for no published figure tells it mode by mode.</p>
</html>
"""


@click.command()
@click.argument("path", metavar="ARTIFACT|FILE.onnx", type=click.Path())
@board_option("A board that ships, or a file of `edgehar calibrate`.")
@click.option("--mode", default="MAXN", show_default=True, help="Power mode (nvpmodel).")
@click.option("--device", type=click.Choice(["gpu", "dla", "cpu"]), help="One device alone.  [default: all]")
@click.option("--threads", type=click.IntRange(1), metavar="N",
              help="Threads of a CPU engine, as of `edgehar build`; more than the mode has cores bring nothing.  "
              "[default: 1, and the fastest number]")
@click.option("--runtime", type=click.Choice(["onnxruntime", "tflite", "ncnn"]), default="onnxruntime",
              show_default=True, help="What runs it on a CPU; published figures are of the last two.")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS),
              help="Repeatable.  [default: fp16, on a CPU fp32]")
@click.option("--batch", "batches", default="1", show_default=True, metavar="N,N,...", help="Windows a call.")
@click.option("--rate", "rate_hz", type=click.FloatRange(min=0, min_open=True), metavar="HZ",
              help="Also tell the energy of every power mode where windows come at this rate, idle included.")
@click.option("--layers", is_flag=True, help="Also tell the kernels of the first line one by one.")
@click.option("-o", "--output", metavar="FILE.html", type=click.Path(), help="Draw power modes as a picture (--rate).")
@json_option()
def command(path: str, board_name: str, mode: str, device: Optional[str], threads: Optional[int], runtime: str,
            precisions: Sequence[str], batches: str, rate_hz: Optional[float], layers: bool, output: Optional[str],
            as_json: bool) -> None:
    """Predict latency and energy on a board, with intervals; nothing is measured.

    From the graph's kernels after fusion, the board's clocks in the mode, and parameters fitted to published figures of
    other networks. Two devices, precisions or modes are ranked only where their intervals lie apart. Energy is told at
    the module's rails and at the wall, which must not be mixed.
    """
    from edgehar.artifact.boards import load_board
    from edgehar.cli._devices import ALL, Question, verdicts
    from edgehar.errors import InputError
    from edgehar.probes import probe_file

    if output is not None and rate_hz is None:
        raise click.UsageError("-o draws energy over power modes at a rate; add --rate")
    if threads and device not in (None, "cpu"):
        raise click.UsageError("--threads are of a CPU engine; leave --device out or make it cpu")
    if output is not None:
        probe_file(output)
    board, model = load_board(board_name), _model(path)
    if rate_hz and "power" not in board.fits:
        raise InputError("%s tells no power; leave --rate out, or give a board whose power was metered." % board.name)
    question = Question(board, model, mode, runtime)
    found = question.rows((device,) if device else ALL, precisions, _batches(batches), threads)
    told = verdicts(question, found, precisions, threads)
    paced = _paced(board, model, found[0], rate_hz, runtime)
    if output is not None:
        _draw(output, Path(path).resolve().name, "%s, %s" % (board.name, found[0].device_text), paced, rate_hz)
    if as_json:
        show_json({"source": "simulated", "board": board.name, "predictions": [each.to_json() for each in found],
                   "verdicts": told, "rate_hz": rate_hz, "paced": [each.to_json() for each in paced]})
    else:
        _show(path, found, told, paced, rate_hz, layers)
        if output is not None:
            click.echo("wrote %s" % output)
        if Path(path).suffix != ".onnx":  # which no other command takes
            show_next("edgehar bench %s %s--precision %s" % (
                shlex.quote(path), _simulated(board_name, found[0]), found[0].precision))


def _model(path: str) -> Any:
    """The ONNX graph of an artifact, or a file with one."""
    from edgehar.artifact.manifest import Artifact
    from edgehar.errors import InputError

    import onnx

    file = Path(path) if Path(path).suffix == ".onnx" else Artifact.load(path).onnx_path
    try:
        model = onnx.load(str(file))
    except Exception as error:  # protobuf's and the system's
        raise InputError("%s is no readable ONNX file (%s); export it again." % (
            file, (str(error).splitlines() or [type(error).__name__])[0].rstrip("."))) from error
    if not model.graph.node or not model.graph.input:
        raise InputError("%s holds no graph; export it again." % file)
    return model


def _batches(text: str) -> List[int]:
    words = text.split(",")
    if not all(word.strip().isdigit() and int(word) > 0 for word in words):
        raise click.UsageError("--batch is whole numbers such as 1,8,64, not '%s'" % text)
    return [int(word) for word in words]


class PacedEnergy(NamedTuple):
    """Joules a window where windows come at a rate, idle included; None where the mode cannot keep up.

    may_be_least: whether no other mode is sure to need less.
    """

    mode: str
    precision: str
    wall_j: Any
    above_idle_j: Optional[float]
    rails_j: Any
    may_be_least: bool

    def to_json(self) -> Dict[str, Any]:
        """As plain values."""
        return dict(self._asdict(), wall_j=self.wall_j and self.wall_j.to_json(),
                    rails_j=self.rails_j and self.rails_j.to_json())


def _paced(board: Any, model: Any, first: Any, rate_hz: Optional[float], runtime: str) -> List[PacedEnergy]:
    """Every power mode, in the order of the board: they are not ranked where intervals meet."""
    from edgehar.artifact.cost import predict_cost
    from edgehar.cli._devices import may_be_least

    if not rate_hz:
        return []
    found = [predict_cost(board, model, mode, first.precision, 1, first.device, threads=first.threads, runtime=runtime)
             for mode in board.modes]
    wall, rails = ([each.paced_j(rate_hz, site) for each in found] for site in ("wall", "rails"))
    return [PacedEnergy(each.mode, each.precision, at_wall, at_wall and at_wall.value - each.idle_w["wall"] / rate_hz,
                        at_rails, least) for each, at_wall, at_rails, least in zip(
                            found, wall, rails, may_be_least(wall))]


# ------------------------------------------------------------------ shown


TERMS_TOLD = """time is: starts of kernels (launch), or whichever is longer of arithmetic (compute) and traffic (memory)
rails: the six supplies of the module; wall: the whole supply, carrier and adapter included"""
NARROWED = "one bench of two networks on the board narrows this: `edgehar bench` there, then `edgehar calibrate`"


def _show(path: str, found: Sequence[Any], told: Sequence[str], paced: Sequence[PacedEnergy],
          rate_hz: Optional[float], layers: bool) -> None:
    first = found[0]
    unsure = list({each.device: each.extrapolation for each in reversed(found) if each.extrapolation}.values())[::-1]
    show_warnings([*unsure, NARROWED] if unsure else [])
    show_table("PREDICTED, not measured: %s on %s, %s" % (Path(path).resolve().name, first.board, first.mode),
               ("on", "precision", "batch", "a batch [90 %]", "windows/s", "at the wall, a window [90 %]",
                "at the rails, a window [90 %]", "time is"), [_cells(each) for each in found])
    for sentence in told:
        click.echo(sentence)
    click.echo(TERMS_TOLD)
    if layers:
        show_table("PREDICTED layers: %s, %s, batch %d" % (first.device_text, first.precision, first.batch),
                   ("kernel", "operators", "MMAC", "us", "bound by"),
                   [(layer.kind, " ".join(layer.operators), "%.3f" % (layer.macs / 1e6),
                     "%.1f" % (1e6 * layer.seconds), layer.dominant) for layer in first.layers])
    if paced:
        show_table("PREDICTED, %s, a window every %.3g s, idle included; modes whose intervals meet are not ranked" % (
            first.device_text, 1 / (rate_hz or 1)),
                   ("mode", "precision", "at the wall", "of it above idle", "at the rails", "may need least"),
                   [(each.mode, each.precision, _joules(each.wall_j and each.wall_j.value),
                     _joules(each.above_idle_j), _joules(each.rails_j and each.rails_j.value),
                     "yes" if each.may_be_least else "no") for each in paced])


def _simulated(board: str, found: Any) -> str:
    """The option that lets `edgehar bench` predict for the same board; none for a CPU, where it measures this one."""
    spec = "sim:board=%s,mode=%s" % (board, found.mode)
    return "" if found.device == "cpu" else "--backend %s " % shlex.quote(spec)


def _cells(found: Any) -> Tuple[Any, ...]:
    shares = sorted(found.shares().items(), key=lambda item: -item[1])
    return (found.device_text, found.precision, found.batch, _interval(found.seconds, 1e3, "ms"),
            "%.4g" % (found.batch / found.seconds.value), _interval(found.energy_j.get("wall"), 1e3, "mJ"),
            _interval(found.energy_j.get("rails"), 1e3, "mJ"),
            ", ".join("%.0f %% %s" % (100 * share, term) for term, share in shares if share >= 0.005))


def _interval(found: Any, factor: float, unit: str) -> str:
    if found is None:
        return "not known"
    return "%.3g %s [%.3g, %.3g]" % (factor * found.value, unit, factor * found.low, factor * found.high)


def _joules(value: Optional[float]) -> str:
    return "cannot keep up" if value is None else "%.4g J" % value if value >= 1 else "%.4g mJ" % (1e3 * value)


def _draw(output: str, name: str, place: str, paced: Sequence[PacedEnergy], rate_hz: Optional[float]) -> None:
    from html import escape

    from edgehar.files import written_whole
    from edgehar.results.plots import ModeLine, mode_plot

    lines = [ModeLine(each.mode, each.precision, each.wall_j and each.wall_j.value, each.above_idle_j,
                      each.may_be_least) for each in paced]
    title = "Predicted, not measured: energy of a window of %s on %s, %g windows/s, idle included" % (
        name, place, rate_hz or 0)
    with written_whole(output) as temporary:
        temporary.write_text(PAGE % (escape(title), escape(title), mode_plot(lines)), encoding="utf-8")
