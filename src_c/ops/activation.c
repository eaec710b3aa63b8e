/* SPDX-License-Identifier: BSD-3-Clause */
#include "activation.h"

#include <math.h>

fc_epilogue fc_epilogue_of(fc_activation activation) {
    switch (activation) {
        case FC_RELU: return FC_EPILOGUE_RELU;
        case FC_LEAKY_RELU: return FC_EPILOGUE_LEAKY_RELU;
        default: return FC_EPILOGUE_NONE;
    }
}

/* 1 / (1 + e^-x): for negative x e^-x may overflow to infinity, which gives the right limit, 0. */
static float sigmoid_f32(float x) { return 1.0f / (1.0f + expf(-x)); }
static double sigmoid_f64(double x) { return 1.0 / (1.0 + exp(-x)); }

void fc_activate_row(fc_activation activation, fc_dtype dtype, int64_t n, void *y, ptrdiff_t step) {
    if (activation != FC_TANH && activation != FC_SIGMOID) return;
    for (int64_t i = 0; i < n; i++) {
        if (dtype == FC_FLOAT32) {
            float *at = (float *)y + i * step;
            *at = activation == FC_TANH ? tanhf(*at) : sigmoid_f32(*at);
        } else {
            double *at = (double *)y + i * step;
            *at = activation == FC_TANH ? tanh(*at) : sigmoid_f64(*at);
        }
    }
}

double fc_activate_one(fc_activation activation, double x) {
    switch (activation) {
        case FC_RELU: return 0 > x ? 0 : x;
        case FC_LEAKY_RELU: return x < 0 ? x * FC_LEAKY_SLOPE : x;
        case FC_TANH: return tanh(x);
        case FC_SIGMOID: return sigmoid_f64(x);
        default: return x;
    }
}
