/* Nearest16(x (B, N, C); k) -> (B, N, k) int64
 *     the k nearest points of every point, nearest first, of equal ones the first. As in the graph, c is x minus the mean of
 *     its cloud, and the columns are those with the largest c_i . c_j - half_j, where half is half of |c|^2.
 *
 * With VNNI, products of 16-bit codes come first, at twice the speed of float32's. They leave few more than k candidates,
 * and never too few: for c = s q + s e, with codes q and the rest e,
 *     | |c_i - c_j| / s  -  |q_i - q_j| |  <=  |e_i| + |e_j|  <=  |e_i| + E,  E the largest |e|
 * so that if k columns have |q_i - q_j| <= Q, every one of the k nearest has |q_i - q_j| <= Q + 2 (|e_i| + E). Candidates
 * are then compared by float32 products. Without VNNI, all columns are candidates.
 */
enum { GROUPS = 64, NOWHERE = -2000000000 };
enum { LONGEST = 30000 }; /* the largest |q|: products and half of |q|^2 fit in 32 bits together, and in NOWHERE */

typedef struct {
    int64_t n, c, k;
    float *points, *half;       /* (n, c), centred; (n) */
    float *mean;                /* (c), and as much for adding it up */
    int64_t *chosen;            /* (n, k) */
    float *products;            /* (n) of one point */
    void *scratch;              /* as for `nearest` */
    float *rest;                /* (n): |e|, and a little more for its rounding */
    int32_t *squares;           /* (n): |q|^2 */
    float largest_rest;
    int64_t steps, pairs;       /* steps: of 2 channels; pairs: of panels of 16 points */
    int16_t *codes;             /* (32 * pairs, 2 * steps) */
    int16_t *panels;            /* (2 * pairs, steps, 16, 2), after 16 beginnings of sums each */
    int32_t *scores;            /* of the codes of 32 points, (pairs, 32, 32) */
    int32_t *columns;           /* candidates of a point */
    float *values;              /* their products with it */
} CodedSearch;

/* In 16 partial sums, so that every level adds in the same order */
VECTORISED static float dot_in_16(const float *a, const float *b, int64_t c) {
    float sums[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= c; i += 16)
        for (int l = 0; l < 16; l++) sums[l] += a[i + l] * b[i + l];
    for (int l = 0; i < c; i++, l++) sums[l] += a[i] * b[i];
    for (int h = 8; h > 0; h /= 2)
        for (int l = 0; l < h; l++) sums[l] += sums[l + h];
    return sums[0];
}

/* One point among all */
static void search_all_points(const CodedSearch *s, int64_t i) {
    for (int64_t j = 0; j < s->n; j++) s->products[j] = dot_in_16(s->points + i * s->c, s->points + j * s->c, s->c);
    nearest(s->products, s->half, 1, s->n, s->k, s->chosen + i * s->k, s->scratch);
}

#ifdef X86
/* The first `count` floats, at most 16; 0 after them */
WITH_AVX512 INLINE __m512 some_floats(const float *values, int64_t count) {
    return _mm512_maskz_loadu_ps(count < 16 ? (__mmask16)((1u << count) - 1) : 0xffff, values);
}

/* What codes are multiplied by, so that the longest point has LONGEST; 0 if there is none */
WITH_AVX512 static float inverse_step(const float *points, int64_t n, int64_t c) {
    float longest = 0;
    for (int64_t i = 0; i < n; i++, points += c) {
        __m512 squares = _mm512_setzero_ps();
        for (int64_t j = 0; j < c; j += 16) {
            const __m512 some = some_floats(points + j, c - j);
            squares = _mm512_add_ps(squares, _mm512_mul_ps(some, some));
        }
        const float length = sqrtf(_mm512_reduce_add_ps(squares));
        if (!(length <= FLT_MAX)) return 0;
        longest = length > longest ? length : longest;
    }
    const float inverse = LONGEST / longest;
    return inverse > 0 && inverse <= FLT_MAX ? inverse : 0;
}

/* Codes of point i, its rest and its square */
WITH_AVX512 static void encode_point(CodedSearch *s, int64_t i, float inverse, int16_t *codes) {
    __m512 rest = _mm512_setzero_ps();
    __m512i square = _mm512_setzero_si512();
    for (int64_t c = 0; c < s->c; c += 16) {
        const __m512 x = _mm512_mul_ps(some_floats(s->points + i * s->c + c, s->c - c), _mm512_set1_ps(inverse));
        const __m512 code = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        const __m512i q = _mm512_cvtps_epi32(code);
        const __m512 left = _mm512_sub_ps(x, code);
        rest = _mm512_add_ps(rest, _mm512_mul_ps(left, left));
        square = _mm512_add_epi32(square, _mm512_mullo_epi32(q, q));
        _mm256_storeu_si256((__m256i *)(codes + c), _mm512_cvtepi32_epi16(q));
    }
    /* x itself is rounded, by 2^-24 of at most LONGEST */
    s->rest[i] = sqrtf(_mm512_reduce_add_ps(rest)) * 1.001f + 0.01f;
    s->squares[i] = _mm512_reduce_add_epi32(square);
    s->largest_rest = s->rest[i] > s->largest_rest ? s->rest[i] : s->largest_rest;
}

/* Codes of all points, as rows and as columns of products; 0 if there are none, as something is not finite or all is 0.
 * Where a column's sums begin takes away half of its |q|^2, so that a sum falls as the distance grows. */
WITH_AVX512 static int encode(CodedSearch *s) {
    const float inverse = inverse_step(s->points, s->n, s->c);
    if (inverse == 0) return 0;
    s->largest_rest = 0;
    for (int64_t i = 0; i < SIDE * s->pairs; i++) {
        int16_t *codes = s->codes + i * 2 * s->steps;
        int16_t *panel = s->panels + i / 16 * (s->steps + 1) * 32 + i % 16 * 2;
        int32_t begin = NOWHERE;
        memset(codes, 0, 2 * (size_t)s->steps * sizeof *codes);
        if (i < s->n) {
            encode_point(s, i, inverse, codes);
            begin = -(s->squares[i] / 2);
        }
        memcpy(panel, &begin, sizeof begin);
        for (int64_t t = 0; t < s->steps; t++) memcpy(panel + (t + 1) * 32, codes + 2 * t, 2 * sizeof *codes);
    }
    return 1;
}

/* Scores of 32 points from `first` on, 8 at a time with 32 columns */
WITH_VNNI static void score_codes(const CodedSearch *s, int64_t first) {
    enum { TOGETHER = 8 };
    for (int64_t p = 0; p < s->pairs; p++)
        for (int r = 0; r < SIDE; r += TOGETHER) {
            const int16_t *left = s->panels + 2 * p * (s->steps + 1) * 32, *right = left + (s->steps + 1) * 32;
            const int16_t *codes = s->codes + (first + r) * 2 * s->steps;
            __m512i a[TOGETHER], b[TOGETHER];
            for (int i = 0; i < TOGETHER; i++) a[i] = _mm512_loadu_si512(left), b[i] = _mm512_loadu_si512(right);
            for (int64_t t = 0; t < s->steps; t++) {
                const __m512i x = _mm512_loadu_si512(left + (t + 1) * 32), y = _mm512_loadu_si512(right + (t + 1) * 32);
#pragma GCC unroll 8
                for (int i = 0; i < TOGETHER; i++) {
                    int32_t two;
                    memcpy(&two, codes + 2 * (i * s->steps + t), sizeof two);
                    const __m512i code = _mm512_set1_epi32(two);
                    a[i] = _mm512_dpwssd_epi32(a[i], code, x);
                    b[i] = _mm512_dpwssd_epi32(b[i], code, y);
                }
            }
            for (int i = 0; i < TOGETHER; i++) {
                int32_t *scores = s->scores + (p * SIDE + r + i) * SIDE;
                _mm512_storeu_si512(scores, a[i]);
                _mm512_storeu_si512(scores + HALF, b[i]);
            }
        }
}

/* The k-th largest of GROUPS maxima, each over every GROUPS-th column: at least k columns are as large. */
WITH_AVX512 INLINE int32_t kth_of_groups(const CodedSearch *s, const int32_t *scores) {
    const __m512i one = _mm512_set1_epi32(1), most = _mm512_set1_epi32((int)s->k);
    __m512i maxima[4], ranks[4];
    int32_t values[GROUPS];
    for (int v = 0; v < 4; v++) maxima[v] = _mm512_set1_epi32(NOWHERE), ranks[v] = _mm512_setzero_si512();
    for (int64_t p = 0; p < s->pairs; p += 2, scores += 2 * SIDE * SIDE) {
        maxima[0] = _mm512_max_epi32(maxima[0], _mm512_loadu_si512(scores));
        maxima[1] = _mm512_max_epi32(maxima[1], _mm512_loadu_si512(scores + HALF));
        if (p + 1 == s->pairs) break;
        maxima[2] = _mm512_max_epi32(maxima[2], _mm512_loadu_si512(scores + SIDE * SIDE));
        maxima[3] = _mm512_max_epi32(maxima[3], _mm512_loadu_si512(scores + SIDE * SIDE + HALF));
    }
    for (int v = 0; v < 4; v++) _mm512_storeu_si512(values + 16 * v, maxima[v]);
    for (int g = 0; g < GROUPS; g++) {
        const __m512i value = _mm512_set1_epi32(values[g]);
        for (int v = 0; v < 4; v++)
            ranks[v] = _mm512_mask_add_epi32(ranks[v], _mm512_cmpgt_epi32_mask(value, maxima[v]), ranks[v], one);
    }
    __m512i least = _mm512_set1_epi32(INT32_MAX);
    for (int v = 0; v < 4; v++)
        least = _mm512_mask_min_epi32(least, _mm512_cmplt_epi32_mask(ranks[v], most), least, maxima[v]);
    return _mm512_reduce_min_epi32(least);
}

/* Of a point and four others, `dot_in_16`: halves of the sums are added, then quarters, and so on. */
WITH_AVX512 INLINE __m128 four_dots(const float *a, const float *const *others, int64_t c) {
    __m512 sums[4];
    __m128 x[4];
    for (int v = 0; v < 4; v++) sums[v] = _mm512_setzero_ps();
    int64_t i = 0;
    for (; i + 16 <= c; i += 16) {
        const __m512 all = _mm512_loadu_ps(a + i);
        for (int v = 0; v < 4; v++)
            sums[v] = _mm512_add_ps(sums[v], _mm512_mul_ps(all, _mm512_loadu_ps(others[v] + i)));
    }
    for (int v = 0; v < 4 && i < c; v++)
        sums[v] = _mm512_add_ps(sums[v], _mm512_mul_ps(some_floats(a + i, c - i), some_floats(others[v] + i, c - i)));
    for (int v = 0; v < 4; v++) {
        const __m256 half = _mm256_add_ps(_mm512_castps512_ps256(sums[v]), _mm512_extractf32x8_ps(sums[v], 1));
        x[v] = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    }
    _MM_TRANSPOSE4_PS(x[0], x[1], x[2], x[3]);
    return _mm_add_ps(_mm_add_ps(x[0], x[2]), _mm_add_ps(x[1], x[3]));
}

/* Point i by the scores of its codes */
WITH_AVX512 static void search_candidates(const CodedSearch *s, int64_t i, const int32_t *scores) {
    const double square = s->squares[i], kth = kth_of_groups(s, scores);
    const double distance = square - 2 * kth > 0 ? sqrt(square - 2 * kth) : 0;
    const double radius = distance + 2 * ((double)s->rest[i] + s->largest_rest);
    const double bound = floor((square - radius * radius) / 2) - 2; /* a sum has rounded half of |q|^2 up */
    const __m512i least = _mm512_set1_epi32(bound > NOWHERE ? (int32_t)bound : NOWHERE + 1);
    int64_t count = 0;
    __m512i column = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i step = _mm512_set1_epi32(16);
    for (int64_t p = 0; p < s->pairs; p++, scores += SIDE * SIDE)
        for (int h = 0; h < 2; h++, column = _mm512_add_epi32(column, step)) {
            const __mmask16 found = _mm512_cmpge_epi32_mask(_mm512_loadu_si512(scores + h * HALF), least);
            _mm512_storeu_si512(s->columns + count, _mm512_maskz_compress_epi32(found, column));
            count += __builtin_popcount(found);
        }
    for (int64_t m = count; m % 16; m++) s->columns[m] = s->columns[0];
    for (int64_t m = 0; m < count; m += 4) {
        const float *others[4];
        for (int v = 0; v < 4; v++) others[v] = s->points + s->columns[m + v] * s->c;
        _mm_storeu_ps(s->values + m, four_dots(s->points + i * s->c, others, s->c));
    }
    if (count <= MOST) {
        float values[MOST];
        for (int64_t m = 0; m < count; m += 16) {
            const __mmask16 there = count - m < 16 ? (__mmask16)((1u << (count - m)) - 1) : 0xffff;
            const __m512 half = _mm512_i32gather_ps(_mm512_loadu_si512(s->columns + m), s->half, 4);
            const __m512 score = _mm512_sub_ps(_mm512_loadu_ps(s->values + m), half);
            _mm512_storeu_ps(values + m, _mm512_mask_blend_ps(there, _mm512_set1_ps(-INFINITY), score));
        }
        if (order_with_avx512(values, s->columns, (int)count, s->k, s->chosen + i * s->k)) return;
    }
    for (int64_t j = 0; j < s->n; j++) s->products[j] = -INFINITY; /* those that are no candidates have no chance */
    for (int64_t m = 0; m < count; m++) s->products[s->columns[m]] = s->values[m];
    nearest(s->products, s->half, 1, s->n, s->k, s->chosen + i * s->k, s->scratch);
}

static void search_by_codes(CodedSearch *s) {
    for (int64_t first = 0; first < s->n; first += SIDE) {
        score_codes(s, first);
        for (int64_t i = first; i < first + SIDE && i < s->n; i++)
            search_candidates(s, i, s->scores + (i - first) * SIDE);
    }
}
#else
static int encode(CodedSearch *s) { return (void)s, 0; }
static void search_by_codes(CodedSearch *s) { (void)s; }
#endif

/* The next part of a block of memory, or only its size where there is no block yet */
static void *take(char *memory, size_t *size, size_t bytes) {
    void *part = memory ? memory + *size : NULL;
    *size += (bytes + LINE - 1) / LINE * LINE;
    return part;
}
/* Lays out what a search needs in a block that may be NULL; its size */
static size_t lay_out(CodedSearch *s, char *memory, int coded) {
    const size_t n = (size_t)s->n, c = (size_t)s->c, padded = (size_t)s->pairs * SIDE, steps = (size_t)s->steps;
    size_t size = 0;
    s->points = take(memory, &size, n * c * sizeof(float));
    s->mean = take(memory, &size, 2 * c * sizeof(float));
    s->half = take(memory, &size, n * sizeof(float));
    s->products = take(memory, &size, n * sizeof(float));
    s->scratch = take(memory, &size, 4 * (n + (size_t)s->k + FEW) * sizeof(float));
    if (!coded) return size;
    s->rest = take(memory, &size, n * sizeof(float));
    s->squares = take(memory, &size, n * sizeof(int32_t));
    s->codes = take(memory, &size, padded * 2 * steps * sizeof(int16_t));
    s->panels = take(memory, &size, padded / 16 * (steps + 1) * 32 * sizeof(int16_t));
    s->scores = take(memory, &size, padded * SIDE * sizeof(int32_t));
    s->columns = take(memory, &size, (padded + 16) * sizeof(int32_t));
    s->values = take(memory, &size, (padded + 16) * sizeof(float));
    return size;
}

/* A cloud (n, c) minus its mean, and half of the squares */
VECTORISED static void centre(const CodedSearch *s, const float *x) {
    const int64_t c = s->c;
    mean(x, 1, s->n, c, s->mean, s->mean + c);
    for (int64_t i = 0; i < s->n; i++) {
        float *point = s->points + i * c;
        for (int64_t j = 0; j < c; j++) point[j] = x[i * c + j] - s->mean[j];
        s->half[i] = dot_in_16(point, point, c) * 0.5f;
    }
}

static Status *run_nearest16(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    Tensor x;
    TRY(input(api, context, 0, FLOAT, &x));
    if (x.rank != 3) return refuse(api, "Nearest16: its input must have 3 dimensions");
    CodedSearch s = {.n = x.dims[1], .c = x.dims[2], .k = ((Kernel *)self)->k};
    if (s.k > s.n) return refuse(api, "Nearest16: k is larger than the number of points");
    void *out = NULL;
    int64_t count;
    TRY(output(api, context, (int64_t[]){x.dims[0], s.n, s.k}, 3, &out, &count));
    if (count == 0) return NULL;
    const int coded = level >= VNNI && s.k <= GROUPS && s.n < 1 << 24 && s.c < 1 << 16;
    s.steps = coded ? (s.c + 15) / 16 * 8 : 0;
    s.pairs = coded ? (s.n + SIDE - 1) / SIDE : 0;
    char *memory = calloc(1, lay_out(&s, NULL, coded) + LINE);
    if (memory == NULL) return error(api, FAIL, "Nearest16: no memory");
    lay_out(&s, memory + (LINE - (uintptr_t)memory % LINE), coded);
    for (int64_t b = 0; b < x.dims[0]; b++) {
        s.chosen = (int64_t *)out + b * s.n * s.k;
        centre(&s, (float *)x.data + b * s.n * s.c);
        if (coded && encode(&s))
            search_by_codes(&s);
        else
            for (int64_t i = 0; i < s.n; i++) search_all_points(&s, i);
    }
    free(memory);
    return NULL;
}
