/* SPDX-License-Identifier: BSD-3-Clause
 * Winograd's transforms as products of matrices, in double precision; see winograd.h for the contracts. */
#ifndef FC_WINOGRAD_MATRICES
#define FC_WINOGRAD_MATRICES

typedef struct winograd_matrix {
    int rows, columns;
    double at[6][6];
} winograd_matrix;

static const double winograd_point[5] = {0, FC_WINOGRAD_A, -FC_WINOGRAD_A, FC_WINOGRAD_B, -FC_WINOGRAD_B};
static const double winograd_scale[5] = {FC_WINOGRAD_F0, FC_WINOGRAD_FA, FC_WINOGRAD_FA, FC_WINOGRAD_FB,
                                         FC_WINOGRAD_FB};

/* Row i of Bt: the coefficients of the product of (x - p) over all points p but the i-th. */
static winograd_matrix winograd_bt(void) {
    winograd_matrix m = {.rows = 6, .columns = 6};
    for (int i = 0; i < 6; i++) {
        m.at[i][0] = 1;
        for (int p = 0, degree = 0; p < 5; p++) {
            if (p == i) continue;
            degree++;
            for (int l = degree; l >= 0; l--)
                m.at[i][l] = (l > 0 ? m.at[i][l - 1] : 0) - winograd_point[p] * (l < degree ? m.at[i][l] : 0);
        }
    }
    return m;
}

/* G (3 columns) and Z (4): row i holds the powers of the i-th point, the last row infinity. */
static winograd_matrix winograd_powers(int columns) {
    winograd_matrix m = {.rows = 6, .columns = columns};
    for (int i = 0; i < 5; i++) {
        double power = 1;
        for (int j = 0; j < columns; j++, power *= winograd_point[i]) m.at[i][j] = power;
    }
    m.at[5][columns - 1] = 1;
    return m;
}

/* At (4 rows) and Gs (3): the powers transposed, each point with its scale. */
static winograd_matrix winograd_scaled(int rows) {
    const winograd_matrix powers = winograd_powers(rows);
    winograd_matrix m = {.rows = rows, .columns = 6};
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < 6; j++) m.at[i][j] = powers.at[j][i] * (j < 5 ? winograd_scale[j] : 1);
    return m;
}

/* Element (i, j) of  m x mt,  x[p][q] given as a row of numbers; zeros of m are not multiplied with. */
static double winograd_apply(const winograd_matrix *m, const double *x, int i, int j) {
    double sum = 0;
    for (int p = 0; p < m->columns; p++)
        for (int q = 0; q < m->columns; q++)
            if (m->at[i][p] != 0 && m->at[j][q] != 0) sum += m->at[i][p] * m->at[j][q] * x[p * m->columns + q];
    return sum;
}
#endif

/* planes = m x mt for each channel */
static void F(winograd_spread)(const winograd_matrix *m, int64_t channels, const T *x, ptrdiff_t row, ptrdiff_t column,
                               T *v, ptrdiff_t plane) {
    for (int64_t c = 0; c < (channels + F(VL) - 1) / F(VL) * F(VL); c++) {
        double tile[36] = {0};
        for (int l = 0; l < m->columns * m->columns && c < channels; l++)
            tile[l] = (double)x[l / m->columns * row + l % m->columns * column + c];
        for (int l = 0; l < 36; l++) v[l * plane + c] = (T)winograd_apply(m, tile, l / 6, l % 6);
    }
}

static void F(winograd_input)(int64_t channels, const void *x, ptrdiff_t row, ptrdiff_t column, void *v,
                              ptrdiff_t plane) {
    const winograd_matrix bt = winograd_bt();
    F(winograd_spread)(&bt, channels, x, row, column, v, plane);
}

static void F(winograd_grad_output)(int64_t channels, const void *x, ptrdiff_t row, ptrdiff_t column, void *v,
                                    ptrdiff_t plane) {
    const winograd_matrix z = winograd_powers(4);
    F(winograd_spread)(&z, channels, x, row, column, v, plane);
}

static void F(winograd_filter)(int64_t channels, int columns, const void *w_, const ptrdiff_t tap[9], ptrdiff_t step,
                               void *u_, int width, ptrdiff_t plane) {
    const winograd_matrix g = winograd_powers(3);
    const T *w = w_;
    T *u = u_;
    for (int64_t c = 0; c < channels; c++)
        for (int k = 0; k < width; k++) {
            double filter[9] = {0};
            for (int l = 0; l < 9 && k < columns; l++) filter[l] = (double)w[tap[l] + c * step + k];
            for (int l = 0; l < 36; l++) u[l * plane + c * width + k] = (T)winograd_apply(&g, filter, l / 6, l % 6);
        }
}

static int F(winograd_output)(int filters, const void *m_, ptrdiff_t plane, const void *bias_, fc_epilogue activation,
                              int rows, int columns, void *y_, ptrdiff_t row, ptrdiff_t column) {
    const winograd_matrix at = winograd_scaled(4);
    const T *m = m_, *bias = bias_;
    T *y = y_;
    int finite = 1;
    for (int k = 0; k < filters; k++) {
        double tile[36];
        for (int l = 0; l < 36; l++) tile[l] = (double)m[l * plane + k];
        for (int l = 0; l < 16; l++) {
            const int i = l / 4, j = l % 4;
            const T sum = (T)winograd_apply(&at, tile, i, j);
            finite &= sum - sum == 0;
            if (i < rows && j < columns)
                y[i * row + j * column + k] = F(epilogue)(bias == NULL ? sum : sum + bias[k], activation);
        }
    }
    return finite;
}

static int F(winograd_grad_filter)(int64_t channels, int filters, const void *s_, int width, ptrdiff_t plane, void *g_,
                                   const ptrdiff_t tap[9], ptrdiff_t step) {
    const winograd_matrix gs = winograd_scaled(3);
    const T *s = s_;
    T *g = g_;
    int finite = 1;
    for (int64_t c = 0; c < channels; c++)
        for (int k = 0; k < filters; k++) {
            double tile[36];
            for (int l = 0; l < 36; l++) tile[l] = (double)s[l * plane + c * width + k];
            for (int l = 0; l < 9; l++) {
                const T sum = (T)winograd_apply(&gs, tile, l / 3, l % 3);
                finite &= sum - sum == 0;
                g[tap[l] + c * step + k] = sum;
            }
        }
    return finite;
}
