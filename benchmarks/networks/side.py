# SPDX-License-Identifier: BSD-3-Clause
"""One side of the contest of `steps.py`, alone in its process: nobody else's threads or settings are there.

Arguments: the side, the network, the batch, the number of threads. First it prints the losses of its first steps; then,
for each line that it reads, it does steps for a while and prints the seconds of one.
"""

import os
import sys
import time
from functools import partial

import networks
import numpy as np
import resnet

FIRST_STEPS = 5
WARM_SECONDS, BLOCK_SECONDS = 0.05, 0.1


def fastconv_step(network, images, labels, threads):
    import fastconv as fc
    from fastconv import optimizers

    fc.set_num_threads(threads)
    model = resnet.fastconv_model() if network.layers is None else fastconv_model(network)
    model.compile(optimizers.SGD(networks.LEARNING_RATE, momentum=networks.MOMENTUM), "cross_entropy")
    return partial(model.train_step, images, labels)


def fastconv_model(network):
    """The model with the weights of `networks.weights`."""
    from fastconv import layers, models

    model, dense = models.Sequential(input_shape=network.image, seed=0), False
    for place, (kind, *arguments) in enumerate(network.layers):
        activation = "relu" if place < len(network.layers) - 1 else None
        if kind == "conv":
            filters, size, padding = arguments
            model.add(layers.Conv2D(filters, size, padding=padding, activation=activation))
        elif kind == "pool":
            model.add(layers.MaxPooling2D(2))
        else:
            if not dense:
                model.add(layers.Flatten())
            dense = True
            model.add(layers.Dense(arguments[0], activation=activation))
    model.build()
    learning = [layer for layer in model.layers if layer.parameters]
    for layer, (weight, bias) in zip(learning, networks.weights(network), strict=True):
        layer.parameters["weight"][...] = weight
        layer.parameters["bias"][...] = bias
    return model


def torch_modules(network):
    """PyTorch's modules with the weights of `networks.weights`."""
    import torch
    from torch import nn

    modules, given = [], iter(networks.weights(network))
    image = None  # what the first dense layer flattens
    for place, ((kind, *arguments), fed) in enumerate(zip(network.layers, networks.shapes(network), strict=True)):
        if kind == "pool":
            modules.append(nn.MaxPool2d(2))
            image = (fed[0] // 2, fed[1] // 2, fed[2])
            continue
        weight, bias = next(given)
        if kind == "conv":
            filters, size, padding = arguments
            module = nn.Conv2d(fed[2], filters, size, padding=padding)
            weight = weight.transpose(3, 2, 0, 1)
            image = (fed[0] + 2 * padding - size + 1, fed[1] + 2 * padding - size + 1, filters)
        else:
            module = nn.Linear(fed[0], arguments[0])
            if image is not None:  # PyTorch flattens channels first
                modules.append(nn.Flatten())
                weight = weight.reshape(*image, -1).transpose(2, 0, 1, 3).reshape(fed[0], -1)
                image = None
            weight = weight.T
        module.weight.data = torch.from_numpy(np.ascontiguousarray(weight))
        module.bias.data = torch.from_numpy(bias)
        modules += [module, nn.ReLU()] if place < len(network.layers) - 1 else [module]
    return nn.Sequential(*modules)


def torch_step(network, images, labels, threads, channels_last=False, compiled=False):
    import torch

    torch.set_num_threads(threads)
    model = resnet.torch_module() if network.layers is None else torch_modules(network)
    x, y = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=networks.LEARNING_RATE, momentum=networks.MOMENTUM)
    loss_of = torch.nn.CrossEntropyLoss()
    forward = torch.compile(lambda x, y: loss_of(model(x), y)) if compiled else lambda x, y: loss_of(model(x), y)

    def step():
        optimizer.zero_grad()
        loss = forward(x, y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def jax_step(network, images, labels, threads):
    if network.layers is None:
        raise SystemExit("JAX has no layers to build a ResNet from")
    os.environ["PJRT_NPROC"] = str(threads)  # read once, when JAX starts its thread pool
    import jax
    from jax import lax
    from jax import numpy as jnp

    jax.config.update("jax_platforms", "cpu")

    def forward(parameters, x):
        given = iter(parameters)
        for place, (kind, *arguments) in enumerate(network.layers):
            if kind == "pool":
                x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
                continue
            weight, bias = next(given)
            if kind == "conv":
                padding = 2 * ((arguments[2], arguments[2]),)
                x = lax.conv_general_dilated(x, weight, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
            else:
                x = x.reshape(len(x), -1) @ weight
            x = x + bias
            if place < len(network.layers) - 1:
                x = jax.nn.relu(x)
        return x

    def loss_of(parameters, x, y):
        return -jnp.mean(jax.nn.log_softmax(forward(parameters, x))[jnp.arange(len(x)), y])

    @partial(jax.jit, donate_argnums=0)
    def update(state, x, y):
        parameters, velocity = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, y)
        velocity = jax.tree.map(lambda v, g: networks.MOMENTUM * v + g, velocity, gradients)
        parameters = jax.tree.map(lambda p, v: p - networks.LEARNING_RATE * v, parameters, velocity)
        return (parameters, velocity), loss

    parameters = jax.tree.map(jnp.asarray, networks.weights(network))
    state = parameters, jax.tree.map(jnp.zeros_like, parameters)
    x, y = jnp.asarray(images), jnp.asarray(labels)

    def step():
        nonlocal state
        state, loss = update(state, x, y)
        return float(loss)

    return step


SIDES = {
    "fastconv": fastconv_step,
    "torch": torch_step,
    "torch-cl": partial(torch_step, channels_last=True),
    "torch-compiled": partial(torch_step, compiled=True),
    "torch-cl-compiled": partial(torch_step, channels_last=True, compiled=True),
    "jax": jax_step,
}


def seconds_of(step, seconds):
    """Seconds of one step, over as many as fit into that time."""
    start, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - start < seconds:
        step()
        count += 1
    return (time.perf_counter() - start) / count


def main():
    side, name, batch, threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    network = networks.NETWORKS[name]
    step = SIDES[side](network, *networks.data(network, batch), threads)
    print(*(step() for _ in range(FIRST_STEPS)), flush=True)
    for _ in sys.stdin:
        seconds_of(step, WARM_SECONDS)
        print(seconds_of(step, BLOCK_SECONDS), flush=True)


if __name__ == "__main__":
    main()
