# SPDX-License-Identifier: BSD-3-Clause
"""Random initial weights. ``fan_in`` and ``fan_out`` count the weights that meet in one output and that leave one
input."""

import math

INITIALIZERS = ("auto", "keras", "torch")


def fill(weight, bias, rng, init, fan_in, fan_out, before_relu):
    """Fill ``weight`` and ``bias`` (or None).

    - "auto": He uniform (He et al., 2015) before a ReLU, else Glorot uniform; biases zero.
    - "keras": Glorot uniform (Glorot and Bengio, 2010), biases zero, as Keras does.
    - "torch": both uniform in +-1 / sqrt(fan_in), as PyTorch does.

    The numbers are drawn in float64, so that one seed is one network in either precision.
    """
    limit = math.sqrt(6 / (fan_in + fan_out))
    if init == "torch":
        limit = 1 / math.sqrt(fan_in)
    elif init == "auto" and before_relu:
        limit = math.sqrt(6 / fan_in)
    weight[...] = rng.uniform(-limit, limit, weight.shape)
    if bias is not None:
        bias[...] = rng.uniform(-limit, limit, bias.shape) if init == "torch" else 0
