"""OpenPack.

Not to be told in principle, and so not below: axes of a sensor exchanged, two sensors
exchanged, rates in rad/s (the arms may have turned slowly), the id of another operation.
"""

from edgehar.data.datasets.openpack import SENSORS
from tests.damage import ABSENT, ALL, HARMLESS, Damage, Sample, at, cell, in_file, in_files, motion, scaled

ZERO_MS = 1648531521000  # 2022-03-29 14:25:21 +09:00
HEADER = "unixtime,acc_x,acc_y,acc_z,gyro_x,gyro_y,gyro_z,quat_w,quat_x,quat_y,quat_z"
TARGET = "U0209/atr/atr02/S0400.csv"
OPERATIONS = "U0209/annotation/openpack-operations/S0400.csv"
SESSIONS = ("S0300", "S0400", "S0500")


def _sensor(seed, zero_ms):
    acc = motion(seed, 2100, 33.3, 3, (0.3, 0.2, 0.9), 0.05)
    gyro = motion(seed + 50, 2100, 33.3, 3, (0, 0, 0), 40.0)
    lines = ["%d,%s,0.5,0.5,0.5,0.5" % (zero_ms + 30 * n, ",".join("%.5f" % value for value in (*a, *g)))
             for n, (a, g) in enumerate(zip(acc, gyro))]
    return "\n".join([HEADER, *lines]) + "\n"


def _time(ms):
    return "2022-03-29 14:%02d:%02d.%03d000+09:00" % (25 + (21 + ms // 1000) // 60, (21 + ms // 1000) % 60, ms % 1000)


def _row(begin_ms, end_ms, id_=100, session="S0400", user="U0209"):
    return "op:1,%s,%s,1,%s,Any,%s,%s,act:1" % (user, session, id_, _time(begin_ms), _time(end_ms))


def _files():
    files = {}
    for number, session in enumerate(SESSIONS):
        for place, sensor in enumerate(SENSORS):
            files["U0209/atr/%s/%s.csv" % (sensor, session)] = _sensor(4 * number + place, ZERO_MS + 7 * place)
        files["U0209/annotation/openpack-operations/%s.csv" % session] = "\n".join(
            ["uuid,user,session,box,id,operation,start,end,actions", _row(600, 30000, 100, session),
             _row(30000, 61000, 1000, session)]) + "\n"
    return files


SAMPLE = Sample("openpack", "openpack-sample-v1.0.0.zip", "openpack/v1.0.0/", _files(), TARGET, line=700, column=2,
                separator=",", unit=lambda recording: recording.session == "U0209-S0400",
                file=lambda recording: recording.session == "U0209-S0400")
HERE = "line 700 of " + TARGET
BEGIN = "line 1 of " + TARGET


def _stamped(line, change):
    """The time of one line as a function of that of the line before, in ms."""
    def damage(lines):
        before = int(lines[line - 2].split(",")[0])
        return at(line, cell(0, ",", str(change(before))))(lines)
    return in_file(TARGET, damage)


def _operation(what, text, says):
    """Damage to line 3 of the operations."""
    return Damage(what, in_file(OPERATIONS, at(3, lambda line: text)), says)


def _without(name):
    return in_files(lambda files: {each: text for each, text in files.items() if not each.startswith(name)})


def _of_nobody(files):
    return {name.replace("U0209", "U0302") if "S0400" in name else name: text for name, text in files.items()}


DAMAGES = [
    Damage("BOM", in_file(TARGET, at(1, lambda text: "\xef\xbb\xbf" + text)), BEGIN),
    Damage("header missing", in_file(TARGET, lambda lines: lines[1:]), BEGIN),
    Damage("columns exchanged", in_file(TARGET, at(1, lambda text: text.replace("acc_x,acc_y", "acc_y,acc_x"))), BEGIN),
    Damage("clock back", _stamped(700, lambda ms: ms - 60), "0.06 s earlier than the line before it"),
    Damage("same time twice", _stamped(700, lambda ms: ms), HERE),
    Damage("line twice", in_file(TARGET, lambda lines: lines[:700] + lines[699:]), "line 701 of " + TARGET),
    Damage("time in s", in_file(TARGET, scaled([0], ",", 1e-3, first=2)), TARGET),
    Damage("three samples per second", in_file(TARGET, lambda lines: lines[:1] + lines[1:-1:11] + [""]),
           "not near 33.3 Hz"),
    Damage("acceleration in m/s^2", in_file(TARGET, scaled([1, 2, 3], ",", 9.80665, first=2)), "gravity is 9.8"),
    Damage("rates in mdeg/s", in_file(TARGET, scaled([4, 5, 6], ",", 1000.0, first=2)), "left_wrist/atr02/gyro"),
    Damage("dead axis", in_file(TARGET, scaled([1], ",", 0.0, first=2)), "left_wrist/atr02/acc/x' stays at 0"),
    Damage("sensor twice", in_files(lambda files: dict(files, **{TARGET: files[TARGET.replace("atr02", "atr01")]})),
           "is a copy of U0209/atr/atr01/S0400.csv", ALL),
    Damage("sensor of another session", in_files(lambda files: dict(files, **{
        TARGET: files[TARGET.replace("S0400", "S0300")]})), "is a copy of U0209/atr/atr02/S0300.csv", ALL),
    Damage("sensor of another time", in_file(TARGET, scaled([0], ",", 1.001, first=2)), TARGET),
    Damage("sensor missing", _without(TARGET), "lacks the file " + TARGET),
    Damage("operations missing", _without(OPERATIONS), "lacks the file " + OPERATIONS),
    Damage("operations empty", in_file(OPERATIONS, lambda lines: []), "names no column"),
    Damage("operations without header", in_file(OPERATIONS, lambda lines: lines[1:]), "line 1 of " + OPERATIONS),
    Damage("operations with BOM and CRLF", in_file(OPERATIONS, lambda lines: [
        "\xef\xbb\xbf" + lines[0] + "\r"] + [line + "\r" for line in lines[1:-1]] + [""]), lost=HARMLESS),
    _operation("unknown operation", _row(30000, 61000, 150), "operation '150'"),
    _operation("operation of another person", _row(30000, 61000, 100, user="U0101"), "belongs to U0101-S0400"),
    _operation("operation of another session", _row(30000, 61000, 100, "S0300"), "belongs to U0209-S0300"),
    _operation("operation backwards", _row(61000, 30000), "ends before it begins"),
    _operation("operations on each other", _row(20000, 61000), "begins before the operation above it"),
    _operation("time without zone", _row(30000, 61000).replace("+09:00", ""), "line 3 of " + OPERATIONS),
    _operation("time as a number", "op:1,U0209,S0400,1,100,Any,1,2,", "the time '1'"),
    Damage("operations cut off in a line", in_file(OPERATIONS, lambda lines: lines[:2] + [lines[2][:40]]),
           "line 3 of " + OPERATIONS),
    Damage("operations in another zone", in_file(OPERATIONS, lambda lines: [
        line.replace("+09:00", "+00:00") for line in lines]), "a time in which no sensor recorded"),
    Damage("user of no record", in_files(_of_nobody), "U0302", ALL),
    Damage("session missing", in_files(lambda files: {name: text for name, text in files.items()
                                                      if "S0400" not in name}), "2 of the 104 sessions", ABSENT),
]
