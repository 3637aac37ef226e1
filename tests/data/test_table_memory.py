"""A table far larger than what is held of it at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 300
LIMIT_MB = 600  # of the process, Python and numpy included
TOML = """
[files]
glob = "{subject}.csv"
[time]
column = "t"
unit = "ms"
[channels."wrist/acc"]
columns = ["x", "y", "z"]
unit = "m/s^2"
[corpus]
rate_hz = 100
window_s = 1
"""
READ = """
import re, sys
from edgehar.data.datasets import DATASETS
samples = sum(len(each.samples) for each in DATASETS.create("table:" + sys.argv[1]).recordings())
peak_kb = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1)  # ru_maxrss counts the parent's
print(samples, int(peak_kb) / 1024)
"""


@pytest.mark.slow
def test_a_large_table_is_read_in_bounded_memory(tmp_path):
    """Each Recording is let go before the next; a stretch without a gap goes on as further ones."""
    (tmp_path / "large.toml").write_text(TOML)
    rows = 0
    with (tmp_path / "a.csv").open("w") as stream:
        stream.write("t,x,y,z\n")
        while stream.tell() < MEGABYTES << 20:
            stream.write("".join("%d,0.12345678,1.2345678,9.8123456\n" % (10 * k) for k in range(rows, rows + 100000)))
            rows += 100000
    done = subprocess.run([sys.executable, "-c", READ, str(tmp_path / "large.toml")], cwd=str(ROOT), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    samples, peak_mb = map(float, done.stdout.split())
    assert rows - 10 <= samples <= rows and peak_mb < LIMIT_MB
