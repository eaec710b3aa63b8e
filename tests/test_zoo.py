# SPDX-License-Identifier: BSD-3-Clause
"""The networks of the papers: published numbers of parameters, shapes of every stage, a training step."""

import numpy as np
import pytest

from fastconv import models, optimizers

COUNTS = {"lenet5": 61_706, "alexnet": 61_100_840, "vgg16": 138_357_544, "resnet18": 11_689_512, "resnet50": 25_557_032}


@pytest.mark.parametrize("name", COUNTS)
def test_published_numbers_of_parameters(name, layout):
    """Counted from the shapes: nothing is allocated."""
    model = getattr(models, name)(layout=layout)
    assert model.count_params() == COUNTS[name]
    assert model.output_shape == ((10,) if name == "lenet5" else (1000,))


def test_alexnet_of_2012(layout):
    """The published number of parameters, counted from the shapes; the constants of the paper."""
    model = models.alexnet(layout=layout, year=2012)
    assert model.count_params() == 60_965_224
    kinds = [type(layer).__name__ for layer in model.layers[:9]]
    response = ["Conv2D", "LocalResponseNormalization", "MaxPooling2D"]
    assert kinds == [*response, *response, "Conv2D", "Conv2D", "Conv2D"]
    assert [layer.groups for layer in model.layers[:9] if hasattr(layer, "groups")] == [1, 2, 1, 2, 2]
    norm = model.layers[1]  # alpha is divided by the size
    assert (norm.size, norm.alpha / norm.size, norm.beta, norm.k) == (5, pytest.approx(1e-4), 0.75, 2)
    channels = [shape[2 if layout == "NHWC" else 0] for shape in shapes_of(model)[:10]]
    assert channels == [96, 96, 96, 256, 256, 256, 384, 384, 256, 256]
    with pytest.raises(ValueError, match="year"):
        models.alexnet(year=2013)


def shapes_of(model):
    """The shapes of the layers' results."""
    shape, shapes = model.input_shape, []
    for layer in model.layers:
        shape = layer.output_shape(shape)
        shapes.append(shape)
    return shapes


def test_published_shapes():
    shapes = shapes_of(models.lenet5())
    assert [shapes[index] for index in (0, 1, 2, 3, 5, 6)] == [
        *((28, 28, 6), (14, 14, 6), (10, 10, 16), (5, 5, 16), (120,), (84,))
    ]
    shapes = shapes_of(models.alexnet())
    assert [shapes[index][:3:2] for index in range(8)] == [
        *((55, 64), (27, 64), (27, 192), (13, 192), (13, 384), (13, 256), (13, 256), (6, 256))
    ]
    shapes = shapes_of(models.vgg16())
    assert [shapes[index] for index in (1, 2, 5, 9, 13, 17, 18)] == [
        *((224, 224, 64), (112, 112, 64), (56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 512), (25088,))
    ]
    for name, depth in (("resnet18", 1), ("resnet50", 4)):
        model = getattr(models, name)()
        ends = [shape for layer, shape in zip(model.layers, shapes_of(model), strict=True) if layer.stacks]
        counts = {1: (2, 2, 2, 2), 4: (3, 4, 6, 3)}[depth]
        stages = [(56 >> stage, 56 >> stage, depth * 64 << stage) for stage in range(4)]
        assert ends == [shape for shape, count in zip(stages, counts, strict=True) for _ in range(count)]
        assert shapes_of(model)[:3] == [(112, 112, 64), (112, 112, 64), (56, 56, 64)]


SMALL = {
    "lenet5": {"input_shape": (28, 28, 1), "padding": 2, "activation": "relu", "pooling": "max"},
    "alexnet": {"input_shape": (63, 63, 3), "classes": 5},
    "vgg16": {"input_shape": (32, 32, 1), "classes": 5},
    "resnet18": {"input_shape": (32, 32, 3), "classes": 5},
    "resnet50": {"input_shape": (64, 32, 1), "classes": 5},
}


def test_alexnet_of_2012_learns():
    """A small image, no dropout: a step follows the gradient through both normalisations."""
    model = models.alexnet((63, 63, 3), 3, year=2012, dropout=0.0, seed=0)
    model.compile(optimizers.SGD(0.001), "cross_entropy")
    x, y = np.random.default_rng(0).normal(size=(3, 63, 63, 3)), np.arange(3)
    steps = [model.train_step(x, y) for _ in range(4)]
    assert steps[-1] < steps[0]


@pytest.mark.parametrize("name", ["lenet5", "resnet18"])
def test_a_network_trains(name, layout):
    arguments = dict(SMALL[name])
    shape = arguments.pop("input_shape")
    shape = shape if layout == "NHWC" else (shape[2], *shape[:2])
    model = getattr(models, name)(shape, **arguments, layout=layout, seed=0)
    model.compile("adam", "cross_entropy")
    x, y = np.random.default_rng(0).normal(size=(4, *shape)), np.arange(4)
    steps = [model.train_step(x, y) for _ in range(8)]
    assert steps[-1] < 0.8 * steps[0]


@pytest.mark.parametrize("name", SMALL)
def test_other_sizes_and_classes(name):
    model = getattr(models, name)(**SMALL[name])
    assert model.input_shape == SMALL[name]["input_shape"] and model.output_shape == (SMALL[name].get("classes", 10),)


def test_errors():
    with pytest.raises(ValueError, match="pooling"):
        models.lenet5(pooling="mean")
    with pytest.raises(ValueError, match="layout"):
        models.alexnet(layout="HWC")
    with pytest.raises(ValueError, match="in layer 'max_pooling2d"):
        models.alexnet((20, 20, 3))
