# SPDX-License-Identifier: BSD-3-Clause
"""Normalisation and its gradients."""

from typing import NamedTuple

import numpy as np

from fastconv import _core, errors
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
