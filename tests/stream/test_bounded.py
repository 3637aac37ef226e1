"""Tables without an end are refused where they enter."""

from __future__ import annotations

import io

import pytest

from edgehar.errors import InputError
from edgehar.stream.sources import SOURCES
from edgehar.stream.sources._bounded import MOST_BLANK, MOST_CHARACTERS, bounded_lines
from edgehar.stream.sources.csv import MOST_ROWS


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/urandom", "/dev/null", "/proc/self/mem", "/dev", "/proc/kmsg/x"])
@pytest.mark.parametrize("options", ["", ",rate_hz=50"])
def test_what_is_no_table_is_refused_and_not_read_to_its_end(path, options):
    with pytest.raises(InputError, match="%s|standard" % path):
        SOURCES.create("csv:path=%s%s" % (path, options))


@pytest.mark.parametrize("text, sentence", [
    ("acc/x\n" + "1" * (MOST_CHARACTERS + 1), "line 2 is longer than"),
    ("\n" * (MOST_BLANK + 2), "line 10001 is the last of 10001 blank ones"),
    ("acc/x\n1\n" + "\n" * (MOST_BLANK + 2), "is the last of"),
    (",".join(map(str, ["c%d" % number for number in range(5000)])) + "\n", "names 5000 columns"),
    ('acc/x\n"' + "\n" * 200000, "is the last of|field larger than field limit"),
])
def test_a_table_beyond_measure_is_refused(tmp_path, text, sentence):
    (tmp_path / "table.csv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        list(SOURCES.create("csv:path=%s,rate_hz=50" % (tmp_path / "table.csv")).samples())


@pytest.mark.parametrize("chunk_s", ["0", "-1", "1e999", "nan", "x"])
def test_a_chunk_without_measure_is_refused(chunk_s):
    with pytest.raises(InputError, match="chunk_s is |must be a (whole )?number"):
        SOURCES.create("csv:path=/dev/null,rate_hz=50,chunk_s=" + chunk_s)


def test_a_long_chunk_comes_in_parts(tmp_path):
    (tmp_path / "table.csv").write_text("acc/x\n" + "1\n" * 10000)
    found = [len(chunk.samples) for chunk in SOURCES.create("csv:path=%s,rate_hz=50,chunk_s=1e12" % (
        tmp_path / "table.csv")).samples()]
    assert found == [MOST_ROWS, MOST_ROWS, 10000 - 2 * MOST_ROWS]


def test_lines_come_as_they_are():
    text = "a\n\n\nb\r\nc"
    assert list(bounded_lines(io.StringIO(text, newline=""), "text")) == ["a\n", "\n", "\n", "b\r\n", "c"]
