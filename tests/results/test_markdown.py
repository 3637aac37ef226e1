"""Markdown: what is kept apart, what is marked, and what old Runs still look like."""

from __future__ import annotations

from dataclasses import replace

from edgehar.results.markdown import markdown
from edgehar.results.runs import SIMULATED
from tests.runs import everything, make


def test_markdown_keeps_simulated_and_machines_apart():
    text = markdown(everything() + everything(source=SIMULATED) + everything(python="3.11.0"))
    assert text.count("**SIMULATED.** ") == 3
    assert text.count("Cost on") == 3
    assert all(line.count("|") == text.splitlines()[2].count("|") for line in text.splitlines()[2:5])


def test_generated_data_are_marked_in_every_markdown_table():
    text = markdown(everything(synthetic=True) + everything(dataset="real"))
    assert text.count("SYNTHETIC") == 3 and text.count("Cost on") == 2


def test_people_who_were_not_at_hand_are_counted():
    run = make("a")
    assert "4 of 5 test subjects" in markdown([replace(run, split=dict(run.split, test=["a", "b", "c", "d", "e"]))])


def test_calibration_has_a_column_where_a_run_recorded_it():
    new, old = make("new"), replace(make("old", method="none"), calibration={})
    assert "calibration error" not in markdown([old])
    table = [line.split(" | ") for line in markdown([new, old]).splitlines() if line.startswith("|")]
    assert {len(line) for line in table} == {11} and table[0][7] == "calibration error"
    assert {line[0]: line[7] for line in table[2:]}["| old"] == "–"


def test_rows_of_several_tasks_say_which():
    run = make("a")
    both = replace(run, people=dict(run.people, placement=run.people["activity"]), calibration={},
                   classes=dict(run.classes, placement=run.classes["activity"]))
    table = [line.split(" | ") for line in markdown([both]).splitlines() if line.startswith("|")]
    assert table[0][:2] == ["| network", "task"] and {line[1] for line in table[2:]} == {"activity", "placement"}
    assert {len(line) for line in table} == {11} and "| task |" not in markdown([run])


def test_streams_have_a_table_of_their_own():
    text = markdown([make(scenario="streaming", synthetic=True)])
    assert text.startswith("Streaming: **corpus**, SYNTHETIC DATA, split") and "2.56 s every 1.28 s, hold 3" in text
