# SPDX-License-Identifier: BSD-3-Clause
# Weights packed once for many calls.

cdef dict ROLES = {"conv2d": FC_FORWARD, "conv2d_backward_input": FC_BACKWARD_INPUT,
                   "conv_transpose2d": FC_BACKWARD_INPUT, "conv1d": FC_FORWARD, "conv1d_backward_input": FC_BACKWARD_INPUT,
                   "conv_transpose1d": FC_BACKWARD_INPUT,
                   "linear": FC_FORWARD, "linear_backward_input": FC_BACKWARD_INPUT}


cdef object new_bytes(size_t size):
    """From the first byte of a cache line on: one dense row of 256 channels and filters is half as slow again without."""
    cdef cnp.ndarray memory = np.empty(size + 63, np.uint8)
    cdef size_t first = -<size_t>cnp.PyArray_DATA(memory) & 63
    return memory[first:first + size]


cdef object own_copy(object weight, object axes):
    """A read-only copy, of the same shape, whose numbers lie in this order of the axes."""
    cdef object source = weight.transpose(axes)
    cdef object memory = new_bytes(source.nbytes).view(source.dtype.newbyteorder("=")).reshape(source.shape)
    memory[...] = source
    memory.base.flags.writeable = memory.flags.writeable = False
    return memory.transpose(np.argsort(axes))


cdef class PackedWeights:
    """Weights that `pack_weights` has made ready for one operation; calls take it in the place of the array.

    It never changes and may be shared between threads. ``weight`` is its copy of the array, read-only; ``shape``,
    ``dtype``, ``ndim`` are those of the array; ``operation``, ``layout``, ``groups`` and ``algorithm`` tell what it was
    made for; ``nbytes`` counts the copy and the panels, which ``isa`` can read (None: nothing is gained by panels, the
    array is all there is). Copies and unpickled ones are packed anew.
    """
    cdef readonly object weight
    cdef readonly str operation, layout, algorithm
    cdef object arguments  # of the constructor, after the weight
    cdef object block      # bytes, in which ...
    cdef const void *packed  # ... lies what fc_conv2d_pack has made, or NULL
    cdef fc_conv2d g
    cdef fc_operation role
    cdef bint channels_first
    cdef int axes  # of pixels
    cdef int number, made_for  # NumPy's number of the type; the instruction set

    def __cinit__(self, object weight, object x_shape, object operation, object stride, object padding,
                  object dilation, object groups, object layout, object precision, object algorithm,
                  object output_padding):
        cdef fc_options options
        cdef const char *reason = NULL
        cdef const char *choice
        cdef cnp.ndarray array = to_array(weight, "weight", False)
        self.arguments = (x_shape, operation, stride, padding, dilation, groups, layout, precision, algorithm,
                          output_padding)
        if operation is None:
            operation = "linear" if cnp.PyArray_NDIM(array) == 2 else "conv2d"
        if not isinstance(operation, str):
            raise errors.not_a_string("operation", operation)
        if operation not in ROLES:
            raise errors.unknown_name("operation", operation, tuple(ROLES))
        self.operation, self.role = operation, <fc_operation><int>ROLES[operation]
        self.axes = 1 if "1d" in operation else 2
        self.channels_first, self.layout = to_channels_first(layout, self.axes), layout
        self.number = cnp.PyArray_TYPE(array)
        to_options(&options, None, algorithm, precision)
        self.to_geometry(array, x_shape, stride, padding, output_padding, dilation, groups)
        check_algorithm(&self.g, self.role, self.number, &options, algorithm)
        choice = fc_conv2d_choice(&self.g, self.role, self.c_dtype(), &options, &reason)
        self.algorithm = choice.decode()
        self.weight = own_copy(array, self.order_of_axes())
        self.pack(&options)

    cdef fc_dtype c_dtype(self) noexcept nogil:
        return FC_FLOAT64 if self.number == cnp.NPY_FLOAT64 else FC_FLOAT32

    cdef bint is_dense(self):
        return self.operation.startswith("linear")

    cdef int to_geometry(self, cnp.ndarray array, object x_shape, object stride, object padding, object output_padding,
                         object dilation, object groups) except -1:
        cdef int64_t x_sizes[4]
        cdef int64_t sizes[4]
        cdef int rank = 4
        if not self.is_dense():
            filter_array_sizes(array, self.channels_first, self.axes, sizes)
            if x_shape is None:
                raise errors.no_x_shape(self.operation)
            rank = image_shape_sizes(x_shape, "x_shape", self.channels_first, self.axes, x_sizes)
            if self.operation.startswith("conv_transpose"):
                return resolve_transposed(&self.g, x_sizes, rank, sizes, "x_shape", "weight", stride, padding,
                                          output_padding, dilation, groups, self.channels_first, self.axes)
            return resolve(&self.g, x_sizes, rank, sizes, "x_shape", "weight", stride, padding, dilation, groups,
                           self.channels_first, self.axes)
        if cnp.PyArray_NDIM(array) != 2:
            raise errors.not_a_matrix("weight", (<object>array).shape)
        sizes[0] = sizes[1] = x_sizes[0] = x_sizes[1] = x_sizes[2] = 1
        sizes[2] = x_sizes[3] = cnp.PyArray_DIM(array, 0)
        sizes[3] = cnp.PyArray_DIM(array, 1)
        return resolve(&self.g, x_sizes, 4, sizes, "x_shape", "weight", 1, 0, 1, 1, False)

    cdef tuple order_of_axes(self):
        """Those that the kernels read as vectors last: filters, or channels for the gradient of the input."""
        cdef bint forward = self.role == FC_FORWARD
        if self.is_dense():
            return (0, 1) if forward else (1, 0)
        pixels = tuple(range(self.axes))
        if self.channels_first:
            pixels = tuple(range(2, 2 + self.axes))
            return (*pixels, 1, 0) if forward else (*pixels, 0, 1)
        return (*pixels, self.axes, self.axes + 1) if forward else (*pixels, self.axes + 1, self.axes)

    cdef int pack(self, const fc_options *options) except -1:
        cdef fc_array view
        cdef fc_status status
        cdef size_t size = fc_conv2d_pack_size(&self.g, self.role, self.c_dtype(), options)
        self.made_for = fc_get_isa()
        if size == 0:
            return 0
        self.block = new_bytes(size)
        cdef void *block = cnp.PyArray_DATA(self.block)
        if self.is_dense():
            view_matrix(self.weight, &view)
        else:
            view_filters(self.weight, self.channels_first, &view, self.axes)
        with nogil:
            status = fc_conv2d_pack(&self.g, self.role, self.c_dtype(), &view, options, block)
        check(status)
        self.packed = block
        return 0

    @property
    def shape(self):
        return self.weight.shape

    @property
    def dtype(self):
        return self.weight.dtype

    @property
    def ndim(self):
        return self.weight.ndim

    @property
    def groups(self):
        return self.g.groups

    @property
    def isa(self):
        return None if self.packed == NULL else fc_isa_name(self.made_for).decode()

    @property
    def nbytes(self):
        return self.weight.nbytes + (0 if self.packed == NULL else self.block.nbytes)

    def __repr__(self):
        what = f"panels for {self.isa}" if self.isa else f"as an array ({self.algorithm} needs no panels)"
        layout = "" if self.is_dense() else f", {self.layout}" + (f", groups={self.groups}" if self.groups > 1 else "")
        return f"<PackedWeights {self.shape} {self.dtype} for {self.operation}{layout}: {what}, {self.nbytes:,} bytes>"

    def __reduce__(self):
        return PackedWeights, (self.weight, *self.arguments)


def pack_weights(object weight, object x_shape=None, *, object operation=None, object stride=1, object padding=0,
                 object dilation=1, object groups=1, object layout="NHWC", object precision=None,
                 object algorithm="auto", object output_padding=0):
    return PackedWeights(weight, x_shape, operation, stride, padding, dilation, groups, layout, precision, algorithm,
                         output_padding)


cdef inline object plain(object weight):
    """The array of packed weights; anything else as it is."""
    return (<PackedWeights>weight).weight if type(weight) is PackedWeights else weight


cdef dict told(const fc_conv2d *g, fc_operation role, bint channels_first, int number):
    """What weights are packed for, as errors tell it."""
    cdef dict made_for = {"operation": "backward_input" if role == FC_BACKWARD_INPUT else "forward",
                          "dtype": "float64" if number == cnp.NPY_FLOAT64 else "float32",
                          "layout": "NCHW" if channels_first else "NHWC", "groups": g.groups}
    if role == FC_BACKWARD_INPUT:
        made_for |= {"stride": (g.stride_h, g.stride_w), "dilation": (g.dilation_h, g.dilation_w),
                     "padding": ((g.pad_top, g.pad_bottom), (g.pad_left, g.pad_right))}
    return made_for


cdef bint same_phases(const fc_conv2d *a, const fc_conv2d *b) noexcept:
    """Of gradients of the input: whether the same taps reach the same pixels, as far as a stride says."""
    if a.stride_h != b.stride_h or a.stride_w != b.stride_w:
        return False
    if a.stride_h > 1 and (a.dilation_h != b.dilation_h or a.pad_top != b.pad_top):
        return False
    return a.stride_w == 1 or (a.dilation_w == b.dilation_w and a.pad_left == b.pad_left)


cdef int attach(object weight, fc_operation role, bint channels_first, const fc_conv2d *g, int number,
                const void **packed) except -1:
    """What lies packed for this call, or NULL. Packed weights that were made for other calls are refused, panels of
    another instruction set than the one in force left alone."""
    cdef PackedWeights p
    packed[0] = NULL
    if type(weight) is not PackedWeights:
        return 0
    p = weight
    if (p.role != role or p.channels_first != channels_first or p.g.groups != g.groups or p.number != number
            or (role == FC_BACKWARD_INPUT and not same_phases(&p.g, g))):
        raise errors.packed_for_another(p.shape, told(&p.g, p.role, p.channels_first, p.number),
                                        told(g, role, channels_first, number))
    if p.made_for == fc_get_isa():
        packed[0] = p.packed
    return 0
