"""Signals in a few words."""

from __future__ import annotations

import pytest

from edgehar.data.asked import asked_signal
from edgehar.data.channels import triad
from edgehar.errors import InputError

HAVE = triad("gyro", "rad/s", "wrist") + triad("acc", "m/s^2", "wrist") + triad("acc", "m/s^2", "chest")


def test_channels_rate_window_and_what_follows_from_them():
    signal = asked_signal("wrist/acc@50Hz,window=128")
    assert [channel.name for channel in signal.channels] == ["wrist/acc/x", "wrist/acc/y", "wrist/acc/z"]
    assert (signal.rate_hz, signal.window, signal.hop, signal.max_gap_s) == (50.0, 128, 64, 0.1)
    assert {channel.unit for channel in signal.channels} == {"m/s^2"}


def test_every_setting_sensors_and_single_channels():
    signal = asked_signal("chest/imu/gyro/z,chest/ecg=V @ 12.5 Hz,window=10,hop=3,max_gap_s=0.5")
    assert [(channel.name, channel.unit) for channel in signal.channels] == [
        ("chest/imu/gyro/z", "rad/s"), ("chest/ecg", "V")]
    assert (signal.rate_hz, signal.window, signal.hop, signal.max_gap_s) == (12.5, 10, 3, 0.5)


def test_channels_of_a_corpus_stand_in_the_order_asked_for():
    signal = asked_signal("wrist/acc,gyro@50Hz,window=8", HAVE, 0.3)
    assert [channel.name for channel in signal.channels] == [
        "wrist/acc/x", "wrist/acc/y", "wrist/acc/z", "wrist/gyro/x", "wrist/gyro/y", "wrist/gyro/z"]
    assert signal.max_gap_s == 0.3


@pytest.mark.parametrize("text, words", [
    ("wrist/acc", "tells no signal; write channels, rate and window as in wrist/acc@50Hz,window=128"),
    ("wrist/acc@50Hz", "does not say how many samples a window has"),
    ("wrist/acc@0Hz,window=8", "'0' is no number above 0"), ("wrist/acc@50Hz,window=0", "window is '0'"),
    ("wrist/acc@50Hz,windw=8", "'windw=8' is no setting of a signal; did you mean 'window'"),
    ("wrist/acc@50Hz,window=8,max_gap_s=x", "'x' is no number above 0; give max_gap_s"),
    ("wrist/ecg@50Hz,window=8", "what 'wrist/ecg' measures is not known"),
    ("wrist/acc=g@50Hz,window=8", "'g' is no SI unit.*--deviation 9.80665"),
    ("wrist/acc,wrist/acc/x@50Hz,window=8", "channel 'wrist/acc/x' is asked for twice")])
def test_what_tells_no_signal_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        asked_signal(text)
