"""`edgehar predict`: time and energy of an artifact on a board that is not there."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

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
equal in all modes, for no published figure tells it mode by mode.</p>
</html>
"""


@click.command()
@click.argument("path", metavar="ARTIFACT|FILE.onnx", type=click.Path())
@board_option("A board that ships, or a file of `edgehar calibrate`.")
@click.option("--mode", default="MAXN", show_default=True, help="Power mode (nvpmodel).")
@click.option("--device", type=click.Choice(["gpu", "dla", "cpu"]), default="gpu", show_default=True,
              help="What runs it.")
@click.option("--threads", type=click.IntRange(1), metavar="N",
              help="Threads of a CPU engine, as of `edgehar build`; more than the mode has cores bring nothing.  "
              "[default: 1]")
@click.option("--precision", "precisions", multiple=True, type=click.Choice(PRECISIONS),
              help="Repeatable.  [default: fp16, on a CPU fp32]")
@click.option("--batch", "batches", default="1", show_default=True, metavar="N,N,...", help="Windows per call.")
@click.option("--rate", "rate_hz", type=click.FloatRange(min=0, min_open=True), metavar="HZ",
              help="Also predict the energy of every power mode where windows come at this rate, idle included.")
@click.option("-o", "--output", metavar="FILE.html", type=click.Path(), help="Draw that as a picture (--rate).")
@json_option()
def command(path: str, board_name: str, mode: str, device: str, threads: Optional[int], precisions: Sequence[str],
            batches: str, rate_hz: Optional[float], output: Optional[str], as_json: bool) -> None:
    """Predict latency and energy on a board, with intervals; nothing is measured.

    From the graph's kernels after fusion, the board's clocks in the mode, and parameters fitted to published figures of
    other networks. Energy is told at the module's rails and at the wall, which must not be mixed.
    """
    from edgehar.artifact.boards import load_board
    from edgehar.probes import probe_file

    if output is not None and rate_hz is None:
        raise click.UsageError("-o draws energy over power modes at a rate; add --rate")
    if threads and device != "cpu":
        raise click.UsageError("--threads are of a CPU engine; add --device cpu")
    if output is not None:
        probe_file(output)
    board, model = load_board(board_name), _model(path)
    asked = precisions or (("fp32",) if device == "cpu" else ("fp16",))
    found = [each for precision in asked for batch in _batches(batches)
             for each in _predictions(board, model, mode, precision, batch, device, threads or 1)]
    paced = _paced(board, model, asked, device, threads or 1, rate_hz)
    if output is not None:
        _draw(output, Path(path).resolve().name, "%s, %s" % (board.name, found[0].device_text), paced, rate_hz)
    if as_json:
        show_json({"source": "simulated", "board": board.name, "predictions": [each.to_json() for each in found],
                   "paced": [each._asdict() for each in paced], "rate_hz": rate_hz})
    else:
        _show(path, found, paced, rate_hz)
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


def _predictions(board: Any, model: Any, mode: str, precision: str, batch: int, device: str,
                 threads: int) -> List[Any]:
    """On a GPU as one CUDA graph, and launched one by one."""
    from edgehar.artifact.cost import predict_cost

    return [predict_cost(board, model, mode, precision, batch, device, graph, threads)
            for graph in ((True, False) if device == "gpu" else (False,))]


class PacedEnergy(NamedTuple):
    """Joules a window where windows come at a rate, idle included; None where the mode cannot keep up."""

    mode: str
    precision: str
    wall_j: Optional[float]
    above_idle_j: Optional[float]
    rails_j: Optional[float]


def _paced(board: Any, model: Any, precisions: Sequence[str], device: str, threads: int,
           rate_hz: Optional[float]) -> List[PacedEnergy]:
    """The cheapest first."""
    from edgehar.artifact.cost import predict_cost

    if not rate_hz:
        return []
    found = []
    for precision in precisions:
        for mode in board.modes:
            each = predict_cost(board, model, mode, precision, 1, device, threads=threads)
            joules = {site: each.paced_j(rate_hz, site) for site in each.idle_w}
            above = None if joules["wall"] is None else joules["wall"] - each.idle_w["wall"] / rate_hz
            found.append(PacedEnergy(mode, precision, joules["wall"], above, joules["rails"]))
    return sorted(found, key=lambda each: (each.wall_j is None, each.wall_j))


# ------------------------------------------------------------------ shown


def _show(path: str, found: Sequence[Any], paced: Sequence[PacedEnergy], rate_hz: Optional[float]) -> None:
    first = found[0]
    show_table("PREDICTED, not measured: %s on %s, %s, %s" % (
        Path(path).resolve().name, first.board, first.device_text, first.mode),
               ("precision", "batch", "launched", "per batch [90 %]", "windows/s", "at the wall, per window [90 %]",
                "at the rails, per window [90 %]", "time is"), [_cells(each) for each in found])
    show_table("PREDICTED layers: %s, batch %d%s" % (first.precision, first.batch, ", CUDA graph" * first.graph),
               ("kernel", "operators", "MMAC", "us", "bound by"),
               [(layer.kind, " ".join(layer.operators), "%.3f" % (layer.macs / 1e6), "%.1f" % (1e6 * layer.seconds),
                 layer.dominant) for layer in first.layers])
    if paced:
        show_table("PREDICTED, %s, a window every %.3g s, idle included; the cheapest first" % (
            first.device_text, 1 / (rate_hz or 1)),
                   ("mode", "precision", "at the wall", "of it above idle", "at the rails"),
                   [(each.mode, each.precision, *map(_joules, each[2:])) for each in paced])
    show_warnings(dict.fromkeys(each.extrapolation for each in found if each.extrapolation))


def _simulated(board: str, found: Any) -> str:
    """The option that lets `edgehar bench` predict for the same board; none for a CPU, where it measures this one."""
    spec = "sim:board=%s,mode=%s" % (board, found.mode)
    return "" if found.device == "cpu" else "--backend %s " % shlex.quote(spec)


def _cells(found: Any) -> Tuple[Any, ...]:
    launched = "-" if found.device != "gpu" else "CUDA graph" if found.graph else "one by one"
    shares = sorted(found.shares().items(), key=lambda item: -item[1])
    return (found.precision, found.batch, launched, _interval(found.seconds, 1e3, "ms"),
            "%.4g" % (found.batch / found.seconds.value), _interval(found.energy_j["wall"], 1e3, "mJ"),
            _interval(found.energy_j["rails"], 1e3, "mJ"),
            ", ".join("%.0f %% %s" % (100 * share, term) for term, share in shares if share >= 0.005))


def _interval(found: Any, factor: float, unit: str) -> str:
    return "%.3g %s [%.3g, %.3g]" % (factor * found.value, unit, factor * found.low, factor * found.high)


def _joules(value: Optional[float]) -> str:
    return "cannot keep up" if value is None else "%.4g J" % value if value >= 1 else "%.4g mJ" % (1e3 * value)


def _draw(output: str, name: str, place: str, paced: Sequence[PacedEnergy], rate_hz: Optional[float]) -> None:
    from html import escape

    from edgehar.files import written_whole
    from edgehar.results.plots import ModeLine, mode_plot

    lines = [ModeLine(each.mode, each.precision, each.wall_j, each.above_idle_j) for each in paced]
    title = "Predicted, not measured: energy of a window of %s on %s, %g windows/s, idle included" % (
        name, place, rate_hz or 0)
    with written_whole(output) as temporary:
        temporary.write_text(PAGE % (escape(title), escape(title), mode_plot(lines)), encoding="utf-8")
