"""UCI HAR.

Not to be told in principle, and so not below: two axes of body_gyro exchanged in a whole
part, a wrong rate (there is no clock), the wrong label of a whole run.
"""

import numpy as np

from tests.damage import ALL, FILE, HARMLESS, Damage, Sample, at, in_file, in_files, motion, scaled

STEMS = ["%s_%s" % (kind, axis) for kind in ("total_acc", "body_acc", "body_gyro") for axis in "xyz"]
SIGNAL = "train/Inertial Signals/%s_train.txt"
TARGET = SIGNAL % "total_acc_y"
GYRO = SIGNAL % "body_gyro_y"
LABELS, PEOPLE = "train/y_train.txt", "train/subject_train.txt"


def _run(seed, windows):
    """Windows (n, 128, 9) of one signal."""
    samples = motion(seed, 64 * windows + 64, 50.0, 9, (0,) * 9, 0.1)
    samples[:, 6:] *= 10
    samples[:, :3] = samples[:, 3:6] + [0.8, 0.5, 0.3]
    return [samples[64 * n:64 * n + 128] for n in range(windows)]


def _part(part, runs):
    """The files of runs (person, label, windows)."""
    table = np.stack([window for person, label, windows in runs for window in windows])
    rows = [(person, label) for person, label, windows in runs for _ in windows]
    files = {"%s/subject_%s.txt" % (part, part): "".join("%d\n" % person for person, _ in rows),
             "%s/y_%s.txt" % (part, part): "".join("%d\n" % label for _, label in rows)}
    for column, stem in enumerate(STEMS):
        files["%s/Inertial Signals/%s_%s.txt" % (part, stem, part)] = "".join(
            " ".join("%.7e" % value for value in window) + "\n" for window in table[:, :, column])
    return files


# person 1: rows 1 to 10, person 3: rows 11 to 40, person 5: rows 41 to 46
FILES = dict(_part("train", [(1, 1, _run(1, 6)), (1, 2, _run(2, 4)), (3, 1, _run(3, 14)), (3, 5, _run(4, 16)),
                             (5, 4, _run(5, 3)), (5, 6, _run(6, 3))]),
             **_part("test", [(2, 1, _run(7, 4)), (2, 3, _run(8, 3))]))
SAMPLE = Sample("uci-har", "UCI HAR Dataset.zip", "UCI HAR Dataset/", FILES, TARGET, line=20, column=40, separator=" ",
                unit=lambda recording: recording.subject == "3",
                file=lambda recording: recording.session.startswith("train"))


def _of_person_3(change):
    return lambda lines: lines[:10] + change(lines[10:40]) + lines[40:]


def _without(name):
    return in_files(lambda files: {each: text for each, text in files.items() if each != name})


def _exchanged(one, other):
    return in_files(lambda files: dict(files, **{SIGNAL % one: files[SIGNAL % other],
                                                 SIGNAL % other: files[SIGNAL % one]}))


DAMAGES = [
    Damage("BOM", in_file(TARGET, at(1, lambda text: "\xef\xbb\xbf" + text)), "line 1 of " + TARGET,
           lambda recording: recording.subject == "1"),
    Damage("tabs and more spaces", in_file(TARGET, lambda lines: [line.replace(" ", " \t ") for line in lines]),
           lost=HARMLESS),
    Damage("row missing", in_file(TARGET, lambda lines: lines[:20] + lines[21:]), "45 rows where 46", FILE),
    Damage("row twice", in_file(TARGET, lambda lines: lines[:20] + lines[19:]), "47 rows where 46", FILE),
    Damage("rows of one signal a row late", in_file(GYRO, lambda lines: lines[:12] + lines[11:-2] + [""]),
           "line 13 of " + GYRO, lambda recording: recording.subject in ("3", "5")),
    Damage("one digit", in_file(GYRO, at(20, lambda text: "%.7e" % (float(text[:13]) + 1e-3) + text[13:])),
           "line 20 of " + GYRO),
    Damage("axes exchanged", _exchanged("total_acc_x", "total_acc_y"), "do not belong together", FILE),
    Damage("total and body exchanged", _exchanged("total_acc_x", "body_acc_x"), "9.8", FILE),
    Damage("total in m/s^2", in_files(lambda files: dict(files, **{
        SIGNAL % stem: "\n".join(scaled(range(128), " ", 9.80665)(files[SIGNAL % stem].split("\n")))
        for stem in STEMS[:3]})), "gravity is 9.8", FILE),
    Damage("body in m/s^2", in_file(SIGNAL % "body_acc_z", scaled(range(128), " ", 9.80665)), "do not belong together",
           FILE),
    Damage("rates in deg/s", in_file(GYRO, scaled(range(128), " ", 57.29578)), "of " + GYRO, FILE),
    Damage("dead signal", in_file(GYRO, _of_person_3(scaled(range(128), " ", 0.0))), "stays at 0"),
    Damage("signal twice", in_files(lambda files: dict(files, **{GYRO: files[SIGNAL % "body_gyro_x"]})),
           "is a copy of", ALL),
    Damage("signal missing", _without(TARGET), "lacks the file " + TARGET, FILE),
    Damage("unknown label", in_file(LABELS, at(20, lambda text: "7")), "line 20 of " + LABELS),
    Damage("half a label", in_file(LABELS, at(20, lambda text: "1.5")), "line 20 of " + LABELS),
    Damage("another label within a run", in_file(LABELS, at(20, lambda text: "4")), "line 20 of " + LABELS),
    Damage("labels a row late", in_file(LABELS, lambda lines: ["1"] + lines[:-2] + [""]),
           "though the signals continue", FILE),
    Damage("label missing", in_file(LABELS, lambda lines: lines[1:]), "45 rows where 46", FILE),
    Damage("labels missing", _without(LABELS), "lacks the file " + LABELS, FILE),
    Damage("unknown person", in_file(PEOPLE, at(20, lambda text: "31")), "line 20 of " + PEOPLE, FILE),
    Damage("two subjects in one signal", in_file(PEOPLE, at(20, lambda text: "8")), "line 20 of " + PEOPLE, FILE),
    Damage("people a row late", in_file(PEOPLE, lambda lines: ["1"] + lines[:-2] + [""]), "line 12 of " + PEOPLE, FILE),
    Damage("a person who returns", in_file(PEOPLE, lambda lines: lines[:40] + ["1"] * 6 + [""]),
           "line 41 of " + PEOPLE, FILE),
    Damage("subjects missing", _without(PEOPLE), "lacks " + PEOPLE, ALL),
]
