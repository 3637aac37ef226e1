"""What every meter in the registry keeps to: as many watts as rails, time that never goes back, an end when told."""

from __future__ import annotations

import math
import threading
import time
from itertools import islice

import pytest

from edgehar import sysfs
from edgehar.bench.meters import METERS
from edgehar.bench.meters.base import PowerSample
from tests.boards import JETPACK5, add_ina3221, add_jtop, add_rapl
from tests.broker import until

EXAMPLES = {  # a new meter adds its own
    "ina3221": "ina3221:interval_s=0.01", "rapl": "rapl:interval_s=0.01", "jtop": "jtop:interval_s=0.01",
    "tegrastats": "tegrastats:interval_s=0.01,program={folder}/tegrastats", "replay": "replay:path={folder}/wall.csv",
    "sim": "sim:interval_s=0.01"}
PROGRAM = "#!/bin/sh\nwhile true; do echo '%s'; sleep 0.01; done\n" % JETPACK5


@pytest.fixture(params=METERS.names())
def open_meter(request, tmp_path, monkeypatch):
    """A function that opens the example of one meter anew."""
    assert request.param in EXAMPLES, "add an example of meter %s to this contract" % request.param
    monkeypatch.setattr(sysfs, "ROOT", tmp_path)
    add_ina3221(tmp_path)
    add_rapl(tmp_path)
    (tmp_path / "tegrastats").write_text(PROGRAM)
    (tmp_path / "tegrastats").chmod(0o755)
    (tmp_path / "wall.csv").write_text("time_s,wall\n" + "".join("%.2f,8.4\n" % (k / 100) for k in range(2000)))
    add_jtop(monkeypatch)
    return lambda: METERS.create(EXAMPLES[request.param].format(folder=tmp_path))


def test_as_many_watts_as_rails_and_time_never_goes_back(open_meter):
    with open_meter() as meter:
        assert meter.missing() is None
        began_s = time.monotonic()
        samples = list(islice(meter.samples(), 20))
        assert len(set(meter.rails)) == len(meter.rails) > 0 and all(meter.rails)
        for sample in samples:
            assert isinstance(sample, PowerSample) and len(sample.watts) == len(meter.rails)
            assert all(math.isfinite(watts) and watts >= 0 for watts in sample.watts)
        times_s = [sample.time_s for sample in samples]
        assert times_s == sorted(times_s)
        assert began_s - 0.1 <= times_s[0] <= times_s[-1] <= time.monotonic()


def test_a_meter_ends_when_told_from_another_thread(open_meter):
    meter = open_meter()
    taken = []
    thread = threading.Thread(target=lambda: taken.extend(meter.samples()))
    thread.start()
    until(lambda: taken, "a sample is taken")
    meter.close()
    thread.join(15.0)
    assert not thread.is_alive()


def test_a_meter_that_is_left_in_the_middle_lets_go(open_meter):
    meter = open_meter()
    samples = meter.samples()
    next(samples)
    samples.close()
    meter.close()
    meter.close()


def test_totals_steps_and_voltages_are_of_its_rails(open_meter):
    with open_meter() as meter:
        next(meter.samples())
        assert meter.totals() and all(set(rails) <= set(meter.rails) for rails in meter.totals().values())
        assert "total" in meter.totals() and next(iter(meter.totals())) == "total"
        for facts in (meter.steps_w(), meter.supply_v()):
            assert set(facts) <= set(meter.rails) and all(value > 0 for value in facts.values())
        assert meter.scope and isinstance(meter.facts(), dict)
        assert all(isinstance(text, str) for text in meter.warnings())
