"""`edgehar bench --find-max-rate`: what an engine takes within a bound on its latency."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional, Sequence

import click

from edgehar.cli._show import show_json, show_table


def show_max_rates(engines: Sequence[Any], max_p99_ms: Optional[float], duration_s: float, output: Path, line: str,
                   as_json: bool, quiet: bool) -> None:
    """Find, keep and show the rate of each engine."""
    from edgehar import machine
    from edgehar.backends import BACKENDS
    from edgehar.bench.capacity import find_max_rate, max_rate_hz
    from edgehar.bench.scenarios.base import Trial
    from edgehar.bench.verdicts import require_measured
    from edgehar.files import sha256_of_json, write_json

    if max_p99_ms is None:
        raise click.UsageError("--find-max-rate needs the bound that is to be kept: --max-p99-ms MS")
    for engine in engines:
        require_measured(engine)
    for engine in engines:
        with BACKENDS.create(engine.backend).open(engine, max_batch=1) as session:
            found = find_max_rate(Trial(session, engine), max_p99_ms / 1e3, duration_s,
                                  lambda tried: None if quiet or as_json else _tell(tried))
        facts = {"artifact": engine.manifest.name, "sha256": engine.sha256, "backend": engine.backend,
                 "precision": engine.spec.precision, "max_p99_ms": max_p99_ms, "max_rate_hz": max_rate_hz(found),
                 "tried": [each.to_json() for each in found], "duration_s": duration_s, "source": "measured",
                 "command": line, "machine": machine.describe()}
        path = output / ("max-rate-%s.json" % sha256_of_json(facts)[:10])
        write_json(path, facts)
        if as_json:
            show_json(dict(facts, path=str(path)))
        else:
            _show(engine, found, max_p99_ms, max_rate_hz(found), path)


def _tell(tried: Any) -> None:
    click.echo("%.1f windows a second: %s" % (tried.rate_hz, tried.verdict), err=True)


def _show(engine: Any, found: Sequence[Any], max_p99_ms: float, best_hz: float, path: Path) -> None:
    from edgehar.results.words import milliseconds

    title = (engine.manifest.name, engine.spec.precision, engine.backend, max_p99_ms)
    show_table("%s %s, %s: p99 within %g ms" % title,
               ("windows a second", "p99 [95 %]", "bound"),
               [("%.1f" % each.rate_hz, "%s [%.3g, %.3g]" % (milliseconds(each.p99_s.value), 1e3 * each.p99_s.low,
                                                             1e3 * each.p99_s.high) if each.p99_s else "too few",
                 each.verdict) for each in sorted(found, key=lambda each: each.rate_hz)])
    click.echo("most windows a second: %.1f" % best_hz)
    click.echo(str(path))
