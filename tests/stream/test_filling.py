"""A silent sensor: zeros or its last value stand in, or the stream is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgehar.data.channels import triad
from edgehar.errors import InputError
from edgehar.stream.feed import Feed
from edgehar.stream.filling import fill, filled
from edgehar.stream.sources import SOURCES
from tests.cli.test_cli_run import refused, run, table
from tests.linear import SIGNAL, noise, write_artifact

NAN = float("nan")


def source(folder: Path, columns: str, rows, **options):
    path = folder / "table.csv"
    lines = ["%.2f,%s" % (0.02 * number, ",".join(map(str, row))) for number, row in enumerate(rows)]
    path.write_text("time_s,%s\n%s\n" % (columns, "\n".join(lines)), encoding="utf-8")
    return SOURCES.create("csv:path=%s,chunk_s=0.04" % path, **options)


def fed(origin) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in Feed(origin, SIGNAL)])


@pytest.mark.parametrize("hold, wanted", [(True, [[7, 1], [7, 2], [3, 2], [3, 2]]),
                                          (False, [[0, 1], [0, 2], [3, 0], [0, 0]])])
def test_gaps_by_hand(hold, wanted) -> None:
    samples = np.array([[NAN, 1], [NAN, 2], [3, NAN], [NAN, NAN]], dtype=np.float32)
    found = fill(samples, np.array([7, 8], dtype=np.float32), hold)
    assert found.tolist() == wanted and found.dtype == np.float32


def test_a_value_is_held_over_chunks(tmp_path: Path) -> None:
    rows = [[number, 1, "" if 2 < number < 8 else number] for number in range(10)]
    origin = source(tmp_path, "acc/x,acc/y,acc/z", rows)
    assert fed(filled(origin, SIGNAL.channels, "hold"))[:, 2].tolist() == [0, 1, 2, 2, 2, 2, 2, 2, 8, 9]


def test_an_absent_channel_is_zeros_in_its_place(tmp_path: Path) -> None:
    origin = filled(source(tmp_path, "acc/z,acc/x", [[2, 1]] * 5), SIGNAL.channels, "zero")
    assert [channel.name for channel in origin.absent] == ["wrist/imu/acc/y"]
    assert "zeros stand in for wrist/imu/acc/y" in origin.remark
    assert fed(origin).tolist() == [[1, 0, 2]] * 5


def test_what_is_whole_passes_as_it_is(tmp_path: Path) -> None:
    rows = noise(20).tolist()
    plain, passed = (fed(filled(source(tmp_path, "acc/x,acc/y,acc/z", rows), SIGNAL.channels, policy))
                     for policy in ("refuse", "zero"))
    assert plain.tobytes() == passed.tobytes()


def test_without_a_policy_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="channel 'wrist/imu/acc/y'"):
        fed(filled(source(tmp_path, "acc/z,acc/x", [[2, 1]] * 5), SIGNAL.channels, "refuse"))
    feed = Feed(source(tmp_path, "acc/x,acc/y,acc/z", [[1, 2, ""]] * 5), SIGNAL)
    assert sum(len(chunk.samples) for chunk in feed) == 0 and feed.dropped == {"not a number": 5}


def test_a_source_of_something_else_is_no_source_with_gaps(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no channel that the model reads"):
        filled(source(tmp_path, "gyro/x,gyro/y", [[1, 2]] * 5), SIGNAL.channels, "zero")
    with pytest.raises(InputError, match="no policy 'mean'"):
        filled(source(tmp_path, "gyro/x,gyro/y", [[1, 2]] * 5), triad("gyro", "rad/s", ""), "mean")


def test_the_command_goes_on_without_a_channel(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "linear").folder
    two = table(columns="time_s,acc/x,acc/z")
    code, out, err = run(artifact, "--source", "csv", "--missing", "zero", fed=two)
    assert code == 0 and out and "zeros stand in for wrist/imu/acc/y" in err
    refused(run(artifact, "--source", "csv", fed=two), 2, "wrist/imu/acc/y")
