"""The script of kills, floods and poisoned messages finds what it looks for."""

from __future__ import annotations

import pytest

from tests.broker import require_mosquitto
from tests.scripts import ROOT, script

pytest.importorskip("onnxruntime")


@pytest.mark.slow
def test_a_kill_and_a_small_flood_lose_nothing_and_are_counted(tmp_path):
    require_mosquitto()
    soak, abuse = script("soak"), script("abuse")
    engine = abuse.ready_engine(ROOT / "engines" / "wisdm-watch-s")
    with soak.Broker(tmp_path) as broker:
        lab = abuse.Lab(engine, tmp_path, broker.port)
        found = {"kills": abuse.kills(lab, 1), "flood": abuse.flood(lab, 300)}
        lab.close()
    for figures in found.values():
        assert all(figures.verdicts.values()), figures
    assert found["flood"].numbers["counted"] == 300 and found["kills"].numbers["kills"] == 1
    run = abuse.as_run(found, engine, "a test")
    assert run.write(tmp_path / "abuse.json").is_file()
