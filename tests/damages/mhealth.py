"""MHEALTH.

Not to be told in principle, and so not below: axes of a sensor exchanged, a row missing or
twice, a wrong rate (there is no clock), another known label, the label cut off from 12 to 1
at the end of a file.
"""

import numpy as np

from edgehar.data.datasets.mhealth import PEOPLE
from tests.damage import ABSENT, ALL, Damage, Sample, at, cell, exchanged, in_file, in_files, motion, scaled, table

TARGET = "mHealth_subject2.log"
AT_REST = (0.5, -9.7, 0.8, 0.0, 0.0, 2.1, -9.6, 0.6, 0.1, -0.8, -0.6, -0.3, 0.3, 0.2, -8.6, -4.5, 0.2, -0.4, -1.0, 0.0,
           -2.0, -1.0, 0.0)


def _log(person):
    labels = np.repeat((0, 1, 4, 0, 12), 640)
    rows = motion(person, len(labels), 50.0, 23, AT_REST, 0.2)
    return "".join("%s\t%d\n" % (line, label) for line, label in zip(table(rows, "\t").splitlines(), labels))


FILES = dict({"mHealth_subject%d.log" % person: _log(person) for person in (1, 2, 3)}, **{"README.txt": "text"})
SAMPLE = Sample("mhealth", "mhealth+dataset.zip", "MHEALTHDATASET/", FILES, TARGET, line=700, column=1, separator="\t",
                unit=lambda recording: recording.subject == "2", file=lambda recording: recording.subject == "2")
HERE = "line 700 of " + TARGET


def _renamed(files):
    files["mHealth_subject%d.log" % (len(PEOPLE) + 1)] = files.pop(TARGET)
    return files


DAMAGES = [
    Damage("BOM", in_file(TARGET, at(1, lambda text: "\xef\xbb\xbf" + text)), "line 1 of " + TARGET),
    Damage("header", in_file(TARGET, lambda lines: ["\t".join("abcdefghijklmnopqrstuvwx")] + lines),
           "line 1 of " + TARGET),
    Damage("unknown label", in_file(TARGET, at(700, cell(23, "\t", "13"))), HERE),
    Damage("negative label", in_file(TARGET, at(700, cell(23, "\t", "-1"))), HERE),
    Damage("half a label", in_file(TARGET, at(700, cell(23, "\t", "1.5"))), HERE),
    Damage("no label anywhere", in_file(TARGET, scaled([23], "\t", 0.0)), "labels no activity"),
    Damage("chest in g", in_file(TARGET, scaled([0, 1, 2], "\t", 1 / 9.80665)), "columns 1 to 3 of " + TARGET),
    Damage("ankle in g", in_file(TARGET, scaled([5, 6, 7], "\t", 1 / 9.80665)), "columns 6 to 8 of " + TARGET),
    Damage("arm in cm/s^2", in_file(TARGET, scaled([14, 15, 16], "\t", 100.0)), "right_lower_arm/shimmer/acc"),
    Damage("ankle's sensors exchanged", in_file(TARGET, exchanged((5, 6, 7), (8, 9, 10), "\t")),
           "columns 6 to 8 of " + TARGET),
    Damage("label first", in_file(TARGET, lambda lines: [
        "\t".join(line.split("\t")[23:] + line.split("\t")[:23]) if line else line for line in lines]), "line 1 of"),
    Damage("dead axis", in_file(TARGET, scaled([9], "\t", 0.0)), "left_ankle/shimmer/gyro/y' stays at"),
    Damage("log of another person", in_files(lambda files: dict(files, **{TARGET: files["mHealth_subject1.log"]})),
           "is a copy of mHealth_subject1.log", ALL),
    Damage("log of nobody", in_files(_renamed), "none of the corpus' ten logs", ALL),
    Damage("log missing", in_files(lambda files: {name: text for name, text in files.items() if name != TARGET}),
           "subject 2", ABSENT),
]
