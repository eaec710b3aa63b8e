# SPDX-License-Identifier: BSD-3-Clause
"""The lookup of vectors by number, for text."""

from fastconv import ops
from fastconv.arguments import positive_integer
from fastconv.layers.base import Layer


class Embedding(Layer):
    """Turns integers (N, ...) from 0 to input_dim - 1 into learned vectors (N, ..., output_dim); see
    ``fastconv.embedding``. As the first layer of a model it is fed with integers.

    The vectors begin uniform between -0.05 and 0.05, as in Keras.
    """

    config_names = ("input_dim", "output_dim")
    integer_input = True

    def __init__(self, input_dim, output_dim, **common):
        super().__init__(**common)
        self.input_dim = positive_integer(input_dim, "input_dim")
        self.output_dim = positive_integer(output_dim, "output_dim")

    def output_shape(self, input_shape):
        return (*input_shape, self.output_dim)

    def parameter_shapes(self, input_shape):
        return {"weight": (self.input_dim, self.output_dim)}

    def initialize(self, rng, input_shape, before_relu=False):
        weight = self.parameters["weight"]
        weight[...] = rng.uniform(-0.05, 0.05, weight.shape)

    def forward(self, x, training=False):
        self.require_parameters(x)
        weight = self.parameters["weight"]
        if training:
            self._indices = x
        out = self.buffer("y", (*x.shape, self.output_dim), weight.dtype) if training else None
        return ops.embedding(x, weight, out=out)

    def backward(self, grad_y):
        """Fills the gradient of the vectors; integers have none, so the result is None."""
        weight = self.parameters["weight"]
        ops.embedding_backward(grad_y, self._indices, weight.shape, out=self.gradients["weight"])
