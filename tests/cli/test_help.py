"""Help for the options of plug-ins: by a command of each room, and behind every option that takes a spec."""

from __future__ import annotations

import json
import shlex

import pytest

from edgehar.cli import edgehar, execute
from edgehar.cli._manuals import ROOMS
from edgehar.registry import open_rooms

DEVICE = ["sources mqtt", "sinks jsonl", "meters jtop", "backends trt", "scenarios paced", "disturbances rotation"]
HOST = ["models resnet", "methods kd"]
ASKED = {"sources mqtt": ["run --source mqtt:help", "serve --source mqtt:help", "rehearse --source mqtt:help"],
         "sinks jsonl": ["run --sink jsonl:help", "serve --source sample --sink jsonl:help"],
         "meters jtop": ["bench --power jtop:help"], "scenarios paced": ["bench --scenario paced:help"],
         "disturbances rotation": ["robust x --disturbance rotation:help"],
         "backends trt": ["run x --backend trt:help", "build --backend trt:help", "install --backend trt:help"],
         "models resnet": ["train --model resnet:help", "distill --model resnet:help"],
         "methods kd": ["distill --method kd:help"]}


def printed(capsys: pytest.CaptureFixture, line: str) -> str:
    capsys.readouterr()
    code = execute(shlex.split(line))
    out, err = capsys.readouterr()
    assert code == 0 and not err, err
    return out


def needs_torch(line: str) -> None:
    if line in HOST:
        pytest.importorskip("torch")


def test_every_room_has_its_command() -> None:
    assert set(ROOMS) == set(open_rooms())
    known = edgehar.list_commands(edgehar.make_context("edgehar", ["doctor"]))
    assert {room.command for room in ROOMS.values()} <= set(known)


@pytest.mark.parametrize("line", DEVICE + HOST)
def test_the_list_leads_to_the_options_and_so_does_the_option_itself(line: str, capsys: pytest.CaptureFixture) -> None:
    command, name = line.split()
    listed = printed(capsys, command)
    assert "\n%s  " % name in "\n" + listed
    needs_torch(line)
    next_line = listed.splitlines()[-1]
    assert next_line.startswith("next: edgehar %s " % command)
    assert "Written as: --" in printed(capsys, next_line[len("next: edgehar "):])
    told = printed(capsys, line)
    assert "\nOptions:\n" in told or line == "disturbances rotation"
    for asked in ASKED[line]:
        assert printed(capsys, asked) == told
    facts = json.loads(printed(capsys, line + " --json"))
    assert facts["name"] == name and all("  %s=" % each["name"] in told for each in facts["options"])
    assert name in [each["name"] for each in json.loads(printed(capsys, command + " --json"))]


def test_the_payload_of_mqtt_is_shown_as_it_is_sent(capsys: pytest.CaptureFixture) -> None:
    told = printed(capsys, "run --source mqtt:help")
    payload = next(line for line in told.splitlines() if line.startswith("  {"))
    assert set(json.loads(payload)) == {"time_s", "samples"}
    assert "Written as: --source mqtt:topic=TOPIC" in told


@pytest.mark.parametrize("line, said", [
    ("run x --source mqqt:help", "no source named 'mqqt' (did you mean 'mqtt'?)"),
    ("distill --method kdd:help", "no method named 'kdd' (did you mean 'kd'?)"),
    ("methods kdd", "no method named 'kdd' (did you mean 'kd'?)"),
    ("layouts phyfox", "no layout 'phyfox'; did you mean 'phyphox'"),
    ("layouts nowhere.csv", "cannot read nowhere.csv"),
    ("run x --source walk.csv", "'walk.csv' is a file; write csv:path=walk.csv"),
    ("bench x --data mine.toml", "'mine.toml' is a file; write table:mine.toml"),
    ("split synthetic --protocol fold", "no protocol 'fold' (did you mean 'folds'?)"),
    ("predict x --board xavier", "no board 'xavier' (did you mean 'xavier-agx'?)"),
])
def test_what_is_not_known_is_refused_with_the_nearest(line: str, said: str, capsys: pytest.CaptureFixture) -> None:
    if line.startswith(("distill", "methods")):
        pytest.importorskip("torch")
    assert execute(shlex.split(line)) == 2
    assert said in capsys.readouterr().err


def test_help_alone_lists_what_there_is(capsys: pytest.CaptureFixture) -> None:
    assert printed(capsys, "run --source help") == printed(capsys, "sources")


def test_a_layout_is_shown_as_the_file_that_can_be_copied(capsys: pytest.CaptureFixture) -> None:
    assert '[channels."acc"]\n' in printed(capsys, "layouts phyphox")
    assert json.loads(printed(capsys, "layouts phyphox --json"))["channels"] == ["acc/x", "acc/y", "acc/z"]


def test_a_corpus_tells_its_options(capsys: pytest.CaptureFixture) -> None:
    assert "  people=INTEGER " in printed(capsys, "datasets synthetic")
    assert "  people=INTEGER " in printed(capsys, "bench x --data synthetic:help")


def test_a_list_needs_no_torch_and_a_value_of_the_wrong_kind_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert "mobilenet" in printed(capsys, "models")
    assert execute(["bench", "x", "--scenario", "paced:rate_hz=often"]) == 2
    assert "option rate_hz of scenario 'paced' must be a number, not 'often'" in capsys.readouterr().err
