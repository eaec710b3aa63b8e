# SPDX-License-Identifier: BSD-3-Clause
# Images, filters and geometry with two axes of pixels or one. C knows two: a sequence is an image of height 1. `sizes`
# are always those of the image, its rank (3 or 4) included; what callers see, and errors tell, has their own axes.

cdef object sizes_tuple(const int64_t *sizes, int rank):
    return tuple([sizes[axis] for axis in range(rank)])


cdef object without(const int64_t *sizes, int rank, int height):
    """All of them but the height."""
    return tuple([sizes[axis] for axis in range(rank) if axis != height])


cdef inline int height_axis(int rank, bint channels_first) noexcept:
    """Of an image without or with batch axis."""
    return rank - 2 if channels_first else rank - 3


cdef object image_tuple(const int64_t *sizes, int rank, bint channels_first, int axes):
    """The shape of images as the caller knows it."""
    return sizes_tuple(sizes, rank) if axes == 2 else without(sizes, rank, height_axis(rank, channels_first))


cdef object filter_tuple(const int64_t *sizes, bint channels_first, int axes):
    return sizes_tuple(sizes, 4) if axes == 2 else without(sizes, 4, 2 if channels_first else 0)


cdef object layout_name(bint channels_first, int axes):
    return errors.LAYOUTS[axes][1 if channels_first else 0]


cdef int put_height(int64_t *sizes, int rank, int height) except -1:
    """Sizes of `rank` axes become those of one more, of which one is a height of 1."""
    cdef int axis
    for axis in range(rank, height, -1):
        sizes[axis] = sizes[axis - 1]
    sizes[height] = 1
    return rank + 1


# ---------------------------------------------------------------- sizes

cdef int array_sizes(cnp.ndarray array, object name, int least, int most, int64_t *sizes) except -1:
    cdef int axis, rank = cnp.PyArray_NDIM(array)
    if rank < least or rank > most:
        raise errors.wrong_rank(name, (<object>array).shape, least, most)
    for axis in range(rank):
        sizes[axis] = cnp.PyArray_DIM(array, axis)
    return rank


cdef int image_array_sizes(cnp.ndarray array, object name, bint channels_first, int axes, int64_t *sizes) except -1:
    cdef int rank = array_sizes(array, name, axes + 1, axes + 2, sizes)
    return rank if axes == 2 else put_height(sizes, rank, height_axis(rank + 1, channels_first))


cdef int image_shape_sizes(object shape, object name, bint channels_first, int axes, int64_t *sizes) except -1:
    cdef int rank = to_shape(shape, name, axes + 1, axes + 2, sizes)
    return rank if axes == 2 else put_height(sizes, rank, height_axis(rank + 1, channels_first))


cdef int filter_array_sizes(cnp.ndarray array, bint channels_first, int axes, int64_t *sizes) except -1:
    array_sizes(array, "weight", axes + 2, axes + 2, sizes)
    return 4 if axes == 2 else put_height(sizes, 3, 2 if channels_first else 0)


cdef int filter_shape_sizes(object shape, object name, bint channels_first, int axes, int64_t *sizes) except -1:
    to_shape(shape, name, axes + 2, axes + 2, sizes)
    return 4 if axes == 2 else put_height(sizes, 3, 2 if channels_first else 0)


cdef void image_sizes(const int64_t *sizes, bint channels_first, int rank,
                      int64_t *n, int64_t *h, int64_t *w, int64_t *c) noexcept:
    """Name the sizes of an image batch."""
    cdef int first = rank - 3
    n[0] = sizes[0] if first == 1 else 1
    if channels_first:
        c[0], h[0], w[0] = sizes[first], sizes[first + 1], sizes[first + 2]
    else:
        h[0], w[0], c[0] = sizes[first], sizes[first + 1], sizes[first + 2]


cdef void filter_sizes(const int64_t *sizes, bint channels_first, int64_t *r, int64_t *s, int64_t *c,
                       int64_t *k) noexcept:
    """Name the sizes of filters."""
    if channels_first:
        k[0], c[0], r[0], s[0] = sizes[0], sizes[1], sizes[2], sizes[3]
    else:
        r[0], s[0], c[0], k[0] = sizes[0], sizes[1], sizes[2], sizes[3]


cdef void put_image_sizes(int64_t *sizes, bint channels_first, int rank, int64_t n, int64_t h, int64_t w,
                          int64_t c) noexcept:
    """The reverse of `image_sizes`."""
    cdef int first = rank - 3
    if first == 1:
        sizes[0] = n
    if channels_first:
        sizes[first], sizes[first + 1], sizes[first + 2] = c, h, w
    else:
        sizes[first], sizes[first + 1], sizes[first + 2] = h, w, c


# ---------------------------------------------------------------- views

cdef void view_image(cnp.ndarray array, bint channels_first, fc_array *view, int axes=2) noexcept:
    """Axes n, h, w, c of an image batch; an image without batch axis is a batch of one."""
    cdef int first = cnp.PyArray_NDIM(array) - 1 - axes
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    view.stride[0] = stride_of(array, 0) if first == 1 else 0
    if channels_first:
        view.stride[1] = stride_of(array, first + 1)
        view.stride[2] = stride_of(array, first + axes)
        view.stride[3] = stride_of(array, first)
    else:
        view.stride[1] = stride_of(array, first)
        view.stride[2] = stride_of(array, first + axes - 1)
        view.stride[3] = stride_of(array, first + axes)
    if axes == 1:  # of a height of 1: as if lines followed one another
        view.stride[1] *= cnp.PyArray_DIM(array, first + 1 if channels_first else first)


cdef void view_filters(cnp.ndarray array, bint channels_first, fc_array *view, int axes=2) noexcept:
    """Axes r, s, c, k of filters."""
    view.packed = NULL
    view.data = cnp.PyArray_DATA(array)
    view.dtype = <fc_dtype>dtype_of(array)
    if channels_first:
        view.stride[0] = stride_of(array, 2)
        view.stride[1] = stride_of(array, axes + 1)
        view.stride[2] = stride_of(array, 1)
        view.stride[3] = stride_of(array, 0)
    else:
        view.stride[0] = stride_of(array, 0)
        view.stride[1] = stride_of(array, axes - 1)
        view.stride[2] = stride_of(array, axes)
        view.stride[3] = stride_of(array, axes + 1)
    if axes == 1:
        view.stride[0] *= cnp.PyArray_DIM(array, 2 if channels_first else 0)


# ---------------------------------------------------------------- geometry

cdef int to_single(object value, object name, int64_t *result) except -1:
    """An integer, or a sequence of one."""
    if isinstance(value, (tuple, list)):
        if len(value) != 1:
            raise errors.wrong_count(name, value, 1)
        value = value[0]
    result[0] = to_int(value, name)
    return 0


cdef int to_line_padding(object value, int64_t reach, int64_t *left, int64_t *right) except -1:
    """Padding of a sequence; `reach`: how far the kernel sees back."""
    if isinstance(value, str):
        if value == "causal":
            left[0], right[0] = reach, 0
            return FC_PAD_EXPLICIT
        if value not in ("valid", "same", "same_lower"):
            raise errors.unknown_name("padding", value, ("valid", "same", "same_lower", "causal"))
        return FC_PAD_SAME if value == "same" else FC_PAD_VALID if value == "valid" else FC_PAD_SAME_LOWER
    if isinstance(value, (tuple, list)) and len(value) == 1 and isinstance(value[0], (tuple, list)):
        to_pair(value[0], "padding", left, right)
    else:
        to_single(value, "padding", left)
        right[0] = left[0]
    return FC_PAD_EXPLICIT


cdef fc_padding to_steps(fc_conv2d *g, object stride, object padding, object dilation, object groups,
                         int axes) except *:
    """Strides, dilations, groups and explicit paddings of a geometry whose kernel is known."""
    cdef int64_t reach
    g.groups = to_int(groups, "groups")
    if axes == 2:
        to_pair(stride, "stride", &g.stride_h, &g.stride_w)
        to_pair(dilation, "dilation", &g.dilation_h, &g.dilation_w)
        return <fc_padding>to_padding(padding, &g.pad_top, &g.pad_bottom, &g.pad_left, &g.pad_right)
    to_single(stride, "stride", &g.stride_w)
    to_single(dilation, "dilation", &g.dilation_w)
    g.stride_h = g.dilation_h = 1
    g.pad_top = g.pad_bottom = 0
    reach = <int64_t>(<uint64_t>g.dilation_w * <uint64_t>(g.s - 1))  # beyond 64 bits: refused by who checks the sizes
    return <fc_padding>to_line_padding(padding, reach, &g.pad_left, &g.pad_right)


# ---------------------------------------------------------------- results

cdef cnp.ndarray result_without(object out, int rank, const int64_t *sizes, int number, int height):
    cdef int64_t kept[4]
    cdef int axis, count = 0
    for axis in range(rank):
        if axis != height:
            kept[count] = sizes[axis]
            count += 1
    return to_result(out, count, kept, number)


cdef cnp.ndarray to_image_result(object out, int rank, const int64_t *sizes, int number, bint channels_first, int axes):
    if axes == 2:
        return to_result(out, rank, sizes, number)
    return result_without(out, rank, sizes, number, height_axis(rank, channels_first))


cdef cnp.ndarray to_filter_result(object out, const int64_t *sizes, int number, bint channels_first, int axes):
    if axes == 2:
        return to_result(out, 4, sizes, number)
    return result_without(out, 4, sizes, number, 2 if channels_first else 0)


cdef int refuse_other_grad_y(cnp.ndarray grad_y, const int64_t *expected, int rank, bint channels_first,
                             int axes) except -1:
    """ValueError unless grad_y has these sizes."""
    cdef int64_t kept[4]
    cdef int axis, height = -1 if axes == 2 else height_axis(rank, channels_first), count = 0
    for axis in range(rank):
        if axis != height:
            kept[count] = expected[axis]
            count += 1
    if not has_sizes(grad_y, kept, count):
        raise errors.wrong_grad_y((<object>grad_y).shape, sizes_tuple(kept, count))
    return 0
