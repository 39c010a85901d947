/* The k largest scores of every row, exactly, and of equal ones the first: in plain C, and with AVX-512. */

/* ranks[i]: how many of `count` values are larger than values[i]; `width` >= count of them may be read */
INLINE void rank(const float *values, int count, int width, int32_t *ranks) {
    for (int i = 0; i < width; i++) ranks[i] = 0;
    for (int j = 0; j < count; j++)
        for (int i = 0; i < width; i++) ranks[i] += values[j] > values[i];
}

/* At least k scores are as large as the k-th largest of LANES maxima, each over every LANES-th column. */
INLINE float lower_bound(const float *maxima, int64_t k) {
    if (k > LANES) return -INFINITY;
    const int32_t most = (int32_t)k;
    int32_t ranks[LANES];
    float bound = INFINITY;
    rank(maxima, LANES, LANES, ranks);
    for (int i = 0; i < LANES; i++) bound = ranks[i] < most && maxima[i] < bound ? maxima[i] : bound;
    return bound;
}

/* The k largest of a few candidates that are numbers, and in the order of their columns. */
INLINE void choose_few(const float *values, const int64_t *columns, int64_t count, int64_t k, int64_t *chosen) {
    int32_t ranks[FEW], equal[FEW] = {0};
    rank(values, (int)count, (int)((count + BLOCK - 1) / BLOCK * BLOCK), ranks);
    for (int i = 0; i < count; i++) {
        int place = ranks[i] + equal[ranks[i]]++;
        if (place < k) chosen[place] = columns[i];
    }
}

/* NaN is larger than every number */
INLINE int larger(float a, float b) { return a > b || (a != a && b == b); }

/* The same of many (ties, or a large k) or with NaN, by insertion into the sorted best. */
static void choose_many(const float *values, const int64_t *columns, int64_t count, int64_t k, int64_t *chosen,
                        float *best) {
    int64_t filled = 0;
    for (int64_t i = 0; i < count; i++) {
        if (filled == k && !larger(values[i], best[k - 1])) continue;
        int64_t place = filled < k ? filled++ : k - 1;
        for (; place > 0 && larger(values[i], best[place - 1]); place--) {
            best[place] = best[place - 1];
            chosen[place] = chosen[place - 1];
        }
        best[place] = values[i];
        chosen[place] = columns[i];
    }
}

INLINE int has_nan(const float *values, int64_t count) {
    int found = 0;
    for (int64_t i = 0; i < count; i++) found |= values[i] != values[i];
    return found;
}

#ifdef X86
/* The k largest of at most MOST candidates, in the order of their columns; 0, with nothing chosen, if one is NaN.
 * values: up to a multiple of 16, -inf after the last */
WITH_AVX512 static int order_with_avx512(const float *values, const int32_t *columns, int count, int64_t k,
                                         int64_t *chosen) {
    const __m512i one = _mm512_set1_epi32(1);
    const int parts = (count + 15) / 16;
    __m512 parted[MOST / 16];
    __m512i ranks[MOST / 16];
    for (int p = 0; p < parts; p++) {
        parted[p] = _mm512_loadu_ps(values + 16 * p);
        ranks[p] = _mm512_setzero_si512();
        if (_mm512_cmp_ps_mask(parted[p], parted[p], _CMP_UNORD_Q)) return 0;
    }
    for (int i = 0; i < count; i++) { /* before a candidate come the larger ones, and of equal ones those before it */
        const __m512 value = _mm512_set1_ps(values[i]);
        for (int p = 0; p < parts; p++) {
            const int after = i - 16 * p + 1; /* lanes from here on come after it */
            const __mmask16 later = after <= 0 ? 0xffff : after >= 16 ? 0 : (__mmask16)(0xffffu << after);
            __mmask16 ahead = _mm512_cmp_ps_mask(value, parted[p], _CMP_GT_OQ);
            ahead |= _mm512_mask_cmp_ps_mask(later, value, parted[p], _CMP_EQ_OQ);
            ranks[p] = _mm512_mask_add_epi32(ranks[p], ahead, ranks[p], one);
        }
    }
    int32_t places[MOST];
    int64_t sorted[MOST];
    for (int p = 0; p < parts; p++) _mm512_storeu_si512(places + 16 * p, ranks[p]);
    for (int i = 0; i < count; i++) sorted[places[i]] = columns[i];
    memcpy(chosen, sorted, (size_t)k * sizeof *chosen);
    return 1;
}

/* A row of n scores with AVX-512, in the same steps; 0, with nothing chosen, if they need `choose_many`.
 * scores: n + 16 floats that may be written */
WITH_AVX512 static int nearest_with_avx512(const float *products, const float *half, int64_t n, int64_t k,
                                           int64_t *chosen, float *scores) {
    const __m512 lowest = _mm512_set1_ps(-INFINITY);
    __m512 first = lowest, second = lowest; /* maxima over every LANES-th column */
    int64_t j = 0;
    if (k > LANES || n < LANES || n > INT32_MAX) return 0;
    for (; j + LANES <= n; j += LANES) {
        __m512 a = _mm512_sub_ps(_mm512_loadu_ps(products + j), _mm512_loadu_ps(half + j));
        __m512 b = _mm512_sub_ps(_mm512_loadu_ps(products + j + 16), _mm512_loadu_ps(half + j + 16));
        _mm512_storeu_ps(scores + j, a);
        _mm512_storeu_ps(scores + j + 16, b);
        first = _mm512_max_ps(a, first); /* a NaN is passed over */
        second = _mm512_max_ps(b, second);
    }
    for (; j < n; j += 16) { /* at most 31 columns */
        const __mmask16 there = n - j < 16 ? (__mmask16)((1u << (n - j)) - 1) : 0xffff;
        __m512 a = _mm512_sub_ps(_mm512_maskz_loadu_ps(there, products + j), _mm512_maskz_loadu_ps(there, half + j));
        _mm512_storeu_ps(scores + j, _mm512_mask_blend_ps(there, lowest, a));
    }
    float maxima[LANES];
    __m512i ranks[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    const __m512i one = _mm512_set1_epi32(1);
    _mm512_storeu_ps(maxima, first);
    _mm512_storeu_ps(maxima + 16, second);
    for (int l = 0; l < LANES; l++) {
        const __m512 value = _mm512_set1_ps(maxima[l]);
        ranks[0] = _mm512_mask_add_epi32(ranks[0], _mm512_cmp_ps_mask(value, first, _CMP_GT_OQ), ranks[0], one);
        ranks[1] = _mm512_mask_add_epi32(ranks[1], _mm512_cmp_ps_mask(value, second, _CMP_GT_OQ), ranks[1], one);
    }
    const __m512i most = _mm512_set1_epi32((int)k);
    const __m512 none = _mm512_set1_ps(INFINITY);
    const __m512 bound = _mm512_set1_ps(_mm512_reduce_min_ps(
        _mm512_min_ps(_mm512_mask_blend_ps(_mm512_cmplt_epi32_mask(ranks[0], most), none, first),
                      _mm512_mask_blend_ps(_mm512_cmplt_epi32_mask(ranks[1], most), none, second))));

    int32_t columns[FEW + 16];
    int64_t count = 0;
    __m512i column = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for (j = 0; j < n; j += 16, column = _mm512_add_epi32(column, _mm512_set1_epi32(16))) {
        __mmask16 found = _mm512_cmp_ps_mask(_mm512_loadu_ps(scores + j), bound, _CMP_NLT_UQ); /* NaN with them */
        if (n - j < 16) found &= (__mmask16)((1u << (n - j)) - 1);
        _mm512_storeu_si512(columns + count, _mm512_maskz_compress_epi32(found, column));
        count += __builtin_popcount(found);
        if (count > FEW) return 0;
    }

    float candidates[FEW];
    for (int p = 0; 16 * p < count; p++) {
        const __mmask16 there = count - 16 * p < 16 ? (__mmask16)((1u << (count - 16 * p)) - 1) : 0xffff;
        const __m512i places = _mm512_maskz_loadu_epi32(there, columns + 16 * p);
        _mm512_storeu_ps(candidates + 16 * p, _mm512_mask_i32gather_ps(lowest, there, places, scores, 4));
    }
    return order_with_avx512(candidates, columns, (int)count, k, chosen);
}
#endif

/* 1 <= k <= n; scratch: 4 n + FEW + k floats, all of them set */
VECTORISED static void nearest(const float *products, const float *half, int64_t rows, int64_t n, int64_t k,
                               int64_t *chosen, void *scratch) {
    int64_t *columns = scratch;
    float *scores = (float *)(columns + n), *values = scores + n, *best = values + n + FEW;
    for (int64_t i = 0; i < rows; i++, products += n, chosen += k) {
#ifdef X86
        if (level >= AVX512 && nearest_with_avx512(products, half, n, k, chosen, scores)) continue;
#endif
        float maxima[LANES];
        int64_t j = 0, count = 0;
        for (int l = 0; l < LANES; l++) maxima[l] = -INFINITY;
        for (; j + LANES <= n; j += LANES)
            for (int l = 0; l < LANES; l++) {
                float score = products[j + l] - half[j + l];
                scores[j + l] = score;
                maxima[l] = maxima[l] < score ? score : maxima[l];
            }
        for (; j < n; j++) scores[j] = products[j] - half[j];
        float bound = lower_bound(maxima, k);
        for (j = 0; j + BLOCK <= n; j += BLOCK) { /* what is not below the bound, NaN with it */
            int32_t any = 0;
            for (int l = 0; l < BLOCK; l++) any |= !(scores[j + l] < bound);
            for (int l = 0; any && l < BLOCK; l++) {
                values[count] = scores[j + l];
                columns[count] = j + l;
                count += !(scores[j + l] < bound);
            }
        }
        for (; j < n; j++) {
            values[count] = scores[j];
            columns[count] = j;
            count += !(scores[j] < bound);
        }
        if (count <= FEW && !has_nan(values, count))
            choose_few(values, columns, count, k, chosen);
        else
            choose_many(values, columns, count, k, chosen, best);
    }
}
