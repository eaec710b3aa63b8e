# SPDX-License-Identifier: BSD-3-Clause
"""Activations and their gradients.

Arguments that the functions share
    x : array of any shape, float32 or float64, any strides.
    grad_y : of the shape of x
        The gradient of a loss with respect to the result. Mixed with the other type both become float64.
    out : array of the result's shape and dtype, with any strides, or None
        None gives an array in the memory order of x, or of grad_y. It may be an argument itself, which is then
        overwritten; other overlap is refused.

Each gradient takes the one array that it can be computed from with the least memory kept: the result y where that
suffices, which a network has anyway, so that x can be overwritten; the argument x of the functions that are not
monotonic.

NaN stays NaN, nothing overflows, and infinite arguments give the limits. Results of `sigmoid`, `tanh`, `silu` and
`gelu` are within 4 units of rounding (u = 2^-24 or 2^-53, relative) of the true value for every argument, also in the
tails; where they are subnormal numbers, within a few of the smallest. The bits of a result do not depend on threads or
on where a number stands in memory.

Errors: TypeError for a wrong type or dtype, ValueError for a wrong value or shape; nothing has been written then.
"""

from fastconv.ops.in_c import in_c


@in_c
def relu(x, *, out=None):
    """max(x, 0) (Nair and Hinton, 2010)."""


@in_c
def relu_backward(grad_y, y, *, out=None):
    """Gradient of `relu`: grad_y * (y > 0), from the result y (or the argument: only its sign is read)."""


@in_c
def leaky_relu(x, slope=0.01, *, out=None):
    """x where it is above 0, else slope * x (Maas et al., 2013). ``slope`` is a finite number."""


@in_c
def leaky_relu_backward(grad_y, y, slope=0.01, *, out=None):
    """Gradient of `leaky_relu`: grad_y where y is above 0, else slope * grad_y. y is the result or the argument: only
    its sign is read. With a negative slope it has to be the argument."""


@in_c
def sigmoid(x, *, out=None):
    """1 / (1 + exp(-x))."""


@in_c
def sigmoid_backward(grad_y, y, *, out=None):
    """Gradient of `sigmoid` from its result y: grad_y * (1 - y) * y."""


@in_c
def tanh(x, *, out=None):
    """The hyperbolic tangent."""


@in_c
def tanh_backward(grad_y, y, *, out=None):
    """Gradient of `tanh` from its result y: grad_y * (1 - y) * (1 + y)."""


@in_c
def silu(x, *, out=None):
    """x * sigmoid(x), also known as swish (Elfwing et al., 2018)."""


@in_c
def silu_backward(grad_y, x, *, out=None):
    """Gradient of `silu` from its argument x: grad_y * s * (1 + x * (1 - s)) with s = sigmoid(x). Errors are relative
    to s + abs(x) * s * (1 - s): the two terms cancel near x = -1.278."""


@in_c
def gelu(x, *, approximate="none", out=None):
    """x * (1 + erf(x / sqrt(2))) / 2 (Hendrycks and Gimpel, 2016), as in PyTorch.

    ``approximate="tanh"``: x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2.
    """


@in_c
def gelu_backward(grad_y, x, *, approximate="none", out=None):
    """Gradient of `gelu` from its argument x: grad_y * (p + x * d), p the share of the normal distribution below x and
    d its density there. Errors are relative to p + abs(x) * d: the two terms cancel near x = -0.752."""


@in_c
def softmax(x, axis=-1, *, out=None):
    """exp(x) / sum(exp(x)) over one axis, with the largest x taken from all of them first, so that nothing overflows.

    Where x holds a NaN or plus infinity, or nothing but minus infinity, all results along the axis are NaN. Errors are
    within 8 units of rounding for any number of classes; results along the axis add up to 1 within as many.
    """


@in_c
def softmax_backward(grad_y, y, axis=-1, *, out=None):
    """Gradient of `softmax` from its result y: (grad_y - sum(grad_y * y)) * y."""


@in_c
def log_softmax(x, axis=-1, *, out=None):
    """log(softmax(x)) = x - max(x) - log(sum(exp(x - max(x)))) over one axis. Errors are a few units of rounding of
    the larger of 1 and abs(y)."""


@in_c
def log_softmax_backward(grad_y, y, axis=-1, *, out=None):
    """Gradient of `log_softmax` from its result y: grad_y - exp(y) * sum(grad_y)."""
