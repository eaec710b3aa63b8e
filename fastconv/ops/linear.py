# SPDX-License-Identifier: BSD-3-Clause
"""Dense layers and their gradients; the arguments are explained in `fastconv.ops`."""

from typing import NamedTuple

import numpy as np

from fastconv.ops.in_c import in_c


class LinearGradients(NamedTuple):
    """Gradients of a loss with respect to the arguments of `linear`."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


@in_c
def linear(x, weight, bias=None, *, activation=None, precision=None, out=None):
    """Dense layer: ``activation(x @ weight + bias)``, a 1x1 convolution of images of one pixel.

    Parameters
    ----------
    x : (..., C); weight : (C, K); bias : (K,) or None
        dtypes as for `conv2d`.

    Returns
    -------
    y : (..., K). The bits of a row do not depend on the other rows.
    """


def linear_backward(grad_y, x, weight, *, precision=None):
    """All three gradients of `linear`: `LinearGradients` (x, weight, bias).

    grad_y is (..., K), the gradient with respect to the output before any activation; x (..., C) and weight (C, K) are
    what `linear` was given.
    """
    return LinearGradients(
        linear_backward_input(grad_y, weight, precision=precision),
        linear_backward_weight(grad_y, x, precision=precision),
        linear_backward_bias(grad_y),
    )


@in_c
def linear_backward_input(grad_y, weight, *, precision=None, out=None):
    """Gradient of a loss with respect to the input of `linear`: grad_y (..., K) @ weight.T, shape (..., C)."""


@in_c
def linear_backward_weight(grad_y, x, *, precision=None, out=None):
    """Gradient of a loss with respect to the weight of `linear`: x.T @ grad_y over all rows, shape (C, K)."""


@in_c
def linear_backward_bias(grad_y, *, out=None):
    """Gradient of a loss with respect to the bias of `linear`: the sum of grad_y (..., K) over its rows, (K,)."""
