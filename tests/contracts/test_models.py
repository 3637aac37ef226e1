"""What every network keeps, over the registry and its variants: nothing of the input is ignored."""

from __future__ import annotations

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.errors import InputError
from edgehar.training.heads import HEADS
from edgehar.training.models import MODELS, make_model
from edgehar.training.models.mobilenet import SIZES

CHANNELS = triad("acc", "m/s^2", "waist") + triad("gyro", "rad/s", "waist") + triad("linear_acc", "m/s^2", "waist")
TASKS = {"activity": tuple("abcdef"), "placement": ("left", "right")}
VARIANTS = {
    "mobilenet": ["mobilenet:size=%s,conv=%s,act=%s" % (size, conv, act) for size in "SML"
                  for conv in ("same", "valid") for act in ("relu", "hardswish")]
    + ["mobilenet:size=XS", "mobilenet:se=false", "mobilenet:size=S,width=1.5,depth=2"]
    + ["mobilenet:head=" + head for head in HEADS],
    "mtl-net": ["mtl-net", "mtl-net:size=slim", "mtl-net:size=slim,width=8"],
    "resnet": ["resnet", "resnet:width=16,head=hopfield"], "tsak": ["tsak:stem=16,width=32"]}
SPECS = [spec for name in MODELS.names() for spec in VARIANTS.get(name, [name])]


def signal(window: int = 128) -> Signal:
    return Signal(CHANNELS, rate_hz=50.0, window=window, hop=64, max_gap_s=0.1)


def network(spec: str, window: int = 128):
    return make_model(spec, signal(window), TASKS)


@pytest.mark.parametrize("window", [128, 125, 100, 96])
@pytest.mark.parametrize("spec", SPECS)
def test_every_channel_and_time_step_has_a_gradient(spec, window):
    model = network(spec, window).eval()
    x = torch.randn(8, len(CHANNELS), window, requires_grad=True)
    outputs = model(x)
    sum((logits * torch.randn_like(logits)).sum() for logits in outputs.logits.values()).backward()
    reached = x.grad.abs().sum(dim=0) > 0
    assert reached.all(), "no gradient at (channel, step) %s" % (~reached).nonzero().tolist()[:5]


@pytest.mark.parametrize("spec", SPECS)
def test_every_parameter_gets_a_gradient(spec):
    model = network(spec).train()
    outputs = model(torch.randn(16, len(CHANNELS), 128))
    said = [*outputs.logits.values(), *outputs.named.values()]
    sum((value * torch.randn_like(value)).sum() for value in said).backward()
    dead = [name for name, parameter in model.named_parameters()
            if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    assert not dead


@pytest.mark.parametrize("spec", SPECS)
def test_shapes_of_the_outputs(spec):
    outputs = network(spec).eval()(torch.randn(3, len(CHANNELS), 128))
    assert {task: tuple(z.shape) for task, z in outputs.logits.items()} == {"activity": (3, 6), "placement": (3, 2)}
    assert all(stage.ndim == 3 and len(stage) == 3 for stage in outputs.stages)
    assert outputs.embedding.shape[0] == 3 and outputs.embedding.ndim == 2


@pytest.mark.parametrize("spec", SPECS)
def test_normalisation_is_inside(spec):
    """Shifting and stretching the input and the statistics alike changes nothing."""
    model = network(spec).eval()
    x = torch.randn(64, len(CHANNELS), 128)
    model.normalise.set_statistics(x)
    before = model(x).logits["activity"]
    model.normalise.set_statistics(5 + 3 * x)
    torch.testing.assert_close(model(5 + 3 * x).logits["activity"], before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size, about", [
    ("XS", 10_000), ("S", 20_000), ("M", 100_000), ("L", 300_000), ("L,width=1.5", 600_000), ("L,width=0.75", 160_000),
    ("L,width=2,depth=2", 2_100_000)])
def test_sizes_are_what_they_are_called(size, about):
    model = make_model("mobilenet:size=" + size, signal(), {"activity": tuple("abcdef")})
    assert 0.8 * about < model.parameter_count() < 1.2 * about


def test_width_and_depth_are_multiples():
    assert SIZES["S"].scaled(1.0, 1) == SIZES["S"]
    once, twice = network("mobilenet:size=S"), network("mobilenet:size=S,width=2,depth=2")
    assert [len(stage) for stage in twice.stages] == [2 * len(stage) for stage in once.stages]
    assert twice.stem[0].out_channels == 2 * once.stem[0].out_channels
    assert network("mobilenet:size=S,width=0.3").stem[0].out_channels == 8  # whole eighths


@pytest.mark.parametrize("spec", SPECS)
def test_there_is_a_grid_for_each_stage_where_there_are_grids(spec):
    model = network(spec).eval()
    stages = model(torch.randn(1, len(CHANNELS), 128)).stages
    assert len(model.grids) in (0, len(stages))
    for grid, stage in zip(model.grids, stages):
        assert 0 <= grid.first and grid.first + grid.spacing * (stage.shape[2] - 1) < 128


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("spec", SPECS)
def test_the_layout_in_memory_changes_speed_alone(spec):
    """Outputs are the same and parameters stay as they are stored, whichever way windows lie in memory."""
    model, x = network(spec).eval(), torch.randn(8, len(CHANNELS), 128)
    found = {}
    for model.channels_last in (False, True):
        outputs = model(x)
        sum(logits.square().sum() for logits in outputs.logits.values()).backward()
        found[model.channels_last] = outputs
        assert all(value.is_contiguous() for value in model.state_dict().values())
        assert all(each.grad is None or each.grad.stride() == each.stride() for each in model.parameters())
    for one, other in zip(*([*each.logits.values(), *each.stages, each.embedding] for each in found.values())):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("spec", ["mobilenet", "mobilenet:conv=valid", "resnet", "mtl-net", "mtl-net:size=slim"])
def test_a_family_that_asks_for_it_computes_with_channels_innermost(spec):
    model, seen = network(spec).eval(), []
    convolutions = [layer for layer in model.modules() if isinstance(layer, torch.nn.Conv2d)]
    for layer in convolutions:
        layer.register_forward_hook(lambda _, given, made: seen.extend([given[0], made]))
    model(torch.randn(4, len(CHANNELS), 128))
    assert len(seen) == 2 * len(convolutions)
    assert all(each.is_contiguous(memory_format=torch.channels_last) for each in seen)


LEARNS_ON_TWO_THREADS = """
import torch
from edgehar.data.channels import triad
from edgehar.data.signals import Signal
from edgehar.training.models import make_model
torch.set_num_threads(2)
channels = triad("acc", "m/s^2", "wrist") + triad("gyro", "rad/s", "wrist") + triad("mag", "uT", "wrist")
model = make_model("resnet:width=8", Signal(channels, 50.0, 128, 64, 0.1), {"activity": tuple("abcdefg")}).train()
for batch in (3, 61) * 10:
    model(torch.randn(batch, 9, 128)).logits["activity"].square().sum().backward()
"""


def test_learning_on_two_threads_corrupts_no_memory():
    """With channels innermost, torch 2.13 wrote beyond its memory here: half of such runs ended in a fault."""
    done = subprocess.run([sys.executable, "-c", LEARNS_ON_TWO_THREADS], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr


def test_a_family_that_does_not_ask_is_handed_windows_as_they_are():
    """So that one which reshapes by `Tensor.view` goes on to work."""
    from edgehar.training.models.base import Model

    class Viewed(Model):
        def features(self, x):
            return [], x.view(len(x), -1)

    assert Viewed(signal(), TASKS, 9 * 128)(torch.randn(2, 9, 128)).embedding.shape == (2, 9 * 128)


def test_mac_count_by_hand():
    """One 1x1 convolution and one linear layer, counted on paper."""
    from edgehar.training.models.base import Model

    class Small(Model):
        def __init__(self):
            super().__init__(signal(), {"activity": ("a", "b")}, embedding=4)
            self.layer = torch.nn.Conv2d(9, 4, (1, 3), padding=(0, 1))

        def features(self, x):
            y = self.layer(x)
            return [y], y.mean(dim=(2, 3))

    assert Small().mac_count() == 9 * 4 * 3 * 128 + 4 * 2


@pytest.mark.parametrize("size", "SML")
def test_valid_geometry_does_not_depend_on_where_the_window_starts(size):
    """Features of a window and of the same window inside a longer one are the same columns."""
    model = network("mobilenet:size=%s,conv=valid,se=false" % size).eval()
    longer = network("mobilenet:size=%s,conv=valid,se=false" % size, window=160).eval()
    longer.load_state_dict(model.state_dict())
    x = torch.randn(1, len(CHANNELS), 160)
    with torch.no_grad():
        whole = longer(x).stages[-1]
        stride = 4
        for shift in (0, 4, 8, 32):
            part = model(x[:, :, shift:shift + 128]).stages[-1]
            first = shift // stride
            torch.testing.assert_close(part, whole[:, :, first:first + part.shape[2]], atol=1e-5, rtol=1e-5)


def test_default_valid_window_pools_an_even_number_of_columns():
    """Two columns arrive a hop of W/16, so block sums need an even count."""
    assert all(network("mobilenet:size=%s,conv=valid" % size).columns % 2 == 0 for size in "SML")


def test_windows_too_short_are_refused():
    with pytest.raises(InputError, match="window this short"):
        network("mobilenet:conv=valid", window=20)


@pytest.mark.parametrize("spec, word", [("mobilenet:size=XL", "XL"), ("mobilenet:layers=3", "layers"),
                                        ("mobilenet:width=0", "width"), ("mobilenet:depth=0", "depth"),
                                        ("mobilenet:head=svm", "svm"),
                                        ("alexnet", "alexnet"), ("resnet:width=-3", "width"),
                                        ("resnet:kernel=4", "kernel"), ("resnet:width=abc", "width"),
                                        ("mobilenet:signal=x", "signal"), ("resnet:width=8,", "has no value")])
def test_unknown_specs_are_refused(spec, word):
    with pytest.raises(InputError, match=word):
        network(spec)
