/* Products of 8-bit codes (rows, C) with 8-bit weights (C, D), 32 rows by 32 columns at a time, exact on every level.
 *
 * Codes have 128 added, so that they are not negative. Weights are packed in panels of 16 columns, each of lines of 64
 * bytes: the first holds where the 16 sums begin (int32: -128 times the column's sum, which undoes the 128 of the
 * codes); line s after it holds, column by column, the weights of the channels 4 s to 4 s + 3. This is what VPDPBUSD and
 * the tiles of AMX read. Channels are padded with weights 0 to 16 lines.
 */
enum { SIDE = 32, LINE = 64, TILE = 16, HALF = SIDE / 2 };
enum { FAIR = 64 }; /* without VNNI, two products are added in 16 bits: exact up to this weight, as 2 * 255 * 64 < 2^15 */

typedef struct {
    const uint8_t *codes; /* (32, 4 * steps) */
    const int8_t *panels; /* of the first 16 columns and, after (steps + 1) * LINE bytes, of the next */
    int64_t steps;        /* a multiple of 16 */
    int32_t *sums;        /* (32, 32) */
} Block;

VECTORISED static void multiply8_plain(Block block) {
    for (int p = 0; p < 2; p++) {
        const int8_t *panel = block.panels + p * (block.steps + 1) * LINE;
        for (int r = 0; r < SIDE; r++) {
            const uint8_t *codes = block.codes + r * 4 * block.steps;
            int32_t sums[HALF];
            memcpy(sums, panel, sizeof sums);
            for (int64_t s = 0; s < block.steps; s++)
                for (int c = 0; c < HALF; c++)
                    for (int t = 0; t < 4; t++) sums[c] += codes[4 * s + t] * panel[(s + 1) * LINE + 4 * c + t];
            memcpy(block.sums + r * SIDE + p * HALF, sums, sizeof sums);
        }
    }
}

#ifdef X86
INLINE int32_t four_codes(const uint8_t *codes) {
    int32_t four;
    memcpy(&four, codes, sizeof four);
    return four;
}

WITH_AVX2 static void multiply8_with_avx2(Block block) {
    enum { TOGETHER = 4 }; /* rows whose sums are in registers */
    const __m256i ones = _mm256_set1_epi16(1);
    for (int p = 0; p < 2; p++) {
        const int8_t *panel = block.panels + p * (block.steps + 1) * LINE;
        for (int r = 0; r < SIDE; r += TOGETHER) {
            const uint8_t *codes = block.codes + r * 4 * block.steps;
            __m256i a[TOGETHER], b[TOGETHER];
            for (int i = 0; i < TOGETHER; i++) {
                a[i] = _mm256_loadu_si256((const __m256i *)panel);
                b[i] = _mm256_loadu_si256((const __m256i *)(panel + LINE / 2));
            }
            for (int64_t s = 0; s < block.steps; s++) {
                const __m256i x = _mm256_loadu_si256((const __m256i *)(panel + (s + 1) * LINE));
                const __m256i y = _mm256_loadu_si256((const __m256i *)(panel + (s + 1) * LINE + LINE / 2));
#pragma GCC unroll 4
                for (int i = 0; i < TOGETHER; i++) {
                    const __m256i code = _mm256_set1_epi32(four_codes(codes + 4 * (i * block.steps + s)));
                    a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_maddubs_epi16(code, x), ones));
                    b[i] = _mm256_add_epi32(b[i], _mm256_madd_epi16(_mm256_maddubs_epi16(code, y), ones));
                }
            }
            for (int i = 0; i < TOGETHER; i++) {
                int32_t *sums = block.sums + (r + i) * SIDE + p * HALF;
                _mm256_storeu_si256((__m256i *)sums, a[i]);
                _mm256_storeu_si256((__m256i *)(sums + HALF / 2), b[i]);
            }
        }
    }
}

/* Eight rows and 32 columns at a time; add(sums, codes, weights) adds four products to each of 16 sums. */
#define MULTIPLY_WITH_512_BITS(name, WITH, add)                                                                       \
    WITH static void name(Block block) {                                                                              \
        enum { TOGETHER = 8 };                                                                                        \
        const int8_t *left = block.panels, *right = left + (block.steps + 1) * LINE;                                  \
        for (int r = 0; r < SIDE; r += TOGETHER) {                                                                    \
            const uint8_t *codes = block.codes + r * 4 * block.steps;                                                 \
            __m512i a[TOGETHER], b[TOGETHER];                                                                         \
            for (int i = 0; i < TOGETHER; i++) a[i] = _mm512_loadu_si512(left), b[i] = _mm512_loadu_si512(right);     \
            for (int64_t s = 0; s < block.steps; s++) {                                                               \
                const __m512i x = _mm512_loadu_si512(left + (s + 1) * LINE);                                          \
                const __m512i y = _mm512_loadu_si512(right + (s + 1) * LINE);                                         \
                _Pragma("GCC unroll 8")                                                                               \
                for (int i = 0; i < TOGETHER; i++) {                                                                  \
                    const __m512i code = _mm512_set1_epi32(four_codes(codes + 4 * (i * block.steps + s)));            \
                    a[i] = add(a[i], code, x);                                                                        \
                    b[i] = add(b[i], code, y);                                                                        \
                }                                                                                                     \
            }                                                                                                         \
            for (int i = 0; i < TOGETHER; i++) {                                                                      \
                _mm512_storeu_si512(block.sums + (r + i) * SIDE, a[i]);                                               \
                _mm512_storeu_si512(block.sums + (r + i) * SIDE + HALF, b[i]);                                        \
            }                                                                                                         \
        }                                                                                                             \
    }

WITH_AVX512 INLINE __m512i add_in_16_bits(__m512i sums, __m512i codes, __m512i weights) {
    const __m512i pairs = _mm512_maddubs_epi16(codes, weights);
    return _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
MULTIPLY_WITH_512_BITS(multiply8_with_avx512, WITH_AVX512, add_in_16_bits)
MULTIPLY_WITH_512_BITS(multiply8_with_vnni, WITH_VNNI, _mm512_dpbusd_epi32)

/* Tiles 0 to 3: sums; 4 and 5: codes of 16 rows each; 6 and 7: panels. All are of 16 rows of 64 bytes. */
WITH_AMX static void open_tiles(void) {
    struct { uint8_t palette, start, zero[14]; uint16_t bytes[16]; uint8_t rows[16]; } tiles = {.palette = 1};
    for (int i = 0; i < 8; i++) tiles.bytes[i] = LINE, tiles.rows[i] = TILE;
    __asm__ volatile("" : : "r"(&tiles) : "memory"); /* GCC takes the next line to read 8 bytes only */
    _tile_loadconfig(&tiles);
}
WITH_AMX static void close_tiles(void) { _tile_release(); }

WITH_AMX static void multiply8_with_amx(Block block) {
    const int8_t *left = block.panels, *right = left + (block.steps + 1) * LINE;
    const uint8_t *upper = block.codes, *lower = upper + TILE * 4 * block.steps;
    _tile_loadd(0, left, 0);
    _tile_loadd(1, right, 0);
    _tile_loadd(2, left, 0);
    _tile_loadd(3, right, 0);
    for (int64_t s = 0; s < block.steps; s += TILE) {
        _tile_loadd(4, upper + 4 * s, 4 * block.steps);
        _tile_loadd(5, lower + 4 * s, 4 * block.steps);
        _tile_loadd(6, left + (s + 1) * LINE, LINE);
        _tile_loadd(7, right + (s + 1) * LINE, LINE);
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, block.sums, 4 * SIDE);
    _tile_stored(1, block.sums + HALF, 4 * SIDE);
    _tile_stored(2, block.sums + TILE * SIDE, 4 * SIDE);
    _tile_stored(3, block.sums + TILE * SIDE + HALF, 4 * SIDE);
}
#endif

typedef void (*Multiply8)(Block);

/* The product of this CPU for weights (count bytes, with the beginnings of the sums among them) */
static Multiply8 open_products(const int8_t *panels, int64_t panel_count, int64_t steps) {
#ifdef X86
    if (level == AMX) return open_tiles(), multiply8_with_amx;
    if (level == VNNI) return multiply8_with_vnni;
    int fair = level >= AVX2;
    for (int64_t p = 0; fair && p < panel_count; p++) {
        int large = 0;
        for (int64_t i = LINE; i < (steps + 1) * LINE; i++) {
            const int8_t weight = panels[p * (steps + 1) * LINE + i];
            large |= weight > FAIR || weight < -FAIR;
        }
        fair = !large;
    }
    if (fair) return level >= AVX512 ? multiply8_with_avx512 : multiply8_with_avx2;
#endif
    (void)panels, (void)panel_count, (void)steps;
    return multiply8_plain;
}
static void close_products(void) {
#ifdef X86
    if (level == AMX) close_tiles();
#endif
}
