"""Meter jtop against the real service of jetson-stats, on an emulated AGX Xavier with two INA3221 chips."""

from __future__ import annotations

import time

import pytest

from edgehar.results.runs import Run
from tests.jtop_board import Board, missing, said, versions
from tests.linear import BACKEND, DATASET, write_artifact

REASON = missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=str(REASON))]
RAILS = {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"}


@pytest.fixture(params=sorted(versions()) or ["none"])
def board(request, tmp_path):
    with Board(versions()[request.param], tmp_path) as running:
        running.version = request.param
        yield running


def await_sampling(client) -> None:
    assert client.stdout.readline() == "sampling\n"


def test_six_rails_at_ten_hertz(board):
    told = said(board.client("0.1", "3"))
    assert told["failure"] == "" and told["warnings"] == []
    assert set(told["rails"]) == RAILS and {len(watts) for watts in told["watts"]} == {6}
    assert (told["count"] - 1) / told["span_s"] == pytest.approx(10, rel=0.1)
    assert told["facts"] == {"interval_s": 0.1, "granted_s": 0.1, "client": board.version}
    assert told["steps_w"]["GPU"] == pytest.approx(0.1556, abs=1e-4)
    assert told["steps_w"]["SYS5V"] == pytest.approx(0.0401, abs=1e-4)
    assert set(told["totals"]["total"]) == RAILS and set(told["totals"]["total without SYS5V"]) == RAILS - {"SYS5V"}
    mean_w = [sum(column) / len(column) for column in zip(*told["watts"])]
    assert dict(zip(told["rails"], mean_w))["SOC"] == pytest.approx(1.245, abs=0.1)


def test_a_run_of_bench_carries_all_six_rails(board, tmp_path):
    artifact = write_artifact(tmp_path / "linear").folder
    plugins = [word for path in (BACKEND, DATASET) for word in ("--plugin", str(path))]
    done = board.start("-m", "edgehar", *plugins, "bench", str(artifact), "--backend", "linear", "--warmup", "0",
                       "--duration", "0.1", "--power", "jtop", "--idle", "1", "--load", "1", "--repeats", "1",
                       "-o", str(tmp_path / "runs"))
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    assert "by jtop" in out and "total without SYS5V" in out and "energy is refused, too short" in out
    found = Run.load(next((tmp_path / "runs").glob("*.json")))
    assert set(found.power["rails"]) == RAILS and {len(watts) for watts in found.power["watts"]} == {6}
    assert len(found.power["watts"]) == pytest.approx(30, abs=8)
    assert found.power["meter"]["how"]["client"] == board.version
    assert found.power["meter"]["supply_v"]["GPU"] == 19.448
    assert found.energy["refusal"]["reason"] == "too short" and found.energy["figures"][0]["at_most_j"] > 0
    assert found.engine.verified["activity"]["passed"]


def test_a_slower_client_that_was_first_is_followed_and_told(board):
    first = board.client("1.0", "9")
    await_sampling(first)
    told = said(board.client("0.1", "4"))
    assert told["facts"]["granted_s"] == 1.0 and told["failure"] == ""
    assert 3 <= told["count"] <= 5
    assert "another client was there first" in told["warnings"][0]
    assert said(first)["failure"] == ""


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_service_that_ends_while_sampling_is_noticed(board, how):
    client = board.client("0.1", "20")
    await_sampling(client)
    time.sleep(1)
    getattr(board, how)()
    told = said(client)
    assert "jtop service" in told["failure"] and "sudo systemctl restart jtop.service" in told["failure"]
    assert told["count"] >= 2


def test_a_service_that_hangs_ends_the_loop_of_jtop_silently_and_is_noticed(board):
    client = board.client("0.1", "20")
    await_sampling(client)
    time.sleep(1)
    board.freeze()
    told = said(client)
    assert told["failure"].startswith("the jtop service fell silent after") and told["count"] >= 2


def test_another_version_is_told_with_both_and_the_remedy(board):
    others = [folder for version, folder in versions().items() if version != board.version]
    if not others:
        pytest.skip("only one jetson-stats is at hand")
    told = said(board.client("0.1", "1", packages=others[0]))
    assert board.version in told["refused"]
    assert "pip install 'jetson-stats==%s.*'" % ".".join(board.version.split(".")[:2]) in told["refused"]
    assert told["missing"] == told["refused"]


def test_a_user_outside_the_group_is_told_how_to_get_in(board):
    told = said(board.client("0.1", "1", "nobody"))
    assert "sudo usermod -aG jtop $USER" in told["refused"]


def test_without_the_service_its_restart_is_the_remedy(board):
    board.socket.unlink()
    told = said(board.client("0.1", "1"))
    assert told["refused"].startswith("the jtop service does not run; sudo systemctl restart jtop.service")
