# SPDX-License-Identifier: BSD-3-Clause
"""conv3d and its gradients: exact on whole numbers, equal to PyTorch, the same bits whatever the threads; what they
take and refuse."""

import numpy as np
import oracle_volumes
import pytest
from compare import assert_exact, poisoned, same_bits
from forms import FORMS, WRITABLE
from guard import AVAILABLE, guarded

import fastconv as fc

# x (N, D, H, W, C), filters (T, R, S, K), geometry
PROBLEMS = [
    ((2, 4, 5, 6, 3), (3, 3, 3, 4), {"padding": 1}),
    ((1, 5, 7, 9, 4), (3, 3, 3, 5), {"stride": 2, "padding": "same"}),
    ((2, 6, 5, 4, 6), (2, 3, 1, 8), {"stride": (3, 1, 2), "padding": ((2, 0), (0, 1), (1, 0)), "groups": 2}),
    ((1, 7, 6, 5, 2), (3, 2, 2, 3), {"dilation": (2, 1, 3), "padding": (1, 0, 2)}),
    ((1, 3, 4, 5, 5), (1, 1, 1, 7), {}),
    ((2, 5, 4, 5, 3), (1, 3, 3, 4), {"stride": (2, 1, 1), "padding": (0, 1, 1)}),
    ((1, 6, 3, 4, 4), (4, 1, 1, 3), {"padding": "same_lower"}),
    ((1, 2, 3, 3, 3), (5, 3, 3, 2), {"padding": (4, 1, 1)}),
    ((1, 7, 3, 4, 3), (2, 2, 2, 3), {"stride": (4, 3, 3), "padding": (1, 1, 1)}),
    ((1, 3, 5, 5, 6), (2, 3, 3, 6), {"groups": 6, "padding": 1}),
    ((1, 2, 12, 12, 33), (3, 3, 3, 34), {"padding": 1}),
]
GEOMETRIES = [geometry for _, _, geometry in PROBLEMS]


@pytest.fixture(params=["NDHWC", "NCDHW"])
def layout(request):
    return request.param


def arrays(problem, layout, dtype, draw):
    """x, weight, bias and grad_y of one problem, contiguous in the layout."""
    x_shape, (t, r, s, k), geometry = problem
    c = x_shape[-1] // geometry.get("groups", 1)
    x, weight, bias = draw(x_shape), draw((t, r, s, c, k)), draw((k,))
    grad_y = draw(oracle_volumes.conv3d(x, weight, **geometry).shape)
    if layout == "NCDHW":
        x, grad_y, weight = np.moveaxis(x, -1, 1), np.moveaxis(grad_y, -1, 1), weight.transpose(4, 3, 0, 1, 2)
    return tuple(np.ascontiguousarray(array, dtype) for array in (x, weight, bias, grad_y))


def integers(seed):
    rng = np.random.default_rng(seed)
    return lambda shape: rng.integers(-4, 4, size=shape)


@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_exact(number, isa, layout, dtype):
    geometry = PROBLEMS[number][2] | {"layout": layout}
    x, weight, bias, grad_y = arrays(PROBLEMS[number], layout, dtype, integers(number))
    y = poisoned(grad_y.shape, dtype)
    with fc.precision("strict"):  # without Winograd's algorithm, which rounds
        assert fc.conv3d(x, weight, bias, **geometry, activation="relu", out=y) is y
        gradients = fc.conv3d_backward(grad_y, x, weight, **geometry)
    assert_exact(y, oracle_volumes.conv3d(x, weight, bias, **geometry, activation="relu"))
    assert fc.conv3d_output_shape(x.shape, weight.shape, **geometry) == y.shape
    for gradient, truth in zip(gradients, oracle_volumes.conv3d_backward(grad_y, x, weight, **geometry), strict=True):
        assert gradient.dtype == dtype
        assert_exact(gradient, truth)


@pytest.mark.parametrize("number", [0, 2, 3])
def test_the_reference_is_right(number, layout):
    geometry = PROBLEMS[number][2] | {"layout": layout}
    x, weight, bias, grad_y = arrays(PROBLEMS[number], layout, np.float64, integers(number))
    y = fc.conv3d(x, weight, bias, **geometry, algorithm="reference")
    assert_exact(y, oracle_volumes.conv3d(x, weight, bias, **geometry))
    gradients = fc.conv3d_backward(grad_y, x, weight, **geometry, algorithm="reference")
    for gradient, truth in zip(gradients, oracle_volumes.conv3d_backward(grad_y, x, weight, **geometry), strict=True):
        assert_exact(gradient, truth)


@pytest.mark.parametrize("algorithm", ["auto", "winograd"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fast_algorithms_are_near(algorithm, dtype, isa):
    """Winograd's algorithm, and the matrix unit where there is one."""
    rng = np.random.default_rng(8)
    x, weight, bias, grad_y = arrays(PROBLEMS[-1], "NDHWC", dtype, rng.standard_normal)
    results = (fc.conv3d(x, weight, bias, padding=1, algorithm=algorithm),)
    results += fc.conv3d_backward(grad_y, x, weight, padding=1, algorithm=algorithm)
    truths = (oracle_volumes.conv3d(x, weight, bias, padding=1),)
    truths += oracle_volumes.conv3d_backward(grad_y, x, weight, padding=1)
    for result, truth in zip(results, truths, strict=True):
        assert np.linalg.norm(result - truth) <= (5e-6 if dtype == np.float32 else 1e-13) * np.linalg.norm(truth)


@pytest.mark.parametrize("number", [n for n, g in enumerate(GEOMETRIES) if not isinstance(g.get("padding", 0), tuple)])
def test_agreement_with_pytorch(number):
    torch = pytest.importorskip("torch")
    geometry = PROBLEMS[number][2]
    if geometry.get("padding") in ("same", "same_lower"):
        pytest.skip("PyTorch has no such padding")
    rng = np.random.default_rng(number)
    x, weight, bias, grad_y = arrays(PROBLEMS[number], "NCDHW", np.float64, rng.standard_normal)
    theirs = [torch.from_numpy(array).requires_grad_() for array in (x, weight, bias)]
    y = torch.nn.functional.conv3d(*theirs, **geometry)
    y.backward(torch.from_numpy(grad_y))
    ours = (fc.conv3d(x, weight, bias, **geometry, layout="NCDHW"),)
    ours += fc.conv3d_backward(grad_y, x, weight, **geometry, layout="NCDHW")
    for our, their in zip(ours, (y.detach(), *(tensor.grad for tensor in theirs)), strict=True):
        np.testing.assert_allclose(our, their.numpy(), rtol=1e-12, atol=1e-12)


# x (N, O, P, Q, C), filters (T, R, S, K/groups), geometry
TRANSPOSED = [
    ((2, 2, 3, 4, 4), (3, 3, 3, 5), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((1, 3, 2, 3, 6), (2, 3, 1, 2), {"stride": (3, 1, 2), "groups": 2, "output_padding": (2, 0, 1)}),
    ((1, 2, 2, 3, 3), (2, 2, 2, 4), {"dilation": 3, "output_padding": 2, "padding": 1}),
    ((2, 3, 3, 3, 2), (3, 4, 3, 3), {"stride": 2, "padding": "same"}),
    ((1, 2, 3, 3, 33), (1, 3, 3, 34), {"stride": (2, 1, 1)}),
]


@pytest.mark.parametrize("activation", [None, "sigmoid"])
@pytest.mark.parametrize("number", range(len(TRANSPOSED)))
def test_transposed_convolution(number, activation, isa, layout, dtype):
    """It is the gradient of the input of conv3d, and its gradients are those of that function."""
    x_shape, (t, r, s, k), geometry = TRANSPOSED[number]
    groups, draw = geometry.get("groups", 1), integers(number)
    x, weight, bias = draw(x_shape), draw((t, r, s, k, x_shape[-1])), draw((k * groups,))
    y_shape = fc.conv_transpose3d_output_shape(x.shape, weight.shape, **geometry)
    grad_y = draw(y_shape)
    plain = {name: value for name, value in geometry.items() if name != "output_padding"}
    twin = oracle_volumes.conv3d_backward(x, np.zeros(y_shape), weight, **plain)
    truth = oracle_volumes.ACTIVATIONS[activation](twin[0] + bias)
    backward = oracle_volumes.conv3d(grad_y, weight, **plain)[:, : x_shape[1], : x_shape[2], : x_shape[3]]
    truths = backward, oracle_volumes.conv3d_backward(x, grad_y, weight, **plain)[1], grad_y.sum(axis=(0, 1, 2, 3))
    if layout == "NCDHW":
        x, grad_y, truth = (np.moveaxis(array, -1, 1) for array in (x, grad_y, truth))
        weight, y_shape = weight.transpose(4, 3, 0, 1, 2), grad_y.shape
        truths = np.moveaxis(truths[0], -1, 1), truths[1].transpose(4, 3, 0, 1, 2), truths[2]
    x, weight, bias, grad_y = (np.ascontiguousarray(array, dtype) for array in (x, weight, bias, grad_y))
    geometry = geometry | {"layout": layout, "precision": "strict"}
    y = fc.conv_transpose3d(x, weight, bias, **geometry, activation=activation, out=poisoned(y_shape, dtype))
    rounding, subnormal = (1e-6, np.finfo(np.float32).tiny) if activation else (0, 0)  # AMX may flush those
    np.testing.assert_allclose(y, truth, rtol=rounding, atol=subnormal)
    for gradient, right in zip(fc.conv_transpose3d_backward(grad_y, x, weight, **geometry), truths, strict=True):
        assert_exact(gradient, right)


def test_transposed_agreement_with_pytorch():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    for x_shape, kernel, geometry in TRANSPOSED:
        if geometry.get("padding") == "same":
            continue
        x = rng.standard_normal((x_shape[0], x_shape[-1], *x_shape[1:4]))
        weight = rng.standard_normal((x_shape[-1], kernel[3], *kernel[:3]))
        theirs = torch.nn.functional.conv_transpose3d(torch.from_numpy(x), torch.from_numpy(weight), **geometry)
        ours = fc.conv_transpose3d(x, weight, **geometry, layout="NCDHW")
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12, atol=1e-12)


def test_gradients_are_gradients(layout):
    """The adjoint identity; conv3d is linear in x and in weight."""
    rng = np.random.default_rng(11)
    for problem in PROBLEMS:
        geometry = problem[2] | {"layout": layout}
        x, weight, bias, grad_y = arrays(problem, layout, np.float64, rng.standard_normal)
        y = fc.conv3d(x, weight, **geometry)
        gradients = fc.conv3d_backward(grad_y, x, weight, **geometry)
        tolerance = 1e-13 * np.linalg.norm(y) * np.linalg.norm(grad_y)
        assert abs(np.vdot(y, grad_y) - np.vdot(x, gradients.x)) <= tolerance
        assert abs(np.vdot(y, grad_y) - np.vdot(weight, gradients.weight)) <= tolerance


@pytest.mark.parametrize("algorithm", ["auto", "direct"])
def test_bits_depend_on_the_arguments_alone(algorithm, layout):
    rng = np.random.default_rng(12)
    problem = ((3, 4, 14, 15, 33), (3, 3, 3, 40), {"padding": 1})
    x, weight, bias, grad_y = arrays(problem, layout, np.float32, rng.standard_normal)
    keywords = {"padding": 1, "layout": layout, "algorithm": algorithm}

    def results():
        return fc.conv3d(x, weight, bias, **keywords), *fc.conv3d_backward(grad_y, x, weight, **keywords)

    with fc.threads(1):
        expected = results()
    for threads in (2, 3):
        with fc.threads(threads):
            assert all(map(same_bits, results(), expected))
    assert same_bits(fc.conv3d(x[1], weight, bias, **keywords), expected[0][1])
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), np.float32)[..., ::2]
    wide[...] = x
    assert same_bits(fc.conv3d(wide, weight, bias, **keywords), expected[0])
    grad_x = fc.conv3d_backward_input(grad_y[:1], weight, x[:1].shape, **keywords)
    assert same_bits(grad_x, expected[1][:1])


@pytest.mark.parametrize("form", FORMS)
def test_memory_forms(form, dtype):
    geometry = PROBLEMS[2][2]
    x, weight, bias, grad_y = arrays(PROBLEMS[2], "NDHWC", dtype, integers(3))
    strange = FORMS[form]
    y = fc.conv3d(strange(x), strange(weight), strange(bias), **geometry)
    assert_exact(y, oracle_volumes.conv3d(x, weight, bias, **geometry))
    truth = oracle_volumes.conv3d_backward(grad_y, x, weight, **geometry)
    for gradient, right in zip(
        fc.conv3d_backward(strange(grad_y), strange(x), strange(weight), **geometry), truth, strict=True
    ):
        assert_exact(gradient, right)
    if form in WRITABLE:
        for function, arguments, right in (
            (fc.conv3d, (x, weight, bias), y),
            (fc.conv3d_backward_input, (grad_y, weight, x.shape), truth[0]),
            (fc.conv3d_backward_weight, (grad_y, x, weight.shape), truth[1]),
        ):
            out = strange(poisoned(right.shape, dtype))
            assert_exact(function(*arguments, **geometry, out=out), right)


@pytest.mark.skipif(not AVAILABLE, reason="needs mprotect")
@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("number", [0, 2, 5, 10])
def test_nothing_beyond_the_arrays_is_touched(number, side, layout):
    geometry = PROBLEMS[number][2] | {"layout": layout}
    x, weight, bias, grad_y = (
        guarded(array, side) for array in arrays(PROBLEMS[number], layout, np.float32, integers(number))
    )
    y, grad_x, grad_weight = (guarded(np.zeros_like(array), side) for array in (grad_y, x, weight))
    fc.conv3d(x, weight, bias, **geometry, out=y)
    fc.conv3d_backward_input(grad_y, weight, x.shape, **geometry, out=grad_x)
    fc.conv3d_backward_weight(grad_y, x, weight.shape, **geometry, out=grad_weight)
    assert np.any(y) and np.any(grad_x) and np.any(grad_weight)


def test_infinities_and_nan_stay_in_their_slices():
    x, weight = np.ones((1, 6, 12, 12, 16), np.float32), np.ones((3, 3, 3, 16, 16), np.float32)
    x[0, 3, 5, 5, 2] = np.inf
    y = fc.conv3d(x, weight, padding=1)
    truth = np.zeros(y.shape, bool)
    truth[0, 2:5, 4:7, 4:7] = True
    np.testing.assert_array_equal(np.isinf(y), truth)


def test_shapes_and_types():
    x, weight = np.ones((4, 5, 6, 2), np.float32), np.ones((3, 3, 3, 2, 7), np.float32)
    assert fc.conv3d(x, weight).shape == (2, 3, 4, 7)
    assert fc.conv3d(np.ones((0, 4, 5, 6, 2), np.float32), weight).shape == (0, 2, 3, 4, 7)
    assert fc.conv3d(x, weight, layout="NHWC").shape == fc.conv3d(x, weight, stride=[1, 1, 1]).shape
    first = np.ascontiguousarray(np.moveaxis(x, -1, 0)), np.ascontiguousarray(weight.transpose(4, 3, 0, 1, 2))
    assert fc.conv3d(*first, layout="NCHW").shape == (7, 2, 3, 4)
    assert fc.conv3d(x.astype(np.uint8), weight).dtype == np.float32
    assert fc.conv3d(x, weight, np.ones(7)).dtype == np.float64
    empty = fc.conv3d_backward(np.ones((0, 2, 3, 4, 7)), np.ones((0, 4, 5, 6, 2)), weight)
    assert empty.x.shape == (0, 4, 5, 6, 2) and not empty.weight.any() and not empty.bias.any()


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": np.ones((5, 6, 2), np.float32)}, ValueError, r"one volume has 4 axes, a batch of volumes 5"),
        ({"weight": np.ones((3, 3, 2, 7), np.float32)}, ValueError, r"filters of volumes have 5 axes"),
        ({"weight": np.ones((3, 3, 3, 4, 7), np.float32)}, ValueError, r"has 2 channels.*is made for 4"),
        ({"x": np.ones((4, 5, 6, 2), np.int64)}, TypeError, r"x has dtype int64"),
        ({"stride": (1, 1)}, ValueError, r"stride needs one integer or 3"),
        ({"stride": 0}, ValueError, r"stride"),
        ({"dilation": 1.5}, TypeError, r"dilation"),
        ({"padding": ((1, 1), (1, 1))}, ValueError, r"padding"),
        ({"padding": (1, -1, 0)}, ValueError, r"padding"),
        ({"padding": "full"}, ValueError, r"padding"),
        ({"groups": 3}, ValueError, r"groups=3"),
        ({"layout": "NHWC3"}, ValueError, r"NDHWC"),
        ({"layout": None}, TypeError, r"layout"),
        ({"algorithm": "winograd", "stride": 2}, ValueError, r"stride"),
        ({"out": np.ones((2, 3, 4, 6), np.float32)}, ValueError, r"out has shape"),
        ({"stride": (2**62, 1, 1), "padding": (2**62, 0, 0)}, ValueError, r"\(4, 5, 6, 2\)"),
    ],
)
def test_errors(change, error, text):
    arguments = {"x": np.ones((4, 5, 6, 2), np.float32), "weight": np.ones((3, 3, 3, 2, 7), np.float32)}
    with pytest.raises(error, match=text):
        fc.conv3d(**arguments | change)


def test_results_do_not_overlap_arguments():
    weight = np.ones((1, 1, 1, 2, 2), np.float32)
    memory = np.ones(200, np.float32)
    x, out = memory[:120].reshape(3, 4, 5, 2), memory[60:180].reshape(3, 4, 5, 2)
    with pytest.raises(ValueError, match="out shares memory with x"):
        fc.conv3d(x, weight, out=out)
    with pytest.raises(ValueError, match="out shares memory with grad_y"):
        fc.conv3d_backward_input(x, weight, x.shape, out=out)
    with pytest.raises(ValueError, match=r"grad_y has shape .* but the output"):
        fc.conv3d_backward_input(x[1:], weight, x.shape)
