# SPDX-License-Identifier: BSD-3-Clause
"""Optimisers against their published formulas, on vectors shorter and longer than the block of a task."""

import math
import tracemalloc

import numpy as np
import pytest

from fastconv import optimizers
from fastconv.optimizers import SGD, Adam, CosineDecay

BLOCK = 1 << 15

SIZES = [1, 7, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3]


def run(optimizer, size, steps=4):
    """Parameters before and after each step, and the gradients, which depend on the parameters."""
    rng = np.random.default_rng(size)
    parameters, slope = rng.normal(size=size), rng.normal(size=size)
    history = [parameters.copy()]
    gradients = []
    for _ in range(steps):
        gradients.append(np.sin(3 * parameters) + slope)
        optimizer.step(parameters, gradients[-1].copy())
        history.append(parameters.copy())
    return history, gradients


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_sgd(size, momentum, nesterov, decay):
    history, gradients = run(SGD(0.2, momentum, nesterov, decay), size)
    parameters, velocity = history[0], 0
    for gradient, actual in zip(gradients, history[1:], strict=True):
        gradient = gradient + decay * parameters
        velocity = momentum * velocity + gradient
        parameters = parameters - 0.2 * (gradient + momentum * velocity if nesterov else velocity)
        np.testing.assert_allclose(actual, parameters, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("size", SIZES)
def test_adam(size):
    lr, beta1, beta2, epsilon = 0.1, 0.8, 0.95, 1e-2
    history, gradients = run(Adam(lr, beta1, beta2, epsilon), size)
    parameters, mean, square = history[0], 0, 0
    for step, (gradient, actual) in enumerate(zip(gradients, history[1:], strict=True), 1):
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        corrected = np.sqrt(square / (1 - beta2**step)) + epsilon
        parameters = parameters - lr * (mean / (1 - beta1**step)) / corrected
        np.testing.assert_allclose(actual, parameters, rtol=1e-12, atol=1e-12)


def test_adam_by_hand():
    parameters = np.array([1.0, -2.0])
    optimizer = Adam(0.1)
    optimizer.step(parameters, np.array([0.5, -3.0]))  # the first step is lr * sign(gradient)
    np.testing.assert_allclose(parameters, [0.9, -1.9], rtol=1e-7)
    optimizer.step(parameters, np.array([0.0, 0.0]))
    second = 0.1 * (0.9 * 0.1 * 0.5 / 0.19) / math.sqrt(0.999 * 0.001 * 0.25 / (1 - 0.999**2))
    np.testing.assert_allclose(parameters[0], 0.9 - second, rtol=1e-6)


@pytest.mark.parametrize("make", [SGD, lambda: SGD(0.1, 0.9, True, 0.1), Adam])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_works_in_place_and_takes_no_memory_that_grows(make, dtype):
    rng = np.random.default_rng(0)
    parameters = rng.normal(size=500_000).astype(dtype)
    gradients = rng.normal(size=500_000).astype(dtype)
    kept, optimizer = gradients.copy(), make()
    optimizer.step(parameters, gradients)
    before = parameters.copy()
    tracemalloc.start()
    optimizer.step(parameters, gradients)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100_000
    assert parameters.dtype == dtype and np.mean(parameters != before) > 0.99
    assert np.array_equal(gradients, kept)


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9), Adam])
def test_no_state_ends_among_the_subnormal_numbers(make):
    optimizer, parameters = make(), np.zeros(BLOCK + 5, np.float32)
    optimizer.step(parameters, np.ones_like(parameters))
    for step in range(1500):
        optimizer.step(parameters, np.zeros_like(parameters))
        smallest = np.abs(optimizer._state[0]).min()
        assert smallest == 0 or smallest >= np.finfo(np.float32).tiny, f"step {step}: {smallest}"
    assert smallest == 0


def test_the_state_is_forgotten_on_reset():
    fresh, used = Adam(0.1), Adam(0.1)
    used.step(np.ones(3), np.ones(3))
    used.reset()
    results = []
    for optimizer in (fresh, used):
        parameters = np.ones(5)
        optimizer.step(parameters, np.arange(5.0))
        results.append(parameters)
        assert optimizer.iterations == 1
    assert np.array_equal(*results)


def test_cosine_decay():
    schedule = CosineDecay(0.4, steps=4)
    expected = [0.4, 0.2 * (1 + math.sqrt(0.5)), 0.2, 0.2 * (1 - math.sqrt(0.5)), 0, 0]
    np.testing.assert_allclose([schedule(step) for step in range(6)], expected, atol=1e-16)
    optimizer, parameters = SGD(schedule), np.zeros(1)
    positions = []
    for _ in range(6):
        optimizer.step(parameters, np.ones(1))
        positions.append(-parameters[0])
    np.testing.assert_allclose(positions, np.cumsum(expected), rtol=1e-15)


def test_keras_names_and_defaults():
    assert SGD(learning_rate=0.5).lr == 0.5 and SGD().lr == 0.01 and SGD().momentum == 0
    adam = Adam(learning_rate=0.5, beta_1=0.8, beta_2=0.9)
    assert (adam.lr, adam.beta1, adam.beta2) == (0.5, 0.8, 0.9)
    adam = optimizers.get("adam")
    assert (adam.lr, adam.beta1, adam.beta2, adam.epsilon) == (1e-3, 0.9, 0.999, 1e-8)
    assert optimizers.get(adam) is adam


WRONG = {
    "negative lr": (lambda: SGD(-0.1), ValueError, "lr"),
    "text lr": (lambda: SGD("0.1"), TypeError, "lr"),
    "nan lr": (lambda: Adam(float("nan")), ValueError, "lr"),
    "both": (lambda: SGD(lr=0.1, learning_rate=0.1), TypeError, "learning_rate"),
    "momentum": (lambda: SGD(0.1, momentum=1.0), ValueError, "momentum"),
    "nesterov number": (lambda: SGD(0.1, 0.9, nesterov=1), TypeError, "nesterov"),
    "nesterov": (lambda: SGD(0.1, nesterov=True), ValueError, "nesterov"),
    "decay": (lambda: SGD(0.1, weight_decay=-1), ValueError, "weight_decay"),
    "beta": (lambda: Adam(beta2=1), ValueError, "beta2"),
    "epsilon": (lambda: Adam(epsilon=-1e-8), ValueError, "epsilon"),
    "steps": (lambda: CosineDecay(0.1, 0), ValueError, "steps"),
    "float steps": (lambda: CosineDecay(0.1, 2.5), TypeError, "steps"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
