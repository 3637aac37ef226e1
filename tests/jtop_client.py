"""Records with meter jtop and prints what became of it as JSON; a program for `tests.jtop_board`, not a test.

    python jtop_client.py INTERVAL_S SECONDS [nobody]
"""

from __future__ import annotations

import json
import os
import sys

from edgehar.bench.metering import Recorder
from edgehar.bench.meters import METERS
from edgehar.errors import MissingError

NOBODY = 65534


def main() -> None:
    interval_s, seconds = map(float, sys.argv[1:3])
    meter = METERS.create("jtop", interval_s=interval_s)
    if "nobody" in sys.argv:
        import multiprocessing.synchronize  # noqa: F401  another user may not reach where modules lie

        import jtop  # noqa: F401

        os.setgid(NOBODY)
        os.setuid(NOBODY)
    try:
        print(json.dumps(recorded(meter, seconds)))
    except MissingError as error:
        print(json.dumps({"refused": str(error), "missing": METERS.create("jtop").missing()}))
    sys.stdout.flush()
    os._exit(0)  # threads of jtop may still wait for a service that is gone


def recorded(meter, seconds: float) -> dict:
    with Recorder(meter) as recorder:
        print("sampling", flush=True)
        recorder.wait(seconds)
        failure = recorder.failure
        facts = {} if failure else {"facts": meter.facts(), "warnings": meter.warnings()}
    samples = recorder.samples
    return dict(facts, rails=meter.rails if not failure else None, failure=failure, count=len(samples),
                span_s=samples[-1].time_s - samples[0].time_s, watts=[sample.watts for sample in samples],
                steps_w=meter.steps_w(), totals=None if failure else meter.totals())


if __name__ == "__main__":
    main()
