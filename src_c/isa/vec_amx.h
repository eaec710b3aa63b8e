/* SPDX-License-Identifier: BSD-3-Clause
 * The words of the matrix unit: tiles of up to 16 rows of 64 bytes. Numbers of tiles are constants of the code, so
 * these are macros. The vectors beside them are those of AVX-512. */
#if FC_EMULATED_TILES
#include "../tests/emulated_tiles.h"
#else
/* not the intrinsic: to gcc 12 it reads 8 bytes. Memory: what was packed is written before tiles are loaded. */
#define FC_TILES_CONFIGURE(shapes) __asm__ volatile("ldtilecfg %0" : : "m"(shapes) : "memory")
#define FC_TILES_RELEASE _tile_release()
#define FC_TILE_LOAD(tile, at, row_bytes) _tile_loadd(tile, at, row_bytes)
#define FC_TILE_STORE(tile, at, row_bytes) _tile_stored(tile, at, row_bytes)
#define FC_TILE_ZERO(tile) _tile_zero(tile)
/* sums += A times B: each 32-bit lane of A and B is a pair of bfloat16 */
#define FC_TILE_ADD_PRODUCTS(sums, a, b) _tile_dpbf16ps(sums, a, b)
#endif

/* The shapes of the 8 tiles of split_tiles_body.h: rows0 and rows1 of the two tiles of A, 16 of B. */
typedef struct tile_shapes {
    uint8_t palette, first_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_shapes;

FC_INLINE void tiles_begin(int rows0, int rows1) {
    const uint8_t first = (uint8_t)rows0, second = (uint8_t)rows1;
    const tile_shapes shapes = {.palette = 1,
                                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                .rows = {first, first, second, second, first, second, 16, 16}};
    FC_TILES_CONFIGURE(shapes);
}

FC_INLINE void tiles_end(void) { FC_TILES_RELEASE; }
