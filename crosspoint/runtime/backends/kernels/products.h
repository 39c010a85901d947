/* Products of rows (rows, C) with weights (C, D), 32 rows by 32 columns at a time.
 *
 * Weights are packed in panels of 16 columns, each of lines of 64 bytes: the first holds where the 16 sums begin; line s
 * after it holds, column by column, 4 bytes of weights, which are multiplied by 4 bytes of a row: a step.
 *
 * 8 bits: a step is of 4 channels, and sums are exact int32 on every level. Codes have 128 added, so that they are not
 * negative; sums begin at -128 times the column's sum, which undoes this. This is what VPDPBUSD and the tiles of AMX
 * read. Channels are padded with weights 0 to 16 lines.
 *
 * 16 bits: a step is of 2 channels in bfloat16, and sums are float32, from 0 on. VDPBF16PS reads it. It rounds to nearest,
 * and takes what is below 2^-126 in a factor or a sum as 0; the plain form does not. Products of two factors are exact.
 */
enum { SIDE = 32, LINE = 64, TILE = 16, HALF = SIDE / 2 };
enum { FAIR = 64 }; /* without VNNI, two products are added in 16 bits: exact up to this weight, as 2 * 255 * 64 < 2^15 */

typedef struct {
    const uint8_t *rows;  /* (32, 4 * steps) bytes */
    const int8_t *panels; /* of the first 16 columns and, after (steps + 1) * LINE bytes, of the next */
    int64_t steps;        /* of 8 bits, a multiple of 16 */
    void *sums;           /* (32, 32) of int32 or float */
} Block;

VECTORISED static void multiply8_plain(Block block) {
    for (int p = 0; p < 2; p++) {
        const int8_t *panel = block.panels + p * (block.steps + 1) * LINE;
        for (int r = 0; r < SIDE; r++) {
            const uint8_t *codes = block.rows + r * 4 * block.steps;
            int32_t sums[HALF];
            memcpy(sums, panel, sizeof sums);
            for (int64_t s = 0; s < block.steps; s++)
                for (int c = 0; c < HALF; c++)
                    for (int t = 0; t < 4; t++) sums[c] += codes[4 * s + t] * panel[(s + 1) * LINE + 4 * c + t];
            memcpy((int32_t *)block.sums + r * SIDE + p * HALF, sums, sizeof sums);
        }
    }
}

/* Halves of bfloat16 as the high halves of float32 */
VECTORISED static void multiply16_plain(Block block) {
    for (int p = 0; p < 2; p++) {
        const int8_t *panel = block.panels + p * (block.steps + 1) * LINE;
        for (int r = 0; r < SIDE; r++) {
            const uint8_t *row = block.rows + r * 4 * block.steps;
            float sums[HALF];
            memcpy(sums, panel, sizeof sums);
            for (int64_t s = 0; s < block.steps; s++) {
                uint32_t two, weights[HALF], even[HALF], odd[HALF];
                float factors[2], x[HALF], y[HALF];
                memcpy(&two, row + 4 * s, sizeof two);
                memcpy(factors, (uint32_t[]){two << 16, two & 0xffff0000u}, sizeof factors);
                memcpy(weights, panel + (s + 1) * LINE, sizeof weights);
                for (int c = 0; c < HALF; c++) even[c] = weights[c] << 16, odd[c] = weights[c] & 0xffff0000u;
                memcpy(x, even, sizeof x), memcpy(y, odd, sizeof y);
                for (int c = 0; c < HALF; c++) sums[c] = (sums[c] + factors[1] * y[c]) + factors[0] * x[c];
            }
            memcpy((float *)block.sums + r * SIDE + p * HALF, sums, sizeof sums);
        }
    }
}

#ifdef X86
INLINE int32_t four_bytes(const uint8_t *bytes) {
    int32_t four;
    memcpy(&four, bytes, sizeof four);
    return four;
}

WITH_AVX2 static void multiply8_with_avx2(Block block) {
    enum { TOGETHER = 4 }; /* rows whose sums are in registers */
    const __m256i ones = _mm256_set1_epi16(1);
    for (int p = 0; p < 2; p++) {
        const int8_t *panel = block.panels + p * (block.steps + 1) * LINE;
        for (int r = 0; r < SIDE; r += TOGETHER) {
            const uint8_t *codes = block.rows + r * 4 * block.steps;
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
                    const __m256i code = _mm256_set1_epi32(four_bytes(codes + 4 * (i * block.steps + s)));
                    a[i] = _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_maddubs_epi16(code, x), ones));
                    b[i] = _mm256_add_epi32(b[i], _mm256_madd_epi16(_mm256_maddubs_epi16(code, y), ones));
                }
            }
            for (int i = 0; i < TOGETHER; i++) {
                int32_t *sums = (int32_t *)block.sums + (r + i) * SIDE + p * HALF;
                _mm256_storeu_si256((__m256i *)sums, a[i]);
                _mm256_storeu_si256((__m256i *)(sums + HALF / 2), b[i]);
            }
        }
    }
}

/* Eight rows and 32 columns at a time; add(sums, rows, weights) adds the products of a step to each of 16 sums. */
#define MULTIPLY_WITH_512_BITS(name, WITH, add)                                                                       \
    WITH static void name(Block block) {                                                                              \
        enum { TOGETHER = 8 };                                                                                        \
        const int8_t *left = block.panels, *right = left + (block.steps + 1) * LINE;                                  \
        for (int r = 0; r < SIDE; r += TOGETHER) {                                                                    \
            const uint8_t *rows = block.rows + r * 4 * block.steps;                                                   \
            int32_t *sums = (int32_t *)block.sums + r * SIDE;                                                         \
            __m512i a[TOGETHER], b[TOGETHER];                                                                         \
            for (int i = 0; i < TOGETHER; i++) a[i] = _mm512_loadu_si512(left), b[i] = _mm512_loadu_si512(right);     \
            for (int64_t s = 0; s < block.steps; s++) {                                                               \
                const __m512i x = _mm512_loadu_si512(left + (s + 1) * LINE);                                          \
                const __m512i y = _mm512_loadu_si512(right + (s + 1) * LINE);                                         \
                _Pragma("GCC unroll 8")                                                                               \
                for (int i = 0; i < TOGETHER; i++) {                                                                  \
                    const __m512i row = _mm512_set1_epi32(four_bytes(rows + 4 * (i * block.steps + s)));              \
                    a[i] = add(a[i], row, x);                                                                         \
                    b[i] = add(b[i], row, y);                                                                         \
                }                                                                                                     \
            }                                                                                                         \
            for (int i = 0; i < TOGETHER; i++) {                                                                      \
                _mm512_storeu_si512(sums + i * SIDE, a[i]);                                                           \
                _mm512_storeu_si512(sums + i * SIDE + HALF, b[i]);                                                    \
            }                                                                                                         \
        }                                                                                                             \
    }

WITH_AVX512 INLINE __m512i add_in_16_bits(__m512i sums, __m512i codes, __m512i weights) {
    const __m512i pairs = _mm512_maddubs_epi16(codes, weights);
    return _mm512_add_epi32(sums, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
MULTIPLY_WITH_512_BITS(multiply8_with_avx512, WITH_AVX512, add_in_16_bits)
MULTIPLY_WITH_512_BITS(multiply8_with_vnni, WITH_VNNI, _mm512_dpbusd_epi32)

WITH_BF16 INLINE __m512i add_in_bf16(__m512i sums, __m512i rows, __m512i weights) {
    return _mm512_castps_si512(_mm512_dpbf16_ps(_mm512_castsi512_ps(sums), (__m512bh)rows, (__m512bh)weights));
}
MULTIPLY_WITH_512_BITS(multiply16_with_bf16, WITH_BF16, add_in_bf16)

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
    const uint8_t *upper = block.rows, *lower = upper + TILE * 4 * block.steps;
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
    int32_t *sums = block.sums;
    _tile_stored(0, sums, 4 * SIDE);
    _tile_stored(1, sums + HALF, 4 * SIDE);
    _tile_stored(2, sums + TILE * SIDE, 4 * SIDE);
    _tile_stored(3, sums + TILE * SIDE + HALF, 4 * SIDE);
}
#endif

typedef void (*MultiplyBlock)(Block);

static MultiplyBlock choose_products16(void) {
#ifdef X86
    if (level >= AVX512 && has_bf16) return multiply16_with_bf16;
#endif
    return multiply16_plain;
}
/* The product of 8 bits of this CPU for these weights */
static MultiplyBlock open_products8(const int8_t *panels, int64_t panel_count, int64_t steps) {
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
static void close_products8(void) {
#ifdef X86
    if (level == AMX) close_tiles();
#endif
}
