/* SPDX-License-Identifier: BSD-3-Clause
 * Polynomials of functions_body.h, lowest power first, by Remez's exchange algorithm for the smallest largest relative
 * error; and constants in two parts, whose sum has twice the digits. */
#ifndef FC_COEFFICIENTS_H
#define FC_COEFFICIENTS_H

/* (e^r - 1 - r) / r^2 for abs(r) <= ln(2)/2. Error of e^r: 3.1e-9 and 3.4e-18. */
enum { exp_degree_f32 = 4, exp_degree_f64 = 9 };
static const float exp_terms_f32[] = {0.5000000095f, 0.166665186f, 0.04166620541f, 0.008368917791f, 0.001395051449f};
static const double exp_terms_f64[] = {
    0.5000000000000012792,  0.1666666666666669919,    0.04166666666651493801,   0.008333333333307123607,
    0.001388888894715456256, 0.0001984126991756424088, 0.00002480148978724588021, 2.755721613596080001e-6,
    2.763133925725487157e-7, 2.511791414592539264e-8};

/* e^(a*a/2) * (a + k) times the share of the normal distribution below -a, in s = (a - k) / (a + k), for a up to where
 * that share times a rounds to 0. Errors 8.0e-9 and 1.5e-17. */
enum { tail_degree_f32 = 9, tail_degree_f64 = 21 };
static const float tail_k_f32 = 3.5f, tail_end_f32 = 15;
static const double tail_k_f64 = 5, tail_end_f64 = 40;
static const float tail_terms_f32[] = {0.7444160736f,   -0.5655617392f,    0.3154250914f,    -0.1160531747f,
                                       0.01740582103f,  0.00649372679f,    -0.003172828034f, -0.0004950393357f,
                                       0.0004183226552f, 0.0001086931457f};
static const double tail_terms_f64[] = {
    0.7691930497500629554,     -0.6653825028900565759,   0.4953056159699772423,     -0.313533156671318258,
    0.1650203661703492633,     -0.06911863870587704697,  0.02079506680049002614,    -0.002993376776681183213,
    -0.0007978694040954852013, 0.0005448991127031139729, -0.00005937569498502139002, -0.00004976303710085884841,
    0.00001668108173825450182, 3.981550935681810322e-6,  -2.768901857627742182e-6,  -3.378092705263912826e-7,
    4.324592203653799506e-7,   4.362435798555641788e-8,  -6.513255130242574899e-8,  -1.016847534449212759e-8,
    7.116229349882294182e-9,   1.98536099553310083e-9};

static const float ln2_f32[] = {0.693147182464599609f, -1.9046543e-9f};
static const double ln2_f64[] = {0.6931471805599453, 2.3190468138462996e-17};
static const float tanh_rise_f32[] = {1.59576916694641113f, -4.53406804e-8f}; /* 2 * sqrt(2 / pi) */
static const double tanh_rise_f64[] = {1.5957691216057308, -9.9693088091109203e-17};
static const float tanh_bend_f32[] = {0.0713548138737678528f, 2.3988324e-9f}; /* the former times 0.044715 */
static const double tanh_bend_f64[] = {0.07135481627260025, -6.1751499181553155e-19};

/* Added and taken away again, it leaves a number rounded to a whole one. */
static const float round_f32 = 0x1.8p23f;
static const double round_f64 = 0x1.8p52;

/* 2^n below it, times all that it is multiplied with here, rounds to 0. */
static const float least_power_f32 = -160;
static const double least_power_f64 = -1086;

/* Where functions have come to their limits: tanh rounds to 1, the others to 0 by the power of two above. */
static const float exp_end_f32 = 115, tanh_end_f32 = 10, gelu_tanh_end_f32 = 12;
static const double exp_end_f64 = 760, tanh_end_f64 = 20, gelu_tanh_end_f64 = 24;

#endif
