"""DSADS.

Not to be told in principle, and so not below: axes of one sensor exchanged, a wrong rate
(there is no clock), a whole activity under another's name. A segment in another's place
ends a recording, as the magnetometer jumps.
"""

from tests.damage import ABSENT, ALL, Damage, Sample, at, exchanged, in_file, in_files, motion, scaled, table

TARGET = "a01/p2/s04.txt"
AT_REST = (9.6, 1.2, 0.8, 0, 0, 0, 0.8, 0.2, 0.1)


def _session(activity, person, segments=6):
    rows = motion(10 * activity + person, 125 * segments, 25.0, 45, AT_REST, 0.1)
    rows[:, [9 * unit + axis for unit in range(5) for axis in (3, 4, 5)]] *= 10
    return {"a%02d/p%d/s%02d.txt" % (activity, person, n + 1): table(rows[125 * n:125 * (n + 1)], ",")
            for n in range(segments)}


def _of_target(recording):
    return (recording.subject, recording.session) == ("2", "sitting")


FILES = dict(_session(1, 1), **_session(1, 2), **_session(1, 3, 2), **_session(9, 2))
SAMPLE = Sample("dsads", "data.zip", "data/", FILES, TARGET, line=70, column=18, separator=",",
                unit=_of_target, file=_of_target)


def _everywhere(change):
    """Damage to all segments of the target's session."""
    return in_files(lambda files: {name: "\n".join(change(text.split("\n"))) if name.startswith("a01/p2/") else text
                                   for name, text in files.items()})


def _renamed(name):
    def rename(files):
        files[name] = files.pop(TARGET)
        return files
    return in_files(rename)


def _copy_of(name):
    return in_files(lambda files: dict(files, **{TARGET: files[name]}))


DAMAGES = [
    Damage("BOM", in_file(TARGET, at(1, lambda text: "\xef\xbb\xbf" + text)), "line 1 of " + TARGET),
    Damage("header", in_file(TARGET, lambda lines: [",".join("c%d" % n for n in range(45))] + lines),
           "line 1 of " + TARGET),
    Damage("row missing", in_file(TARGET, lambda lines: lines[:60] + lines[61:]), TARGET),
    Damage("row twice", in_file(TARGET, lambda lines: lines[:60] + lines[59:]), "126 rows, not 125"),
    Damage("two segments in one file", in_file(TARGET, lambda lines: lines[:-1] + lines), "250 rows, not 125"),
    Damage("segment twice", _copy_of("a01/p2/s03.txt"), "is a copy of a01/p2/s03.txt", ALL),
    Damage("segment of another person", _copy_of("a01/p1/s04.txt"), "is a copy of a01/p1/s04.txt", ALL),
    Damage("segment of another activity", _copy_of("a09/p2/s04.txt"), "is a copy of " + TARGET, ALL),
    Damage("in g", _everywhere(scaled([0, 1, 2], ",", 1 / 9.80665)), "columns 1 to 3 (torso)"),
    Damage("rates in deg/s", in_file(TARGET, scaled([3, 4, 5], ",", 57.29578)), "torso/imu/gyro"),
    Damage("field in microtesla", _everywhere(scaled([6, 7, 8], ",", 48.0)), "columns 7 to 9 (torso)"),
    Damage("acc and mag exchanged", _everywhere(exchanged((18, 19, 20), (24, 25, 26), ",")),
           "columns 19 to 21 (left-arm)"),
    Damage("dead axis", _everywhere(scaled([10], ",", 0.0)), "right-arm/imu/acc/y' stays at 0"),
    Damage("nothing but zeros", _everywhere(scaled(range(45), ",", 0.0)), "nothing but zeros"),
    Damage("activity 20", _renamed("a20/p2/s04.txt"), "19 activities", ALL),
    Damage("subject 9", _renamed("a01/p9/s04.txt"), "8 subjects", ALL),
    Damage("segment 61", _renamed("a01/p2/s61.txt"), "60 segments", ALL),
    Damage("another name", _renamed("a01/p2/s04 (1).txt"), "60 segments", ALL),
    Damage("session missing", in_files(lambda files: {
        name: text for name, text in files.items() if not name.startswith("a01/p2/")}), "946 segments of the others",
        ABSENT),
]
