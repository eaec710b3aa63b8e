# SPDX-License-Identifier: BSD-3-Clause
"""Losses and metrics: formulas, gradients, stability, checks of the targets."""

import numpy as np
import pytest
from gradients import assert_close, central_differences

from fastconv import layers, losses, metrics, models

LABELS = np.array([2, 0, 3, 3, 1])


def logits(dtype=np.float64):
    return np.random.default_rng(0).normal(size=(5, 4)).astype(dtype) * 3


def one_hot(labels=LABELS):
    return np.eye(4)[labels]


def probability_rows():
    rows = np.random.default_rng(1).uniform(size=(5, 4))
    return rows / rows.sum(axis=1, keepdims=True)


CASES = {
    "labels": (losses.CrossEntropy(), LABELS),
    "label column": (losses.CrossEntropy(), LABELS[:, None].astype(np.uint8)),
    "one-hot": (losses.CrossEntropy(), one_hot()),
    "probabilities": (losses.CrossEntropy(), probability_rows()),
    "smoothed labels": (losses.CrossEntropy(label_smoothing=0.2), LABELS),
    "smoothed one-hot": (losses.CrossEntropy(label_smoothing=0.2), one_hot().astype(int)),
    "weighted labels": (losses.CrossEntropy(class_weight=[1, 0.5, 3, 0]), LABELS),
    "weighted one-hot": (losses.CrossEntropy(class_weight=[1, 0.5, 3, 0]), one_hot()),
    "weighted probabilities": (losses.CrossEntropy(class_weight=[1, 0.5, 3, 0.2]), probability_rows()),
    "weighted smoothed labels": (losses.CrossEntropy(0.2, [1, 0.5, 3, 0.2]), LABELS),
    "mean absolute error": (losses.MeanAbsoluteError(), np.arange(20.0).reshape(5, 4) / 7),
    "binary cross-entropy": (losses.BinaryCrossEntropy(), one_hot()),
    "binary probabilities": (losses.BinaryCrossEntropy(), probability_rows()),
    "mean squared error": (losses.MeanSquaredError(), np.arange(20.0).reshape(5, 4)),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_central_differences(case):
    loss, targets = CASES[case]
    predictions = logits()
    value, gradient = loss.value_and_gradient(predictions, targets)
    assert type(value) is float and value == loss(predictions, targets)
    expected = central_differences(lambda: loss(predictions, targets), predictions)
    assert_close(gradient, expected, case)


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_goes_to_out_in_the_dtype_of_the_predictions(case):
    loss, targets = CASES[case]
    predictions = logits(np.float32)
    out = np.full((5, 4), np.nan, np.float32)
    value, gradient = loss.value_and_gradient(predictions, targets, out)
    assert gradient is out and not np.isnan(out).any()
    assert np.array_equal(loss.value_and_gradient(predictions, targets)[1], out)
    expected, exact = loss.value_and_gradient(predictions.astype(np.float64), targets)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(out, exact, atol=1e-6)


def test_cross_entropy_is_minus_the_logarithm_of_the_softmax():
    scores = logits()
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = -np.log(softmax[np.arange(5), LABELS]).mean()
    for targets in (LABELS, LABELS[:, None], one_hot()):
        np.testing.assert_allclose(losses.CrossEntropy()(scores, targets), expected, rtol=1e-14)
    rows = probability_rows()
    expected = -(rows * np.log(softmax)).sum(axis=1).mean()
    np.testing.assert_allclose(losses.CrossEntropy()(scores, rows), expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_labels_of_any_type_give_what_int64_gives(dtype):
    """int64 labels take a path of their own; others, and logits with gaps, NumPy's."""
    scores = np.random.default_rng(3).normal(size=(300, 7)).astype(dtype) * 20
    labels = np.random.default_rng(4).integers(0, 7, 300)
    value, gradient = losses.CrossEntropy().value_and_gradient(scores, labels)
    wide = np.zeros((300, 14), dtype)
    wide[:, ::2] = scores
    for other_scores, other in ((scores, labels.astype(np.int32)), (scores, labels[:, None]), (wide[:, ::2], labels)):
        other_value, other_gradient = losses.CrossEntropy().value_and_gradient(other_scores, other)
        np.testing.assert_allclose(other_value, value, rtol=1e-5 if dtype == np.float32 else 1e-13)
        np.testing.assert_allclose(other_gradient, gradient, atol=1e-8 if dtype == np.float32 else 1e-16)
    scores[7, 3] = np.nan
    value, gradient = losses.CrossEntropy().value_and_gradient(scores, labels)
    assert np.isnan(value) and np.isnan(gradient[7]).all() and not np.isnan(np.delete(gradient, 7, axis=0)).any()


def test_label_smoothing_mixes_in_the_uniform_distribution():
    smoothed = losses.CrossEntropy(label_smoothing=0.2)(logits(), LABELS)
    expected = losses.CrossEntropy()(logits(), 0.8 * one_hot() + 0.2 / 4)
    np.testing.assert_allclose(smoothed, expected, rtol=1e-14)
    assert smoothed != losses.CrossEntropy()(logits(), LABELS)


@pytest.mark.parametrize("targets", [np.array([1, 0]), np.eye(2)[[1, 0]]], ids=["labels", "rows"])
def test_cross_entropy_of_large_logits(targets):
    scores = np.float32([[2e4, 0], [-1e30, 1e30]])
    value, gradient = losses.CrossEntropy().value_and_gradient(scores, targets)
    assert value == np.float32(2e30) / 2
    np.testing.assert_array_equal(gradient, np.float32([[0.5, -0.5], [-0.5, 0.5]]))


def test_classes_can_be_ruled_out_by_minus_infinity():
    scores = np.array([[0.0, -np.inf, np.log(3)]])
    np.testing.assert_allclose(losses.CrossEntropy()(scores, [2]), np.log(4 / 3), rtol=1e-14)


def test_mean_squared_error_by_hand():
    value, gradient = losses.MeanSquaredError().value_and_gradient(
        np.float32([[1, 2], [3, 4]]), np.array([[1, 0], [0, 0]])
    )
    assert value == (0 + 4 + 9 + 16) / 4
    np.testing.assert_array_equal(gradient, np.float32([[0, 1], [1.5, 2]]))


def as_in_pytorch(torch, case):
    """The same loss as a function of logits and targets."""
    functional = torch.nn.functional
    loss, _ = CASES[case]
    if isinstance(loss, losses.CrossEntropy):
        weight = None if loss.class_weight is None else torch.tensor(loss.class_weight, dtype=torch.float64)
        return lambda x, t: functional.cross_entropy(x, t, weight, label_smoothing=loss.label_smoothing)
    return {
        "BinaryCrossEntropy": functional.binary_cross_entropy_with_logits,
        "MeanSquaredError": functional.mse_loss,
        "MeanAbsoluteError": functional.l1_loss,
    }[type(loss).__name__]


@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_pytorch(case):
    torch = pytest.importorskip("torch")
    loss, targets = CASES[case]
    if "weighted" in case and np.ndim(targets) == 2:
        pytest.skip("PyTorch divides by the number of rows")
    value, gradient = loss.value_and_gradient(logits(), targets)
    x = torch.tensor(logits(), requires_grad=True)
    labels = targets.ravel().astype(np.int64) if "label" in case and "one-hot" not in case else targets.astype(float)
    expected = as_in_pytorch(torch, case)(x, torch.tensor(labels))
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-13)
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-12, atol=1e-15)


def test_weights_of_labels_and_of_one_hot_rows_are_one_loss():
    loss = losses.CrossEntropy(class_weight=[1, 0.5, 3, 0.2])
    np.testing.assert_allclose(loss(logits(), LABELS), loss(logits(), one_hot()), rtol=1e-14)
    weight = np.array([1, 0.5, 3, 0.2])[LABELS]
    each = [losses.CrossEntropy()(logits()[n : n + 1], LABELS[n : n + 1]) for n in range(5)]
    np.testing.assert_allclose(loss(logits(), LABELS), (weight * each).sum() / weight.sum(), rtol=1e-14)
    value, gradient = losses.CrossEntropy(class_weight=[0, 0, 1, 0]).value_and_gradient(logits(), np.zeros(5, int))
    assert value == 0 and not gradient.any()


def test_binary_cross_entropy_of_large_logits():
    scores = np.float32([[1e30, -1e30, 200, -200, 0]]).T
    value, gradient = losses.BinaryCrossEntropy().value_and_gradient(scores, [1, 0, 0, 1, 0.5])
    np.testing.assert_allclose(value, (200 + 200 + np.log(2)) / 5, rtol=1e-6)
    np.testing.assert_array_equal(gradient[:, 0], np.float32([0, 0, 0.2, -0.2, 0]))


@pytest.mark.parametrize("name", ["mse", "mae", "binary_cross_entropy"])
def test_targets_may_leave_out_an_axis_of_one(name):
    loss, targets = losses.get(name), np.array([0, 1, 1, 0, 1])
    for got, expected in zip(
        loss.value_and_gradient(logits()[:, :1], targets),
        loss.value_and_gradient(logits()[:, :1], targets[:, None]),
        strict=True,
    ):
        assert np.array_equal(got, expected)


WRONG_TARGETS = {
    "label too large": (np.array([0, 1, 2, 3, 4]), ValueError, "0 to 3 for 4 classes"),
    "negative label": (np.array([0, 1, 2, 3, -1]), ValueError, "-1"),
    "float labels": (LABELS.astype(float), TypeError, "integers"),
    "boolean labels": (LABELS > 1, TypeError, "integers"),
    "too few": (LABELS[:4], ValueError, "shape"),
    "one number": (np.int64(3), ValueError, "shape"),
    "other classes": (np.eye(3)[[0, 1, 2, 0, 1]], ValueError, "shape"),
    "row of zeros": (one_hot() * [[1], [1], [0], [1], [1]], ValueError, "sum 1"),
    "negative": (one_hot() * 2 - 0.25, ValueError, "not negative"),
    "NaN": (one_hot() * np.nan, ValueError, "sum 1"),
    "complex": (one_hot() * 1j, TypeError, "complex"),
    "text": (np.array(["a"] * 5), TypeError, "integers"),
}


@pytest.mark.parametrize("case", WRONG_TARGETS)
def test_wrong_targets_of_cross_entropy(case):
    targets, error, text = WRONG_TARGETS[case]
    loss = losses.CrossEntropy()
    out = np.full((5, 4), 7.0)
    with pytest.raises(error, match=text):
        loss.value_and_gradient(logits(), targets, out)
    with pytest.raises(error, match=text):
        loss.check_targets(targets, (5, 4))
    assert np.all(out == 7)


def test_other_wrong_arguments():
    with pytest.raises(ValueError, match=r"\(5, 4\).*\(5,\)"):
        losses.MeanSquaredError()(logits(), LABELS)
    with pytest.raises(TypeError, match="real"):
        losses.MeanSquaredError()(logits(), logits() * 1j)
    with pytest.raises(ValueError, match="rows"):
        losses.CrossEntropy()(np.zeros((5, 4, 4)), LABELS)
    with pytest.raises(ValueError, match="rows"):
        losses.CrossEntropy()(np.zeros((0, 4)), LABELS[:0])
    with pytest.raises(ValueError, match="0 to 1"):
        losses.BinaryCrossEntropy()(logits(), one_hot() * 2)
    with pytest.raises(ValueError, match="3 numbers for 4 classes"):
        losses.CrossEntropy(class_weight=[1, 2, 3])(logits(), LABELS)
    for weights, error in (
        ([1, -1], ValueError),
        ([0, 0], ValueError),
        ({0: 1}, TypeError),
        (["a"], TypeError),
        (2, TypeError),
    ):
        with pytest.raises(error, match="class_weight"):
            losses.CrossEntropy(class_weight=weights)
    for smoothing in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="label_smoothing"):
            losses.CrossEntropy(smoothing)


def test_losses_by_name():
    assert type(losses.get("cross_entropy")) is losses.CrossEntropy
    assert type(losses.get("mse")) is type(losses.get("mean_squared_error")) is losses.MeanSquaredError
    assert type(losses.get("mae")) is losses.MeanAbsoluteError
    assert type(losses.get("binary_crossentropy")) is losses.BinaryCrossEntropy
    loss = losses.CrossEntropy(0.1)
    assert losses.get(loss) is loss


@pytest.mark.parametrize("targets", [LABELS, LABELS[:, None], one_hot()])
def test_accuracy(targets):
    predictions = one_hot([2, 0, 3, 1, 0]) - 5.0
    assert metrics.accuracy(predictions, targets) == 0.6


def test_other_metrics():
    scores = np.tile(np.arange(8.0), (4, 1))
    assert metrics.top_5_accuracy(scores, [7, 3, 2, 0]) == 0.5
    assert metrics.top_5_accuracy(scores * np.nan, [7, 3, 2, 0]) == 0
    assert metrics.binary_accuracy(np.array([[0.1], [-3.0], [2.0], [0.0]]), [1, 1, 0, 0]) == 0.5
    difference = scores - 1.5
    assert metrics.mean_squared_error(scores, np.full((4, 8), 1.5)) == np.mean(difference**2)
    assert metrics.mean_absolute_error(scores, np.full((4, 8), 1.5)) == np.mean(abs(difference))


@pytest.mark.parametrize(
    "last", [layers.Dense(1, activation="sigmoid"), layers.Activation("sigmoid")], ids=["dense", "layer"]
)
def test_a_last_sigmoid_is_fused_with_binary_cross_entropy(last):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), rng.integers(0, 2, 30)
    stack = [last] if isinstance(last, layers.Dense) else [layers.Dense(1), last]
    plain = models.Sequential([layers.Dense(1)], input_shape=(4,), seed=0)
    fused = models.Sequential(stack, input_shape=(4,), seed=0)
    for model in (plain, fused):
        model.compile("sgd", "binary_cross_entropy", metrics=["accuracy"])
        model.train_step(x, y)
    assert plain.evaluate(x, y) == fused.evaluate(x, y)
    np.testing.assert_allclose(fused.predict(x), 1 / (1 + np.exp(-plain.predict(x))), rtol=1e-5)
    assert fused.evaluate(x, y)[1] == np.mean((fused.predict(x)[:, 0] > 0.5) == y)


def test_a_sigmoid_that_cannot_be_fused_is_refused():
    model = models.Sequential([layers.Conv2D(1, 1, activation="sigmoid")], input_shape=(2, 2, 1))
    model.compile("sgd", "binary_cross_entropy")
    with pytest.raises(ValueError, match="logits"):
        model.train_step(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))
