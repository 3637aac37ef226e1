"""Augmentation imitates a body: rotations are rotations, shared by the sensors of one placement."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from edgehar.data.channels import Channel, triad
from edgehar.training.augment import Augmentation, augment

CHANNELS = (triad("acc", "m/s^2", "waist") + triad("gyro", "rad/s", "waist") + triad("acc", "m/s^2", "wrist")
            + (Channel("pulse", "", "Hz", "wrist"),))
NOTHING = dict(rotation_deg=0.0, scale=0.0, jitter=0.0, shift=0.0)


def view(x, seed=0, **strength):
    return augment(x, CHANNELS, Augmentation(**dict(NOTHING, **strength)), torch.Generator().manual_seed(seed))


@pytest.fixture
def x():
    return torch.randn(6, len(CHANNELS), 40, generator=torch.Generator().manual_seed(1))


def test_no_strength_changes_nothing(x):
    torch.testing.assert_close(view(x), x, atol=1e-6, rtol=1e-6)


def test_the_input_is_left_alone(x):
    before = x.clone()
    view(x, rotation_deg=30.0, scale=0.2, jitter=0.1, shift=0.2)
    assert torch.equal(x, before)


def test_draws_come_from_the_generator_alone(x):
    torch.manual_seed(1)
    first = view(x, seed=3, rotation_deg=30.0, scale=0.2, jitter=0.1, shift=0.2)
    torch.manual_seed(2)
    assert torch.equal(first, view(x, seed=3, rotation_deg=30.0, scale=0.2, jitter=0.1, shift=0.2))
    assert not torch.equal(first, view(x, seed=4, rotation_deg=30.0, scale=0.2, jitter=0.1, shift=0.2))


def test_rotation_keeps_lengths_and_leaves_single_channels(x):
    turned = view(x, rotation_deg=40.0)
    for start in (0, 3, 6):
        torch.testing.assert_close(turned[:, start:start + 3].norm(dim=1), x[:, start:start + 3].norm(dim=1))
    assert torch.equal(turned[:, 9], x[:, 9])
    assert not torch.allclose(turned[:, :3], x[:, :3], atol=0.1)


def test_sensors_of_one_placement_turn_together(x):
    x[:, 3:6] = x[:, 0:3]
    x[:, 6:9] = x[:, 0:3]
    turned = view(x, rotation_deg=40.0)
    torch.testing.assert_close(turned[:, 3:6], turned[:, 0:3])
    assert not torch.allclose(turned[:, 6:9], turned[:, 0:3], atol=0.1)


def test_shift_moves_time_and_reflects_the_open_end():
    ramp = torch.arange(40.0).expand(64, len(CHANNELS), 40).contiguous()
    moved = view(ramp, shift=0.25)
    shifts = moved[:, 0, 20] - 20
    assert shifts.abs().max() <= 10 and len(shifts.unique()) > 5
    late = moved[shifts.argmax()][0]
    assert late.max() == 39 and late[-1] < 39


def test_all_channels_shift_together():
    ramp = torch.arange(40.0).expand(8, len(CHANNELS), 40).contiguous()
    moved = view(ramp, shift=0.25)
    assert torch.equal(moved, moved[:, :1].expand_as(moved))


# ------------------------------------------------------------------ sensors that are gone


def test_a_sensor_is_gone_as_a_whole_and_one_always_stays():
    x = torch.ones(4000, len(CHANNELS), 4)
    seen = view(x, sensor_dropout=0.5)[:, :, 0]
    waist, wrist = seen[:, :6], seen[:, 6:]
    for sensor in (waist, wrist):
        assert torch.equal(sensor, sensor[:, :1].expand_as(sensor))
    assert bool((waist[:, 0] + wrist[:, 0] > 0).all())
    gone = float((waist[:, 0] == 0).float().mean())
    assert 0.33 < gone < 0.42  # 0.5 less half of the quarter of windows in which both would be


def test_a_lone_sensor_stays():
    x = torch.ones(50, 3, 4)
    strength = Augmentation(**dict(NOTHING, sensor_dropout=0.9))
    assert torch.equal(augment(x, CHANNELS[:3], strength, torch.Generator().manual_seed(0)), x)


def test_it_is_drawn_after_all_else_so_that_what_stays_is_as_without(x):
    strength = dict(rotation_deg=30.0, scale=0.2, jitter=0.1, shift=0.2)
    whole, partly = view(x, **strength), view(x, sensor_dropout=0.5, **strength)
    assert torch.equal(partly, torch.where(partly == 0, partly, whole)) and not torch.equal(partly, whole)


def test_a_recipe_without_dropout_reads_as_before():
    from edgehar.training.recipe import Recipe

    assert "sensor_dropout" not in Recipe().to_json()["augmentation"]
    chosen = Recipe.from_mapping({"augmentation": {"sensor_dropout": 0.2}})
    assert chosen.to_json()["augmentation"]["sensor_dropout"] == 0.2
