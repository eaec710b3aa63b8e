# SPDX-License-Identifier: BSD-3-Clause
"""A whole training step of LeNet-5 on 28x28 images: forward, loss, backward, update.

The network is LeNet-5 as it is mostly trained today, with ReLU and max pooling; cross-entropy, and
stochastic gradient descent with momentum. All sides start from the same weights, and their losses
over the first steps are compared with those of PyTorch in float64 before anything is timed.
"""

from functools import partial

import numpy as np
import pytest
from arrays import NCHW
from layers import CONVS, LINEARS

from fastconv.layers import Conv2D, Dense, Flatten, MaxPooling2D
from fastconv.models import Sequential
from fastconv.optimizers import SGD

LEARNING_RATE = 1e-3  # small: thousands of steps on one batch must not end in zero gradients
MOMENTUM = 0.9
COMPARED_STEPS = 5
LOSS_ERROR = 1e-4


def flops(batch):
    """Three products per layer, forward and two gradients; without the gradient of the image."""
    convs = [conv for conv in CONVS if conv.network == "lenet5"]
    products = [c.p * c.q * c.k * c.r * c.s * c.c for c in convs]
    products += [linear.c * linear.k for linear in LINEARS if linear.network == "lenet5"]
    return 2 * batch * (3 * sum(products) - products[0])


def fastconv_model(layout, dtype):
    model = Sequential(
        [
            Conv2D(6, 5, padding=2, activation="relu", input_shape=_image_shape(layout)),
            MaxPooling2D(2),
            Conv2D(16, 5, activation="relu"),
            MaxPooling2D(2),
            Flatten(),
            Dense(120, activation="relu"),
            Dense(84, activation="relu"),
            Dense(10),
        ],
        layout=layout,
        seed=0,
        dtype=dtype,
    )
    model.compile(SGD(LEARNING_RATE, momentum=MOMENTUM), "cross_entropy")
    model.build()
    return model


def _image_shape(layout):
    return (28, 28, 1) if layout == "NHWC" else (1, 28, 28)


def torch_step(weights, images, labels, memory_format):
    """A function that does one step of the same network in PyTorch and returns the loss.

    ``weights``: for each layer the pair (weight, bias) in PyTorch's layout; ``images``: NCHW.
    """
    import torch
    from torch import nn

    network = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    with torch.no_grad():
        arrays = (array for pair in weights for array in pair)
        for parameter, array in zip(network.parameters(), arrays, strict=True):
            parameter.data = torch.from_numpy(array.astype(images.dtype))
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    network = network.to(memory_format=memory_format)
    x = x.contiguous(memory_format=memory_format)
    optimizer = torch.optim.SGD(network.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)
    cross_entropy = nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss = cross_entropy(network(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def torch_weights(model):
    """The parameters of ``model`` as (weight, bias) pairs in PyTorch's layout."""
    pairs = []
    for layer in model.layers:
        if layer.parameters:
            weight, bias = layer.parameters["weight"], layer.parameters["bias"]
            if weight.ndim == 4:
                weight = weight.transpose(3, 2, 0, 1) if model.layout == "NHWC" else weight
            elif len(weight) == 400 and model.layout == "NHWC":  # the order that Flatten leaves
                weight = weight.reshape(5, 5, 16, -1).transpose(3, 2, 0, 1).reshape(-1, 400)
            else:
                weight = weight.T
            pairs.append((np.array(weight), np.array(bias)))
    return pairs


@pytest.mark.parametrize("images", [64, 1], ids="batch{}".format)
def bench_training_step(contest, step, images):
    torch = pytest.importorskip("torch", reason="PyTorch judges the losses")
    model = fastconv_model(contest.layout.name, contest.source.dtype)
    weights = torch_weights(model)
    data = contest.source.normal((images, step.h, step.w, step.c))
    labels = np.random.default_rng(1).integers(0, step.classes, images)
    nchw = NCHW.image(data)
    judge = torch_step(weights, nchw.astype(np.float64), labels, torch.contiguous_format)
    truth = first_losses(judge)

    call = partial(model.train_step, contest.layout.image(data), labels)
    error = contest.check("fastconv", first_losses(call), truth, LOSS_ERROR)
    rivals = {}
    for name in contest.setting.rivals:
        if name in ("torch", "torch-cl"):
            rivals[name] = torch_step(weights, nchw, labels, contest.rival(name).memory_format())
            contest.check(name, first_losses(rivals[name]), truth, LOSS_ERROR)
    contest.time("training step", step, images, call, rivals, flops=flops(images), error=error)


def first_losses(call):
    return np.array([call() for _ in range(COMPARED_STEPS)])
