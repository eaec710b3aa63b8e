# SPDX-License-Identifier: BSD-3-Clause
"""gradcheck: passes what is right, finds what is wrong and says where."""

import numpy as np
import pytest
from test_layers import CASES, make

import fastconv as fc
from fastconv import layers, losses, models


@pytest.mark.parametrize("case", CASES)
def test_layers_pass(case, layout):
    layer, x = make(case, layout)
    report = fc.gradcheck(layer, x, samples=9)
    assert report and report.error < 1e-7
    assert [of.name for of in report.arrays][:1] == ["input"]
    assert len(report.arrays) == 1 + len(layer.parameters)


def test_a_layer_needs_no_more_than_a_shape_and_stays_as_it_was():
    layer = layers.Conv2D(3, 3, activation="tanh")
    assert fc.gradcheck(layer, (2, 6, 5, 2)) and layer.parameters == {}
    layer.build((6, 5, 2))
    before = layer.parameters["weight"].copy()
    assert fc.gradcheck(layer, (2, 6, 5, 2))
    assert layer.parameters["weight"].dtype == np.float32 and np.array_equal(layer.parameters["weight"], before)
    assert fc.gradcheck(layers.Dropout(0.4), (3, 50)), "it must drop the same numbers each time"


def test_models_pass():
    model = models.Sequential(
        [layers.Conv2D(4, 3, activation="tanh"), layers.Dropout(0.3), layers.Flatten(), layers.Dense(3)],
        input_shape=(5, 5, 2),
        seed=0,
    )
    report = fc.gradcheck(model, (2, 5, 5, 2))
    assert [of.name for of in report.arrays] == ["input", *model.parameters]
    assert [of.checked for of in report.arrays] == [50, 50, 4, 50, 3]
    assert model.parameters["dense/weight"].dtype == np.float32
    assert fc.gradcheck(model.layers[0], (2, 5, 5, 2))


def test_losses_and_functions_pass():
    rng = np.random.default_rng(0)
    assert fc.gradcheck(losses.CrossEntropy(0.1), rng.normal(size=(5, 3)), [0, 1, 2, 1, 0])
    x, w = rng.normal(size=(1, 6, 6, 2)), np.asfortranarray(rng.normal(size=(3, 3, 2, 4)))
    report = fc.gradcheck(fc.conv2d, x, w, backward=lambda g, x, w: fc.conv2d_backward(g, x, w)[:2])
    assert [of.shape for of in report.arrays] == [x.shape, w.shape]
    assert fc.gradcheck(lambda a, b: a * b, [1.0, 2.0], [3.0, 4.0], backward=lambda g, a, b: (None, g * a))


class Wrong(layers.Dense):
    def backward(self, grad_y):
        grad_x = super().backward(grad_y)
        self.gradients["bias"][2] += 1
        return grad_x


def test_what_is_wrong_is_found_and_shown():
    with pytest.raises(AssertionError, match=r"bias .* WRONG at \[2\]"):
        fc.gradcheck(Wrong(4), (3, 5))
    report = fc.gradcheck(Wrong(4), (3, 5), raise_error=False)
    assert not report and report.error > 1e-3
    lines = str(report).splitlines()
    assert len(lines) == 4 and lines[1].endswith("ok") and lines[2].endswith("ok") and "WRONG" in lines[3]
    bias = report.arrays[2]
    np.testing.assert_allclose(bias.gradient - bias.difference, 1, rtol=1e-6)
    nothing = fc.gradcheck(np.sin, [0.3], backward=lambda g, x: np.nan * g, raise_error=False)
    assert not nothing and np.isnan(nothing.error)
    assert not fc.gradcheck(np.sin, [0.3], backward=lambda g, x: 0 * g, raise_error=False)


WRONG = {
    "nothing": (lambda: fc.gradcheck(3), TypeError, "layer"),
    "no backward": (lambda: fc.gradcheck(np.sin, [1.0]), TypeError, "backward"),
    "one gradient": (
        lambda: fc.gradcheck(np.add, [1.0], [2.0], backward=lambda g, a, b: g),
        ValueError,
        "1 gradients for 2",
    ),
    "shape": (lambda: fc.gradcheck(np.sin, [1.0], backward=lambda g, a: np.zeros(3)), ValueError, r"shape \(3,\)"),
    "samples": (lambda: fc.gradcheck(layers.Flatten(), (2, 3), samples=0), ValueError, "samples"),
    "complex": (lambda: fc.gradcheck(np.sin, [1j], backward=lambda g, a: g), TypeError, "real"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_named(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
