"""Networks of published figures, rebuilt as ONNX: their shapes alone, or with random weights.

    graph = networks.resnet50()                            weights are graph inputs: a few kilobytes
    graph = networks.mnist(np.random.default_rng(0))       weights are random: can be run

Sources: MLPerf inference v1.1 for ResNet-50 v1.5, SSD-MobileNet-v1 (300 x 300),
SSD-ResNet34 (1200 x 1200) and BERT-Large (384 tokens); the Keras and TFLite model
gardens for MobileNet v1 to v3 and EfficientNet-Lite; pytorch-segmentation for
FCN-ResNet18; ultralytics for YOLOv8; the ONNX model zoo's MNIST; the papers of the others,
as ncnn's benchmark has them; the repositories named in the published rows for pace_seg and
csi_cnn.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import TensorProto, helper

EFFICIENTNET_LITE = (("lite0", 1.0, 1.0, 224), ("lite1", 1.0, 1.1, 240), ("lite2", 1.1, 1.2, 260),
                     ("lite3", 1.2, 1.4, 280), ("lite4", 1.4, 1.8, 300))


def weighted(model: Any, seed: int = 0) -> Any:
    """A network whose shapes alone were told, with random weights, so that it can be run."""
    draw = np.random.default_rng(seed)
    signal, *weights = model.graph.input
    for entry in weights:
        shape = [size.dim_value for size in entry.type.tensor_type.shape.dim]
        values = draw.normal(0, np.sqrt(2 / max(1, np.prod(shape[1:]))), shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, entry.name))
    del model.graph.input[1:]
    return model


class Net:
    """Nodes one after another; every method returns the name of its output.

    Filters of a signal one sample high, (1, channels, 1, samples), lie along it.
    """

    def __init__(self, shape: Sequence[int], draw: Optional[np.random.Generator] = None) -> None:
        self._flat = len(shape) == 4 and shape[2] == 1
        self._nodes: List[Any] = []
        self._inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        self._tensors: List[Any] = []
        self._draw = draw
        self.channels = {"x": shape[1]}

    def node(self, kind: str, *inputs: str, channels: Optional[int] = None, **attributes: Any) -> str:
        name = "%s_%d" % (kind.lower(), len(self._nodes))
        self._nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        self.channels[name] = channels or self.channels.get(inputs[0], 0)
        return name

    def weight(self, *shape: int) -> str:
        name = "w_%d" % (len(self._inputs) + len(self._tensors))
        if self._draw is None:
            self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        else:
            values = self._draw.normal(0, 0.1, shape).astype(np.float32)
            self._tensors.append(onnx.numpy_helper.from_array(values, name))
        return name

    def constant(self, values: Sequence[int]) -> str:
        name = "c_%d" % (len(self._inputs) + len(self._tensors))
        self._tensors.append(onnx.numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def conv(self, x: str, channels: int, size: int = 1, stride: int = 1, groups: int = 1,
             activation: Optional[str] = "Relu", same: bool = True) -> str:
        """A convolution with bias, and its activation; padding as PyTorch's (size - 1) // 2."""
        high, across, pad = (1, 1, 0) if self._flat else (size, stride, (size - 1) // 2 if same else 0)
        weight = self.weight(channels, self.channels[x] // groups, high, size)
        along = (size - 1) // 2 if same else 0
        y = self.node("Conv", x, weight, self.weight(channels), channels=channels, group=groups,
                      kernel_shape=[high, size], strides=[across, stride], pads=[pad, along] * 2)
        return self.activate(y, activation)

    def activate(self, x: str, activation: Optional[str]) -> str:
        if activation == "HardSwish":
            return self.node("Mul", x, self.node("HardSigmoid", x, alpha=1 / 6))
        return self.node(activation, x) if activation else x

    def depthwise(self, x: str, size: int, stride: int, activation: str = "Relu") -> str:
        return self.conv(x, self.channels[x], size, stride, self.channels[x], activation)

    def pool(self, x: str, size: int, stride: int, pad: int = 0) -> str:
        return self.node("MaxPool", x, kernel_shape=[size, size], strides=[stride, stride], pads=[pad] * 4)

    def concat(self, *inputs: str) -> str:
        return self.node("Concat", *inputs, channels=sum(self.channels[each] for each in inputs), axis=1)

    def twice(self, x: str) -> str:
        """Height and width doubled."""
        scales = "c_%d" % (len(self._inputs) + len(self._tensors))
        self._tensors.append(onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), scales))
        return self.node("Resize", x, "", scales, mode="nearest")

    def classifier(self, x: str, classes: int) -> str:
        return self.gemm(self.node("Flatten", self.node("GlobalAveragePool", x)), classes, self.channels[x])

    def gemm(self, x: str, columns: int, depth: int) -> str:
        return self.node("Gemm", x, self.weight(depth, columns), self.weight(columns), channels=columns)

    def linear(self, x: str, columns: int) -> str:
        """The last axis through a matrix, with bias."""
        y = self.node("MatMul", x, self.weight(self.channels[x], columns), channels=columns)
        return self.node("Add", y, self.weight(columns))

    def model(self, *outputs: str) -> Any:
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "net", self._inputs, made, self._tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# ------------------------------------------------------------------ GPU rows


def mnist(draw: Optional[np.random.Generator] = None) -> Any:
    net = Net((1, 1, 28, 28), draw)
    x = net.pool(net.conv("x", 8, 5), 2, 2)
    x = net.pool(net.conv(x, 16, 5), 3, 3)
    return net.model(net.gemm(net.node("Flatten", x), 10, 256))


def resnet50() -> Any:
    net = Net((1, 3, 224, 224))
    x = net.pool(net.conv("x", 64, 7, 2), 3, 2, 1)
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(blocks):
            x = _bottleneck(net, x, width, stride if number == 0 else 1)
    return net.model(net.classifier(x, 1001))


def _bottleneck(net: Net, x: str, width: int, stride: int) -> str:
    skip = x
    if net.channels[x] != 4 * width:
        skip = net.conv(x, 4 * width, 1, stride, activation=None)
    y = net.conv(net.conv(net.conv(x, width), width, 3, stride), 4 * width, activation=None)
    return net.node("Relu", net.node("Add", y, skip))


def _basic(net: Net, x: str, width: int, stride: int) -> str:
    skip = x if net.channels[x] == width and stride == 1 else net.conv(x, width, 1, stride, activation=None)
    y = net.conv(net.conv(x, width, 3, stride), width, 3, activation=None)
    return net.node("Relu", net.node("Add", y, skip))


def _resnet_stages(net: Net, blocks: Sequence[Tuple[int, int, int]]) -> str:
    x = net.pool(net.conv("x", 64, 7, 2), 3, 2, 1)
    for width, count, stride in blocks:
        for number in range(count):
            x = _basic(net, x, width, stride if number == 0 else 1)
    return x


def fcn_resnet18(height: int, width: int, classes: int = 21) -> Any:
    """pytorch-segmentation's: a grid of a 32nd, nothing dilated."""
    net = Net((1, 3, height, width))
    x = _resnet_stages(net, ((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2)))
    return net.model(net.conv(net.conv(x, 128, 3), classes, activation=None))


def ssd_resnet34() -> Any:
    net = Net((1, 3, 1200, 1200))
    x = _resnet_stages(net, ((64, 3, 1), (128, 4, 2), (256, 6, 1)))
    maps = [x]
    for middle, out, stride in ((256, 512, 2), (256, 512, 2), (128, 256, 2), (128, 256, 2), (128, 256, 1)):
        x = net.conv(net.conv(x, middle), out, 3, stride, same=stride == 2)
        maps.append(x)
    heads = []
    for feature, boxes in zip(maps, (4, 6, 6, 6, 4, 4)):
        stride = 3 if feature is maps[0] or feature is maps[1] else 2 if feature is maps[2] else 1
        heads += [net.conv(feature, 4 * boxes, 3, stride, activation=None),
                  net.conv(feature, 81 * boxes, 3, stride, activation=None)]
    return net.model(*_detections(net, heads))


def ssd_mobilenet() -> Any:
    net = Net((1, 3, 300, 300))
    x = net.conv("x", 32, 3, 2)
    maps = []
    for out, stride in V1_BLOCKS:
        x = net.conv(net.depthwise(x, 3, stride), out)
        maps.append(x)
    x, maps = maps[-1], [maps[10], maps[-1]]
    for middle, out in ((256, 512), (128, 256), (128, 256), (64, 128)):
        x = net.conv(net.conv(x, middle), out, 3, 2)
        maps.append(x)
    heads = []
    for feature, boxes in zip(maps, (3, 6, 6, 6, 6, 6)):
        heads += [net.conv(feature, 4 * boxes, activation=None), net.conv(feature, 91 * boxes, activation=None)]
    return net.model(*_detections(net, heads))


def _detections(net: Net, heads: Sequence[str]) -> List[str]:
    """Scores of all boxes, and their maxima in the place of the plugin for non-maximum suppression."""
    return [net.node("ReduceMax", net.node("Sigmoid", head), axes=[1]) if number % 2 else head
            for number, head in enumerate(heads)]


def yolov8(scale: int = 1, masks: bool = False, size: int = 640) -> Any:
    """YOLOv8 n (scale 1) or s (2), without the box decoding behind its last convolutions; masks: of a -seg model."""
    net = Net((1, 3, size, size))
    x = _c2f(net, _silu(net, _silu(net, "x", 16 * scale, 3, 2), 32 * scale, 3, 2), 32 * scale, 1, True)
    third = _c2f(net, _silu(net, x, 64 * scale, 3, 2), 64 * scale, 2, True)
    fourth = _c2f(net, _silu(net, third, 128 * scale, 3, 2), 128 * scale, 2, True)
    x = _silu(net, _c2f(net, _silu(net, fourth, 256 * scale, 3, 2), 256 * scale, 1, True), 128 * scale)
    pooled = [x]
    for _ in range(3):
        pooled.append(net.node("MaxPool", pooled[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4))
    fifth = _silu(net, net.concat(*pooled), 256 * scale)
    middle = _c2f(net, net.concat(net.twice(fifth), fourth), 128 * scale, 1, False)
    maps = [_c2f(net, net.concat(net.twice(middle), third), 64 * scale, 1, False)]
    maps.append(_c2f(net, net.concat(_silu(net, maps[-1], 64 * scale, 3, 2), middle), 128 * scale, 1, False))
    maps.append(_c2f(net, net.concat(_silu(net, maps[-1], 128 * scale, 3, 2), fifth), 256 * scale, 1, False))
    heads = [(64, 64), (max(80, 64 * scale), 80)] + [(32, 32)] * masks
    made = [net.conv(_silu(net, _silu(net, feature, width, 3), width, 3), out, activation=None)
            for feature in maps for width, out in heads]
    return net.model(*made, *([_prototypes(net, maps[0], 64 * scale)] if masks else []))


def _prototypes(net: Net, x: str, width: int) -> str:
    x = _silu(net, x, width, 3)
    x = net.node("ConvTranspose", x, net.weight(width, width, 2, 2), net.weight(width), strides=[2, 2])
    return _silu(net, _silu(net, x, width, 3), 32)


def _silu(net: Net, x: str, channels: int, size: int = 1, stride: int = 1) -> str:
    y = net.conv(x, channels, size, stride, activation=None)
    return net.node("Mul", y, net.node("Sigmoid", y))


def _c2f(net: Net, x: str, channels: int, blocks: int, skip: bool) -> str:
    parts = [_silu(net, x, channels // 2) for _ in range(2)]
    for _ in range(blocks):
        y = _silu(net, _silu(net, parts[-1], channels // 2, 3), channels // 2, 3)
        parts.append(net.node("Add", y, parts[-1]) if skip else y)
    return _silu(net, net.concat(*parts), channels)


PACE_LEVELS = {"tiny": (0.25, 2, 192, 384), "small": (0.5, 3, 256, 512), "medium": (0.75, 4, 384, 768),
               "large": (1.0, 6, 512, 1024)}
PACE_WIDTHS = {"old": (32, 48, 64, 96), "new": (96, 144, 192, 288)}


def pace_seg(widths: str, level: str) -> Any:
    """Depthwise-separable segmentation: a stem, three stages, and a decoder that resizes, adds and filters."""
    share, depth, height, width = PACE_LEVELS[level]
    stem, *stages = (_eighths(share * each) for each in PACE_WIDTHS[widths])
    net = Net((1, 3, height, width))
    maps = [net.conv("x", stem, 3, 2)]
    for channels in stages:
        x = maps[-1]
        for number in range(depth):
            x = net.conv(net.depthwise(x, 3, 1 if number else 2), channels)
        maps.append(x)
    x = maps.pop()
    for skip in reversed(maps):
        x = net.node("Add", net.twice(net.conv(x, net.channels[skip])), skip)
        x = net.conv(net.depthwise(x, 3, 1), net.channels[x])
    return net.model(net.conv(net.twice(x), 19, activation=None))


def csi_cnn() -> Any:
    """Two convolutions of 128 samples of 52 subcarriers, and 48 x 13312 weights behind them."""
    net = Net((1, 1, 128, 52))
    x = net.pool(net.conv(net.pool(net.conv("x", 16, 3), 2, 2), 32, 3), 2, 2)
    return net.model(net.gemm(net.node("Relu", net.gemm(net.node("Flatten", x), 48, 32 * 32 * 13)), 8, 48))


def bert_large(tokens: int = 384) -> Any:
    """24 layers of width 1024; attention of 16 heads; a layer norm is one kernel."""
    width, heads = 1024, 16
    net = Net((1, tokens, width))
    net.channels["x"] = width
    x = "x"
    for _ in range(24):
        mixed = net.linear(_attention(net, x, tokens, width, heads), width)
        x = _normalised(net, net.node("Add", mixed, x), width)
        hidden = net.node("Relu", net.linear(x, 4 * width))  # in the place of GELU, which the plugin fuses as well
        x = _normalised(net, net.node("Add", net.linear(hidden, width), x), width)
    return net.model(net.linear(x, 2))


def _attention(net: Net, x: str, tokens: int, width: int, heads: int) -> str:
    query, key, value = (net.node("Reshape", net.linear(x, width), net.constant([1, tokens, heads, width // heads]))
                         for _ in range(3))
    query, value = (net.node("Transpose", each, perm=[0, 2, 1, 3]) for each in (query, value))
    scores = net.node("MatMul", query, net.node("Transpose", key, perm=[0, 2, 3, 1]))
    mixed = net.node("MatMul", net.node("Softmax", scores, axis=-1), value)
    joined = net.node("Transpose", mixed, perm=[0, 2, 1, 3])
    return net.node("Reshape", joined, net.constant([1, tokens, width]), channels=width)


def _normalised(net: Net, x: str, width: int) -> str:
    return net.node("LayerNormalization", x, net.weight(width), net.weight(width))


def student(width: int, blocks: int, gate: bool = False, activation: str = "Relu", samples: int = 128) -> Any:
    """A small network of nine channels of a wearable, as edgehar's own: inverted bottlenecks along time."""
    net = Net((1, 9, 1, samples))
    x = net.conv("x", width, 5, 2, activation=activation)
    for number in range(blocks):
        x = _inverted(net, x, 2 * width, width * (1 + number // 2), 5, 2 if number == 1 else 1, activation, gate)
    return net.model(net.classifier(x, 6))


def plain_student(width: int, layers: int, samples: int = 128) -> Any:
    """Convolutions along time, one after another."""
    net = Net((1, 9, 1, samples))
    x = "x"
    for _ in range(layers):
        x = net.conv(x, width, 5)
    return net.model(net.classifier(x, 6))


# ------------------------------------------------------------------ CPU rows


def resnet18() -> Any:
    net = Net((1, 3, 224, 224))
    return net.model(net.classifier(_resnet_stages(net, ((64, 2, 1), (128, 2, 2), (256, 2, 2), (512, 2, 2))), 1000))


def squeezenet() -> Any:
    """Version 1.1, of 227 x 227."""
    net = Net((1, 3, 227, 227))
    x = net.pool(net.conv("x", 64, 3, 2, same=False), 3, 2)
    for number, (few, many) in enumerate(((16, 64),) * 2 + ((32, 128),) * 2 + ((48, 192),) * 2 + ((64, 256),) * 2):
        x = net.pool(x, 3, 2) if number in (2, 4) else x
        x = net.conv(x, few)
        x = net.concat(net.conv(x, many), net.conv(x, many, 3))
    return net.model(net.node("GlobalAveragePool", net.conv(x, 1000)))


INCEPTIONS = ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), (192, 96, 208, 16, 48, 64),
              (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64), (112, 144, 288, 32, 64, 64),
              (256, 160, 320, 32, 128, 128), (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128))


def googlenet() -> Any:
    net = Net((1, 3, 224, 224))
    x = net.pool(net.conv(net.conv(net.pool(net.conv("x", 64, 7, 2), 3, 2, 1), 64), 192, 3), 3, 2, 1)
    for number, (one, few, three, less, five, pooled) in enumerate(INCEPTIONS):
        x = net.pool(x, 3, 2, 1) if number in (2, 7) else x
        x = net.concat(net.conv(x, one), net.conv(net.conv(x, few), three, 3),
                       net.conv(net.conv(x, less), five, 5), net.conv(net.pool(x, 3, 1, 1), pooled))
    return net.model(net.classifier(x, 1000))


def alexnet() -> Any:
    net = Net((1, 3, 227, 227))
    x = net.pool(net.conv("x", 96, 11, 4, same=False), 3, 2)
    x = net.pool(net.conv(x, 256, 5, groups=2), 3, 2)
    x = net.pool(net.conv(net.conv(net.conv(x, 384, 3), 384, 3, groups=2), 256, 3, groups=2), 3, 2)
    return net.model(_three_products(net, x, 256 * 36))


def vgg16() -> Any:
    net = Net((1, 3, 224, 224))
    x = "x"
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            x = net.conv(x, width, 3)
        x = net.pool(x, 2, 2)
    return net.model(_three_products(net, x, 512 * 49))


def _three_products(net: Net, x: str, depth: int) -> str:
    x = net.node("Relu", net.gemm(net.node("Flatten", x), 4096, depth))
    return net.gemm(net.node("Relu", net.gemm(x, 4096, 4096)), 1000, 4096)


def shufflenet_v2() -> Any:
    net = Net((1, 3, 224, 224))
    x = net.pool(net.conv("x", 24, 3, 2), 3, 2, 1)
    for half, blocks in ((58, 4), (116, 8), (232, 4)):
        for number in range(blocks):
            kept, x = (x, x) if number == 0 else (_part(net, x, start, half) for start in (0, half))
            if number == 0:
                kept = net.conv(net.conv(kept, net.channels[kept], 3, 2, net.channels[kept], None), half)
            x = net.conv(x, half)
            x = net.conv(net.conv(x, half, 3, 1 if number else 2, half, None), half)
            x = _shuffled(net, net.concat(kept, x), half)
    return net.model(net.classifier(net.conv(x, 1024), 1000))


def _part(net: Net, x: str, start: int, channels: int) -> str:
    bounds = (net.constant([value]) for value in (start, start + channels, 1))
    return net.node("Slice", x, *bounds, channels=channels)


def _shuffled(net: Net, x: str, half: int) -> str:
    side = {58: 28, 116: 14, 232: 7}[half]
    x = net.node("Reshape", x, net.constant([1, 2, half, side, side]))
    return net.node("Reshape", net.node("Transpose", x, perm=[0, 2, 1, 3, 4]), net.constant([1, 2 * half, side, side]),
                    channels=2 * half)


B0_BLOCKS = LITE_BLOCKS = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5),
                           (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))
MNAS_BLOCKS = ((1, 16, 1, 1, 3), (3, 24, 3, 2, 3), (3, 40, 3, 2, 5), (6, 80, 3, 2, 5), (6, 96, 2, 1, 3),
               (6, 192, 4, 2, 5), (6, 320, 1, 1, 3))


def efficientnet_b0() -> Any:
    return _searched(B0_BLOCKS, "HardSwish", True)


def mnasnet() -> Any:
    return _searched(MNAS_BLOCKS, "Relu", False)


def _searched(stages: Sequence[Tuple[int, int, int, int, int]], activation: str, gate: bool) -> Any:
    net = Net((1, 3, 224, 224))
    x = net.conv("x", 32, 3, 2, activation=activation)
    for expansion, out, blocks, stride, taps in stages:
        for number in range(blocks):
            x = _inverted(net, x, expansion * net.channels[x], out, taps, 1 if number else stride, activation, gate)
    return net.model(net.classifier(net.conv(x, 1280, activation=activation), 1000))


def yolov4_tiny() -> Any:
    net = Net((1, 3, 416, 416))
    x = net.conv(net.conv("x", 32, 3, 2), 64, 3, 2)
    for width in (64, 128, 256):
        whole = net.conv(x, width, 3)
        first = net.conv(_part(net, whole, width // 2, width // 2), width // 2, 3)
        kept = net.conv(net.concat(net.conv(first, width // 2, 3), first), width)
        x = net.pool(net.concat(whole, kept), 2, 2)
    x = net.conv(net.conv(x, 512, 3), 256)
    finer = net.concat(net.twice(net.conv(x, 128)), kept)
    return net.model(*(net.conv(net.conv(each, width, 3), 255, activation=None) for each, width in
                       ((x, 512), (finer, 256))))


V1_BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1),
             (512, 1), (1024, 2), (1024, 1))
V2_BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
V3_LARGE = ((3, 16, 16, 0, "Relu", 1), (3, 64, 24, 0, "Relu", 2), (3, 72, 24, 0, "Relu", 1), (5, 72, 40, 1, "Relu", 2),
            (5, 120, 40, 1, "Relu", 1), (5, 120, 40, 1, "Relu", 1), (3, 240, 80, 0, "HardSwish", 2),
            (3, 200, 80, 0, "HardSwish", 1), (3, 184, 80, 0, "HardSwish", 1), (3, 184, 80, 0, "HardSwish", 1),
            (3, 480, 112, 1, "HardSwish", 1), (3, 672, 112, 1, "HardSwish", 1), (5, 672, 160, 1, "HardSwish", 2),
            (5, 960, 160, 1, "HardSwish", 1), (5, 960, 160, 1, "HardSwish", 1))
V3_SMALL = ((3, 16, 16, 1, "Relu", 2), (3, 72, 24, 0, "Relu", 2), (3, 88, 24, 0, "Relu", 1),
            (5, 96, 40, 1, "HardSwish", 2), (5, 240, 40, 1, "HardSwish", 1), (5, 240, 40, 1, "HardSwish", 1),
            (5, 120, 48, 1, "HardSwish", 1), (5, 144, 48, 1, "HardSwish", 1), (5, 288, 96, 1, "HardSwish", 2),
            (5, 576, 96, 1, "HardSwish", 1), (5, 576, 96, 1, "HardSwish", 1))


def mobilenet_v1(width: float, size: int) -> Any:
    net = Net((1, 3, size, size))
    x = net.conv("x", _eighths(32 * width), 3, 2)
    for out, stride in V1_BLOCKS:
        x = net.conv(net.depthwise(x, 3, stride), _eighths(out * width))
    return net.model(net.classifier(x, 1001))


def mobilenet_v2(width: float, size: int) -> Any:
    net = Net((1, 3, size, size))
    x = net.conv("x", _eighths(32 * width), 3, 2)
    for expansion, out, blocks, stride in V2_BLOCKS:
        for number in range(blocks):
            x = _inverted(net, x, expansion * net.channels[x], _eighths(out * width), 3, stride if number == 0 else 1)
    return net.model(net.classifier(net.conv(x, max(1280, _eighths(1280 * width))), 1001))


def efficientnet_lite(width: float, depth: float, size: int) -> Any:
    net = Net((1, 3, size, size))
    x = net.conv("x", 32, 3, 2)
    for stage, (expansion, out, blocks, stride, taps) in enumerate(LITE_BLOCKS):
        count = blocks if stage in (0, len(LITE_BLOCKS) - 1) else int(np.ceil(blocks * depth))
        for number in range(count):
            step = stride if number == 0 else 1
            x = _inverted(net, x, expansion * net.channels[x], _eighths(out * width), taps, step)
    return net.model(net.classifier(net.conv(x, 1280), 1000))


def mobilenet_v3(large: bool, width: float, minimal: bool) -> Any:
    """minimal: without squeeze-and-excite, hardswish and 5 x 5 kernels."""
    net = Net((1, 3, 224, 224))
    swish = "Relu" if minimal else "HardSwish"
    x = net.conv("x", 16, 3, 2, activation=swish)
    for taps, middle, out, gate, activation, stride in V3_LARGE if large else V3_SMALL:
        x = _inverted(net, x, _eighths(middle * width), _eighths(out * width), 3 if minimal else taps, stride,
                      "Relu" if minimal else activation, bool(gate) and not minimal)
    x = net.conv(x, _eighths((960 if large else 576) * width), activation=swish)
    x = net.conv(net.node("GlobalAveragePool", x), 1280 if large else 1024, activation=swish)
    return net.model(net.conv(x, 1001, activation=None))


def _inverted(net: Net, x: str, middle: int, out: int, taps: int, stride: int, activation: str = "Relu",
              gate: bool = False) -> str:
    y = x if middle == net.channels[x] else net.conv(x, middle, activation=activation)
    y = net.depthwise(y, taps, stride, activation)
    if gate:
        squeezed = net.conv(net.node("GlobalAveragePool", y), _eighths(middle / 4))
        y = net.node("Mul", y, net.conv(squeezed, middle, activation="HardSigmoid"))
    y = net.conv(y, out, activation=None)
    return net.node("Add", y, x) if stride == 1 and net.channels[x] == out else y


def _eighths(channels: float) -> int:
    """The nearest multiple of eight that is not more than a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


# ------------------------------------------------------------------ by the names of published rows

NCNN = {"squeezenet": "squeezenet", "mobilenet": "mobilenet-v1-1.0-224", "mobilenet_v2": "mobilenet-v2-1.0-224",
        "mobilenet_v3": "mobilenet-v3-large_224_1.0", "shufflenet_v2": "shufflenet_v2", "mnasnet": "mnasnet",
        "efficientnet_b0": "efficientnet_b0", "googlenet": "googlenet", "resnet18": "resnet18", "alexnet": "alexnet",
        "vgg16": "vgg16", "resnet50": "resnet50", "mobilenet_ssd": "ssd-mobilenet", "yolov4-tiny": "yolov4_tiny"}
PUBLISHED: Dict[str, Callable[[], Any]] = {
    "ssd-mobilenet": ssd_mobilenet, "ssd-resnet34": ssd_resnet34, "bert": bert_large,
    "bert-99": bert_large, "resnet50": resnet50, "mnist": mnist, "yolov8n": yolov8,
    "yolov8n-seg": lambda: yolov8(1, True), "FastSAM-S": lambda: yolov8(2, True)}
PUBLISHED.update({"pace-seg-%s-%s" % (widths, level): lambda widths=widths, level=level: pace_seg(widths, level)
                 for widths in PACE_WIDTHS for level in PACE_LEVELS})
PLAINLY_NAMED = {build.__name__: build for build in (
    alexnet, efficientnet_b0, googlenet, mnasnet, resnet18, shufflenet_v2, squeezenet, vgg16, yolov4_tiny)}


def named(network: str) -> Any:
    """A network by the name that published rows have for it."""
    if network in PUBLISHED:
        return PUBLISHED[network]()
    match = re.match(r"mobilenet-v([12])-([\d.]+)-(\d+)$", network)
    if match:
        build = mobilenet_v1 if match.group(1) == "1" else mobilenet_v2
        return build(float(match.group(2)), int(match.group(3)))
    match = re.match(r"mobilenet-v3-(large|small)(-minimalistic)?_224_([\d.]+)$", network)
    if match:
        return mobilenet_v3(match.group(1) == "large", float(match.group(3)), bool(match.group(2)))
    match = re.match(r"fcn-resnet18-\w+-(\d+)x(\d+)$", network)
    if match:
        return fcn_resnet18(int(match.group(2)), int(match.group(1)))
    lite = {"efficientnet-" + name: facts for name, *facts in EFFICIENTNET_LITE}
    size = re.sub(r"(lite\d).*", r"\1", network)
    return efficientnet_lite(*lite[size]) if size in lite else PLAINLY_NAMED[network]()
