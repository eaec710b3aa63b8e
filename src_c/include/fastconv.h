/* SPDX-License-Identifier: BSD-3-Clause
 *
 * fastconv: convolution, pooling and dense layers on plain arrays.
 *
 * Every function takes sizes, strides and pointers, returns a status, never prints, never aborts
 * and decides every error before it writes. "Convolution" is cross-correlation: filters are not
 * flipped.
 *
 * Letters: n images, h x w input pixels, c input channels, k filters (output channels),
 * r x s filter height and width, p x q output pixels; of volumes d slices, t filter slices, o output slices.
 */
#ifndef FASTCONV_H
#define FASTCONV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define FC_VERSION_MAJOR 0
#define FC_VERSION_MINOR 1

typedef enum fc_status {
    FC_OK,
    FC_NO_MEMORY,       /* scratch memory cannot be had; nothing was written */
    FC_INTERRUPTED,     /* the poll function asked to stop; the output is unspecified */
    FC_BAD_SIZE,        /* an image, channel, filter or kernel size below 1 */
    FC_BAD_STRIDE,      /* a stride below 1 */
    FC_BAD_DILATION,    /* a dilation below 1 */
    FC_BAD_PADDING,     /* a negative padding */
    FC_BAD_GROUPS,      /* groups below 1, or no divisor of both c and k */
    FC_EMPTY_OUTPUT,    /* the dilated kernel is larger than the padded image */
    FC_EMPTY_WINDOW,    /* a pooling window that covers no pixel of the image */
    FC_TOO_LARGE,       /* a size or a product of sizes beyond 63 bits */
    FC_BAD_INDEX,       /* a pooling index outside the image */
    FC_BAD_DTYPE,       /* an element type that this argument cannot have */
    FC_BAD_ALGORITHM,   /* the algorithm named cannot do this problem; fc_conv2d_choice says why */
    FC_BAD_PACKED,         /* the weights were packed for another problem or instruction set */
    FC_BAD_OUTPUT_PADDING, /* negative, not below stride or dilation, or beside "same" */
    FC_SHORT_KERNEL,       /* "same" of a transposed convolution: the stride is longer than the dilated kernel */
    FC_BAD_ORDER           /* neither the channels nor the pixels are adjacent in all arrays alike */
} fc_status;

/* One English sentence for a status, without a full stop. */
const char *fc_status_text(fc_status status);

typedef enum fc_dtype {
    FC_FLOAT32,
    FC_FLOAT64,
    FC_FLOAT16, /* images only, as the integers below: converted while they are packed */
    FC_UINT8,
    FC_INT8,
    FC_INT16,
    FC_DTYPES
} fc_dtype;

/* A strided array. Strides count elements and may be zero (inputs only) or negative.
 * Axes: image (n, h, w, c), filter (r, s, c, k) whatever the order in memory. */
typedef struct fc_array {
    void *data;
    fc_dtype dtype;
    int64_t stride[4];
    const void *packed; /* weights: NULL, or what fc_conv2d_pack has made of them */
    const struct fc_depth *depth; /* for the library itself: what a caller writes here is not read */
} fc_array;

typedef enum fc_padding { FC_PAD_EXPLICIT, FC_PAD_VALID, FC_PAD_SAME, FC_PAD_SAME_LOWER } fc_padding;

typedef struct fc_conv2d {
    int64_t n, h, w, c;
    int64_t k, r, s;
    int64_t stride_h, stride_w;
    int64_t dilation_h, dilation_w;
    int64_t groups;
    int64_t pad_top, pad_bottom, pad_left, pad_right; /* written unless the mode is explicit */
    int64_t p, q;                                     /* written by fc_conv2d_resolve */
} fc_conv2d;

/* A strided array of volumes: axes (n, d, h, w, c), filters (t, r, s, c, k). Otherwise as fc_array. */
typedef struct fc_array3d {
    void *data;
    fc_dtype dtype;
    int64_t stride[5];
} fc_array3d;

typedef struct fc_conv3d {
    int64_t n, d, h, w, c;
    int64_t k, t, r, s;
    int64_t stride_d, stride_h, stride_w;
    int64_t dilation_d, dilation_h, dilation_w;
    int64_t groups;
    int64_t pad_front, pad_back, pad_top, pad_bottom, pad_left, pad_right; /* written unless the mode is explicit */
    int64_t o, p, q;                                                      /* written by fc_conv3d_resolve */
} fc_conv3d;

typedef struct fc_pool2d {
    int64_t n, h, w, c;
    int64_t r, s;
    int64_t stride_h, stride_w;
    int64_t dilation_h, dilation_w; /* 1 for average pooling */
    int64_t pad_top, pad_bottom, pad_left, pad_right;
    int ceil_mode;         /* round the output size up; a last window must start inside image or top/left padding */
    int count_include_pad; /* average: padding counts in the divisor */
    int64_t divisor;       /* average: divide by this instead when positive */
    int adaptive;          /* written by the resolvers: window i of an axis begins at floor(i*h / p) and ends before
                              ceil((i + 1)*h / p), whatever is said above */
    int64_t p, q;
} fc_pool2d;

/* Maxima of volumes: as fc_pool2d, with slices as in fc_conv3d. */
typedef struct fc_pool3d {
    int64_t n, d, h, w, c;
    int64_t t, r, s;
    int64_t stride_d, stride_h, stride_w;
    int64_t dilation_d, dilation_h, dilation_w;
    int64_t pad_front, pad_back, pad_top, pad_bottom, pad_left, pad_right;
    int ceil_mode;
    int64_t o, p, q; /* written by fc_pool3d_resolve */
} fc_pool3d;

typedef enum fc_activation {
    FC_NONE,
    FC_RELU,       /* max(x, 0) */
    FC_LEAKY_RELU, /* x > 0 ? x : slope*x; the slope is 0.01 where a function does not ask for it */
    FC_TANH,
    FC_SIGMOID,   /* 1 / (1 + e^-x) */
    FC_SILU,      /* x * sigmoid(x) */
    FC_GELU,      /* x times the share of the normal distribution below x: x * (1 + erf(x / sqrt(2))) / 2 */
    FC_GELU_TANH, /* x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2 */
    FC_ACTIVATIONS
} fc_activation;
typedef enum fc_algorithm { FC_AUTO, FC_DIRECT, FC_WINOGRAD, FC_REFERENCE } fc_algorithm;
typedef enum fc_precision { FC_DEFAULT, FC_STRICT, FC_HIGH, FC_MEDIUM } fc_precision;

/* All zero (or a NULL pointer to it) is the default. */
typedef struct fc_options {
    fc_activation activation; /* of forward functions only */
    fc_algorithm algorithm;
    fc_precision precision; /* float32: below FC_STRICT subnormal numbers are flushed to zero */
} fc_options;

typedef enum fc_operation { FC_FORWARD, FC_BACKWARD_INPUT, FC_BACKWARD_WEIGHT } fc_operation;

/* What a function will do for this problem, computed in `dtype`: the name of the algorithm, or NULL where the one that
 * `options` names cannot do it; then *reason says why. It depends on the geometry of one image, the element type and
 * the precision, never on the number of images or threads. */
const char *fc_conv2d_choice(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options,
                             const char **reason);

/* Something that is copied before the kernels read it, or behind them: bytes written, at most, and why. */
typedef struct fc_copy {
    double bytes; /* 0: read or written where it lies */
    unsigned why; /* of the following, added up */
} fc_copy;

enum {
    FC_COPY_BORDER = 1,     /* zeros around the image */
    FC_COPY_CHANNELS = 2,   /* channels (filters, in a result) that are not adjacent */
    FC_COPY_DTYPE = 4,      /* another type than that of the arithmetic */
    FC_COPY_COLLISION = 8,  /* strides of which all pixels share a set of the cache */
    FC_COPY_PANELS = 16,    /* weights in panels */
    FC_COPY_TRANSFORM = 32, /* Winograd's transform */
    FC_COPY_PLANES = 64,    /* an image as planes, one a channel */
    FC_COPY_PARTS = 128,    /* sums over parts of the pixels */
    FC_COPY_ORDER = 256,    /* the order in which the kernel reads */
    FC_COPY_SPLIT = 512     /* numbers as sums of bfloat16 */
};

/* One of them in words; NULL for another number. */
const char *fc_copy_reason(unsigned why);

/* An algorithm and why it was not taken. */
typedef struct fc_verdict {
    const char *algorithm, *reason;
} fc_verdict;

/* What a call will do. */
typedef struct fc_explanation {
    const char *algorithm, *reason; /* as fc_conv2d_choice; the reason also where there is an algorithm */
    int other_count;
    fc_verdict others[8];
    const char *isa, *kernel;    /* instruction set; what runs in the innermost loop, and ... */
    int tile_rows, tile_columns; /* ... how many sums it keeps in registers */
    double multiplications;      /* of the definition */
    double products;             /* of the kernel, with lanes whose result is dropped; 0: as many */
    fc_copy x, weight, y;        /* or their gradients */
    size_t workspace;            /* bytes of scratch memory */
    int threads;                 /* worth waking */
} fc_explanation;

/* What the function of this operation would do with these arrays; x, weight and y are their gradients where it has
 * those. With a bias or an activation FC_BACKWARD_INPUT is fc_conv_transpose2d. Their data is not touched; a pointer
 * matters where speed depends on alignment. bias and options may be NULL. FC_BAD_ALGORITHM: the algorithm
 * named cannot do the problem; the reason is told. */
fc_status fc_conv2d_explain(const fc_conv2d *g, fc_operation operation, const fc_array *x, const fc_array *weight,
                            const fc_array *bias, const fc_array *y, const fc_options *options,
                            fc_explanation *explanation);

/* Check a problem and fill in paddings and output size. Call it before every other function. */
fc_status fc_conv2d_resolve(fc_conv2d *g, fc_padding mode);
fc_status fc_pool2d_resolve(fc_pool2d *g, fc_padding mode);
fc_status fc_pool3d_resolve(fc_pool3d *g, fc_padding mode);
/* For p x q windows that share the image as evenly as they can: takes n, h, w, c, p, q and writes all others. */
fc_status fc_pool2d_resolve_adaptive(fc_pool2d *g);

/* y[n,p,q,k] = activation(bias[k] + sum x[n, p*stride_h - pad_top + r*dilation_h, ..., c] * weight[r,s,c,k]).
 * Shapes: x (n,h,w,c); weight (r,s,c/groups,k); bias (k), may be NULL; y (n,p,q,k).
 * y is float32 or float64 and decides the arithmetic; x and weight of other types are converted. */
fc_status fc_conv2d_forward(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                            const fc_array *y, const fc_options *options);

/* Gradients of a scalar loss: grad_x = dL/dx, grad_weight = dL/dweight, grad_bias = dL/dbias from grad_y = dL/dy. */
fc_status fc_conv2d_backward_input(const fc_conv2d *g, const fc_array *grad_y, const fc_array *weight,
                                   const fc_array *grad_x, const fc_options *options);
fc_status fc_conv2d_backward_weight(const fc_conv2d *g, const fc_array *grad_y, const fc_array *x,
                                    const fc_array *grad_weight, const fc_options *options);

/* Transposed convolution: y = activation(bias[c] + what fc_conv2d_backward_input makes of grad_y = x). `g` is the
 * convolution that is transposed, so that x has its p, q, k and y its h, w, c; bias (c), may be NULL. x may have any
 * type, as the image of fc_conv2d_forward. Its gradients, with the same `g`: of x fc_conv2d_forward of dL/dy, of the
 * weights fc_conv2d_backward_weight with grad_y = x and x = dL/dy.
 * The resolver takes n, p, q, k, c, filters, strides, dilations and groups, checks them and fills in paddings, h and w:
 * (p - 1)*stride + dilation*(r - 1) + 1 - padding + output_padding, or p*stride for FC_PAD_SAME and
 * FC_PAD_SAME_LOWER. */
fc_status fc_conv_transpose2d_resolve(fc_conv2d *g, fc_padding mode, int64_t output_padding_h,
                                      int64_t output_padding_w);
fc_status fc_conv_transpose2d(const fc_conv2d *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                              const fc_array *y, const fc_options *options);

/* Weights that many calls of fc_conv2d_forward, or of fc_conv2d_backward_input and fc_conv_transpose2d, use can be
 * packed once: set weight->packed to a block of fc_conv2d_pack_size bytes (any alignment; 64 is fastest) that
 * fc_conv2d_pack has filled. Results have the same bits. The array stays with its block, unchanged: some calls read it
 * instead. Many threads may read a block. It serves any number of images, any image size and, going forward, any
 * stride, dilation and padding; a call with other filters, groups, operation, type of arithmetic or instruction set
 * (going backward also with other taps for a phase of the stride) returns FC_BAD_PACKED. A block is made for this
 * process: it is no format for files. A size of 0: nothing is gained, the algorithm that `g` and `options` choose does
 * not use it; leave `packed` NULL. */
size_t fc_conv2d_pack_size(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_options *options);
fc_status fc_conv2d_pack(const fc_conv2d *g, fc_operation operation, fc_dtype dtype, const fc_array *weight,
                         const fc_options *options, void *packed);
fc_status fc_conv2d_backward_bias(const fc_conv2d *g, const fc_array *grad_y, const fc_array *grad_bias);

/* Convolution of volumes, its gradients and its transpose, as those of images above: x (n,d,h,w,c); weight
 * (t,r,s,c/groups,k); y (n,o,p,q,k); bias and grad_bias (k) are arrays with stride[3]. The algorithms are those of
 * conv2d for images of t * c channels; fc_conv3d_choice tells which. */
fc_status fc_conv3d_resolve(fc_conv3d *g, fc_padding mode);
const char *fc_conv3d_choice(const fc_conv3d *g, fc_operation operation, fc_dtype dtype, const fc_options *options,
                             const char **reason);
fc_status fc_conv3d_forward(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight, const fc_array *bias,
                            const fc_array3d *y, const fc_options *options);
fc_status fc_conv3d_backward_input(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *weight,
                                   const fc_array3d *grad_x, const fc_options *options);
fc_status fc_conv3d_backward_weight(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array3d *x,
                                    const fc_array3d *grad_weight, const fc_options *options);
fc_status fc_conv_transpose3d_resolve(fc_conv3d *g, fc_padding mode, const int64_t output_padding[3]);
fc_status fc_conv_transpose3d(const fc_conv3d *g, const fc_array3d *x, const fc_array3d *weight, const fc_array *bias,
                              const fc_array3d *y, const fc_options *options);
fc_status fc_conv3d_backward_bias(const fc_conv3d *g, const fc_array3d *grad_y, const fc_array *grad_bias);

/* y[n,p,q,c] = maximum of the window; the first NaN wins, then the first of equal values in row-major order.
 * indices[n,p,q,c] (int64, own element strides) = h*W + w of the winner; indices may be NULL. */
fc_status fc_max_pool2d(const fc_pool2d *g, const fc_array *x, const fc_array *y, int64_t *indices,
                        const int64_t indices_stride[4]);
/* grad_x[winner] += grad_y. Every index is checked before grad_x is written. */
fc_status fc_max_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const int64_t *indices,
                                 const int64_t indices_stride[4], const fc_array *grad_x);

/* The same of volumes: indices[n,o,p,q,c] = (d*H + h)*W + w of the winner. The gradient reads the sizes of g alone. */
fc_status fc_max_pool3d(const fc_pool3d *g, const fc_array3d *x, const fc_array3d *y, int64_t *indices,
                        const int64_t indices_stride[5]);
fc_status fc_max_pool3d_backward(const fc_pool3d *g, const fc_array3d *grad_y, const int64_t *indices,
                                 const int64_t indices_stride[5], const fc_array3d *grad_x);

/* y = sum of the window / divisor; see fc_pool2d for the divisor. */
fc_status fc_avg_pool2d(const fc_pool2d *g, const fc_array *x, const fc_array *y);
fc_status fc_avg_pool2d_backward(const fc_pool2d *g, const fc_array *grad_y, const fc_array *grad_x);

/* Normalisation of n images of so many pixels, in any number of axes: x, y and their gradients have the strides [0] of
 * the image, [2] of the pixel and [3] of the channel, of which the pixel's or the channel's is 1 in all of them alike;
 * else FC_BAD_ORDER. They are of one type, float32 or float64. weight and bias (c), which may be NULL (1 and 0),
 * running_mean and running_var are float32 or float64. The activation is FC_NONE, FC_RELU or FC_LEAKY_RELU. */
typedef struct fc_batch_norm {
    int64_t n, pixels, c;
    double epsilon;
    fc_activation activation;
} fc_batch_norm;

/* mean[c] of all x of a channel and inverse_std[c] = 1 / sqrt(their biased variance + epsilon), both results, and then
 * y = activation((x - mean) * inverse_std * weight + bias). Unless NULL, running_mean and running_var move to the mean
 * and the unbiased variance by the share `momentum` of the way. n*pixels below 2: FC_BAD_SIZE. */
fc_status fc_batch_norm_train(const fc_batch_norm *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                              const fc_array *running_mean, const fc_array *running_var, double momentum,
                              const fc_array *y, double *mean, double *inverse_std);
/* The same y with the mean and inverse_std given. */
fc_status fc_batch_norm_apply(const fc_batch_norm *g, const fc_array *x, const fc_array *weight, const fc_array *bias,
                              const double *mean, const double *inverse_std, const fc_array *y);
/* Gradients, of fc_batch_norm_train or else of fc_batch_norm_apply. grad_x may be NULL, and it may be grad_y. */
fc_status fc_batch_norm_backward(const fc_batch_norm *g, int training, const fc_array *grad_y, const fc_array *x,
                                 const fc_array *weight, const fc_array *bias, const double *mean,
                                 const double *inverse_std, const fc_array *grad_x, double *grad_weight,
                                 double *grad_bias);

/* Mean and variance of each group of adjacent channels of one image, in the place of those of the batch; the arrays as
 * above. c must be a multiple of groups. The gradients of weight and bias are sums over all images; grad_x may be NULL,
 * and it may be grad_y. */
typedef struct fc_group_norm {
    int64_t n, pixels, c, groups;
    double epsilon;
} fc_group_norm;

fc_status fc_group_norm_forward(const fc_group_norm *g, const fc_array *x, const fc_array *weight,
                                const fc_array *bias, const fc_array *y);
fc_status fc_group_norm_backward(const fc_group_norm *g, const fc_array *grad_y, const fc_array *x,
                                 const fc_array *weight, const fc_array *grad_x, double *grad_weight,
                                 double *grad_bias);

/* Mean and variance of all channels of one pixel; else as above. */
typedef struct fc_layer_norm {
    int64_t n, pixels, c;
    double epsilon;
} fc_layer_norm;

fc_status fc_layer_norm_forward(const fc_layer_norm *g, const fc_array *x, const fc_array *weight,
                                const fc_array *bias, const fc_array *y);
fc_status fc_layer_norm_backward(const fc_layer_norm *g, const fc_array *grad_y, const fc_array *x,
                                 const fc_array *weight, const fc_array *grad_x, double *grad_weight,
                                 double *grad_bias);

/* y[c] = x[c] / d[c]^beta with d[c] = k + alpha/size * sum of x[j]^2 over the channels j of the same pixel from
 * c - size/2 to c + (size - 1)/2, those that there are; the arrays as above. */
typedef struct fc_local_response_norm {
    int64_t n, pixels, c, size;
    double alpha, beta, k;
} fc_local_response_norm;

fc_status fc_local_response_norm_forward(const fc_local_response_norm *g, const fc_array *x, const fc_array *y);
fc_status fc_local_response_norm_backward(const fc_local_response_norm *g, const fc_array *grad_y, const fc_array *x,
                                          const fc_array *grad_x);

/* Rows of adjacent numbers of one type; the next row of an array begins so many numbers further. */
typedef struct fc_rows {
    int64_t rows, columns;
    int64_t x_row, grad_row, y_row; /* of x, of grad_y, and of what is written; may be negative */
} fc_rows;

/* y = activation(x), any but FC_NONE; `slope` is read by FC_LEAKY_RELU. y may be x. */
fc_status fc_activate(fc_activation activation, double slope, fc_dtype dtype, const fc_rows *rows, const void *x,
                      void *y);
/* grad_x = grad_y times the slope of the activation: of FC_RELU to FC_SIGMOID from the result y = x, of the others from
 * the argument x. grad_x may be grad_y or x. */
fc_status fc_activation_backward(fc_activation activation, double slope, fc_dtype dtype, const fc_rows *rows,
                                 const void *grad_y, const void *x, void *grad_x);

/* Softmax, e^x / sum(e^x), or its logarithm, along the middle axis of arrays (outer, classes, inner), whose strides
 * count elements. */
typedef struct fc_softmax {
    int logarithm;
    int64_t outer, classes, inner;
} fc_softmax;
fc_status fc_softmax_forward(const fc_softmax *g, fc_dtype dtype, const void *x, const int64_t x_stride[3], void *y,
                             const int64_t y_stride[3]);
/* From the result y. grad_x may be grad_y or y, where the strides are the same. */
fc_status fc_softmax_backward(const fc_softmax *g, fc_dtype dtype, const void *grad_y, const int64_t grad_y_stride[3],
                              const void *y, const int64_t y_stride[3], void *grad_x, const int64_t grad_x_stride[3]);

/* A training step, on adjacent numbers of one type. */

/* y = activation(a + b), of FC_NONE, FC_RELU and FC_LEAKY_RELU; y may be a or b. */
fc_status fc_add(fc_activation activation, fc_dtype dtype, int64_t count, const void *a, const void *b, void *y);

/* loss = mean over the rows of -log(softmax(logits))[label]; grad = its gradient. A label outside the classes:
 * FC_BAD_INDEX, before anything is written. */
fc_status fc_cross_entropy(fc_dtype dtype, int64_t rows, int64_t classes, const void *logits, const int64_t *labels,
                           void *grad, double *loss);

/* How an update reads gradients: multiplied with `factor`, then brought into -limit .. limit. A factor of 1 and a limit
 * of 0 change nothing, nor does NULL in place of an fc_clip. */
typedef struct fc_clip {
    double factor, limit;
} fc_clip;

/* g = gradients + decay*parameters; v = momentum*v + g; g = v, or with nesterov g + momentum*v; parameters -= rate*g.
 * velocity may be NULL: no momentum. `least`: smaller velocities are set to zero first, so that none ends among the
 * subnormal numbers. */
fc_status fc_sgd_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *velocity,
                      double rate, double momentum, double decay, int nesterov, double least, const fc_clip *clip);

/* g = gradients + decay*parameters; m = beta1*m + g; v = beta2*v + g*g;
 * parameters = keep*parameters - scale * m / (sqrt(v) + epsilon); `least` as above, for m. */
fc_status fc_adam_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *m, void *v,
                       double scale, double beta1, double beta2, double epsilon, double decay, double keep,
                       double least, const fc_clip *clip);

/* g = gradients + decay*parameters; s = alpha*s + g*g; v = momentum*v + g / (sqrt(s) + epsilon); parameters -= scale*v.
 * velocity may be NULL: no momentum. `least` as above, for both. */
fc_status fc_rmsprop_step(fc_dtype dtype, int64_t count, void *parameters, const void *gradients, void *squares,
                          void *velocity, double scale, double alpha, double epsilon, double momentum, double decay,
                          double least, const fc_clip *clip);

/* sum = the sum of the squares, in an order that depends on `count` alone; infinite where one is too large. */
fc_status fc_square_sum(fc_dtype dtype, int64_t count, const void *x, double *sum);

/* Threads. 0 stands for "no choice made": min(CPUs this process may use, container quota). */
void fc_set_num_threads(int threads);       /* whole process */
void fc_set_thread_num_threads(int threads); /* calling thread only, over the former */
int fc_get_num_threads(void);               /* what the next call of this thread may use */
int fc_get_thread_num_threads(void);        /* what fc_set_thread_num_threads set, or 0 */
const char *fc_openmp_runtime(void);        /* file of the OpenMP runtime, "" when built without */

/* Instruction sets, best first; the last is "reference". */
int fc_isa_count(void);
const char *fc_isa_name(int index);
int fc_isa_available(int index);
const char *fc_isa_refusal(int index); /* why it is not available, in words; NULL: it is */
int fc_set_isa(int index);        /* whole process; -1: the best available. Returns 0, or -1 if not available */
int fc_set_thread_isa(int index); /* calling thread only; -1: follow the process */
int fc_get_isa(void);             /* what the next call of this thread uses */
int fc_get_thread_isa(void);

/* The precision of calls that leave it at FC_DEFAULT; FC_HIGH at first. */
void fc_set_precision(fc_precision precision);        /* whole process */
void fc_set_thread_precision(fc_precision precision); /* calling thread only; FC_DEFAULT: follow the process */
fc_precision fc_get_precision(void);
fc_precision fc_get_thread_precision(void);

/* Called now and then by the thread that entered a function; non-zero stops the work. NULL: never. */
typedef int (*fc_poll_fn)(void);
void fc_set_poll(fc_poll_fn poll);

/* Free the calling thread's cached scratch memory. */
void fc_clear_cache(void);

#ifdef __cplusplus
}
#endif
#endif
