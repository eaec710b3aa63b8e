# SPDX-License-Identifier: BSD-3-Clause
"""Layers: gradients against central differences, shapes, arguments, initial weights, buffers."""

import numpy as np
import pytest
from gradients import assert_close, central_differences

import fastconv as fc
from fastconv import layers, models
from fastconv.layers.workspace import Workspace

IMAGE = (5, 6, 4)  # height, width, channels
SEQUENCE = (9, 4)  # places, channels
VOLUME = (3, 4, 5, 2)  # depth, height, width, channels
VECTOR = (7,)

# name -> (constructor of the layer for a layout, shape of one input in NHWC)
CASES = {
    "conv": (lambda **kw: layers.Conv2D(3, 3, **kw), IMAGE),
    "conv_geometry": (
        lambda **kw: layers.Conv2D(6, (3, 2), (2, 1), ((1, 2), (0, 1)), dilation=(1, 2), groups=2, **kw),
        IMAGE,
    ),
    "conv_same_no_bias": (lambda **kw: layers.Conv2D(3, 3, 2, "same", bias=False, **kw), IMAGE),
    "conv_relu": (lambda **kw: layers.Conv2D(3, 3, activation="relu", **kw), IMAGE),
    "conv_leaky_relu": (lambda **kw: layers.Conv2D(3, 3, activation="leaky_relu", **kw), IMAGE),
    "conv_tanh": (lambda **kw: layers.Conv2D(3, 3, activation="tanh", **kw), IMAGE),
    "conv_sigmoid": (lambda **kw: layers.Conv2D(3, 3, activation="sigmoid", **kw), IMAGE),
    "conv_gelu": (lambda **kw: layers.Conv2D(3, 3, activation="gelu", **kw), IMAGE),
    "depthwise": (
        lambda **kw: layers.DepthwiseConv2D(3, padding=1, depth_multiplier=2, activation="relu", **kw),
        IMAGE,
    ),
    "conv_reflect": (
        lambda **kw: layers.Conv2D(3, 3, (2, 1), ((2, 1), (0, 3)), activation="relu", padding_mode="reflect", **kw),
        IMAGE,
    ),
    "depthwise_wrap": (lambda **kw: layers.DepthwiseConv2D(3, padding="same", padding_mode="wrap", **kw), IMAGE),
    "conv1d": (lambda **kw: layers.Conv1D(3, 3, 2, "same", activation="tanh", **kw), SEQUENCE),
    "conv1d_causal": (lambda **kw: layers.Conv1D(4, 2, padding="causal", dilation=2, groups=2, **kw), SEQUENCE),
    "conv1d_edge": (lambda **kw: layers.Conv1D(3, 3, padding=((2, 1),), padding_mode="edge", **kw), SEQUENCE),
    "transposed": (lambda **kw: layers.Conv2DTranspose(3, 4, 2, 1, "relu", **kw), IMAGE),
    "transposed_geometry": (
        lambda **kw: layers.Conv2DTranspose(
            6, (3, 2), (2, 1), ((1, 0), (1, 2)), dilation=(1, 2), groups=2, output_padding=(1, 0), **kw
        ),
        IMAGE,
    ),
    "transposed_same_no_bias": (lambda **kw: layers.Conv2DTranspose(3, 3, 2, "same", bias=False, **kw), IMAGE),
    "transposed_1d": (lambda **kw: layers.Conv1DTranspose(3, 3, 2, 1, "tanh", output_padding=1, **kw), SEQUENCE),
    "separable_silu": (lambda **kw: layers.SeparableConv2D(3, 3, activation="silu", **kw), IMAGE),
    "separable": (lambda **kw: layers.SeparableConv2D(3, 3, 2, "same", 2, "sigmoid", **kw), IMAGE),
    "separable_no_bias": (lambda **kw: layers.SeparableConv2D(5, (2, 3), bias=False, **kw), IMAGE),
    "zero_padding": (lambda **kw: layers.ZeroPadding2D(((1, 2), (0, 3)), **kw), IMAGE),
    "upsampling": (lambda **kw: layers.UpSampling2D((2, 3), **kw), IMAGE),
    "upsampling_bilinear": (lambda **kw: layers.UpSampling2D((3, 2), "bilinear", **kw), IMAGE),
    "max_pooling": (lambda **kw: layers.MaxPooling2D(2, **kw), IMAGE),
    "max_pooling_overlap": (
        lambda **kw: layers.MaxPooling2D(3, 2, 1, ceil_mode=True, **kw),
        IMAGE,
    ),
    "average_pooling": (lambda **kw: layers.AveragePooling2D(2, **kw), IMAGE),
    "average_pooling_same": (lambda **kw: layers.AveragePooling2D(3, 2, "same", **kw), IMAGE),
    "average_pooling_divisor": (
        lambda **kw: layers.AveragePooling2D((2, 3), 1, (1, 0), divisor_override=5, **kw),
        IMAGE,
    ),
    "global_average": (lambda **kw: layers.GlobalAveragePooling2D(**kw), IMAGE),
    "conv3d": (lambda **kw: layers.Conv3D(3, (2, 3, 2), padding=1, activation="relu", **kw), VOLUME),
    "conv3d_geometry": (
        lambda **kw: layers.Conv3D(2, 2, (2, 1, 2), "same", bias=False, dilation=(1, 2, 1), groups=2, **kw),
        VOLUME,
    ),
    "conv3d_reflect": (
        lambda **kw: layers.Conv3D(2, 2, (1, 2, 1), ((2, 0), (1, 1), (0, 3)), padding_mode="reflect", **kw),
        VOLUME,
    ),
    "transposed_3d": (
        lambda **kw: layers.Conv3DTranspose(2, (2, 1, 3), (2, 1, 2), groups=2, output_padding=(1, 0, 0), **kw),
        (2, 2, 3, 4),
    ),
    "max_pooling_1d": (lambda **kw: layers.MaxPooling1D(3, 2, 1, **kw), SEQUENCE),
    "max_pooling_3d": (lambda **kw: layers.MaxPooling3D(2, (1, 2, 2), "same", **kw), VOLUME),
    "average_pooling_1d": (lambda **kw: layers.AveragePooling1D(2, **kw), SEQUENCE),
    "average_pooling_3d": (lambda **kw: layers.AveragePooling3D((2, 3, 2), 1, (1, 0, 0), **kw), VOLUME),
    "global_average_1d": (lambda **kw: layers.GlobalAveragePooling1D(**kw), SEQUENCE),
    "global_average_3d": (lambda **kw: layers.GlobalAveragePooling3D(**kw), VOLUME),
    "global_max": (lambda **kw: layers.GlobalMaxPooling2D(**kw), IMAGE),
    "global_max_1d": (lambda **kw: layers.GlobalMaxPooling1D(**kw), SEQUENCE),
    "global_max_3d": (lambda **kw: layers.GlobalMaxPooling3D(**kw), VOLUME),
    "adaptive_average": (lambda **kw: layers.AdaptiveAveragePooling2D((3, None), **kw), IMAGE),
    "adaptive_max": (lambda **kw: layers.AdaptiveMaxPooling2D((3, 4), **kw), IMAGE),
    "batch_norm": (lambda **kw: layers.BatchNormalization(**kw), IMAGE),
    "batch_norm_relu": (lambda **kw: layers.BatchNormalization(activation="relu", **kw), IMAGE),
    "batch_norm_sequence": (lambda **kw: layers.BatchNormalization(0.3, 0.01, **kw), (3, 4)),
    "layer_norm": (lambda **kw: layers.LayerNormalization(**kw), IMAGE),
    "layer_norm_sample": (lambda **kw: layers.LayerNormalization("sample", 0.01, **kw), (3, 4)),
    "group_norm": (lambda **kw: layers.GroupNormalization(2, **kw), IMAGE),
    "response_norm": (lambda **kw: layers.LocalResponseNormalization(3, 0.5, **kw), IMAGE),
    "response_norm_alexnet": (lambda **kw: layers.LocalResponseNormalization.alexnet(**kw), IMAGE),
    "flatten": (lambda **kw: layers.Flatten(**kw), IMAGE),
    "dense": (lambda **kw: layers.Dense(5, **kw), VECTOR),
    "dense_no_bias_relu": (lambda **kw: layers.Dense(5, "relu", bias=False, **kw), VECTOR),
    "dense_sigmoid": (lambda **kw: layers.Dense(5, "sigmoid", **kw), VECTOR),
    "dense_gelu": (lambda **kw: layers.Dense(5, "gelu", **kw), VECTOR),
    "dense_log_softmax": (lambda **kw: layers.Dense(5, "log_softmax", **kw), VECTOR),
    "dense_softmax": (lambda **kw: layers.Dense(5, "softmax", **kw), VECTOR),
    "dense_last_axis": (lambda **kw: layers.Dense(5, "tanh", **kw), (3, 4)),
    "relu": (lambda **kw: layers.ReLU(**kw), IMAGE),
    "leaky_relu": (lambda **kw: layers.LeakyReLU(0.3, **kw), IMAGE),
    "sigmoid": (lambda **kw: layers.Sigmoid(**kw), IMAGE),
    "tanh": (lambda **kw: layers.Tanh(**kw), IMAGE),
    "silu": (lambda **kw: layers.SiLU(**kw), IMAGE),
    "gelu": (lambda **kw: layers.GELU(**kw), IMAGE),
    "gelu_tanh": (lambda **kw: layers.GELU("tanh", **kw), IMAGE),
    "softmax": (lambda **kw: layers.Softmax(**kw), VECTOR),
    "softmax_axis": (lambda **kw: layers.Softmax(1, **kw), IMAGE),
    "log_softmax": (lambda **kw: layers.LogSoftmax(**kw), VECTOR),
    "log_softmax_axis": (lambda **kw: layers.LogSoftmax(-2, **kw), IMAGE),
    "activation_leaky_relu": (lambda **kw: layers.Activation("leaky_relu", **kw), VECTOR),
    "activation_tanh": (lambda **kw: layers.Activation("tanh", **kw), VECTOR),
    "activation_sigmoid": (lambda **kw: layers.Activation("sigmoid", **kw), VECTOR),
    "activation_none": (lambda **kw: layers.Activation(None, **kw), VECTOR),
    "rescaling": (lambda **kw: layers.Rescaling(0.3, -1.5, **kw), IMAGE),
    "reshape": (lambda **kw: layers.Reshape((-1, 8), **kw), IMAGE),
    "residual": (
        lambda **kw: layers.Residual([layers.Conv2D(4, 3, padding=1), layers.ReLU()], None, "relu", **kw),
        IMAGE,
    ),
    "residual_shortcut": (
        lambda **kw: layers.Residual([layers.Dropout(0.0), layers.Conv2D(3, 1)], [layers.Conv2D(3, 1)], "tanh", **kw),
        IMAGE,
    ),
    "residual_in_residual": (
        lambda **kw: layers.Residual([layers.Residual(layers.Activation("tanh")), layers.ReLU()], **kw),
        VECTOR,
    ),
    "concatenate": (
        lambda **kw: layers.Concatenate(
            [
                layers.Conv2D(3, 1, activation="relu"),
                [layers.Conv2D(2, 3, padding=1), layers.Activation("tanh")],
                layers.Conv2D(2, 1, activation="silu"),
                [layers.Conv2D(1, 1), layers.GELU()],
                layers.MaxPooling2D(3, 1, 1),
                layers.AveragePooling2D(3, 1, 1),
                [],
            ],
            **kw,
        ),
        IMAGE,
    ),
    "concatenate_rows": (
        lambda **kw: layers.Concatenate([layers.Dense(4, "relu"), layers.Rescaling(2.0)], axis=1, **kw),
        (3, 4),
    ),
}


def make(case, layout="NHWC", dtype=np.float64, batch=2):
    """The layer of a case with its parameters, and an input."""
    constructor, shape = CASES[case]
    if (len(shape) >= 3 or shape is SEQUENCE) and layout == "NCHW":
        shape = (shape[-1], *shape[:-1])
    layer = constructor(layout=layout)
    layer.name = case
    rng = np.random.default_rng(7)
    layer.build(shape, dtype, rng)
    for array in layer.parameters.values():
        array[...] = rng.normal(size=array.shape)
    return layer, rng.normal(size=(batch, *shape)).astype(dtype)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_central_differences(case, layout):
    layer, x = make(case, layout)
    r = np.random.default_rng(8).normal(size=layer.forward(x).shape)
    y = layer.forward(x, training=True)
    grad_y = r.copy()
    grad_x = layer.backward(grad_y)

    def loss():
        return float(np.sum(layer.forward(x, training=differs) * r))

    differs = bool(layer.states)  # such a layer computes something else while it trains
    assert np.array_equal(y, layer.forward(x, training=differs)), "training changes the result"
    assert np.array_equal(grad_y, r), "backward wrote into its argument"
    assert_close(grad_x, central_differences(loss, x), "gradient of x")
    assert layer.gradients.keys() == layer.parameters.keys()
    for name, parameter in layer.parameters.items():
        assert_close(layer.gradients[name], central_differences(loss, parameter), name)


@pytest.mark.parametrize("case", CASES)
def test_output_shape_is_the_shape_of_the_output(case, layout):
    layer, x = make(case, layout)
    assert layer.forward(x).shape == (2, *layer.output_shape(x.shape[1:]))
    shapes = {name: array.shape for name, array in layer.parameters.items()}
    assert shapes == layer.parameter_shapes(x.shape[1:])


@pytest.mark.parametrize("case", CASES)
def test_float32_stays_float32(case):
    layer, x = make(case, dtype=np.float32)
    y = layer.forward(x, training=True)
    assert y.dtype == layer.backward(np.ones_like(y)).dtype == np.float32


@pytest.mark.parametrize("case", CASES)
def test_a_workspace_changes_no_bit(case, layout, dtype):
    layer, x = make(case, layout, dtype)
    y = layer.forward(x, training=True)
    grad_x = layer.backward(np.ones_like(y))
    gradients = {name: array.copy() for name, array in layer.gradients.items()}
    layer.lend(Workspace(), True)
    for _ in range(2):
        assert np.array_equal(layer.forward(x, training=True), y)
        assert np.array_equal(layer.backward(np.ones_like(y)), grad_x)
        for name, array in layer.gradients.items():
            assert np.array_equal(array, gradients[name])


@pytest.mark.parametrize("case", CASES)
def test_a_gradient_that_is_held_is_not_overwritten(case, layout):
    """As in a residual block, where another branch still reads it."""
    layer, x = make(case, layout)
    y = layer.forward(x, training=True)
    expected = layer.backward(np.ones_like(y))
    workspace = Workspace()
    layer.lend(workspace, True)
    for first in (False, True):
        workspace.start()
        layer.forward(x, training=True)
        grad_y = workspace.gradient(y.shape, y.dtype)
        grad_y[...] = 1
        with workspace.held(*[grad_y] * first):
            grad_x = layer.backward(grad_y)
        assert np.array_equal(grad_x, expected)
        assert np.all(grad_y == 1) or not first


@pytest.mark.parametrize(
    "case",
    [
        "conv",
        "depthwise",
        "dense",
        "residual",
        "residual_shortcut",
        "concatenate",
        "conv_reflect",
        "transposed",
        "separable",
    ],
)
def test_the_gradient_of_the_input_can_be_left_out(case):
    layer, x = make(case)
    y = layer.forward(x, training=True)
    layer.backward(np.ones_like(y))
    gradients = {name: array.copy() for name, array in layer.gradients.items()}
    layer.lend(None, False)
    for array in layer.gradients.values():
        array[...] = np.nan
    assert layer.backward(np.ones_like(y)) is None
    for name, array in layer.gradients.items():
        assert np.array_equal(array, gradients[name])


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "tanh", "sigmoid", "silu", "gelu"])
def test_a_fused_activation_is_the_activation_layer(name):
    fused, x = make("conv", dtype=np.float64)
    plain, _ = make("conv", dtype=np.float64)
    fused.activation = name
    expected = layers.Activation(name).forward(plain.forward(x))
    np.testing.assert_allclose(fused.forward(x), expected, rtol=1e-14, atol=1e-14)


def test_activations_at_the_edges():
    x = np.array([[-1e30, -3.0, 0.0, 2.0, 1e30, np.nan]], np.float32)
    apply = {name: layers.Activation(name).forward(x)[0] for name in ("relu", "leaky_relu", "sigmoid")}
    np.testing.assert_array_equal(apply["relu"], np.float32([0, 0, 0, 2, 1e30, np.nan]))
    np.testing.assert_array_equal(apply["leaky_relu"], np.float32([-1e28, -0.03, 0, 2, 1e30, np.nan]))
    sigmoid = 1 / (1 + np.exp(-np.float64([-3, 0, 2])))
    np.testing.assert_allclose(apply["sigmoid"][1:4], sigmoid, rtol=1e-6)
    assert apply["sigmoid"][0] == 0 and apply["sigmoid"][4] == 1 and np.isnan(apply["sigmoid"][5])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["silu", "gelu", "log_softmax"])
def test_an_activation_that_is_not_fused_leaves_its_arguments(name, training):
    """What a layer is given and what it gave before stay as they were."""
    layer = layers.Dense(6, name)
    x = np.random.default_rng(0).normal(size=(4, 6))
    kept = x.copy()
    first = layer.forward(x, training)
    again = first.copy()
    layer.forward(x + 1, training)
    assert np.array_equal(x, kept) and np.array_equal(first, again)


def test_slopes_of_layers():
    x = np.array([[-2.0, 4.0]])
    np.testing.assert_array_equal(layers.LeakyReLU(negative_slope=0.5).forward(x), [[-1, 4]])
    assert layers.LeakyReLU(alpha=0.25).config() == {"slope": 0.25}
    assert layers.GELU("tanh").config() == {"approximate": "tanh"} and layers.Softmax(1).config() == {"axis": 1}
    with pytest.raises(ValueError, match="slope"):
        layers.LeakyReLU(-0.1)
    with pytest.raises(ValueError, match="approximate"):
        layers.GELU("erf")
    with pytest.raises(ValueError, match="axis must not be 0"):
        layers.Softmax(0)
    with pytest.raises(ValueError, match="no axis 2"):
        models.Sequential([layers.Softmax(2)], input_shape=(3,)).build()


def test_softmax_of_large_numbers():
    y = layers.Softmax().forward(np.float32([[1e30, 1e30], [-1e4, 0], [1000, 999]]))
    np.testing.assert_allclose(y, [[0.5, 0.5], [0, 1], [0.7310586, 0.26894143]], rtol=1e-6)


def test_dropout():
    layer = layers.Dropout(0.25)
    layer.rng = np.random.default_rng(3)
    x = np.full((200, 500), 3.0, np.float32)
    assert layer.forward(x) is x, "it must do nothing outside of training"
    y = layer.forward(x, training=True)
    assert set(np.unique(y)) == {0.0, 4.0}
    assert abs((y == 0).mean() - 0.25) < 0.01
    np.testing.assert_array_equal(layer.backward(np.full_like(x, 6)), 2 * y)
    assert not np.array_equal(layer.forward(x, training=True), y), "the same values dropped again"


def test_initial_weights_follow_what_comes_after():
    def limit(layer, **kw):
        layer.build((9, 9, 50) if isinstance(layer, layers.Conv2D) else (450,), **kw)
        weight = layer.parameters["weight"]
        assert np.all(layer.parameters["bias"] == 0)
        assert abs(weight.mean()) < 0.05 * abs(weight).max()
        return abs(weight).max()

    fan_in, fan_out = 9 * 50, 9 * 80
    he, glorot = np.sqrt(6 / fan_in), np.sqrt(6 / (fan_in + fan_out))
    assert 0.99 * he < limit(layers.Conv2D(80, 3, activation="relu")) <= he
    assert 0.99 * glorot < limit(layers.Conv2D(80, 3)) <= glorot
    assert 0.99 * glorot < limit(layers.Conv2D(80, 3, activation="tanh")) <= glorot
    grouped = np.sqrt(6 / (fan_in / 5 + fan_out / 5))  # each filter sees, each channel feeds, a fifth
    assert 0.99 * grouped < limit(layers.Conv2D(80, 3, groups=5)) <= grouped
    assert 0.99 * np.sqrt(6 / 450) < limit(layers.Dense(80, "relu")) <= np.sqrt(6 / 450)
    assert 0.99 * np.sqrt(6 / 530) < limit(layers.Dense(80)) <= np.sqrt(6 / 530)


def test_initial_weights_of_keras_and_pytorch():
    def ranges(layer, shape):
        layer.build(shape, rng=np.random.default_rng(0))
        return [abs(layer.parameters[name]).max() for name in ("weight", "bias")]

    for layer, shape, fan_in, fan_out in (
        (layers.Conv2D, (9, 9, 50), 450, 2700),
        (layers.Dense, (450,), 450, 300),
    ):
        arguments = (300, 3) if layer is layers.Conv2D else (300,)
        weight, bias = ranges(layer(*arguments, activation="relu", init="keras"), shape)
        glorot = np.sqrt(6 / (fan_in + fan_out))
        assert 0.99 * glorot < weight <= glorot and bias == 0
        weight, bias = ranges(layer(*arguments, activation="relu", init="torch"), shape)
        limit = 1 / np.sqrt(fan_in)
        assert 0.99 * limit < weight <= limit and 0.97 * limit < bias <= limit


def test_initial_weights_do_not_depend_on_the_layout():
    weights = []
    for layout, shape in (("NHWC", (5, 5, 4)), ("NCHW", (4, 5, 5))):
        layer = layers.Conv2D(6, (3, 2), groups=2, layout=layout)
        layer.build(shape, rng=np.random.default_rng(1))
        weights.append(layer.parameters["weight"])
    np.testing.assert_array_equal(weights[0], weights[1].transpose(2, 3, 1, 0))


def test_a_layer_by_itself_makes_its_parameters_at_the_first_call():
    layer = layers.Conv2D(4, 3, activation="relu")
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    y = layer.forward(x.astype(np.float32))
    expected = fc.conv2d(
        x.astype(np.float32),
        layer.parameters["weight"],
        layer.parameters["bias"],
        activation="relu",
    )
    assert np.array_equal(y, expected) and y.dtype == np.float32
    assert layers.Dense(3).forward(x[:, 0, 0]).dtype == np.float64


def test_keras_spellings():
    layer = layers.Conv2D(4, kernel_size=3, strides=(2, 2), padding="same", use_bias=False, dilation_rate=1)
    assert (layer.stride, layer.bias, layer.dilation) == ((2, 2), False, (1, 1))
    assert layers.DepthwiseConv2D(3, strides=2, dilation_rate=1, use_bias=True).stride == (2, 2)
    pool = layers.MaxPooling2D(pool_size=(2, 3), strides=1)
    assert (pool.kernel_size, pool.stride) == ((2, 3), (1, 1))
    assert layers.AveragePooling2D(pool_size=3).stride == (3, 3)
    assert layers.Dense(4, use_bias=False).bias is False
    assert layers.Conv2D(4, 3, activation="linear").activation is None
    assert layers.Conv1D(4, kernel_size=3, strides=2, dilation_rate=(1,)).stride == (2,)
    larger = layers.Conv2DTranspose(4, 3, strides=2, padding="same", use_bias=False, output_padding=None)
    assert (larger.stride, larger.bias, larger.output_padding) == ((2, 2), False, (0, 0))
    assert layers.SeparableConv2D(4, 3, strides=2, depth_multiplier=2, use_bias=False).bias is False


def test_parameters_are_as_many_as_keras_counts():
    for layer, shape, count in (
        (layers.Conv2DTranspose(16, 4, strides=2, padding="same"), (8, 8, 32), 4 * 4 * 32 * 16 + 16),
        (layers.SeparableConv2D(64, 3, depth_multiplier=2), (8, 8, 32), 3 * 3 * 32 * 2 + 32 * 2 * 64 + 64),
        (layers.Conv1D(20, 5), (100, 8), 5 * 8 * 20 + 20),
        (layers.ZeroPadding2D(2), (8, 8, 3), 0),
    ):
        assert sum(np.prod(of) for of in layer.parameter_shapes(shape).values()) == count
    shapes = layers.SeparableConv2D(64, 3).parameter_shapes((8, 8, 32))
    assert list(shapes) == ["depthwise_kernel", "pointwise_kernel", "bias"]
    assert layers.Conv2DTranspose(16, 4).parameter_shapes((8, 8, 32))["weight"] == (4, 4, 16, 32)


def test_larger_images():
    x = np.float32([[1, 2], [5, 8]]).reshape(1, 2, 2, 1)
    nearest = layers.UpSampling2D(2).forward(x)[0, ..., 0]
    np.testing.assert_array_equal(nearest, [[1, 1, 2, 2], [1, 1, 2, 2], [5, 5, 8, 8], [5, 5, 8, 8]])
    lines = layers.UpSampling2D((1, 2), "bilinear").forward(x)[0, ..., 0]
    np.testing.assert_allclose(lines, [[1, 1.25, 1.75, 2], [5, 5.75, 7.25, 8]])
    one = layers.UpSampling2D(3, "bilinear").forward(x[:, :1, :1])
    np.testing.assert_array_equal(one, np.ones((1, 3, 3, 1)))


@pytest.mark.parametrize("size", [(2, 2), (3, 1), (4, 5)])
@pytest.mark.parametrize("name", ["nearest", "bilinear"])
def test_larger_images_are_those_of_pytorch(size, name):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3))
    lines = {"align_corners": False} if name == "bilinear" else {}
    tensor = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    theirs = torch.nn.functional.interpolate(tensor, scale_factor=size, mode=name, **lines)
    ours = layers.UpSampling2D(size, name).forward(x)
    np.testing.assert_allclose(ours, theirs.numpy().transpose(0, 2, 3, 1), rtol=1e-12, atol=1e-12)


WRONG_ARGUMENTS = {
    "both strides": (lambda: layers.Conv2D(4, 3, stride=1, strides=1), TypeError, "strides"),
    "both, by position": (lambda: layers.MaxPooling2D(2, pool_size=2), TypeError, "pool_size"),
    "both biases": (lambda: layers.Dense(4, bias=True, use_bias=True), TypeError, "use_bias"),
    "float filters": (lambda: layers.Conv2D(4.0, 3), TypeError, "filters"),
    "bool units": (lambda: layers.Dense(True), TypeError, "units"),
    "string kernel": (lambda: layers.Conv2D(4, "3"), TypeError, "kernel_size"),
    "no filters": (lambda: layers.Conv2D(0, 3), ValueError, "filters"),
    "three strides": (lambda: layers.Conv2D(4, 3, (1, 1, 1)), ValueError, "stride"),
    "zero pool": (lambda: layers.MaxPooling2D(0), ValueError, "kernel_size"),
    "activation": (lambda: layers.Conv2D(4, 3, activation="rleu"), ValueError, "rleu"),
    "softmax in conv": (lambda: layers.Conv2D(4, 3, activation="softmax"), ValueError, "softmax"),
    "function": (lambda: layers.Activation(np.tanh), TypeError, "activation"),
    "bias number": (lambda: layers.Dense(4, bias=1), TypeError, "bias"),
    "rate 1": (lambda: layers.Dropout(1.0), ValueError, "rate"),
    "rate text": (lambda: layers.Dropout("0.5"), TypeError, "rate"),
    "scale": (lambda: layers.Rescaling(float("nan")), ValueError, "scale"),
    "ceil mode": (lambda: layers.AveragePooling2D(2, ceil_mode=1), TypeError, "ceil_mode"),
    "divisor": (lambda: layers.AveragePooling2D(2, divisor_override=0), ValueError, "divisor"),
    "init": (lambda: layers.Dense(4, init="he"), ValueError, "init"),
    "init function": (lambda: layers.Conv2D(4, 3, init=max), TypeError, "init"),
    "unknown": (lambda: layers.Flatten(axis=1), TypeError, "axis"),
    "flat image": (lambda: layers.Conv2D(4, 3).output_shape((28, 28)), ValueError, "28"),
    "small image": (lambda: layers.Conv2D(4, 3).output_shape((2, 2, 1)), ValueError, "2"),
    "groups": (lambda: layers.Conv2D(4, 3, groups=3).output_shape((5, 5, 3)), ValueError, "groups"),
    "padding mode": (lambda: layers.Conv2D(4, 3, padding_mode="zeros"), ValueError, "constant"),
    "two strides for a sequence": (lambda: layers.Conv1D(4, 3, (1, 1)), ValueError, "stride"),
    "images for sequences": (lambda: layers.Conv1D(4, 3).output_shape((9, 9, 3)), ValueError, "sequences .W, C."),
    "causal image": (lambda: layers.Conv2D(4, 3, padding="causal").output_shape((9, 9, 3)), ValueError, "causal"),
    "output padding": (
        lambda: layers.Conv2DTranspose(4, 3, output_padding=1).output_shape((9, 9, 3)),
        ValueError,
        "output_padding",
    ),
    "negative output padding": (lambda: layers.Conv2DTranspose(4, 3, output_padding=-1), ValueError, "output_padding"),
    "zeros": (lambda: layers.ZeroPadding2D((1, 2, 3)), ValueError, "padding"),
    "fewer than no zeros": (lambda: layers.ZeroPadding2D(-1), ValueError, "padding"),
    "interpolation": (lambda: layers.UpSampling2D(2, "cubic"), ValueError, "bilinear"),
    "times": (lambda: layers.UpSampling2D(0), ValueError, "size"),
    "multiplier": (lambda: layers.SeparableConv2D(4, 3, depth_multiplier=0), ValueError, "depth_multiplier"),
    "padding": (
        lambda: layers.Conv2D(4, 3, padding="sam").output_shape((5, 5, 3)),
        ValueError,
        "sam",
    ),
}


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_wrong_arguments_are_named(case):
    call, error, text = WRONG_ARGUMENTS[case]
    with pytest.raises(error, match=text):
        call()
