"""Report: one page that stands alone, keeps apart what must not be compared, and hides nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from dataclasses import replace
from html.parser import HTMLParser
from typing import Dict, List

import numpy as np
import pytest

from edgehar import cli
from edgehar.errors import InputError
from edgehar.results import axes, page as report, plots, rows as tables
from edgehar.results.events import score_events
from edgehar.results.runs import SIMULATED, UNSTABLE, Measurement, RunWarning
from edgehar.results.words import interval_text
from tests.runs import everything, make

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Parses strictly: every element that opens closes, in order. Keeps text by section and all tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: List[str] = []
        self.tags: Dict[str, int] = {}
        self.attributes: List = []
        self.text: List[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += attributes
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] = self.tags.get(tag, 0) + 1
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, "</%s> closes <%s>" % (tag, self.open[-1:])
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def sections(html: str, kind: str) -> List[str]:
    return re.findall(r'<section class="%s">.*?</section>' % kind, html, re.DOTALL)


# ------------------------------------------------------------------ the page


def test_the_page_is_whole_and_stands_alone():
    html = report.render(everything() + everything(precision="int8"))
    page = Page(html)
    assert {"h1", "table", "svg", "style"} <= set(page.tags)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [value for name, value in page.attributes if name in ("src", "href")]
    assert "url(" not in html and "@import" not in html


def test_it_shows_accuracy_latency_cost_machine_and_commands():
    words = Page(report.render(everything())).words
    for shown in ("student", "published", "Macro-F1", "Calibration error", "Calibration Each dot",
                  "Confusion matrix", "Worst subject",
                  "Streaming: corpus, activity", "2.56 s every 1.28 s, hold 3", "By activity", "Single stream",
                  "Paced, 50/s", "offline, batch 64", "19,812",
                  "1.24 M", "96 KiB", "Test CPU", "edgehar bench student", "walking upstairs"):
        assert shown in words, shown


def test_text_is_escaped_everywhere():
    evil = '<script>alert("x")</script>&'
    runs = [replace(run, command=evil, warnings=(evil,), classes={"activity": (evil, "b", "c")})
            for run in everything(artifact=evil, dataset=evil)]
    html = report.render(runs)
    page = Page(html)
    assert "script" not in page.tags and evil in "".join(page.text)
    assert "<script" not in html and "&amp;lt;" not in html


def test_it_is_deterministic():
    runs = everything()
    assert report.render(runs) == report.render(runs)


def test_nothing_to_report_is_refused():
    with pytest.raises(InputError):
        report.render([])


def test_every_scenario_alone_makes_a_page():
    for run in everything():
        Page(report.render([run]))


@pytest.mark.parametrize("values", [(1e-3,), (1e-3,) * 50, (1e-6, 10.0)])
def test_odd_latencies_make_a_page(values):
    Page(report.render([make(scenario="paced", measurements=(Measurement("latency", "s", values),))]))


def test_a_run_without_calibration_has_no_picture_of_it():
    html = report.render([replace(make(), calibration={})])
    assert "Calibration Each dot" not in Page(html).words and "reliability" not in html


def test_a_reliability_is_drawn_as_one_dot_a_filled_bin():
    (row,) = tables.accuracy_rows([make()])
    row = row._replace(reliability=np.array([[0] * 7 + [30, 0, 10] + [0] * 5, [0] * 7 + [15, 0, 6.5] + [0] * 5,
                                             [0] * 7 + [15, 0, 10] + [0] * 5], float))
    drawn = plots.reliability_plot(row)
    assert re.findall("<title>(.*?)</title>", drawn) == ["confidence 50 %, correct 50 %, 30 windows",
                                                         "confidence 65 %, correct 100 %, 10 windows"]
    dots = [tuple(map(float, dot)) for dot in re.findall(r'cx="(\S+)" cy="(\S+)" r="(\S+)"', drawn)]
    assert dots[0][0] - 44 == pytest.approx(254 - dots[0][1]) and dots[0][2] > dots[1][2] and dots[1][1] == 14.0


def test_a_stream_that_detects_nothing_makes_a_page():
    silent = score_events(np.zeros(500, int), np.full(500, -1), 3, 50.0).to_json()
    words = Page(report.render([make(scenario="streaming", events={"activity": {"a": silent, "b": silent}})])).words
    assert "0.00 0.00 to 0.00" in words and "nan" not in words.split()


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_perfect_and_hopeless_engines_make_a_page(right):
    counts = (np.eye(3, dtype=int) if right else np.roll(np.eye(3, dtype=int), 1, axis=1)) * 20
    people = {"activity": {person: counts.tolist() for person in "ab"}}
    words = Page(report.render([make(people=people), make(scenario="single_stream"), make("other", people=people),
                                make("other", scenario="single_stream")])).words
    assert "%.3f" % right in words


# ------------------------------------------------------------------ honesty


def test_synthetic_data_are_marked_and_real_data_are_not():
    assert "SYNTHETIC DATA" not in report.render(everything())
    mixed = Page(report.render(everything() + everything(dataset="made-up", synthetic=True))).words
    assert "SYNTHETIC DATA The recordings behind “made-up”" in mixed
    assert "Accuracy: corpus, activity Test subjects" in mixed
    assert Page(report.render(everything(dataset="a-made-up", synthetic=True) + everything())).words.startswith(
        "edgehar report: corpus, a-made-up edgehar report corpus, a-made-up ")
    assert "Accuracy: made-up, activity SYNTHETIC DATA" in mixed
    assert "Streaming: made-up, activity SYNTHETIC DATA" in mixed and "Streaming: corpus, activity Whole" in mixed
    assert "Latency: made-up SYNTHETIC DATA" in mixed and "Latency: corpus On Test CPU" in mixed


def test_simulated_and_measured_never_share_a_table_or_plot():
    html = report.render(everything() + everything(artifact="foretold", source=SIMULATED))
    (measured,), (simulated,) = sections(html, "measured"), sections(html, "simulated")
    assert "foretold" not in measured and "SIMULATED" not in measured
    assert ">student<" not in simulated and "SIMULATED" in simulated and "foretold" in simulated


def test_timings_of_two_machines_and_of_two_corpora_stand_apart():
    page = report.page_of(everything() + everything(python="3.11.0") + everything(dataset="other"))
    assert len(page["sections"][0]["timings"]) == 3
    assert len(page["sections"][0]["corpora"]) == 2
    assert len(page["machines"]) == 2


def test_a_percentile_of_too_few_values_is_not_shown():
    (row,) = tables.latency_rows([make(scenario="paced", count=500)])
    assert row.p90_s is not None and row.p99_s is None
    assert "n/a (too few)" in Page(report.render([make(scenario="paced", count=500)])).words


def test_one_person_gives_no_interval():
    one = make(people={"activity": {"a": (10 * np.eye(3, dtype=int)).tolist()}})
    words = Page(report.render([one])).words
    assert "one subject, no interval" in words
    assert interval_text(tables.accuracy_rows([one])[0].macro_f1, 1) == "1.000 (one subject)"


def test_warnings_are_shown():
    words = Page(report.render([make(scenario="single_stream", warnings=(RunWarning(UNSTABLE, "it varied."),))])).words
    assert "Warnings" in words and "unstable: it varied." in words


# ------------------------------------------------------------------ rows


def test_even_ticks_are_round_and_inside():
    for low, high in ((0.0, 1.0), (0.7, 1.0), (0.9, 1.0), (0.905, 0.913)):
        ticks = axes.even_ticks(low, high)
        assert 3 <= len(ticks) <= 9 and low - 1e-6 <= min(ticks) and max(ticks) <= high + 1e-6


# ------------------------------------------------------------------ command and browser


def test_the_command_writes_the_page_and_says_where(tmp_path, capsys):
    for number, run in enumerate(everything(synthetic=True)):
        run.write(tmp_path / "runs" / ("%d.json" % number))
    page = tmp_path / "out" / "report.html"
    assert cli.execute(["report", str(tmp_path / "runs"), "-o", str(page)]) == 0
    told = capsys.readouterr().out
    assert str(page) in told and "5 runs" in told and "SYNTHETIC DATA" in told and "next: " in told
    Page(page.read_text(encoding="utf-8"))
    assert cli.execute(["report", str(tmp_path / "runs"), "-o", str(page), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": str(page), "runs": 5, "synthetic": True, "leaky": False,
                                                     "warnings": 0}


def test_the_command_refuses_what_is_no_run(tmp_path, capsys):
    (tmp_path / "bad.json").write_text("{")
    assert cli.execute(["report", str(tmp_path), "-o", str(tmp_path / "report.html")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "report.html").exists()


def chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    return found or pytest.skip("no chromium is installed")


@pytest.mark.parametrize("width", [1200, 420])
def test_a_browser_draws_the_page_and_nothing_sticks_out(tmp_path, width):
    browser = chromium()
    probe = "<script>document.title = 'width ' + document.documentElement.scrollWidth + ' of ' + innerWidth + " \
            "', pictures ' + [...document.querySelectorAll('svg')].filter(s => s.getBoundingClientRect().height > 20)" \
            ".length</script></body>"
    html = report.render(everything() + everything(precision="int8"))
    page = tmp_path / "report.html"
    page.write_text(html.replace("</body>", probe), encoding="utf-8")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=%s" % (tmp_path / "u"),
         "--window-size=%d,900" % width, "--dump-dom", page.as_uri()],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=90)
    found = re.search(r"<title>width (\d+) of (\d+), pictures (\d+)", done.stdout.decode("utf-8"))
    assert found, "the browser did not draw the page"
    drawn, seen, pictures = map(int, found.groups())
    assert drawn <= seen
    assert pictures >= 5


def test_a_page_that_went_into_a_pipe_is_not_to_be_opened(tmp_path, capsys):
    everything(synthetic=True)[0].write(tmp_path / "run.json")
    pipe, read = tmp_path / "page.html", []
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # there before the writer looks for one
    os.set_blocking(reader, True)
    taker = threading.Thread(target=lambda: read.extend(iter(lambda: os.read(reader, 65536), b"")))
    keeps_open = os.open(pipe, os.O_WRONLY)
    taker.start()
    try:
        assert cli.execute(["report", str(tmp_path / "run.json"), "-o", str(pipe)]) == 0
    finally:
        os.close(keeps_open)
        taker.join()
        os.close(reader)
    out, err = capsys.readouterr()
    assert out == "" and "shows 1 run;" in err and "next: " not in err  # the pipe may be standard output
    Page(b"".join(read).decode("utf-8"))


def test_a_confusion_matrix_leaves_out_classes_that_never_occur():
    row, = tables.accuracy_rows([make()])
    counts = np.zeros((5, 5), dtype=int)
    counts[0, 0], counts[0, 3] = 7, 3  # of five classes one is true and one other was predicted
    drawn = plots.confusion_plot(row._replace(classes=tuple("vwxyz"), counts=counts))
    names = re.findall(r'<text class="name"[^>]*>(\w)</text>', drawn)
    assert sorted(names) == ["v", "v", "y", "y"] and drawn.count('class="ground"') == 4
