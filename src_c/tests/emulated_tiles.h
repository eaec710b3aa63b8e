/* SPDX-License-Identifier: BSD-3-Clause
 * A matrix unit in software, for processors with AVX-512 and none: `make tiles`. The words of isa/vec_amx.h, number by
 * number; a product of tiles adds the products of pairs to each sum, the second of a pair first. */
#ifndef FC_EMULATED_TILES_H
#define FC_EMULATED_TILES_H

typedef struct emulated_tile {
    uint16_t pair[16][16][2];
    int rows;
} emulated_tile;

static _Thread_local emulated_tile emulated[8];

static void emulated_load(emulated_tile *t, const void *at, ptrdiff_t row_bytes) {
    memset(t->pair, 0, sizeof t->pair);
    for (int i = 0; i < t->rows; i++) memcpy(t->pair[i], (const char *)at + i * row_bytes, 64);
}

static void emulated_store(const emulated_tile *t, void *at, ptrdiff_t row_bytes) {
    for (int i = 0; i < t->rows; i++) memcpy((char *)at + i * row_bytes, t->pair[i], 64);
}

static float emulated_number(uint16_t bf16) {
    const uint32_t bits = (uint32_t)bf16 << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return fpclassify(x) == FP_SUBNORMAL ? 0 : x;
}

static void emulated_product(emulated_tile *sums, const emulated_tile *a, const emulated_tile *b) {
    for (int i = 0; i < sums->rows; i++)
        for (int j = 0; j < 16; j++) {
            float sum;
            memcpy(&sum, sums->pair[i][j], sizeof sum);
            for (int l = 0; l < 16; l++)
                for (int half = 1; half >= 0; half--)
                    sum = fmaf(emulated_number(a->pair[i][l][half]), emulated_number(b->pair[l][j][half]), sum);
            memcpy(sums->pair[i][j], &sum, sizeof sum);
        }
}

#define FC_TILES_CONFIGURE(shapes) \
    for (int i = 0; i < 8; i++) emulated[i].rows = (shapes).rows[i]
#define FC_TILES_RELEASE memset(emulated, 0, sizeof emulated)
#define FC_TILE_LOAD(tile, at, row_bytes) emulated_load(&emulated[tile], at, row_bytes)
#define FC_TILE_STORE(tile, at, row_bytes) emulated_store(&emulated[tile], at, row_bytes)
#define FC_TILE_ZERO(tile) memset(emulated[tile].pair, 0, sizeof emulated[tile].pair)
#define FC_TILE_ADD_PRODUCTS(sums, a, b) emulated_product(&emulated[sums], &emulated[a], &emulated[b])

#endif
