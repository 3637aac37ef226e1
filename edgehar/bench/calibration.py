"""Parameters of a cost model from measurements: priors in, posteriors out.

Every parameter is positive and fitted as a logarithm: least squares of the logarithm of
predicted over measured, beside what was believed before. The curvature at the best
value tells how sure each parameter is; a later fit starts from there, so that a board's
own Runs move what was published and narrow it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from edgehar.artifact.boards import Board, Fit, on_threads
from edgehar.artifact.cost import Placement, Work, jacobian, kernel_terms, latency_s, wall_watts, work_of
from edgehar.bench.meters.base import TOTAL
from edgehar.errors import InputError, MismatchError
from edgehar.results.runs import MEASURED, Run

STEPS = 60
STARTS = ("call_s", "enqueue_s", "kernel_s", "kernel_cycles", "subgraph_s", "operator_s", "thread_s")
START_SD = 0.7  # of what another board, its software and its clocks make of these, as a logarithm: a factor of two
OWN_SHARE = 0.5  # of how networks differ in published rows, those of one board do; the rest is of boards
RAILS_SD = 0.3  # of what one Run tells of the share of power that the rails see


class Posterior(NamedTuple):
    """Logarithms (p,) of parameters and their covariance (p, p)."""

    logs: np.ndarray
    covariance: np.ndarray


Residuals = Callable[[np.ndarray], np.ndarray]


def fitted(residuals: Residuals, weights: np.ndarray, prior: Posterior, noise_sd: Any) -> Posterior:
    """The parameters that explain the rows best, by Levenberg and Marquardt's method.

    residuals: logs (p,) -> log(predicted / measured) (n,); weights: (n,), one for a model
    however many rows it has; noise_sd: of the residuals, one or (n,).
    """
    whitened = np.linalg.cholesky(np.linalg.inv(prior.covariance)).T
    scale = np.sqrt(weights) / noise_sd

    def errors(logs: np.ndarray) -> np.ndarray:
        return np.concatenate([scale * residuals(logs), whitened @ (logs - prior.logs)])

    logs, damping = prior.logs.copy(), 1e-2
    now = errors(logs)
    for _ in range(STEPS):
        slope = jacobian(errors, logs)
        step = np.linalg.solve(slope.T @ slope + damping * np.eye(len(logs)), -slope.T @ now)
        tried = errors(logs + step)
        better = tried @ tried < now @ now
        damping = damping / 3 if better else damping * 4
        if better:
            logs, now = logs + step, tried
        if np.abs(step).max() < 1e-5:
            break
    slope = jacobian(errors, logs)
    return Posterior(logs, np.linalg.inv(slope.T @ slope))


def prior_of(beliefs: Mapping[str, Tuple[float, float]]) -> Posterior:
    """Independent beliefs {name: (value, standard deviation of its logarithm)}."""
    values = np.array(list(beliefs.values()))
    return Posterior(np.log(values[:, 0]), np.diag(values[:, 1] ** 2))


def even_weights(models: Sequence[str]) -> np.ndarray:
    """(n,) weights that sum to one a model."""
    return np.array([1 / list(models).count(model) for model in models])


# ------------------------------------------------------------------ a board's own Runs


class Observation(NamedTuple):
    """The median latency of one measured Run, and all that predicts it; rails_w: idle and working watts, if metered."""

    artifact: str
    fit: str
    work: Work
    at: Placement
    seconds: float
    rails_w: Optional[Tuple[float, float]]


def is_timed(run: Run) -> bool:
    """Whether its calls were measured back to back, as a fit needs them."""
    return (run.source == MEASURED and run.measurement("latency") is not None
            and not run.scheduled)


def observation(run: Run, model: Any, board: Board) -> Observation:
    """What a timed Run of the graph `model` tells of `board`.

    Raises InputError for one that is not `is_timed`, and in a mode that `board` lacks;
    MismatchError where it was measured on another board.
    """
    latency = run.measurement("latency")
    if latency is None or not is_timed(run):
        raise InputError("%s in %s is no measured latency back to back; calibrate with Runs of `edgehar bench "
                         "--scenario single_stream` or offline on the board." % (
                             run.engine.artifact, run.scenario["name"]))
    where = run.machine.get("board", "a PC")
    if not any(name in where for name in board.models):
        raise MismatchError("a Run of %s was measured on %s and %s is another board; give Runs of that board." % (
            run.engine.artifact, where, board.name))
    device, precision = _device(run), run.engine.precision
    clocks = on_threads(board.clocks(run.machine.get("power_mode", "not told")),
                        run.engine.threads if device == "cpu" else None)
    told_mhz = run.machine.get("gpu_clock_mhz")
    if told_mhz:
        clocks = clocks._replace(gpu_mhz=float(told_mhz.split("-")[-1]))
    graph = device == "gpu" and bool(run.engine.running.get("graph", True))
    work = work_of(model, reformatted=device != "cpu" and precision != "fp32")
    return Observation(run.engine.artifact_sha256, board.fit_name(device, precision), work,
                       Placement(device, precision, clocks, run.batch, graph), latency.median, _rails_w(run))


def _device(run: Run) -> str:
    if run.engine.backend != "trt":
        return "cpu"
    return "dla" if run.engine.options.get("dla", -1) >= 0 else "gpu"


def _rails_w(run: Run) -> Optional[Tuple[float, float]]:
    """Idle and working watts of all rails together, None where they were not metered or cannot be told."""
    figures = [each for each in run.energy.get("figures", ()) if each["name"] == TOTAL]
    if not figures or figures[0]["net_j"] is None:
        return None
    return figures[0]["idle_w"], figures[0]["load_w"]


def calibrated(board: Board, found: Sequence[Observation], date: str) -> Board:
    """`board` with every fit that `found` speaks of moved to it, and its rails where power was metered."""
    fits = dict(board.fits)
    for name in dict.fromkeys(each.fit for each in found):
        fits[name] = _updated(board, fits[name], [each for each in found if each.fit == name], date)
    return replace(board, fits=fits, rails=_updated_rails(replace(board, fits=fits), found))


def _updated(board: Board, fit: Fit, found: Sequence[Observation], date: str) -> Fit:
    """What was published is the prior, less sure of what a board's own software decides; each artifact counts once."""
    artifacts = [each.artifact for each in found]
    own = replace(fit, sds=tuple(OWN_SHARE * sd for sd in fit.sds))
    wider = np.diag([START_SD ** 2 * (name in STARTS) for name in fit.names])
    prior = Posterior(np.array(fit.logs), np.array(fit.covariance) + wider)
    slopes_at = lambda logs: jacobian(lambda logs: _errors(board, fit, found, logs), logs)  # noqa: E731
    noise = np.sqrt(np.square(slopes_at(prior.logs) * own.sds).sum(axis=1) + fit.noise_sd ** 2)
    posterior = fitted(lambda logs: _errors(board, fit, found, logs), even_weights(artifacts), prior, noise)
    names = tuple(dict.fromkeys(artifact[:12] for artifact in artifacts))
    return replace(own, logs=tuple(posterior.logs.tolist()), freedom=fit.freedom + len(names), date=date,
                   covariance=tuple(map(tuple, posterior.covariance.tolist())), models=(*fit.models, *names),
                   shares=tuple(np.maximum(fit.shares, np.abs(slopes_at(posterior.logs)).max(axis=0)).tolist()))


def _errors(board: Board, fit: Fit, found: Sequence[Observation], logs: np.ndarray) -> np.ndarray:
    return np.log([latency_s(board, fit.named(logs), each.work, each.at) / each.seconds for each in found])


def _updated_rails(board: Board, found: Sequence[Observation]) -> Mapping[str, float]:
    metered = [(each, *each.rails_w) for each in found if each.rails_w and each.rails_w[1] > each.rails_w[0]]
    if not metered or not board.rails:
        return board.rails
    shares = [np.log((load_w - idle_w) / _added_w(board, each)) for each, idle_w, load_w in metered]
    before, noise = 1 / board.rails["log_sd"] ** 2, len(shares) / RAILS_SD ** 2
    of_wall = (before * np.log(board.rails["of_wall"]) + noise * np.mean(shares)) / (before + noise)
    return {"idle_w": round(float(np.mean([idle_w for _, idle_w, _ in metered])), 3),
            "of_wall": round(float(np.exp(of_wall)), 3), "log_sd": round(float((before + noise) ** -0.5), 4)}


def _added_w(board: Board, seen: Observation) -> float:
    """Watts that the work adds at the wall, as predicted."""
    parameters = board.fits["power"].parameters
    terms = kernel_terms(board, board.fits[seen.fit].parameters, seen.work, seen.at)
    at_work = wall_watts(parameters, seen.at.device, seen.at.clocks, board.fastest, seen.at.precision, terms)
    return at_work - parameters["idle_w"]
