"""What each sensor adds: choices made of what a network sees, ranked, and told against their own parts."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from edgehar.data.channels import triad
from edgehar.data.signals import Framing, scaled
from edgehar.errors import InputError
from edgehar.results.modalities import choices, ranking
from edgehar.results.page import render
from edgehar.results.people import Interval
from edgehar.results.plots import SensorChoice, choice_plot
from tests.runs import make

CHANNELS = triad("acc", "m/s^2", "wrist") + triad("gyro", "rad/s", "wrist") + triad("acc", "m/s^2", "hip")


@pytest.mark.parametrize("settings, wanted", [
    ({"by": "placement"}, {"wrist": 6, "hip": 3, "wrist+hip": 9}),
    ({"by": "placement", "most": 1}, {"wrist": 6, "hip": 3}),
    ({"by": "kind", "rates_hz": [25]}, {"acc": 6, "gyro": 3, "acc+gyro": 9, "acc@25Hz": 6, "gyro@25Hz": 3,
                                        "acc+gyro@25Hz": 9}),
    ({"channels": {"up": "axis=z/kind=acc"}}, {"up": 2})])
def test_choices_are_subsets_of_what_the_network_sees(settings, wanted) -> None:
    found = choices(settings, CHANNELS)
    assert {name: len(each["channels"].split(",")) for name, each in found.items()} == wanted
    assert {name for name, each in found.items() if each.get("rate_hz") == 25.0} == {
        name for name in wanted if "25Hz" in name}


@pytest.mark.parametrize("settings, told", [
    ({}, "names no choice"), ({"by": "unit"}, "choose one of: kind, sensor"), ({"channels": {"a": "kind=mag"}}, "mag")])
def test_settings_that_choose_nothing_are_refused(settings, told) -> None:
    with pytest.raises(InputError, match=told):
        choices(settings, CHANNELS)


def test_windows_keep_their_seconds_at_another_rate() -> None:
    assert scaled(Framing(25.0, 64, 32), 12.5) == Framing(12.5, 32, 16)
    with pytest.raises(InputError, match="choose a rate at which both are whole numbers"):
        scaled(Framing(25.0, 64, 32), 10.1)


def tried(choice: str, names, macs: int, right: int, rate_hz: float = 50.0):
    run = make("student@" + choice)
    people = {person: (np.full((3, 3), 10) + right * np.eye(3, dtype=int)).tolist() for person in "abcd"}
    return replace(run, people={"activity": people}, calibration={}, engine=replace(
        run.engine, macs=macs, channel_names=list(names), channels=len(names), rate_hz=rate_hz))


RUNS = [tried("wrist", ["w"], 100, 60), tried("hip", ["h"], 90, 40), tried("wrist+hip", ["w", "h"], 190, 90),
        tried("hip@25Hz", ["h"], 50, 40, 25.0), make("other")]


def test_a_second_sensor_is_told_against_the_best_alone() -> None:
    found = ranking("student", {run.engine.artifact: [run] for run in RUNS})
    assert [each.name for each in found] == ["wrist+hip", "wrist", "hip", "hip@25Hz"]
    both, wrist, hip, slow = found
    assert both.over == "wrist" and both.gain.difference.value == pytest.approx(
        both.row.macro_f1.value - wrist.row.macro_f1.value)
    assert (wrist.over, hip.over, slow.over) == ("", "", "")
    assert [each.best for each in found] == [True, True, False, True]


def test_the_report_draws_the_choices() -> None:
    page = render(RUNS)
    assert "What each sensor adds" in page and "student, trained again" in page
    assert "What each sensor adds" not in render([RUNS[0], RUNS[-1]])


def test_the_picture_has_a_dot_a_choice_and_a_line_through_the_best() -> None:
    points = [SensorChoice("a<b", 1e5, Interval(0.5, 0.4, 0.6), True),
              SensorChoice("c", 2e5, Interval(0.4, 0.3, 0.5), False),
              SensorChoice("d", 4e5, Interval(0.9, 0.8, 1.0), True)]
    picture = choice_plot(points)
    assert picture.count("<circle") == 3 and "a&lt;b, 0.500" in picture
    (line,) = re.findall(r'class="front" points="([^"]+)"', picture)
    assert len(line.split()) == 2
