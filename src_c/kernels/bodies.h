/* SPDX-License-Identifier: BSD-3-Clause
 * Every kernel body for one element type. Define T (the type) and TYPE (its suffix) before. No guard: included
 * twice. */
#define F(name) FC_JOIN(name, TYPE)
#include "stream_body.h"
#include "gemm/gemm_body.h"
#include "depthwise/depthwise_body.h"
#include "copy/copy_body.h"
#include "pool/pool_body.h"
#include "reduce/reduce_body.h"
#include "winograd/winograd_body.h"
#include "elementwise/elementwise_body.h"
#include "norm/norm_body.h"
#include "response/response_body.h"
#include "activation/coefficients.h"
#include "activation/functions_body.h"
#include "activation/activation_body.h"
#include "softmax/softmax_body.h"
#undef F
