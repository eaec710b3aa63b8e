# SPDX-License-Identifier: BSD-3-Clause
# Normalisation of each image for itself: by groups of channels, by pixels, by neighbouring channels.

cdef class SampleNorm(NormArrays):
    """A call of one of these operations: forward, or with grad_y backward."""
    cdef fc_array weight_view, bias_view
    cdef const fc_array *weight
    cdef const fc_array *bias
    cdef cnp.ndarray weight_array, bias_array, grad_weight, grad_bias
    cdef double *grad_weight_data
    cdef double *grad_bias_data
    cdef int number
    cdef int64_t c

    cdef fc_status compute(self, const fc_array *to) noexcept nogil:
        return FC_BAD_ALGORITHM

    cdef int take(self, object x, object weight, object bias, object layout, object out, bint wanted=True,
                  object grad_y=None, bint backward=False) except -1:
        """Read all arguments that are arrays."""
        cdef bint channels_first = to_channels_first(layout)
        self.c = channels_of(x, "x", channels_first)
        if backward:
            check_norm_gradient(grad_y, x)
            to_array(grad_y, "grad_y", False)
        to_array(x, "x", True)
        self.weight_array = to_channel_vector(weight, "weight", self.c, &self.weight_view)
        self.bias_array = to_channel_vector(bias, "bias", self.c, &self.bias_view)
        self.weight = NULL if weight is None else &self.weight_view
        self.bias = NULL if bias is None else &self.bias_view
        self.number = wider(wider(wider(result_type(x, x), self.weight_array), self.bias_array), grad_y)
        self.read(x, grad_y, channels_first, self.number)
        if wanted:
            self.set_target(out, self.number)
            if out is not None:
                refuse_overlaps(self.target, x, "x", weight, "weight", bias, "bias")
                refuse_overlaps(self.target, x, "x", grad_y, "grad_y")
        return 0

    cdef int run(self) except -1:
        cdef const fc_array *to = NULL if self.target is None else &self.to_view
        cdef fc_status status
        with nogil:
            status = self.compute(to)
        if status == FC_BAD_ORDER:
            self.reorder()
            with nogil:
                status = self.compute(to)
        check(status)
        return 0

    cdef object forward(self):
        self.run()
        return self.result()

    cdef tuple backward(self):
        """Gradients of x, weight and bias."""
        self.grad_weight, self.grad_bias = statistics_vector(self.c), statistics_vector(self.c)
        self.grad_weight_data = <double *>cnp.PyArray_DATA(self.grad_weight)
        self.grad_bias_data = <double *>cnp.PyArray_DATA(self.grad_bias)
        self.run()
        return parameter_gradients(self, self.grad_weight, self.grad_bias, self.number)


cdef class GroupNorm(SampleNorm):
    cdef fc_group_norm g

    cdef fc_status compute(self, const fc_array *to) noexcept nogil:
        self.g.n, self.g.pixels, self.g.c = self.n, self.pixels, self.c
        if self.grad_weight_data == NULL:
            return fc_group_norm_forward(&self.g, &self.x_view, self.weight, self.bias, to)
        return fc_group_norm_backward(&self.g, &self.grad_y_view, &self.x_view, self.weight, to,
                                      self.grad_weight_data, self.grad_bias_data)

    cdef int set_groups(self, object x, object groups, object epsilon, object layout) except -1:
        cdef int64_t channels = channels_of(x, "x", to_channels_first(layout))
        self.g.groups = to_int(groups, "groups")
        if self.g.groups < 1 or channels % self.g.groups != 0:
            raise errors.uneven_groups(groups, channels)
        self.g.epsilon = to_number(epsilon, "epsilon", 0)
        return 0


def group_norm(object x, object groups, object weight=None, object bias=None, *, object epsilon=1e-5,
               object layout="NHWC", object out=None):
    cdef GroupNorm call = GroupNorm()
    call.set_groups(x, groups, epsilon, layout)
    call.take(x, weight, bias, layout, out)
    return call.forward()


def group_norm_backward(object grad_y, object x, object groups, object weight=None, *, object epsilon=1e-5,
                        object layout="NHWC", object input_gradient=True, object out=None):
    cdef GroupNorm call = GroupNorm()
    call.set_groups(x, groups, epsilon, layout)
    call.take(x, weight, None, layout, out, to_bool(input_gradient, "input_gradient"), grad_y, True)
    return call.backward()


cdef class LayerNorm(SampleNorm):
    cdef fc_layer_norm g

    cdef fc_status compute(self, const fc_array *to) noexcept nogil:
        self.g.n, self.g.pixels, self.g.c = self.n, self.pixels, self.c
        if self.grad_weight_data == NULL:
            return fc_layer_norm_forward(&self.g, &self.x_view, self.weight, self.bias, to)
        return fc_layer_norm_backward(&self.g, &self.grad_y_view, &self.x_view, self.weight, to,
                                      self.grad_weight_data, self.grad_bias_data)


def layer_norm(object x, object weight=None, object bias=None, *, object epsilon=1e-5, object layout="NHWC",
               object out=None):
    cdef LayerNorm call = LayerNorm()
    call.g.epsilon = to_number(epsilon, "epsilon", 0)
    call.take(x, weight, bias, layout, out)
    return call.forward()


def layer_norm_backward(object grad_y, object x, object weight=None, *, object epsilon=1e-5, object layout="NHWC",
                        object input_gradient=True, object out=None):
    cdef LayerNorm call = LayerNorm()
    call.g.epsilon = to_number(epsilon, "epsilon", 0)
    call.take(x, weight, None, layout, out, to_bool(input_gradient, "input_gradient"), grad_y, True)
    return call.backward()


cdef class LocalResponseNorm(SampleNorm):
    cdef fc_local_response_norm g

    cdef fc_status compute(self, const fc_array *to) noexcept nogil:
        self.g.n, self.g.pixels, self.g.c = self.n, self.pixels, self.c
        if self.grad_y is None:
            return fc_local_response_norm_forward(&self.g, &self.x_view, to)
        return fc_local_response_norm_backward(&self.g, &self.grad_y_view, &self.x_view, to)

    cdef int set_formula(self, object size, object alpha, object beta, object k) except -1:
        self.g.size = to_int(size, "size")
        if self.g.size < 1:
            raise errors.number_out_of_range("size", size, 1)
        self.g.alpha = to_number(alpha, "alpha", 0)
        self.g.beta = to_number(beta, "beta", 0)
        self.g.k = to_number(k, "k", 0)
        return 0


def local_response_norm(object x, object size, object alpha=1e-4, object beta=0.75, object k=1.0, *,
                        object layout="NHWC", object out=None):
    cdef LocalResponseNorm call = LocalResponseNorm()
    call.set_formula(size, alpha, beta, k)
    call.take(x, None, None, layout, out)
    return call.forward()


def local_response_norm_backward(object grad_y, object x, object size, object alpha=1e-4, object beta=0.75,
                                 object k=1.0, *, object layout="NHWC", object out=None):
    cdef LocalResponseNorm call = LocalResponseNorm()
    call.set_formula(size, alpha, beta, k)
    call.take(x, None, None, layout, out, True, grad_y, True)
    return call.forward()
