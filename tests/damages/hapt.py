"""HAPT.

Not to be told in principle, and so not below: two axes of a sensor exchanged, a wrong rate
(there is no clock), one line of labels.txt missing among others of its experiment (time
between segments may be unlabelled), the label of another activity.
"""

from edgehar.data.datasets.hapt import LABELS
from edgehar.data.signals import STANDARD_GRAVITY
from tests.damage import ABSENT, ALL, HARMLESS, UNIT, Damage, Sample, at, in_file, in_files, motion, scaled, table

ACC, GYRO = ("RawData/%s_exp02_user01.txt" % kind for kind in ("acc", "gyro"))
NAMES = ("exp01_user01", "exp02_user01", "exp03_user02")


def _files():
    files = {LABELS: "".join("%d %d %d %d %d\n" % (each, person, activity, 1000 * n + 1, 1000 * n + 900)
                             for each, person in ((1, 1), (2, 1), (3, 2)) for n, activity in enumerate((5, 1, 4)))}
    for seed, name in enumerate(NAMES):
        files["RawData/acc_%s.txt" % name] = table(motion(seed, 3100, 50.0, 3, (0.9, 0.3, 0.3), 0.05))
        files["RawData/gyro_%s.txt" % name] = table(motion(9 + seed, 3100, 50.0, 3, (0, 0, 0), 1.0))
    return files


SAMPLE = Sample("hapt", "HAPT Data Set.zip", "HAPT Data Set/", _files(), ACC, line=700, column=1, separator=" ",
                unit=lambda recording: recording.session == "exp02",
                file=lambda recording: recording.session == "exp02")


def _labels(what, text, says, lost=UNIT):
    """Damage to line 5 of the labels, that of walking in exp02: ``2 1 1 1001 1900``."""
    return Damage(what, in_file(LABELS, at(5, lambda line: text)), says, lost)


def _without(name):
    return in_files(lambda files: {each: text for each, text in files.items() if each != name})


def _copied(files):
    for kind in ("acc", "gyro"):
        files["RawData/%s_exp02_user01.txt" % kind] = files["RawData/%s_exp01_user01.txt" % kind]
    return files


def _renamed(files):
    files["RawData/acc_exp02_user02.txt"] = files.pop(ACC)
    return files


DAMAGES = [
    Damage("BOM", in_file(ACC, at(1, lambda text: "\xef\xbb\xbf" + text)), "line 1 of " + ACC),
    Damage("header", in_file(ACC, lambda lines: ["x y z"] + lines), "line 1 of " + ACC),
    Damage("acceleration in m/s^2", in_file(ACC, scaled([0, 1, 2], " ", STANDARD_GRAVITY)), "gravity is 9.8"),
    Damage("rates in deg/s", in_file(GYRO, scaled([0, 1, 2], " ", 57.29578)), "of " + GYRO),
    Damage("sensors exchanged", in_files(lambda files: dict(files, **{ACC: files[GYRO], GYRO: files[ACC]})),
           "gravity is 9.8"),
    Damage("row missing", in_file(ACC, lambda lines: lines[:700] + lines[701:]), "3099 rows"),
    Damage("row twice", in_file(GYRO, lambda lines: lines[:700] + lines[699:]), "has 3101"),
    Damage("dead axis", in_file(GYRO, scaled([1], " ", 0.0)), "stays at 0"),
    Damage("experiment twice", in_files(_copied), "is a copy of RawData/acc_exp01_user01.txt", ALL),
    Damage("file missing", _without(GYRO), "lacks the file " + GYRO),
    Damage("both files missing", in_files(lambda files: {name: text for name, text in files.items()
                                                         if name not in (ACC, GYRO)}), "acc_exp02_user01", ABSENT),
    Damage("another person's name", in_files(_renamed), "none of the corpus' 61 experiments", ALL),
    _labels("unknown activity", "2 1 13 1001 1900", "line 5 of " + LABELS),
    _labels("activity 0", "2 1 0 1001 1900", "line 5 of " + LABELS),
    _labels("two people in one experiment", "2 2 1 1001 1900", "it is subject 1's", ALL),
    _labels("columns of the labels exchanged", "1 2 1 1001 1900", "line 5 of " + LABELS, ALL),
    _labels("start and end exchanged", "2 1 1 1900 1001", "no stretch"),
    _labels("labels beyond the signals", "2 1 1 1001 3101", "a recording of 3100"),
    _labels("labels on each other", "2 1 1 801 1900", "another line labels too"),
    _labels("seconds for samples", "2 1 1 20.02 38.0", "not whole"),
    _labels("unknown experiment", "62 1 1 1001 1900", "there are 61", ALL),
    _labels("text in the labels", "2 1 walking 1001 1900", "line 5 of " + LABELS, ALL),
    Damage("labels cut off", in_file(LABELS, lambda lines: lines[:6] + [""]), "no line for experiment 3",
           lambda recording: recording.session == "exp03"),
    Damage("labels with CRLF", in_file(LABELS, lambda lines: [line + "\r" if line else line for line in lines]),
           lost=HARMLESS),
    Damage("labels in another order", in_file(LABELS, lambda lines: lines[8::-1] + [""]), lost=HARMLESS),
    Damage("labels missing", _without(LABELS), "lacks " + LABELS, ALL),
]
