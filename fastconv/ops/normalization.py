# SPDX-License-Identifier: BSD-3-Clause
"""Normalisation and its gradients."""

import math
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from fastconv import _core, errors
from fastconv.arguments import one_of
from fastconv.ops.in_c import in_c


class NormGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of a normalisation."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


@in_c
def batch_norm(x, weight=None, bias=None, running_mean=None, running_var=None, *, training=False, momentum=0.1,
               epsilon=1e-5, layout="NHWC", activation=None, out=None):  # fmt: skip
    """Batch normalisation (Ioffe and Szegedy, 2015), in PyTorch's formulas:

        y = activation((x - mean) / sqrt(variance + epsilon) * weight + bias)

    for each channel, with the mean and the biased variance of all images and pixels of the batch (``training=True``) or
    with running_mean and running_var.

    Parameters
    ----------
    x : (N, ..., C), or (N, C, ...) with ``layout="NCHW"``
        Any number of axes of pixels, also none. The first axis is always the batch.
    weight, bias : (C,) or None
        None stands for ones and zeros.
    running_mean, running_var : (C,) or None
        Needed without ``training``. With it they are updated in place: they move by the share ``momentum`` of the way
        to the batch's mean and unbiased variance.
    epsilon : float, at least 0
    activation : None, "relu" or "leaky_relu"
        Applied while the result is in registers.
    out : array of the result's shape and dtype, or None
        None gives an array in the memory order of x.

    Returns
    -------
    y : of the shape of x; with ``training`` the tuple (y, mean, inverse_std)
        mean and inverse_std, 1 / sqrt(variance + epsilon), are float64 (C,): what `batch_norm_backward` needs.

    Means and variances are summed as deviations from a number near the mean, in chunks that are joined in double
    precision: float32 results stay within a few units of rounding where the mean is far above the deviation.
    """


def batch_norm_backward(grad_y, x, weight, bias, mean, inverse_std, *, training=True, layout="NHWC", activation=None,
                        input_gradient=True, out=None):  # fmt: skip
    """All gradients of `batch_norm`: `NormGradients` (x, weight, bias).

    Parameters
    ----------
    grad_y : of the shape of x
        The gradient with respect to the result, behind the activation.
    x, weight, bias, layout, activation
        What `batch_norm` was given.
    mean, inverse_std : (C,)
        What `batch_norm` returned. With ``training=False`` running_mean and 1 / sqrt(running_var + epsilon), which
        count as constants.
    input_gradient : bool
        False: the gradient of x is not computed, and is None.
    out : array for the gradient of x, or None
    """
    return NormGradients(
        *_core.batch_norm_backward(
            grad_y,
            x,
            weight,
            bias,
            mean,
            inverse_std,
            training=training,
            layout=layout,
            activation=activation,
            input_gradient=input_gradient,
            out=out,
        )
    )


def fold_batch_norm(weight, bias, norm_weight, norm_bias, running_mean, running_var, *, epsilon=1e-5, axis=-1):
    """Weight and bias with which a convolution or dense layer gives what `batch_norm` makes of its results:

        weight * s and (bias - running_mean) * s + norm_bias, with s = norm_weight / sqrt(running_var + epsilon)

    Parameters
    ----------
    weight : array whose axis ``axis`` counts the filters
        The last one of (R, S, C/groups, K) and of (C, K), the first (``axis=0``) of (K, C/groups, R, S).
    bias, norm_weight, norm_bias : (K,) or None
    running_mean, running_var : (K,)

    Returns
    -------
    (weight, bias) : new arrays of the dtype of weight, computed in float64
    """
    filters = np.shape(weight)[axis]
    vectors = {"bias": bias, "norm_weight": norm_weight, "norm_bias": norm_bias}
    for name, vector in (vectors | {"running_mean": running_mean, "running_var": running_var}).items():
        if vector is not None and np.shape(vector) != (filters,):
            raise errors.wrong_bias(np.shape(vector), filters, name)
    scale = 1 / np.sqrt(np.asarray(running_var, np.float64) + epsilon)
    if norm_weight is not None:
        scale = scale * norm_weight
    shape = [1] * np.ndim(weight)
    shape[axis] = filters
    folded = (0 if bias is None else bias) - np.asarray(running_mean, np.float64)
    folded = folded * scale + (0 if norm_bias is None else norm_bias)
    return (weight * scale.reshape(shape)).astype(weight.dtype), folded.astype(weight.dtype)


@in_c
def group_norm(x, groups, weight=None, bias=None, *, epsilon=1e-5, layout="NHWC", out=None):
    """Group normalisation (Wu and He, 2018), in PyTorch's formula:

        y = (x - mean) / sqrt(variance + epsilon) * weight + bias

    with mean and biased variance of each image and each of ``groups`` groups of adjacent channels. One group: the whole
    image is normalised; as many as channels: each channel of each image (instance normalisation).

    Parameters
    ----------
    x : (N, ..., C), or (N, C, ...) with ``layout="NCHW"``
        Any number of axes of pixels, also none. The first axis is always the batch.
    groups : int
        Divides C.
    weight, bias : (C,) or None
        None stands for ones and zeros.
    epsilon : float, at least 0
    out : array of the result's shape and dtype, or None
        None gives an array in the memory order of x.

    Returns
    -------
    y : of the shape of x
    """


def group_norm_backward(grad_y, x, groups, weight=None, *, epsilon=1e-5, layout="NHWC", input_gradient=True, out=None):
    """All gradients of `group_norm`: `NormGradients` (x, weight, bias).

    The other arguments are those of `group_norm`; the statistics are taken from x again. ``input_gradient=False``: the
    gradient of x is not computed, and is None. ``out``: array for the gradient of x, or None.
    """
    how = {"epsilon": epsilon, "layout": layout, "input_gradient": input_gradient, "out": out}
    return NormGradients(*_core.group_norm_backward(grad_y, x, groups, weight, **how))


LAYER_AXES = ("channels", "sample")


def layer_norm(x, weight=None, bias=None, *, axes="channels", epsilon=1e-5, layout="NHWC", out=None):
    """Layer normalisation (Ba, Kiros and Hinton, 2016), in PyTorch's formula:

        y = (x - mean) / sqrt(variance + epsilon) * weight + bias

    with mean and biased variance over ``axes``:

    - "channels": of each pixel over its channels, as Keras's LayerNormalization, transformers and ConvNeXt do; in
      PyTorch ``layer_norm(x, (C,))`` of channels last. weight and bias have shape (C,).
    - "sample": of each image over everything but the batch, as PyTorch's ``layer_norm(x, x.shape[1:])``; weight and
      bias have the shape of one image. With a weight and a bias for each channel that is `group_norm` with one group.

    Parameters
    ----------
    x : (N, ..., C), or (N, C, ...) with ``layout="NCHW"``
        Any number of axes of pixels, also none. The first axis is always the batch.
    weight, bias : array or None
        None stands for ones and zeros.
    epsilon : float, at least 0
    out : array of the result's shape and dtype, or None
        None gives an array in the memory order of x, or for "sample" in C order.

    Returns
    -------
    y : of the shape of x
    """
    if one_of(LAYER_AXES, axes, "axes") == "channels":
        return _core.layer_norm(x, weight, bias, epsilon=epsilon, layout=layout, out=out)
    rows, (weight, bias) = _rows(x, {"weight": weight, "bias": bias})
    with _written(out, x, weight, bias) as target:
        y = _core.layer_norm(rows, weight, bias, epsilon=epsilon, out=target)
    return y.reshape(x.shape) if out is None else out


def layer_norm_backward(grad_y, x, weight=None, *, axes="channels", epsilon=1e-5, layout="NHWC", input_gradient=True,
                        out=None):  # fmt: skip
    """All gradients of `layer_norm`: `NormGradients` (x, weight, bias).

    The other arguments are those of `layer_norm`; the statistics are taken from x again. ``input_gradient=False``: the
    gradient of x is not computed, and is None. ``out``: array for the gradient of x, or None.
    """
    how = {"epsilon": epsilon, "input_gradient": input_gradient}
    if one_of(LAYER_AXES, axes, "axes") == "channels":
        return NormGradients(*_core.layer_norm_backward(grad_y, x, weight, layout=layout, out=out, **how))
    if not isinstance(grad_y, np.ndarray):
        raise errors.not_an_array("grad_y", grad_y)
    rows, (weight,) = _rows(x, {"weight": weight})
    if grad_y.shape != x.shape:
        raise errors.wrong_grad_y(grad_y.shape, x.shape)
    with _written(out if input_gradient is True else None, x, weight, grad_y) as target:
        gradients = _core.layer_norm_backward(grad_y.reshape(rows.shape), rows, weight, out=target, **how)
    grad_x, *others = gradients
    if grad_x is not None:
        grad_x = grad_x.reshape(x.shape) if out is None else out
    return NormGradients(grad_x, *(gradient.reshape(x.shape[1:]) for gradient in others))


def _rows(x, parameters):
    """x with one row for each image, and the parameters as rows."""
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray):
        raise errors.not_an_array("x", x)
    if x.ndim < 2:
        raise errors.no_channels("x", x.shape)
    if 0 in x.shape[1:]:
        raise errors.empty_sample("x", x.shape)
    for name, parameter in parameters.items():
        if parameter is not None and not isinstance(parameter, np.ndarray):
            raise errors.not_an_array(name, parameter)
        if parameter is not None and parameter.shape != x.shape[1:]:
            raise errors.wrong_sample_parameter(name, parameter.shape, x.shape[1:])
    flat = [None if parameter is None else parameter.reshape(-1) for parameter in parameters.values()]
    return x.reshape(len(x), math.prod(x.shape[1:])), flat


@contextmanager
def _written(out, *inputs):
    """What is given as ``out`` in place of an array of many axes: its rows or, where it has none, others that are
    copied into it in the end."""
    if out is None:
        yield None
        return
    given = [array for array in inputs if array is not None]
    shape, wide = inputs[0].shape, any(array.dtype.type is np.float64 for array in given)
    errors.check_out(out, shape, np.float64 if wide else np.float32)
    for array in given:
        if errors.share_memory(out, array):
            raise errors.overlap("an input")
    rows = out.reshape(len(out), math.prod(shape[1:]))
    yield rows
    if not np.may_share_memory(rows, out):
        out[...] = rows.reshape(shape)


@in_c
def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0, *, layout="NHWC", out=None):
    """Local response normalisation (Krizhevsky, Sutskever and Hinton, 2012), in PyTorch's formula:

        y[c] = x[c] / (k + alpha / size * sum of x[j] ** 2) ** beta

    over the channels j of the same pixel from c - size // 2 to c + (size - 1) // 2, those that there are. The paper
    does not divide alpha by the size: its constants are size=5, alpha=5e-4, beta=0.75, k=2 here.

    Parameters
    ----------
    x : (N, ..., C), or (N, C, ...) with ``layout="NCHW"``
        Any number of axes of pixels, also none. The first axis is always the batch.
    size : int, at least 1
    alpha, beta, k : floats, at least 0
        Where beta is a multiple of 1/4 up to 2, square roots take the power, which is several times faster.
    out : array of the result's shape and dtype, or None
        None gives an array in the memory order of x.

    Returns
    -------
    y : of the shape of x
    """


@in_c
def local_response_norm_backward(grad_y, x, size, alpha=1e-4, beta=0.75, k=1.0, *, layout="NHWC", out=None):
    """The gradient of `local_response_norm` with respect to x, of the shape of x. The arguments are those of
    `local_response_norm`; ``out``: array for the gradient, or None."""
