# SPDX-License-Identifier: BSD-3-Clause
# cython: language_level=3
"""The C library, as Cython sees it: the only place that names its symbols.

Another package that says ``from fastconv._core cimport conv2d_forward_nogil`` calls the kernels of the
installed extension module; `fastconv.get_include()` is the folder it needs to compile.
"""
from libc.stdint cimport int64_t

cdef extern from "fastconv.h" nogil:
    ctypedef enum fc_status:
        FC_OK, FC_NO_MEMORY, FC_INTERRUPTED, FC_BAD_SIZE, FC_BAD_STRIDE, FC_BAD_DILATION, FC_BAD_PADDING
        FC_BAD_GROUPS, FC_EMPTY_OUTPUT, FC_EMPTY_WINDOW, FC_TOO_LARGE, FC_BAD_INDEX, FC_BAD_DTYPE, FC_BAD_ALGORITHM
        FC_BAD_PACKED, FC_BAD_OUTPUT_PADDING, FC_SHORT_KERNEL, FC_BAD_ORDER
    ctypedef enum fc_dtype:
        FC_FLOAT32, FC_FLOAT64, FC_FLOAT16, FC_UINT8, FC_INT8, FC_INT16
    ctypedef enum fc_padding:
        FC_PAD_EXPLICIT, FC_PAD_VALID, FC_PAD_SAME, FC_PAD_SAME_LOWER
    ctypedef enum fc_activation:
        FC_NONE, FC_RELU, FC_LEAKY_RELU, FC_TANH, FC_SIGMOID, FC_SILU, FC_GELU, FC_GELU_TANH
    ctypedef enum fc_algorithm:
        FC_AUTO, FC_DIRECT, FC_WINOGRAD, FC_REFERENCE

    ctypedef enum fc_precision:
        FC_DEFAULT, FC_STRICT, FC_HIGH, FC_MEDIUM
    ctypedef enum fc_operation:
        FC_FORWARD, FC_BACKWARD_INPUT, FC_BACKWARD_WEIGHT

    ctypedef struct fc_array:
        void *data
        fc_dtype dtype
        int64_t stride[4]
        const void *packed
    ctypedef struct fc_conv2d:
        int64_t n, h, w, c, k, r, s, stride_h, stride_w, dilation_h, dilation_w, groups
        int64_t pad_top, pad_bottom, pad_left, pad_right, p, q
    ctypedef struct fc_array3d:
        void *data
        fc_dtype dtype
        int64_t stride[5]
    ctypedef struct fc_conv3d:
        int64_t n, d, h, w, c, k, t, r, s, stride_d, stride_h, stride_w, dilation_d, dilation_h, dilation_w, groups
        int64_t pad_front, pad_back, pad_top, pad_bottom, pad_left, pad_right, o, p, q
    ctypedef struct fc_pool2d:
        int64_t n, h, w, c, r, s, stride_h, stride_w, dilation_h, dilation_w
        int64_t pad_top, pad_bottom, pad_left, pad_right
        int ceil_mode, count_include_pad
        int64_t divisor
        int adaptive
        int64_t p, q
    ctypedef struct fc_pool3d:
        int64_t n, d, h, w, c, t, r, s, stride_d, stride_h, stride_w, dilation_d, dilation_h, dilation_w
        int64_t pad_front, pad_back, pad_top, pad_bottom, pad_left, pad_right
        int ceil_mode
        int64_t o, p, q
    ctypedef struct fc_options:
        fc_activation activation
        fc_algorithm algorithm
        fc_precision precision

    const char *fc_status_text(fc_status status)
    const char *fc_conv2d_choice(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options,
                                 const char **reason)
    ctypedef struct fc_copy:
        double bytes
        unsigned why
    ctypedef struct fc_verdict:
        const char *algorithm
        const char *reason
    ctypedef struct fc_explanation:
        const char *algorithm
        const char *reason
        int other_count
        fc_verdict others[8]
        const char *isa
        const char *kernel
        int tile_rows, tile_columns
        double multiplications, products
        fc_copy x, weight, y
        size_t workspace
        int threads
    const char *fc_copy_reason(unsigned why)
    fc_status fc_conv2d_explain(const fc_conv2d *g, fc_operation operation, const fc_array *x, const fc_array *weight,
                                const fc_array *bias, const fc_array *y, const fc_options *options,
                                fc_explanation *explanation)
    fc_status fc_conv2d_resolve(fc_conv2d *g, fc_padding mode)
    fc_status fc_pool2d_resolve(fc_pool2d *g, fc_padding mode)
    fc_status fc_pool3d_resolve(fc_pool3d *g, fc_padding mode)
    fc_status fc_pool2d_resolve_adaptive(fc_pool2d *g)
    fc_status fc_conv2d_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                                const fc_array *y, const fc_options *options)
    fc_status fc_conv2d_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                       const fc_array *grad_x, const fc_options *options)
    fc_status fc_conv2d_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                        const fc_array *grad_weight, const fc_options *options)
    fc_status fc_conv_transpose2d_resolve(fc_conv2d *g, fc_padding mode, int64_t output_padding_h,
                                          int64_t output_padding_w)
    fc_status fc_conv_transpose2d(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                                  const fc_array *y, const fc_options *options)
    size_t fc_conv2d_pack_size(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options)
    fc_status fc_conv2d_pack(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_array *weight,
                             const fc_options *options, void *packed)
    fc_status fc_conv3d_resolve(fc_conv3d *g, fc_padding mode)
    const char *fc_conv3d_choice(const fc_conv3d *g, fc_operation operation, fc_dtype dtype, const fc_options *options,
                                 const char **reason)
    fc_status fc_conv3d_forward(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight,
                                const fc_array *bias, const fc_array3d *y, const fc_options *options)
    fc_status fc_conv3d_backward_input(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *weight,
                                       const fc_array3d *grad_x, const fc_options *options)
    fc_status fc_conv3d_backward_weight(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *x,
                                        const fc_array3d *grad_weight, const fc_options *options)
    fc_status fc_conv_transpose3d_resolve(fc_conv3d *g, fc_padding mode, const int64_t *output_padding)
    fc_status fc_conv_transpose3d(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight,
                                  const fc_array *bias, const fc_array3d *y, const fc_options *options)
    fc_status fc_conv3d_backward_bias(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array *grad_bias)
    fc_status fc_conv2d_backward_bias(const fc_conv2d *g, const fc_array *grad_y, const fc_array *grad_bias)
    fc_status fc_max_pool2d(const fc_pool2d *g, const fc_array *x, const fc_array *y, int64_t *indices,
                            const int64_t *indices_stride)
    fc_status fc_max_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const int64_t *indices,
                                     const int64_t *indices_stride, const fc_array *grad_x)
    fc_status fc_max_pool3d(const fc_pool3d *g, const fc_array3d *x, const fc_array3d *y, int64_t *indices,
                            const int64_t *indices_stride)
    fc_status fc_max_pool3d_backward(const fc_pool3d *g, const fc_array3d *grad_y, const int64_t *indices,
                                     const int64_t *indices_stride, const fc_array3d *grad_x)
    fc_status fc_avg_pool2d(const fc_pool2d *g, const fc_array *x, const fc_array *y)
    fc_status fc_avg_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const fc_array *grad_x)

    ctypedef struct fc_batch_norm:
        int64_t n, pixels, c
        double epsilon
        fc_activation activation
    fc_status fc_batch_norm_train(const fc_batch_norm *g, const fc_array *x, const fc_array *weight,
                                  const fc_array *bias, const fc_array *running_mean, const fc_array *running_var,
                                  double momentum, const fc_array *y, double *mean, double *inverse_std)
    fc_status fc_batch_norm_apply(const fc_batch_norm *g, const fc_array *x, const fc_array *weight,
                                  const fc_array *bias, const double *mean, const double *inverse_std,
                                  const fc_array *y)
    fc_status fc_batch_norm_backward(const fc_batch_norm *g, int training, const fc_array *grad_y, const fc_array *x,
                                     const fc_array *weight, const fc_array *bias, const double *mean,
                                     const double *inverse_std, const fc_array *grad_x, double *grad_weight,
                                     double *grad_bias)

    ctypedef struct fc_group_norm:
        int64_t n, pixels, c, groups
        double epsilon
    fc_status fc_group_norm_forward(const fc_group_norm *g, const fc_array *x, const fc_array *weight,
                                    const fc_array *bias, const fc_array *y)
    fc_status fc_group_norm_backward(const fc_group_norm *g, const fc_array *grad_y, const fc_array *x,
                                     const fc_array *weight, const fc_array *grad_x, double *grad_weight,
                                     double *grad_bias)
    ctypedef struct fc_layer_norm:
        int64_t n, pixels, c
        double epsilon
    fc_status fc_layer_norm_forward(const fc_layer_norm *g, const fc_array *x, const fc_array *weight,
                                    const fc_array *bias, const fc_array *y)
    fc_status fc_layer_norm_backward(const fc_layer_norm *g, const fc_array *grad_y, const fc_array *x,
                                     const fc_array *weight, const fc_array *grad_x, double *grad_weight,
                                     double *grad_bias)
    ctypedef struct fc_local_response_norm:
        int64_t n, pixels, c, size
        double alpha, beta, k
    fc_status fc_local_response_norm_forward(const fc_local_response_norm *g, const fc_array *x, const fc_array *y)
    fc_status fc_local_response_norm_backward(const fc_local_response_norm *g, const fc_array *grad_y,
                                              const fc_array *x, const fc_array *grad_x)

    ctypedef struct fc_rows:
        int64_t rows, columns, x_row, grad_row, y_row
    fc_status fc_activate(fc_activation activation, double slope, fc_dtype dtype, const fc_rows *rows, const void *x,
                          void *y)
    fc_status fc_activation_backward(fc_activation activation, double slope, fc_dtype dtype, const fc_rows *rows,
                                     const void *grad_y, const void *x, void *grad_x)
    ctypedef struct fc_softmax:
        int logarithm
        int64_t outer, classes, inner
    fc_status fc_softmax_forward(const fc_softmax *g, fc_dtype dtype, const void *x, const int64_t *x_stride, void *y,
                                 const int64_t *y_stride)
    fc_status fc_softmax_backward(const fc_softmax *g, fc_dtype dtype, const void *grad_y,
                                  const int64_t *grad_y_stride, const void *y, const int64_t *y_stride, void *grad_x,
                                  const int64_t *grad_x_stride)
    fc_status fc_add(fc_activation activation, fc_dtype dtype, int64_t count, const void *a, const void *b, void *y)
    fc_status fc_cross_entropy(fc_dtype dtype, int64_t rows, int64_t classes, const void *logits,
                               const int64_t *labels, void *grad, double *loss)
    ctypedef struct fc_clip:
        double factor, limit
    fc_status fc_sgd_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *velocity,
                          double rate, double momentum, double decay, int nesterov, double least, const fc_clip *clip)
    fc_status fc_adam_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *m, void *v,
                           double scale, double beta1, double beta2, double epsilon, double decay, double keep,
                           double least, const fc_clip *clip)
    fc_status fc_rmsprop_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *squares,
                              void *velocity, double scale, double alpha, double epsilon, double momentum,
                              double decay, double least, const fc_clip *clip)
    fc_status fc_square_sum(fc_dtype dtype, int64_t count, const void *x, double *sum)

    void fc_set_num_threads(int threads)
    void fc_set_thread_num_threads(int threads)
    int fc_get_num_threads()
    int fc_get_thread_num_threads()
    const char *fc_openmp_runtime()
    int fc_isa_count()
    const char *fc_isa_name(int index)
    int fc_isa_available(int index)
    const char *fc_isa_refusal(int index)
    int fc_set_isa(int index)
    int fc_set_thread_isa(int index)
    int fc_get_isa()
    int fc_get_thread_isa()
    void fc_set_precision(fc_precision precision)
    void fc_set_thread_precision(fc_precision precision)
    fc_precision fc_get_precision()
    fc_precision fc_get_thread_precision()
    ctypedef int (*fc_poll_fn)() noexcept
    void fc_set_poll(fc_poll_fn poll)
    void fc_clear_cache()

# The entry points again, as functions that other extension modules can import.
cdef fc_status conv2d_resolve_nogil(fc_conv2d *g, fc_padding mode) noexcept nogil
cdef fc_status conv2d_forward_nogil(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                              const fc_array *y, const fc_options *options) noexcept nogil
cdef fc_status conv2d_backward_input_nogil(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                     const fc_array *grad_x, const fc_options *options) noexcept nogil
cdef fc_status conv2d_backward_weight_nogil(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                      const fc_array *grad_weight, const fc_options *options) noexcept nogil
cdef fc_status conv_transpose2d_resolve_nogil(fc_conv2d *g, fc_padding mode, int64_t output_padding_h,
                                              int64_t output_padding_w) noexcept nogil
cdef fc_status conv_transpose2d_nogil(const fc_conv2d *g, const fc_array *x, const fc_array *weight,
                                      const fc_array *bias, const fc_array *y,
                                      const fc_options *options) noexcept nogil
