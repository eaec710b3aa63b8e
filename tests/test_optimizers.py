# SPDX-License-Identifier: BSD-3-Clause
"""Optimisers against their published formulas, on vectors shorter and longer than the block of a task, and against
PyTorch's."""

import math
import tracemalloc

import numpy as np
import pytest

import fastconv as fc
from fastconv import optimizers
from fastconv.optimizers import SGD, Adam, AdamW, CosineDecay, OneCycle, RMSprop, StepDecay

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
@pytest.mark.parametrize("kind, decay", [(Adam, 0.0), (Adam, 0.3), (AdamW, 0.3)])
def test_adam(size, kind, decay):
    """Adam decays through the gradient, AdamW the parameters themselves, before the update."""
    lr, beta1, beta2, epsilon = 0.1, 0.8, 0.95, 1e-2
    history, gradients = run(kind(lr, beta1, beta2, epsilon, decay), size)
    parameters, mean, square = history[0], 0, 0
    for step, (gradient, actual) in enumerate(zip(gradients, history[1:], strict=True), 1):
        if kind is AdamW:
            parameters = parameters * (1 - lr * decay)
        else:
            gradient = gradient + decay * parameters
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


@pytest.mark.parametrize("size", SIZES[:4:2])
@pytest.mark.parametrize("momentum", [0.0, 0.8])
def test_rmsprop(size, momentum):
    history, gradients = run(RMSprop(0.1, 0.9, 1e-2, momentum, 0.05), size)
    parameters, square, velocity = history[0], 0, 0
    for gradient, actual in zip(gradients, history[1:], strict=True):
        gradient = gradient + 0.05 * parameters
        square = 0.9 * square + 0.1 * gradient**2
        velocity = momentum * velocity + gradient / (np.sqrt(square) + 1e-2)
        parameters = parameters - 0.1 * velocity
        np.testing.assert_allclose(actual, parameters, rtol=1e-12, atol=1e-12)


AS_IN_PYTORCH = {
    "SGD": (lambda: SGD(0.1, 0.9, True, 0.01), {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "Adam": (lambda: Adam(0.1), {"lr": 0.1}),
    "Adam decays": (lambda: Adam(0.1, weight_decay=0.1), {"lr": 0.1, "weight_decay": 0.1}),
    "AdamW": (lambda: AdamW(0.1), {"lr": 0.1}),
    "AdamW decays": (
        lambda: AdamW(0.1, 0.8, 0.95, 1e-3, 0.3),
        {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3},
    ),
    "RMSprop": (lambda: RMSprop(), {}),
    "RMSprop rolls": (
        lambda: RMSprop(0.1, 0.9, 1e-3, 0.7, 0.1),
        {"alpha": 0.9, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.1},
    ),
}


@pytest.mark.parametrize("case", AS_IN_PYTORCH)
def test_updates_are_those_of_pytorch(case, isa):
    torch = pytest.importorskip("torch")
    make, arguments = AS_IN_PYTORCH[case]
    history, gradients = run(make(), 101, steps=6)
    parameter = torch.tensor(history[0], requires_grad=True)
    rate = {} if case == "RMSprop" else {"lr": 0.1}
    judge = getattr(torch.optim, case.split()[0])([parameter], **(rate | arguments))
    for gradient, actual in zip(gradients, history[1:], strict=True):
        parameter.grad = torch.tensor(gradient)
        judge.step()
        np.testing.assert_allclose(actual, parameter.detach().numpy(), rtol=1e-12, atol=1e-12)


KINDS = {
    "sgd": lambda **kw: SGD(0.1, 0.9, **kw),
    "adam": lambda **kw: Adam(0.1, **kw),
    "adamw": lambda **kw: AdamW(0.1, **kw),
    "rmsprop": lambda **kw: RMSprop(0.1, momentum=0.5, **kw),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_is_an_update_by_clipped_gradients(kind, dtype):
    rng = np.random.default_rng(1)
    start, gradients = rng.normal(size=(2, BLOCK + 9)).astype(dtype)
    norm = np.sqrt(np.sum(np.square(gradients, dtype=np.float64)))
    for clip, clipped in (
        ({"clipvalue": 0.3}, np.clip(gradients, -0.3, 0.3)),
        ({"clipnorm": 2.0}, gradients * dtype(2 / norm)),
        ({"global_clipnorm": norm + 1}, gradients),
    ):
        plain, clipping = KINDS[kind](), KINDS[kind](**clip)
        expected, actual, kept = start.copy(), start.copy(), gradients.copy()
        for _ in range(2):
            plain.step(expected, clipped.astype(dtype))
            clipping.step(actual, gradients)
        np.testing.assert_allclose(actual, expected, rtol=1e-5 if dtype == np.float32 else 1e-13)
        assert np.array_equal(gradients, kept)
        assert np.array_equal(actual, start) is False


@pytest.mark.parametrize("size", [1, 4095, 4097, 64 * 4096 + 1, 1_000_003])
def test_the_norm_has_the_same_bits_on_any_number_of_threads(size, dtype, isa):
    vector = np.random.default_rng(size).normal(size=size).astype(dtype)
    norms = []
    for count in (1, 2, 3):
        with fc.threads(count):
            norms.append(optimizers.global_norm(vector))
    assert norms[0] == norms[1] == norms[2]
    np.testing.assert_allclose(
        norms[0], np.sqrt(np.sum(np.square(vector, dtype=np.longdouble))).astype(float), rtol=1e-6
    )
    assert isinstance(norms[0], float)


def test_norms_at_the_edges():
    assert optimizers.global_norm(np.zeros(5)) == 0 == optimizers.global_norm(np.zeros(0, np.float32))
    np.testing.assert_allclose(optimizers.global_norm(np.float32([3e30, 4e30])), 5e30, rtol=1e-6)
    assert optimizers.global_norm(np.float32([np.inf, 1])) == np.inf and np.isnan(
        optimizers.global_norm(np.float32([np.nan]))
    )
    with pytest.raises(ValueError, match="vector"):
        optimizers.global_norm(np.zeros(6)[::2])


@pytest.mark.parametrize(
    "make", [SGD, lambda: SGD(0.1, 0.9, True, 0.1), Adam, AdamW, RMSprop, lambda: Adam(clipnorm=1)]
)
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


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9), Adam, lambda: RMSprop(0.1, 0.8, momentum=0.9)])
def test_no_state_ends_among_the_subnormal_numbers(make):
    optimizer, parameters = make(), np.zeros(BLOCK + 5, np.float32)
    optimizer.step(parameters, np.ones_like(parameters))
    for step in range(1500):
        optimizer.step(parameters, np.zeros_like(parameters))
        smallest = np.abs(optimizer._state[-1 if optimizer.slots[0] == "squares" else 0]).min()
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


def test_step_decay():
    assert [StepDecay(0.8, 2, 0.5)(step) for step in range(6)] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]
    assert [StepDecay(0.8, [1, 4], 0.5)(step) for step in range(6)] == [0.8, 0.4, 0.4, 0.4, 0.2, 0.2]


@pytest.mark.parametrize(
    "steps, arguments", [(20, {}), (7, {"rise": 0.5, "first": 10, "last": 100}), (40, {"rise": 0.1})]
)
def test_one_cycle_is_that_of_pytorch(steps, arguments):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1)
    named = {"rise": "pct_start", "first": "div_factor", "last": "final_div_factor"}
    judge = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.3, steps, cycle_momentum=False, **{named[name]: value for name, value in arguments.items()}
    )
    schedule = OneCycle(0.3, steps, **arguments)
    for step in range(steps):
        np.testing.assert_allclose(schedule(step), optimizer.param_groups[0]["lr"], rtol=1e-12, atol=1e-18)
        optimizer.step()
        if step + 1 < steps:
            judge.step()
    assert schedule(steps + 5) == schedule(steps - 1)


@pytest.mark.parametrize("arguments", [(1,), (2,), (1, 0.0), (5, 0.0), (3, 0.999), (1, 0.999)])
def test_one_cycle_of_few_steps(arguments):
    rates = [OneCycle(0.3, *arguments)(step) for step in range(8)]
    assert all(0 < rate <= 0.3 for rate in rates) and rates[-1] == rates[-2]
    assert arguments[0] == 1 or np.isclose(rates[-1], 0.3 / 25 / 1e4)


@pytest.mark.parametrize(
    "schedule", [CosineDecay(0.1, 5), StepDecay(0.1, 3), StepDecay(1, [2, 5], 0.3), OneCycle(0.2, 9)]
)
def test_schedules_are_described_by_plain_values(schedule):
    optimizer = Adam(schedule)
    again = Adam(**optimizer.config())
    assert type(again.lr) is type(schedule) and again.config() == optimizer.config()
    assert [again.lr(step) for step in range(12)] == [schedule(step) for step in range(12)]


def test_keras_names_and_defaults():
    assert SGD(learning_rate=0.5).lr == 0.5 and SGD().lr == 0.01 and SGD().momentum == 0
    adam = Adam(learning_rate=0.5, beta_1=0.8, beta_2=0.9)
    assert (adam.lr, adam.beta1, adam.beta2) == (0.5, 0.8, 0.9)
    adam = optimizers.get("adam")
    assert (adam.lr, adam.beta1, adam.beta2, adam.epsilon) == (1e-3, 0.9, 0.999, 1e-8)
    assert optimizers.get(adam) is adam
    prop = RMSprop(learning_rate=0.5, rho=0.8)
    assert (prop.lr, prop.alpha) == (0.5, 0.8) and type(optimizers.get("rmsprop")) is RMSprop
    assert type(optimizers.get("adamw")) is AdamW and AdamW().weight_decay == 0.01
    assert SGD(global_clipnorm=2).clipnorm == 2


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
    "alpha": (lambda: RMSprop(alpha=1.0), ValueError, "alpha"),
    "clipnorm": (lambda: Adam(clipnorm=0), ValueError, "clipnorm"),
    "clipvalue": (lambda: SGD(clipvalue=-1), ValueError, "clipvalue"),
    "text clipnorm": (lambda: RMSprop(clipnorm="1"), TypeError, "clipnorm"),
    "both clips": (lambda: Adam(clipnorm=1, clipvalue=1), ValueError, "exclude"),
    "both clipnorms": (lambda: Adam(clipnorm=1, global_clipnorm=1), TypeError, "clipnorm"),
    "order of steps": (lambda: StepDecay(0.1, [5, 3]), ValueError, "steps"),
    "no factor": (lambda: StepDecay(0.1, 5, -0.1), ValueError, "factor"),
    "rise": (lambda: OneCycle(0.1, 5, 1.0), ValueError, "rise"),
    "first": (lambda: OneCycle(0.1, 5, first=0.5), ValueError, "first"),
    "schedule": (lambda: SGD({"schedule": "os.system"}), ValueError, "os.system"),
    "arguments": (lambda: SGD({"schedule": "CosineDecay", "lr": 0.1}), ValueError, "CosineDecay"),
    "float steps": (lambda: CosineDecay(0.1, 2.5), TypeError, "steps"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
