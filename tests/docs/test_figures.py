"""README and docs show what was measured: their tables and figures are held against the committed Runs."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from edgehar.cli import execute
from edgehar.results.markdown import markdown
from edgehar.results.runs import Run, load_all

ROOT = Path(__file__).resolve().parents[2]
README, RESULTS_PAGE, LEAKAGE, FLEETS, STUDIES = ((ROOT / name).read_text(encoding="utf-8") for name in (
    "README.md", "docs/results.md", "docs/leakage.md", "docs/fleets.md", "docs/STUDIES.md"))
RESULTS = ROOT / "benchmarks" / "results" / "amd-epyc-2-cores"


def between(name: str, page: str) -> str:
    return re.search(r"<!-- %s -->\n(.*?)<!-- /%s -->" % (name, name), page, re.S).group(1).strip()


def test_the_results_are_what_the_report_prints():
    assert between("results", RESULTS_PAGE) == markdown(load_all([RESULTS / "baselines"])).strip()


def test_every_run_is_measured_on_recorded_people_by_a_committed_command():
    for run in load_all([RESULTS / "baselines"]):
        assert (run.source, run.synthetic) == ("measured", False)
        assert (ROOT / run.command.split()[1]).is_file() and run.warnings == ()


def test_the_worth_of_leakage_is_what_its_study_prints():
    pytest.importorskip("torch")
    leakage = importlib.import_module("benchmarks.leakage")
    runs = load_all([RESULTS / "leakage"])
    assert between("leakage", LEAKAGE) == leakage.table(runs)
    for run in runs:
        assert (run.source, run.synthetic, run.command) == ("measured", False, leakage.COMMAND)


def test_what_the_filter_is_worth_is_what_its_benchmark_prints():
    settling = importlib.import_module("benchmarks.settling")
    runs = load_all([RESULTS / "settling-hapt"])
    assert between("settling", RESULTS_PAGE) == settling.table(runs)
    assert len({run.split["sha256"] for run in runs}) == 3 and len({run.engine.seed for run in runs}) == 3
    for run in runs:
        assert (run.source, run.synthetic, run.command) == ("measured", False, settling.COMMAND)


def test_what_is_told_where_doubtful_labels_are_unknown_is_what_was_counted():
    settling = importlib.import_module("benchmarks.settling")
    found = json.loads((RESULTS / "unknown-hapt" / "unknown.json").read_text(encoding="utf-8"))
    assert between("unknown", RESULTS_PAGE) == settling.unknown_table(found)
    assert found["command"] == settling.COMMAND and len(found["students"]) == 9


def test_the_fleet_ratios_are_those_of_the_runs(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    fleet = importlib.import_module("benchmarks.fleet")
    assert between("fleet", FLEETS) == fleet.table(load_all([RESULTS / "fleet"]))


@pytest.mark.parametrize("size", "SML")
def test_the_layout_ratios_are_those_of_the_runs(size):
    cells = []
    for batch in (1, 64):
        slow, fast = (np.array(Run.load(RESULTS / "conv-layout" / ("%s-batch%d-%s.json" % (
            size.lower(), batch, layout))).measurement("latency").values) for layout in ("conv1d", "conv2d"))
        cells.append("%.2f [%.2f, %.2f]" % tuple(np.percentile(slow / fast, [50, 2.5, 97.5])))
    assert "| %s | %s |" % (size, " | ".join(cells)) in between("layout", RESULTS_PAGE)


def test_the_figures_of_the_training_loop_are_those_of_the_runs(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    loop = importlib.import_module("benchmarks.training_loop")
    told = between("loop", RESULTS_PAGE)
    for prefix, names, rows in (("", loop.NETWORKS, loop.speed_rows), ("scores-", loop.COMPARED, loop.score_rows)):
        for name in names:
            runs = {way: Run.load(RESULTS / "training-loop" / ("%s%s-%s.json" % (prefix, name, way)))
                    for way in loop.ways_of(name)}
            assert "\n".join(rows(name, runs)) in told


STUDIED = re.findall(r"<!-- ([a-z-]+) -->", STUDIES)


def test_the_other_figures_of_a_fleet_are_those_of_the_runs():
    words = " ".join(FLEETS.split())
    exact, (ring,), memory = (load_all([RESULTS / name]) for name in ("fleet-exact", "fleet-ring", "fleet-memory"))
    largest = max(run.measurement("largest_difference").values[0] for run in exact)
    assert len(exact) == 3 and "by at most %.1e of a logit's range" % largest in words.replace("e-6", "e-06")
    assert "takes %.1f us for a push" % (1e6 * ring.measurement("push_and_gather").median) in words
    assert "and %.1f ns a sample in bulk" % (1e9 * ring.measurement("push_per_sample").median) in words
    growth = max(run.scenario["growth"] for run in memory)
    assert {run.scenario["ticks"] for run in memory} == {10_000_000} and "(%+.2f %%;" % (100 * growth) in words


@pytest.mark.parametrize("name", STUDIED)
def test_the_tables_of_a_study_are_those_of_its_runs(name, corpora, capsys):
    pytest.importorskip("torch")
    file, = (ROOT / "benchmarks" / "studies").glob(name.replace("-", "[-_]") + ".toml")
    assert execute(["study", str(file), "--root", str(corpora), "-o", str(RESULTS / name), "--markdown"]) == 0
    assert between(name, STUDIES) == capsys.readouterr().out.strip()


def test_the_ratios_of_tsak_are_those_that_were_measured():
    full = json.loads((ROOT / "benchmarks" / "figures" / "tsak-ratios.json").read_text(encoding="utf-8"))["ratios"][0]
    words = " ".join(RESULTS_PAGE.split())
    assert "%.1f %% fewer parameters and %.1f %% fewer MACs" % (full["parameters_fewer"], full["macs_fewer"]) in words
    assert "is %.1f times faster" % full["times_faster"]["faster"] in words


def test_contrasts_shown_here_stand_in_the_studies():
    shown = re.findall(r"\| ([a-z -]+ \| [a-z]+ \| [-+]0\.\d+ \[.*?\] \| .*?) \|$", RESULTS_PAGE, re.M)
    assert len(shown) >= 5
    for contrast in shown:
        assert "| %s |" % contrast in STUDIES


def test_the_readme_quotes_the_table_of_results():
    """The ready student's recipe: its mean macro-F1 over seeds, on how many people, and on the worst of them."""
    row, = re.findall(r"\| wisdm-none \| [^|]* \| 3 \| fp32 \| .*", between("results", RESULTS_PAGE))
    cells = [cell.strip() for cell in row.split("|")]
    mean, people, worst = float(cells[6].split()[0]), cells[7].split()[0], float(cells[10])
    assert "macro-F1 of %.2f on %s subjects it never saw, and %.2f on the worst" % (mean, people, worst) in " ".join(
        README.split())


def test_what_is_said_of_predictions_stands_in_their_report():
    found = json.loads((ROOT / "benchmarks" / "fits" / "xavier-published.json").read_text(encoding="utf-8"))["report"]
    gpu, cpu, energy = (found[name] for name in ("latency gpu", "latency cpu-fp32", "energy at wall"))
    limits = " ".join((ROOT / "docs" / "limits.md").read_text(encoding="utf-8").split())
    assert "off by %.1f %% on the GPU and %.1f %% on the CPU (FP32), energy at the wall by %.1f %%; the 90 %% " \
           "intervals hold %.1f, %.1f and %.1f %%" % (*(each["mape"] for each in (gpu, cpu, energy)),
                                            *(each["coverage"] for each in (gpu, cpu, energy))) in limits
    errors, held = zip(*((each["mape"], each["coverage"]) for each in (gpu, cpu, energy)))
    figures = ROOT / "benchmarks" / "figures"
    judged, study = (json.loads((figures / name).read_text(encoding="utf-8"))
                     for name in ("onnxruntime-core/judged.json", "simulated-boards.json"))
    assert "off by %.1f %%, and its intervals hold %.1f %%; over ten drawings of the halves %.1f and %.1f %%" % (
        *(judged["report"][name] for name in ("mape", "coverage")),
        *(np.mean(judged["drawings"][name]) for name in ("mape", "coverage"))) in limits
    assert "hold at least %.1f %% on %d boards" % (
        min(each["held"] for each in study["found"]["after"].values()), study["boards"]) in limits
    assert "error %.0f to %.0f %%, intervals hold %d %%" % (min(errors), max(errors), int(min(held))) in README


def test_the_readme_has_at_most_900_words():
    assert len(README.split()) <= 900


@pytest.mark.parametrize("picture", ["docs/images/report.png", "docs/images/live.png"])
def test_the_pictures_of_the_readme_are_small(picture):
    assert picture in re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert (ROOT / picture).read_bytes()[:4] == b"\x89PNG" and (ROOT / picture).stat().st_size < 150_000
