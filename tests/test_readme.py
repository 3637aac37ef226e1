"""The README shows what was measured: its tables are held against the committed Runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from edgehar.results import Run, load_all
from edgehar.tables import markdown

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = ROOT / "benchmarks" / "results" / "amd-epyc-2-cores"


def between(name: str) -> str:
    return re.search(r"<!-- %s -->\n(.*?)<!-- /%s -->" % (name, name), README, re.S).group(1).strip()


def test_the_results_are_what_the_report_prints():
    assert between("results") == markdown(load_all([RESULTS / "baselines"])).strip()


def test_every_run_is_measured_on_recorded_people_by_a_committed_command():
    for run in load_all([RESULTS / "baselines"]):
        assert (run.source, run.synthetic) == ("measured", False)
        assert (ROOT / run.command.split()[1]).is_file() and run.warnings == ()


@pytest.mark.parametrize("size", "SML")
def test_the_layout_ratios_are_those_of_the_runs(size):
    cells = []
    for batch in (1, 64):
        slow, fast = (np.array(Run.load(RESULTS / "conv-layout" / ("%s-batch%d-%s.json" % (
            size.lower(), batch, layout))).measurement("latency").values) for layout in ("conv1d", "conv2d"))
        cells.append("%.2f [%.2f, %.2f]" % tuple(np.percentile(slow / fast, [50, 2.5, 97.5])))
    assert "| %s | %s |" % (size, " | ".join(cells)) in between("layout")
