"""Networks of published figures, from `benchmarks`."""

from __future__ import annotations

from tests.scripts import ROOT, script

FOLDER = ROOT / "benchmarks"
TABLE = FOLDER.parents[1] / "shared" / "reference" / "published_xavier.csv"

networks = script("networks")
