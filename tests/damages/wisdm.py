"""WISDM 2019.

Not to be told in principle, and so not below: two axes of the accelerometer exchanged, the
letter of one known activity in place of another's.
"""

from edgehar.data.datasets.wisdm import LETTERS, Wisdm
from tests.damage import ABSENT, ALL, HARMLESS, Damage, Sample, at, cell, in_file, in_files, motion, scaled

TARGET = "raw/watch/accel/data_1601_accel_watch.txt"
KEY = "activity_key.txt"


def person(number):
    """Standing, then walking before it, a minute each; clocks in ns."""
    acc = motion(number, 2600, 20.0, 3, (1.0, -9.5, 1.5), 0.4)
    times_s = [900 + n / 20 if n < 1300 else 100 + (n - 1300) / 20 for n in range(2600)]
    return "".join("%d,%s,%d,%.6f,%.6f,%.6f;\n" % (number, "EA"[n >= 1300], round(time_s * 1e9), *row)
                   for n, (time_s, row) in enumerate(zip(times_s, acc)))


FILES = {"raw/watch/accel/data_%d_accel_watch.txt" % number: person(number) for number in (1600, 1601, 1602)}
FILES[KEY] = "".join("%s = %s\n" % pair for pair in zip(Wisdm.classes["activity"], LETTERS.decode()))
SAMPLE = Sample("wisdm", "wisdm-dataset.zip", "wisdm-dataset/", FILES, TARGET, line=700, column=3, separator=",",
                unit=lambda recording: recording.subject == "1601", file=lambda recording: recording.subject == "1601")
HERE = "line 700 of " + TARGET


def _stamped(line, change):
    """The time of one line as a function of that of the line before, in ns."""
    def damage(lines):
        before = int(lines[line - 2].split(",")[2])
        return at(line, cell(2, ",", str(change(before))))(lines)
    return in_file(TARGET, damage)


def _moved(files):
    files["raw/watch/accel/data_1601_accel_watch (1).txt"] = files.pop(TARGET)
    return files


DAMAGES = [
    Damage("BOM", in_file(TARGET, at(1, lambda text: "\xef\xbb\xbf" + text)), "line 1 of " + TARGET),
    Damage("header", in_file(TARGET, lambda lines: ["person,activity,time,x,y,z;"] + lines), "line 1 of " + TARGET),
    Damage("unknown activity", in_file(TARGET, at(700, cell(1, ",", "N"))), HERE),
    Damage("two subjects in one file", in_file(TARGET, at(700, cell(0, ",", "1602"))), HERE),
    Damage("a file of another person", in_files(lambda files: dict(files, **{TARGET: next(iter(files.values()))})),
           "line 1 of %s in" % TARGET),
    Damage("clock back", _stamped(700, lambda ns: ns - 60_000_000), "0.06 s earlier than the line before it"),
    Damage("same time twice", _stamped(700, lambda ns: ns), HERE),
    Damage("line twice", in_file(TARGET, lambda lines: lines[:700] + lines[699:]), "line 701 of " + TARGET),
    Damage("lines exchanged", in_file(TARGET, lambda lines: lines[:699] + [lines[700], lines[699]] + lines[701:]),
           "line 701 of " + TARGET),
    Damage("time in ms", in_file(TARGET, scaled([2], ",", 1e-6)), "clock is in another unit"),
    Damage("time in s", in_file(TARGET, scaled([2], ",", 1e-9)), "clock is in another unit"),
    Damage("twice a second", in_file(TARGET, scaled([2], ",", 10.0)), "stamped at 2 Hz"),
    Damage("in g", in_file(TARGET, scaled([3, 4, 5], ",", 1 / 9.80665)), "gravity is 9.8"),
    Damage("time and x exchanged",
           in_file(TARGET, at(700, lambda text: ",".join(text.split(",")[i] for i in (0, 1, 3, 2, 4, 5)))), HERE),
    Damage("dead axis", in_file(TARGET, scaled([3], ",", 0.0)), "stays at 0"),
    Damage("dead sensor", in_file(TARGET, scaled([3, 4, 5], ",", 0.0)), "stays at 0"),
    Damage("another key", in_file(KEY, at(2, lambda text: "jogging = C")), "line 2 of " + KEY, ALL),
    Damage("key cut off", in_file(KEY, lambda lines: lines[:9]), "line 10 of " + KEY, ALL),
    Damage("key with CRLF", in_file(KEY, lambda lines: [line + "\r" for line in lines]), lost=HARMLESS),
    Damage("key missing", in_files(lambda files: {name: text for name, text in files.items() if name != KEY}),
           "lacks " + KEY, ALL),
    Damage("a file of nobody", in_files(_moved), "none of the corpus' 51 subjects", ALL),
    Damage("file missing", in_files(lambda files: {name: text for name, text in files.items() if name != TARGET}),
           "1601", ABSENT),
]
