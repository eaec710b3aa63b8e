/* SPDX-License-Identifier: BSD-3-Clause
 * The kernels in plain C: the judge of the others, and what runs where no vector instruction set is known. */
#include <math.h>
#include <string.h>

#include "../base/compiler.h"
#include "../kernels/kernels.h"
#include "dispatch.h"

#define FC_ISA reference
#define FC_MR 4
#define VL_f32 4
#define VL_f64 4

#define F(name) FC_JOIN(name, TYPE)
#define T float
#define TYPE f32
#include "../kernels/references.h"
#undef T
#undef TYPE
#define T double
#define TYPE f64
#include "../kernels/references.h"
#undef T
#undef TYPE
#undef F

#include "../kernels/split/split_ref.h"
const fc_split fc_reference_split = {1, split_rows, split_panel, split_columns, split_multiply};

#include "isa_table.h"
