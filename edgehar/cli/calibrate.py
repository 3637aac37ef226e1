"""`edgehar calibrate`: a board's own Runs make its predictions narrower."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

import click

from edgehar.cli._options import board_option, json_option
from edgehar.cli._show import show_json, show_next, show_table

SECTION = "Measure"


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path())
@click.option("--artifacts", default="engines", show_default=True, metavar="FOLDER", type=click.Path(),
              help="Where the artifacts of these Runs lie; their graphs are needed.")
@board_option("What to start from.")
@click.option("-o", "--output", metavar="FILE.json", default="my-board.json", show_default=True,
              type=click.Path(), help="The board file to write.")
@json_option()
def command(runs: Sequence[str], artifacts: str, board_name: str, output: str, as_json: bool) -> None:
    """Fit a board's predictions to Runs that were measured on it.

    What was fitted to published figures is the starting point; every artifact among the Runs moves it and narrows the
    intervals. Timed Runs of `edgehar bench` back to back are used, others and simulated ones left out; with --power
    also the rails. A CPU is fitted with as many threads as each Run had.
    """
    import onnx

    from edgehar.artifact.boards import load_board
    from edgehar.files import write_json
    from edgehar.probes import probe_file
    from edgehar.bench.calibration import calibrated, is_timed, observation
    from edgehar.results.runs import load_all

    probe_file(output)
    board, timed = load_board(board_name), [run for run in load_all(list(runs)) if is_timed(run)]
    _require_some(timed)
    known = _artifacts(artifacts, {run.engine.artifact_sha256: run.engine.artifact for run in timed})
    graphs = {digest: onnx.load(str(each.onnx_path)) for digest, each in known.items()}
    found = [observation(run, graphs[run.engine.artifact_sha256], board) for run in timed]
    after = calibrated(board, found, time.strftime("%Y-%m-%d"))
    write_json(output, after.to_json())
    rows = [_facts(run, seen, board, after) for run, seen in zip(timed, found)]
    if as_json:
        show_json({"board": str(output), "runs": rows})
        return
    show_table("Measured on %s, and PREDICTED before and after" % board.title.split(",")[0],
               ("artifact", "on", "precision", "mode", "batch", "measured", "before", "after"),
               [_cells(row) for row in rows])
    show_next(_prediction(known[found[0].artifact].folder, output, rows[0]))


def _prediction(artifact: Path, board: str, row: Dict[str, Any]) -> str:
    """The command that predicts what the Run of `row` measured, on the board as it is now known."""
    threads = " --threads %d" % row["threads"] if row["threads"] else ""
    return "edgehar predict %s --board %s --mode %s --device %s%s --precision %s" % (
        shlex.quote(str(artifact)), shlex.quote(board), row["mode"], row["device"], threads, row["precision"])


def _require_some(runs: Sequence[Any]) -> None:
    from edgehar.errors import InputError

    if not runs:
        raise InputError("none of these Runs was measured back to back; make one with `edgehar bench --scenario "
                         "single_stream` on the board.")


def _artifacts(folder: str, wanted: Dict[str, str]) -> Dict[str, Any]:
    """{digest: artifact}. Raises InputError where one is not below `folder`."""
    from edgehar.artifact.manifest import Artifact
    from edgehar.errors import InputError

    artifacts = [Artifact.load(path.parent) for path in sorted(Path(folder).glob("**/manifest.json"))
                 if (path.parent / "model.onnx").is_file() and not (path.parent / "engine.json").is_file()]
    found = {each.sha256: each for each in artifacts if each.sha256 in wanted}
    for digest, name in wanted.items():
        if digest not in found:
            raise InputError("the artifact %s (%s) of these Runs is not below %s; name its folder with --artifacts." % (
                name, digest[:8], folder))
    return found


def _facts(run: Any, seen: Any, before: Any, after: Any) -> Dict[str, Any]:
    from edgehar.artifact.cost import estimate_s

    at = seen.at
    return {"artifact": run.engine.artifact, "device": at.device,
            "threads": (run.engine.threads or at.clocks.cpu_cores) if at.device == "cpu" else None,
            "precision": at.precision, "mode": run.machine["power_mode"], "batch": at.batch,
            "measured_s": seen.seconds, "before_s": estimate_s(before, seen.work, at).to_json(),
            "after_s": estimate_s(after, seen.work, at).to_json()}


def _cells(row: Dict[str, Any]) -> List[Any]:
    from edgehar.artifact.cost import device_text
    from edgehar.results.words import milliseconds

    def told(found: Dict[str, float]) -> str:
        return "%s [%s, %s]" % tuple(milliseconds(found[key]) for key in ("value", "low", "high"))

    return [row["artifact"], device_text(row["device"], row["threads"]), row["precision"], row["mode"],
            row["batch"], milliseconds(row["measured_s"]), told(row["before_s"]), told(row["after_s"])]
