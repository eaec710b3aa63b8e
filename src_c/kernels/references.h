/* SPDX-License-Identifier: BSD-3-Clause
 * Every reference kernel for one element type. Define T, TYPE and F before. No guard: included twice. */
#include "gemm/gemm_ref.h"
#include "depthwise/depthwise_ref.h"
#include "copy/copy_ref.h"
#include "pool/pool_ref.h"
#include "reduce/reduce_ref.h"
#include "winograd/winograd_ref.h"
#include "elementwise/elementwise_ref.h"
#include "norm/norm_ref.h"
#include "response/response_ref.h"
#include "activation/exact.h"
#include "activation/activation_ref.h"
#include "softmax/softmax_ref.h"
