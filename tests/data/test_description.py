"""A description says what files hold; what it cannot mean is refused with its line."""

import pytest

from edgehar.data.description import read_description
from edgehar.errors import InputError

GOOD = """\
[files]
glob = "{subject}/{session}.csv"

[time]
column = "t"
unit = "ms"

[channels."wrist/imu/acc"]
columns = ["ax", "ay", "az"]
unit = "mg"

[channels."wrist/imu/gyro/z"]
column = "gz"
unit = "deg/s"
scale = 0.5
"""


def described(folder, text):
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return read_description(path)


def test_channels_have_names_si_units_and_factors(tmp_path):
    found = described(tmp_path, GOOD)
    assert [channel.name for channel in found.channels] == [
        "wrist/imu/acc/x", "wrist/imu/acc/y", "wrist/imu/acc/z", "wrist/imu/gyro/z"]
    assert [channel.unit for channel in found.channels] == ["m/s^2"] * 3 + ["rad/s"]
    assert found.measured[0].factor == pytest.approx(0.00980665)
    assert (found.measured[3].columns, found.measured[3].scale) == (("gz",), 0.5)
    assert found.name == "mine"


FAULTS = [
    ("separator", '[files]\nglob = "{subject}/{session}.csv"\nseperator = ";"\n', "line 3: .*did you mean 'separator'"),
    ("group", '[files]\nglob = "{subjekt}/a.csv"\n', "line 2: .*did you mean 'subject'"),
    ("regex", '[files]\npattern = "("\n', "line 2: .*no regular expression"),
    ("table", '[file]\nglob = "a"\n', "line 1: .*did you mean 'files'"),
    ("kind", '[files]\nskip_lines = "two"\n', "line 2: .*'two'; it must be a whole number"),
]


@pytest.mark.parametrize("text, told", [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_slip_is_refused_with_its_line(tmp_path, text, told):
    with pytest.raises(InputError, match=told) as caught:
        described(tmp_path, text + GOOD.split("\n\n", 1)[1])
    assert "mine.toml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("old, new, told", [
    ('unit = "mg"', 'unit = "gees"', "line 10: .*'gees'; it must be one of"),
    ('unit = "ms"', 'unit = "minutes"', "line 6: .*'minutes'"),
    ('columns = ["ax", "ay", "az"]', 'columns = ["ax", "ay"]', "line 9: .*2 for the axes x, y, z"),
    ('column = "gz"', "", "needs either column"),
    ('column = "t"', "", "names no clock"),
    ('"wrist/imu/gyro/z"', '"wrist/imu/acc/z"', "described twice"),
])
def test_what_cannot_be_meant_is_refused(tmp_path, old, new, told):
    with pytest.raises(InputError, match=told):
        described(tmp_path, GOOD.replace(old, new))
