/* Maxima over chosen rows: in plain C, and in vectors that stay in registers while they go through the rows. */

/* A row's maxima from column c on: rows (n, d), of them chosen (k) */
INLINE void gather_max_rest(const float *rows, const int64_t *chosen, int64_t k, int64_t d, int64_t c, float *out) {
    for (; c < d; c++) {
        float best = rows[chosen[0] * d + c];
        for (int64_t j = 1; j < k; j++) {
            float value = rows[chosen[j] * d + c];
            best = best < value ? value : best;
        }
        out[c] = best;
    }
}

/* rows (n, d), of them chosen (count, k), to (count, d) */
VECTORISED static void gather_max_plain(const float *rows, const int64_t *chosen, int64_t count, int64_t k, int64_t d,
                                        float *out) {
    for (int64_t i = 0; i < count; i++, chosen += k, out += d) {
        int64_t c = 0;
        for (; c + PIECE <= d; c += PIECE) {
            float best[PIECE];
            memcpy(best, rows + chosen[0] * d + c, sizeof best);
            for (int64_t j = 1; j < k; j++) {
                const float *row = rows + chosen[j] * d + c;
                for (int l = 0; l < PIECE; l++) best[l] = best[l] < row[l] ? row[l] : best[l];
            }
            memcpy(out + c, best, sizeof best);
        }
        gather_max_rest(rows, chosen, k, d, c, out);
    }
}

#ifdef X86
/* The maximum of two vectors is the second where either is NaN, as in plain C. */
#define GATHER_MAX(name, WITH, Vector, load, store, max)                                                              \
    WITH INLINE void name##_piece(const float *rows, const int64_t *chosen, int64_t k, int64_t d, float *out,         \
                                  const int vectors) {                                                                \
        const int lanes = sizeof(Vector) / sizeof(float);                                                             \
        Vector best[8];                                                                                               \
        for (int v = 0; v < vectors; v++) best[v] = load(rows + chosen[0] * d + v * lanes);                           \
        for (int64_t j = 1; j < k; j++) {                                                                             \
            const float *row = rows + chosen[j] * d;                                                                  \
            for (int v = 0; v < vectors; v++) best[v] = max(load(row + v * lanes), best[v]);                          \
        }                                                                                                             \
        for (int v = 0; v < vectors; v++) store(out + v * lanes, best[v]);                                            \
    }                                                                                                                 \
    WITH static void name(const float *rows, const int64_t *chosen, int64_t count, int64_t k, int64_t d, float *out) { \
        const int lanes = sizeof(Vector) / sizeof(float);                                                             \
        for (int64_t i = 0; i < count; i++, chosen += k, out += d) {                                                  \
            int64_t c = 0;                                                                                            \
            for (; c + 8 * lanes <= d; c += 8 * lanes) name##_piece(rows + c, chosen, k, d, out + c, 8);              \
            for (; c + 4 * lanes <= d; c += 4 * lanes) name##_piece(rows + c, chosen, k, d, out + c, 4);              \
            for (; c + lanes <= d; c += lanes) name##_piece(rows + c, chosen, k, d, out + c, 1);                      \
            gather_max_rest(rows, chosen, k, d, c, out);                                                              \
        }                                                                                                             \
    }
GATHER_MAX(gather_max_with_avx2, WITH_AVX2, __m256, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_max_ps)
GATHER_MAX(gather_max_with_avx512, WITH_AVX512, __m512, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_max_ps)
#endif

static void gather_max(const float *rows, const int64_t *chosen, int64_t count, int64_t k, int64_t d, float *out) {
#ifdef X86
    if (level >= AVX512) return gather_max_with_avx512(rows, chosen, count, k, d, out);
    if (level >= AVX2) return gather_max_with_avx2(rows, chosen, count, k, d, out);
#endif
    gather_max_plain(rows, chosen, count, k, d, out);
}
