# SPDX-License-Identifier: BSD-3-Clause
"""Sequences: what images of height 1 give, in their own shapes and with their own errors."""

import numpy as np
import oracle
import pytest
from compare import same_bits
from forms import FORMS

import fastconv as fc

CASES = [  # shapes of x and weight, arguments; of conv1d
    ((2, 20, 5), (3, 5, 7), {}),
    ((1, 33, 4), (4, 2, 6), {"stride": 3, "padding": ((1, 2),), "groups": 2}),
    ((2, 9, 3), (2, 3, 4), {"padding": "same", "stride": (2,)}),
    ((2, 9, 3), (4, 3, 4), {"padding": "same_lower", "dilation": [2]}),
    ((2, 9, 3), (3, 3, 33), {"padding": "causal", "dilation": 2}),
    ((2, 9, 3), (3, 3, 2), {"padding": "causal", "stride": 2}),
    ((2, 30, 17), (9, 17, 5), {"padding": (3,)}),
    ((3, 12, 8), (3, 1, 8), {"padding": 1, "groups": 8}),
    ((1, 5, 2), (1, 2, 3), {"padding": "valid"}),
]
TRANSPOSED = [
    ((2, 20, 5), (3, 7, 5), {}),
    ((1, 11, 4), (4, 3, 4), {"stride": 3, "padding": ((1, 2),), "groups": 2, "output_padding": (2,)}),
    ((2, 9, 3), (2, 4, 3), {"padding": "same", "stride": 2}),
    ((2, 9, 3), (3, 4, 3), {"dilation": 2, "padding": 1}),
    ((2, 5, 3), (1, 4, 3), {"stride": 3}),
]


def in_two(value):
    """An argument of a sequence as one of an image of height 1."""
    if isinstance(value, (tuple, list)):
        (value,) = value
    return value


def two_dimensional(how, weight_shape):
    """The arguments for images of height 1."""
    named = {"stride": 1, "dilation": 1, "padding": 0, "output_padding": 0} | how
    two = {name: (1, in_two(named[name])) for name in ("stride", "dilation")}
    if named["padding"] == "causal":
        two["padding"] = ((0, 0), (two["dilation"][1] * (weight_shape[0] - 1), 0))
    elif isinstance(named["padding"], str):
        two["padding"] = named["padding"]
    else:
        padding = in_two(named["padding"])
        two["padding"] = ((0, 0), padding if isinstance(padding, tuple) else (padding, padding))
    if "output_padding" in how:
        two["output_padding"] = (0, in_two(named["output_padding"]))
    return two | {"groups": how.get("groups", 1)}


def numbers(case, dtype, function):
    x_shape, weight_shape, how = case
    rng = np.random.default_rng(len(str(case)))
    y_shape = getattr(fc, f"{function}_output_shape")(x_shape, weight_shape, **how)
    shapes = x_shape, weight_shape, y_shape[-1:], y_shape
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def channels_first(x, weight):
    return np.ascontiguousarray(x.transpose(0, 2, 1)), np.ascontiguousarray(weight.transpose(2, 1, 0))


@pytest.mark.parametrize("function", ["conv1d", "conv_transpose1d"])
@pytest.mark.parametrize("layout", ["NWC", "NCW", "NHWC", "NCHW"])
def test_the_numbers_of_images_of_height_one(function, layout, dtype):
    """The oracle's, forward and gradients; without a batch axis too."""
    for case in CASES if function == "conv1d" else TRANSPOSED:
        x, weight, bias, grad_y = numbers(case, dtype, function)
        how, two = case[2], two_dimensional(case[2], case[1])
        truth = getattr(oracle, function.replace("1d", "2d"))(x[:, None], weight[None], bias, **two)[:, 0]
        images = getattr(fc, f"{function}_backward".replace("1d", "2d"))(
            grad_y[:, None], x[:, None], weight[None], **two
        )
        expected = images.x[:, 0], images.weight[0]
        if layout.startswith("NC"):
            x, weight = channels_first(x, weight)
            grad_y, truth = grad_y.transpose(0, 2, 1), truth.transpose(0, 2, 1)
            expected = channels_first(*expected)
        units = {"rtol": 1e-12, "atol": 1e-12} if dtype == np.float64 else {"rtol": 1e-4, "atol": 1e-4}
        got = getattr(fc, function)(x, weight, bias, layout=layout, **how)
        np.testing.assert_allclose(got, truth, **units)
        assert same_bits(getattr(fc, function)(x[0], weight, bias, layout=layout, **how), got[0])
        gradients = getattr(fc, f"{function}_backward")(grad_y, x, weight, layout=layout, **how)
        assert type(gradients).__name__.startswith("Conv") and "1d" in type(gradients).__name__
        for gradient, true in zip(
            gradients, (*expected, grad_y.sum(axis=(0, 2 if "NC" in layout else 1))), strict=True
        ):
            np.testing.assert_allclose(gradient, true, **units)
        shape = getattr(fc, f"{function}_output_shape")(x.shape, weight.shape, layout=layout, **how)
        assert shape == got.shape
        pack = {name: value for name, value in how.items() if name != "output_padding"} | {"operation": function}
        packed = fc.pack_weights(weight, x.shape, layout=layout, output_padding=how.get("output_padding", 0), **pack)
        assert same_bits(getattr(fc, function)(x, packed, bias, layout=layout, **how), got)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_memory_is_read(form):
    x, weight, bias, grad_y = numbers(CASES[1], np.float32, "conv1d")
    how = CASES[1][2]
    change = FORMS[form]
    expected = fc.conv1d(x, weight, bias, **how), *fc.conv1d_backward(grad_y, x, weight, **how)
    x, weight, bias, grad_y = map(change, (x, weight, bias, grad_y))
    got = fc.conv1d(x, weight, bias, **how), *fc.conv1d_backward(grad_y, x, weight, **how)
    assert all(same_bits(np.ascontiguousarray(a), b) for a, b in zip(got, expected, strict=True))


def test_causal_sees_no_future(isa):
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 20, 3)), rng.standard_normal((4, 3, 5))
    y = fc.conv1d(x, weight, padding="causal", dilation=2)
    assert y.shape == (1, 20, 5)
    x[:, 11:] = 99
    assert same_bits(fc.conv1d(x, weight, padding="causal", dilation=2)[:, :11], y[:, :11])


def test_results_are_written_in_place():
    x, weight, bias, _ = numbers(CASES[0], np.float32, "conv1d")
    wide = np.full((2, 18, 14), np.nan, np.float32)
    assert fc.conv1d(x, weight, bias, out=wide[..., ::2]).base is wide
    assert same_bits(np.ascontiguousarray(wide[..., ::2]), fc.conv1d(x, weight, bias))
    assert np.isnan(wide[..., 1::2]).all()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pytorch_agrees(case):
    torch = pytest.importorskip("torch")
    x, weight, bias, _ = numbers(case, np.float64, "conv1d")
    how = two_dimensional(case[2], case[1])
    sides = oracle.border(how["padding"], (1, x.shape[1]), (1, weight.shape[0]), how["stride"], how["dilation"])[1]
    padded = np.pad(x, ((0, 0), sides, (0, 0)))
    tensors = (torch.tensor(array) for array in (*channels_first(padded, weight), bias))
    geometry = {"stride": how["stride"][1], "dilation": how["dilation"][1], "groups": how["groups"]}
    theirs = torch.conv1d(*tensors, **geometry).numpy().transpose(0, 2, 1)
    assert np.linalg.norm(fc.conv1d(x, weight, bias, **case[2]) - theirs) <= 1e-12 * np.linalg.norm(theirs)


X, W = np.ones((2, 9, 4), np.float32), np.ones((3, 4, 5), np.float32)
WRONG = {
    "two sides": (lambda: fc.conv1d(X, W, padding=(1, 2)), ValueError, r"padding needs one integer.*\(1, 2\)"),
    "two strides": (lambda: fc.conv1d(X, W, stride=(1, 1)), ValueError, "stride"),
    "two dilations": (lambda: fc.conv1d(X, W, dilation=[1, 1]), ValueError, "dilation"),
    "two axes": (lambda: fc.conv1d(X, W, padding=((0, 0), (1, 1))), ValueError, "padding"),
    "name": (lambda: fc.conv1d(X, W, padding="casual"), ValueError, "'causal'"),
    "causal images": (lambda: fc.conv2d(X, W, padding="causal"), ValueError, "axes|causal"),
    "causal transposed": (lambda: fc.conv_transpose1d(X, W.transpose(0, 2, 1), padding="causal"), ValueError, "causal"),
    "layout": (lambda: fc.conv1d(X, W, layout="NDHWC"), ValueError, "NWC"),
    "sequences for images": (lambda: fc.conv2d(X, W[None], layout="NWC"), ValueError, "NHWC"),
    "rank": (lambda: fc.conv1d(X[None], W), ValueError, r"\(1, 2, 9, 4\).*2 or 3 axes"),
    "rank of weight": (lambda: fc.conv1d(X, W[None]), ValueError, r"\(1, 3, 4, 5\).*3 axes"),
    "channels": (lambda: fc.conv1d(X, W[:, :3]), ValueError, r"\(2, 9, 4\) has 4.*\(3, 3, 5\).*made for 3.*NWC"),
    "other layout": (lambda: fc.conv1d(X.transpose(0, 2, 1), W), ValueError, "made for 4"),
    "short": (lambda: fc.conv1d(X, W, dilation=9), ValueError, r"\(2, 9, 4\), weight \(3, 4, 5\).*w9"),
    "huge": (lambda: fc.conv1d(X, W, dilation=2**62, padding="causal"), ValueError, "63 bits"),
    "out": (lambda: fc.conv1d(X, W, out=np.ones((2, 1, 7, 5), np.float32)), ValueError, r"\(2, 7, 5\)"),
    "grad_y": (lambda: fc.conv1d_backward(X, X, W), ValueError, r"\(2, 7, 5\)"),
    "shape": (lambda: fc.conv1d_output_shape((2, 1, 9, 4), (3, 4, 5)), ValueError, "2 or 3 entries"),
    "transposed": (lambda: fc.conv_transpose1d(X, W), ValueError, r"\(3, 4, 5\).*made for 5"),
    "overlap": (lambda: fc.conv1d(X, W[:1, :, :4], out=X), ValueError, "shares memory"),
}


@pytest.mark.parametrize("case", WRONG)
def test_errors(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
