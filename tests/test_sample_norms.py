# SPDX-License-Identifier: BSD-3-Clause
"""Group, layer and local response normalisation: against the oracle and PyTorch, their bits, their arguments."""

import numpy as np
import oracle
import pytest
from compare import poisoned, same_bits
from forms import FORMS, WRITABLE
from guard import AVAILABLE, guarded

import fastconv as fc

RESPONSE = (5, 0.7, 0.75, 1.5)


def group(groups):
    def backward(grad_y, x, w, **how):
        return fc.group_norm_backward(grad_y, x, groups, w, **how)

    return (
        lambda x, w, b, **how: fc.group_norm(x, groups, w, b, **how),
        backward,
        lambda x, w, b, layout: oracle.group_norm(x, groups, w, b, layout=layout),
        lambda grad_y, x, w, layout: oracle.group_norm_backward(grad_y, x, groups, w, layout=layout),
    )


def layer(axes):
    return (
        lambda x, w, b, **how: fc.layer_norm(x, w, b, axes=axes, **how),
        lambda grad_y, x, w, **how: fc.layer_norm_backward(grad_y, x, w, axes=axes, **how),
        lambda x, w, b, layout: oracle.layer_norm(x, w, b, axes, layout=layout),
        lambda grad_y, x, w, layout: oracle.layer_norm_backward(grad_y, x, w, axes, layout=layout),
    )


def response(*formula):
    return (
        lambda x, w, b, **how: fc.local_response_norm(x, *formula, **how),
        lambda grad_y, x, w, **how: (fc.local_response_norm_backward(grad_y, x, *formula, **how),),
        lambda x, w, b, layout: oracle.local_response_norm(x, *formula, layout=layout),
        lambda grad_y, x, w, layout: (oracle.local_response_norm_backward(grad_y, x, *formula, layout=layout),),
    )


# forward, backward, and what they must be
KINDS = {
    "group 1": group(1),
    "group 5": group(5),
    "layer channels": layer("channels"),
    "layer sample": layer("sample"),
    "response": response(*RESPONSE),
    "response even": response(4, 0.3, 0.6, 2.0),
}
# (N, pixels ..., C): channels around the width of a vector, of a block and of a chunk, images around the length of one
SHAPES = [
    (4, 6, 7, 5),
    (1, 30, 31, 5),
    (9, 15),
    (2, 3, 2, 5, 10),
    (21, 1, 130),
    (3, 5, 1, 1030),
    (1, 2, 2, 4500),
]


def batch(kind, shape, layout, dtype, seed=0, mean=3.0):
    """x, grad_y, weight and bias."""
    rng = np.random.default_rng(seed)
    x, grad_y = (oracle.channels_back(a, layout).copy() for a in rng.normal(size=(2, *shape)).astype(dtype))
    sizes = x.shape[1:] if kind == "layer sample" else shape[-1:]
    return x + dtype(0 if "response" in kind else mean), grad_y, *rng.normal(size=(2, *sizes)).astype(dtype)


def everything(kind, x, grad_y, weight, bias, layout):
    forward, backward, *_ = KINDS[kind]
    return [forward(x, weight, bias, layout=layout), *backward(grad_y, x, weight, layout=layout)]


def close(actual, expected, dtype, units):
    assert actual.shape == expected.shape and actual.dtype == dtype
    assert abs(actual - expected).max() <= units * np.finfo(dtype).eps * abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_the_oracle(kind, shape, isa, layout, dtype):
    x, grad_y, weight, bias = batch(kind, shape, layout, dtype)
    y, *gradients = everything(kind, x, grad_y, weight, bias, layout)
    _, _, true, true_backward = KINDS[kind]
    close(y, true(x, weight, bias, layout), dtype, 64)
    expected = true_backward(grad_y, x, weight, layout)
    for got, truth in zip(gradients, expected, strict=True):
        close(got, truth, dtype, 512)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agreement_with_pytorch(kind, shape, layout):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x, grad_y, weight, bias = batch(kind, shape, layout, np.float64)
    last = (lambda a: np.moveaxis(a, 1, -1)) if layout == "NCHW" else (lambda a: a)
    first = (lambda a: a) if layout == "NCHW" else (lambda a: np.moveaxis(a, -1, 1))
    there = {"layer channels": last, "layer sample": lambda a: a}.get(kind, first)
    leaves = [torch.tensor(a.copy(), requires_grad=True) for a in (there(x), weight, bias)]
    if "response" in kind:
        if x.ndim < 3:
            pytest.skip("PyTorch wants pixels")
        y = functional.local_response_norm(leaves[0], *(RESPONSE if kind == "response" else (4, 0.3, 0.6, 2.0)))
    elif "group" in kind:
        y = functional.group_norm(leaves[0], int(kind[-1]), *leaves[1:])
    else:
        y = functional.layer_norm(leaves[0], leaves[1].shape, *leaves[1:])
    y.backward(torch.tensor(there(grad_y).copy()))
    ours = everything(kind, x, grad_y, weight, bias, layout)
    theirs = [y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]
    for got, tensor in zip([there(ours[0]), there(ours[1]), *ours[2:]], theirs, strict=True):
        truth = tensor.numpy()
        assert abs(got - truth).max() <= 1e-12 * abs(truth).max()


@pytest.mark.parametrize("kind", ["group 1", "layer channels", "layer sample"])
def test_means_far_above_the_deviation_cost_no_digits(kind, isa, layout):
    x, _, weight, bias = batch(kind, (4, 20, 30, 20), layout, np.float32, mean=1e6)
    truth = KINDS[kind][2](x, weight, bias, layout)
    assert abs(KINDS[kind][0](x, weight, bias, layout=layout) - truth).max() < 2e-6 * abs(truth).max()


def assert_same(results, others):
    for one, other in zip(results, others, strict=True):
        assert same_bits(one, other)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(37, 9, 8, 35), (1, 61, 60, 40), (3, 40, 40, 35)], ids=str)
def test_threads_do_not_change_a_bit(kind, shape, layout, dtype):
    arrays = batch(kind, shape, layout, dtype)
    with fc.threads(1):
        alone = everything(kind, *arrays, layout)
    for threads in (2, 3, 8):
        with fc.threads(threads):
            assert_same(everything(kind, *arrays, layout), alone)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [SHAPES[2], (7, 12, 11, 40)], ids=str)
def test_the_batch_does_not_change_a_bit(kind, shape, layout, dtype):
    x, grad_y, weight, bias = batch(kind, shape, layout, dtype)
    y, grad_x, *_ = everything(kind, x, grad_y, weight, bias, layout)
    for n in (0, len(x) - 1):
        one = slice(n, n + 1)
        assert_same(
            everything(kind, x[one], grad_y[one], weight, bias, layout)[:2], [y[one].copy(), grad_x[one].copy()]
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 9, 2, 40), (2, 9, 31, 35), (2, 3, 2, 4500), (2, 5, 5, 5)], ids=str)
def test_the_memory_of_the_other_layout_does_not_change_a_bit(kind, shape, layout, dtype):
    x, grad_y, *vectors = batch(kind, shape, layout, dtype)
    there, back = (1, -1) if layout == "NCHW" else (-1, 1)
    turned = [np.moveaxis(np.moveaxis(a, there, back).copy(), back, there) for a in (x, grad_y)]
    expected = everything(kind, x, grad_y, *vectors, layout)
    assert_same(everything(kind, *turned, *vectors, layout), expected)
    assert_same(everything(kind, turned[0], grad_y, *vectors, layout), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_memory_does_not_change_a_bit(form, kind, layout, dtype):
    x, grad_y, *vectors = batch(kind, (3, 9, 8, 20), layout, dtype)
    expected = everything(kind, x, grad_y, *vectors, layout)
    formed = [FORMS[form](a) for a in (x, grad_y, *vectors)]
    assert_same(everything(kind, *formed, layout), expected)
    if form in WRITABLE:
        forward, backward, *_ = KINDS[kind]
        out = FORMS[form](poisoned(x.shape, dtype))
        assert forward(x, *vectors, layout=layout, out=out) is out and np.array_equal(out, expected[0])
        out = FORMS[form](poisoned(x.shape, dtype))
        assert backward(grad_y, x, vectors[0], layout=layout, out=out)[0] is out
        assert np.array_equal(out, expected[1])


@pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_beyond_the_arrays_is_touched(kind, side, isa, layout, dtype):
    shape = (1, 11, 5, 35)
    arrays = batch(kind, shape, layout, dtype)
    x, grad_y, weight, bias = (guarded(a, side) for a in arrays)
    y, grad_x = (guarded(poisoned(x.shape, dtype), side) for _ in range(2))
    forward, backward, *_ = KINDS[kind]
    forward(x, weight, bias, layout=layout, out=y)
    gradients = backward(grad_y, x, weight, layout=layout, out=grad_x)
    assert_same([y, *gradients], everything(kind, *arrays, layout))


@pytest.mark.parametrize("kind", KINDS)
def test_no_images_and_images_of_integers(kind, layout):
    x, _, weight, bias = batch(kind, (0, 4, 4, 5), layout, np.float32)
    y, grad_x, *others = everything(kind, x, x, weight, bias, layout)
    assert y.shape == grad_x.shape == x.shape and not any(other.any() for other in others)
    forward = KINDS[kind][0]
    x = np.arange(160, dtype=np.uint8).reshape(2, *((4, 4, 5) if layout == "NHWC" else (5, 4, 4)))
    assert same_bits(forward(x, weight, bias, layout=layout), forward(x.astype("f4"), weight, bias, layout=layout))
    assert forward(x.astype(np.float64), weight, bias, layout=layout).dtype == np.float64


@pytest.mark.parametrize("kind", ["group 5", "layer channels", "layer sample"])
def test_parameters_and_the_gradient_of_x_can_be_left_out(kind, layout, dtype):
    x, grad_y, weight, bias = batch(kind, (3, 4, 5, 10), layout, dtype)
    forward, backward, *_ = KINDS[kind]
    ones, zeros = np.ones_like(weight), np.zeros_like(weight)
    assert np.allclose(forward(x, None, None, layout=layout), forward(x, ones, zeros, layout=layout), rtol=1e-6)
    assert np.allclose(forward(x, weight, None, layout=layout), forward(x, weight, zeros, layout=layout), rtol=1e-6)
    full = backward(grad_y, x, weight, layout=layout)
    part = backward(grad_y, x, weight, layout=layout, input_gradient=False)
    assert part.x is None
    assert_same(part[1:], full[1:])
    without = backward(grad_y, x, None, layout=layout)
    for got, expected in zip(without, backward(grad_y, x, ones, layout=layout), strict=True):
        assert np.allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_values_that_are_not_finite_stay_where_they_are_read(isa, layout, dtype):
    """A group of an image, a pixel, an image, the neighbouring channels."""
    x, _, weight, bias = batch("group 5", (3, 6, 7, 10), layout, dtype)
    bad = {}
    for value in (np.nan, np.inf):
        oracle.channels_last(x, layout)[1, 4, 4, 6] = value
        for kind in ("group 5", "layer channels", "response"):
            y = KINDS[kind][0](x, weight, bias, layout=layout)
            bad[kind] = np.isnan(oracle.channels_last(y, layout))
        assert bad["group 5"][1, :, :, 6:8].all() and bad["group 5"].sum() == 2 * 42
        assert bad["layer channels"][1, 4, 4].all() and bad["layer channels"].sum() == 10
        near = bad["response"][1, 4, 4, 4:9]
        assert bad["response"].sum() == near.sum() and (near.all() if np.isnan(value) else near[2])


def test_images_are_done_a_block_at_a_time(layout, dtype):
    """Far more images than what is kept of them has room for at once."""
    x, grad_y = np.random.default_rng(5).normal(size=(2, 1500, 96)).astype(dtype)
    weight, bias = np.linspace(-1, 2, 2 * 96).reshape(2, 96).astype(dtype)
    y = fc.group_norm(x, 8, weight, bias, layout=layout)
    gradients = fc.group_norm_backward(grad_y, x, 8, weight, layout=layout)
    ends = range(0, 1500, 100)
    assert same_bits(y, np.concatenate([fc.group_norm(x[i : i + 100], 8, weight, bias, layout=layout) for i in ends]))
    parts = [fc.group_norm_backward(grad_y[i : i + 100], x[i : i + 100], 8, weight, layout=layout) for i in ends]
    assert same_bits(gradients.x, np.concatenate([part.x for part in parts]))
    for name in ("weight", "bias"):
        whole, summed = getattr(gradients, name), sum(getattr(part, name).astype(np.float64) for part in parts)
        assert abs(whole - summed).max() <= 1e-5 * abs(summed).max()


def test_the_constants_of_alexnet():
    """The paper's formula, whose alpha is not divided by n."""
    x = np.random.default_rng(0).normal(size=(1, 2, 2, 96)) * 100
    norm = fc.layers.LocalResponseNormalization.alexnet(name="norm1")
    squares = np.pad(x**2, ((0, 0), (0, 0), (0, 0), (2, 2)))
    sums = sum(squares[..., i : i + 96] for i in range(5))
    assert norm.name == "norm1" and np.allclose(norm.forward(x), x / (2 + 1e-4 * sums) ** 0.75, rtol=1e-13)


X = np.zeros((2, 3, 3, 4), np.float32)
V = np.ones(4, np.float32)
W = np.ones((3, 3, 4), np.float32)
WRONG = {
    "list": (lambda: fc.group_norm([1.0], 1), TypeError, "x must be a numpy array"),
    "list of a sample": (lambda: fc.layer_norm([1.0], axes="sample"), TypeError, "x must be a numpy array"),
    "complex": (lambda: fc.layer_norm(X.astype(complex)), TypeError, "complex"),
    "complex sample": (lambda: fc.layer_norm(X.astype(complex), axes="sample"), TypeError, "complex"),
    "one axis": (lambda: fc.local_response_norm(V, 5), ValueError, "2 axes"),
    "no pixels": (lambda: fc.layer_norm(X[:, :0], axes="sample"), ValueError, "at least 1"),
    "groups": (lambda: fc.group_norm(X, 3), ValueError, "groups=3 .* 4 channels"),
    "no groups": (lambda: fc.group_norm(X, 0), ValueError, "groups=0"),
    "half a group": (lambda: fc.group_norm(X, 0.5), TypeError, "groups"),
    "weight": (lambda: fc.group_norm(X, 2, V[:3]), ValueError, r"weight has shape \(3,\)"),
    "weight of a sample": (lambda: fc.layer_norm(X, V, axes="sample"), ValueError, r"weight has shape \(4,\)"),
    "axes": (lambda: fc.layer_norm(X, axes="all"), ValueError, "axes must be one of channels, sample"),
    "axes number": (lambda: fc.layer_norm(X, axes=1), TypeError, "axes"),
    "epsilon": (lambda: fc.layer_norm(X, epsilon=-1.0), ValueError, "epsilon"),
    "size": (lambda: fc.local_response_norm(X, 0), ValueError, "size"),
    "alpha": (lambda: fc.local_response_norm(X, 5, "1"), TypeError, "alpha"),
    "beta": (lambda: fc.local_response_norm(X, 5, 1e-4, float("nan")), ValueError, "beta"),
    "layout": (lambda: fc.group_norm(X, 2, layout="CHWN"), ValueError, "layout"),
    "out shape": (lambda: fc.layer_norm(X, out=X[:1].copy()), ValueError, "out has shape"),
    "out of a sample": (lambda: fc.layer_norm(X, axes="sample", out=X[:1].copy()), ValueError, "out has shape"),
    "out dtype": (lambda: fc.layer_norm(X, axes="sample", out=X.astype(np.float64)), TypeError, "float32"),
    "out is x": (lambda: fc.local_response_norm(X, 5, out=X), ValueError, "shares memory with x"),
    "out is the sample": (lambda: fc.layer_norm(X, axes="sample", out=X), ValueError, "shares memory"),
    "grad shape": (lambda: fc.group_norm_backward(X[:1], X, 2), ValueError, "grad_y"),
    "grad of a sample": (lambda: fc.layer_norm_backward(X[:1], X, W, axes="sample"), ValueError, "grad_y"),
    "grad is out": (lambda: fc.layer_norm_backward(X, X.copy(), V, out=X), ValueError, "grad_y"),
    "no grad": (lambda: fc.local_response_norm_backward(None, X, 5), TypeError, "grad_y"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    call, error, text = WRONG[case]
    with pytest.raises(error, match=text):
        call()
    assert (V == 1).all() and not X.any()
