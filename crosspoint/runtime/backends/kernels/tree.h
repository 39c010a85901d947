/* The k nearest points in three dimensions without the products of all pairs.
 *
 * The same columns in the same order as `nearest` finds in the scores x_i · x_j - half_j, where half_j = ½|x_j|² and
 * a product is rounded as in ONNX Runtime's: by a chain of fused multiply-adds where the CPU has them.
 *
 * The points are sorted into boxes of LEAF, halving along the longest side. A box is passed over where no score in it
 * can be among the k best, rounding included. Small clouds, clouds in which that leaves out too little, and what is not
 * finite compare all pairs, row by row.
 */

enum { LEAF = 32 }; /* points of a box */
#ifndef FEWEST
#define FEWEST 4096 /* below it all pairs are quicker */
#endif

typedef struct {
    float *x[3], *half; /* of the n points in their order */
    float *at[3], *away; /* in the order of the boxes, a whole number of them; away is half, and INFINITY of no point */
    int32_t *column;     /* place in the given order; INT32_MAX of no point */
    float *low[3], *high[3], *square; /* of each box: its sides, and the largest |x|² in it */
    float *reach;        /* of each box: no score of the point at hand is larger in it */
    int64_t n, boxes;
} Cloud;

/* Candidates, of which k are wanted: those not below `least`, the k-th best of some of them */
typedef struct { float *score, least; int32_t *column, *rank; int64_t count, k, room; } Found;

/* a · b in the order and with the rounding of a matrix product */
INLINE float dot(float a, float b, float c, float x, float y, float z, int fused) {
    return fused ? __builtin_fmaf(c, z, __builtin_fmaf(b, y, a * x)) : a * x + b * y + c * z;
}

/* Whether half is ½|x|² but for rounding, and far from the limits of float32: not of NaN */
static int has_norms(const Cloud *cloud) {
    float largest = 0;
    for (int64_t i = 0; i < cloud->n; i++) {
        const float x = cloud->x[0][i], y = cloud->x[1][i], z = cloud->x[2][i];
        const float square = x * x + y * y + z * z, error = cloud->half[i] - 0.5f * square;
        if (!(error <= 1e-6f * square && -error <= 1e-6f * square)) return 0;
        if (square != 0 && !(square > 1e-30f)) return 0;
        largest = largest < square ? square : largest;
    }
    return largest < 1e30f;
}

/* Orders order[begin, end) so that nothing before `middle` is larger than what comes from there on. */
static void split(const float *x, int32_t *order, int64_t begin, int64_t end, int64_t middle) {
    while (end - begin > 1) {
        const float a = x[order[begin]], b = x[order[begin + (end - begin) / 2]], c = x[order[end - 1]];
        const float pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        int64_t i = begin, j = end - 1;
        while (i <= j) {
            while (x[order[i]] < pivot) i++;
            while (x[order[j]] > pivot) j--;
            if (i > j) break;
            const int32_t swapped = order[i];
            order[i++] = order[j], order[j--] = swapped;
        }
        if (middle <= j)
            end = j + 1;
        else if (middle >= i)
            begin = i;
        else
            return;
    }
}

/* Sorts column[begin, end) into boxes: halves of whole boxes along the longest side. */
static void sort_boxes(const Cloud *cloud, int64_t begin, int64_t end) {
    if (end - begin <= LEAF) return;
    int longest = 0;
    float length = -1;
    for (int axis = 0; axis < 3; axis++) {
        float low = INFINITY, high = -INFINITY;
        for (int64_t i = begin; i < end; i++) {
            const float value = cloud->x[axis][cloud->column[i]];
            low = value < low ? value : low;
            high = value > high ? value : high;
        }
        if (high - low > length) longest = axis, length = high - low;
    }
    const int64_t middle = begin + (end - begin + LEAF - 1) / LEAF / 2 * LEAF;
    split(cloud->x[longest], cloud->column, begin, end, middle);
    sort_boxes(cloud, begin, middle);
    sort_boxes(cloud, middle, end);
}

static void make_boxes(Cloud *cloud) {
    for (int64_t i = 0; i < cloud->n; i++) cloud->column[i] = (int32_t)i;
    sort_boxes(cloud, 0, cloud->n);
    for (int64_t b = 0; b < cloud->boxes; b++) {
        cloud->square[b] = 0;
        for (int axis = 0; axis < 3; axis++) cloud->low[axis][b] = INFINITY, cloud->high[axis][b] = -INFINITY;
        for (int64_t i = b * LEAF; i < (b + 1) * LEAF; i++) {
            const int there = i < cloud->n;
            float square = 0;
            if (!there) cloud->column[i] = INT32_MAX;
            cloud->away[i] = there ? cloud->half[cloud->column[i]] : INFINITY;
            for (int axis = 0; axis < 3; axis++) {
                const float value = there ? cloud->x[axis][cloud->column[i]] : 0;
                cloud->at[axis][i] = value;
                if (there && value < cloud->low[axis][b]) cloud->low[axis][b] = value;
                if (there && value > cloud->high[axis][b]) cloud->high[axis][b] = value;
                square += value * value;
            }
            if (square > cloud->square[b]) cloud->square[b] = square;
        }
    }
}

/* For every box a number that no score of the point is above: s = (|p|² - |p - x|²) / 2, and the rounding of all of it,
 * less than 48 · 2⁻²⁴ of the larger |x|². */
INLINE void reach_boxes(const Cloud *cloud, float x, float y, float z) {
    const float own = x * x + y * y + z * z;
    for (int64_t b = 0; b < cloud->boxes; b++) {
        float a = cloud->low[0][b] - x, c = x - cloud->high[0][b], d = 0, larger = cloud->square[b];
        a = a > c ? a : c, a = a > 0 ? a : 0, d += a * a;
        a = cloud->low[1][b] - y, c = y - cloud->high[1][b];
        a = a > c ? a : c, a = a > 0 ? a : 0, d += a * a;
        a = cloud->low[2][b] - z, c = z - cloud->high[2][b];
        a = a > c ? a : c, a = a > 0 ? a : 0, d += a * a;
        larger = larger > own ? larger : own;
        cloud->reach[b] = 0.5f * (own - d) + larger * (64.f / (1 << 24));
    }
}

/* Raise `least` to the k-th best score found, and drop what is below it. */
INLINE void raise(Found *found) {
    const int64_t count = found->count;
    const int32_t most = (int32_t)found->k;
    float least = INFINITY;
    for (int64_t i = 0; i < count; i++) found->rank[i] = 0;
    for (int64_t j = 0; j < count; j++)
        for (int64_t i = 0; i < count; i++) found->rank[i] += found->score[j] > found->score[i];
    for (int64_t i = 0; i < count; i++)
        least = found->rank[i] < most && found->score[i] < least ? found->score[i] : least;
    found->least = least;
    found->count = 0;
    for (int64_t i = 0; i < count; i++) {
        const float score = found->score[i];
        found->score[found->count] = score;
        found->column[found->count] = found->column[i];
        found->count += score >= least;
    }
}

/* Places of the candidates in their order: of equal scores the lower column comes first. */
INLINE void rank_all(Found *found) {
    const int64_t count = found->count;
    for (int64_t i = 0; i < count; i++) found->rank[i] = 0;
    for (int64_t j = 0; j < count; j++)
        for (int64_t i = 0; i < count; i++)
            found->rank[i] += (found->score[j] > found->score[i]) |
                              ((found->score[j] == found->score[i]) & (found->column[j] < found->column[i]));
}

/* Drop all but the k best: many that are equal. */
INLINE void cut(Found *found) {
    const int64_t count = found->count;
    rank_all(found);
    found->count = 0;
    for (int64_t i = 0; i < count; i++) {
        if (found->rank[i] >= found->k) continue;
        found->score[found->count] = found->score[i];
        found->column[found->count++] = found->column[i];
    }
}

/* Add the points of a box that are not below `least`. */
INLINE void visit(const Cloud *cloud, int64_t box, float x, float y, float z, Found *found, int fused) {
    const int64_t begin = box * LEAF;
    float scores[LEAF];
    int32_t any = 0;
    for (int l = 0; l < LEAF; l++) {
        const int64_t i = begin + l;
        scores[l] = dot(x, y, z, cloud->at[0][i], cloud->at[1][i], cloud->at[2][i], fused) - cloud->away[i];
        any |= scores[l] >= found->least;
    }
    if (!any) return;
    for (int l = 0; l < LEAF; l++) {
        found->score[found->count] = scores[l];
        found->column[found->count] = cloud->column[begin + l];
        found->count += scores[l] >= found->least;
    }
    if (found->count > found->room - LEAF || (found->least == -INFINITY && found->count >= found->k)) raise(found);
    if (found->count > found->room - LEAF) cut(found);
}

/* The k best in their order */
INLINE void choose(Found *found, int64_t *chosen) {
    rank_all(found);
    for (int64_t i = 0; i < found->count; i++)
        if (found->rank[i] < found->k) chosen[found->rank[i]] = found->column[i];
}

/* Neighbours of the points in the order of the boxes; returns how many points were done when it ceased to pay. */
INLINE int64_t search_boxes(const Cloud *cloud, Found *found, int64_t *chosen, int fused) {
    int64_t visited = 0;
    for (int64_t i = 0; i < cloud->n; i++) {
        const float x = cloud->at[0][i], y = cloud->at[1][i], z = cloud->at[2][i];
        const int64_t own = i / LEAF;
        found->count = 0, found->least = -INFINITY;
        reach_boxes(cloud, x, y, z);
        visit(cloud, own, x, y, z, found, fused);
        for (int64_t b = 0; b < cloud->boxes; b++)
            if (b != own && cloud->reach[b] >= found->least) visit(cloud, b, x, y, z, found, fused), visited++;
        choose(found, chosen + found->k * cloud->column[i]);
        if (visited > (i + LEAF) * cloud->boxes / 4) return i + 1;
    }
    return cloud->n;
}

/* Products of a point with all in their order */
INLINE void multiply(const Cloud *cloud, int64_t i, float *row, int fused) {
    const float x = cloud->x[0][i], y = cloud->x[1][i], z = cloud->x[2][i];
    for (int64_t j = 0; j < cloud->n; j++)
        row[j] = dot(x, y, z, cloud->x[0][j], cloud->x[1][j], cloud->x[2][j], fused);
}

typedef int64_t Search(const Cloud *, Found *, int64_t *);
typedef void Multiply(const Cloud *, int64_t, float *);
#define SEARCHES(target, name, fused)                                                      \
    target static int64_t search_##name(const Cloud *cloud, Found *found, int64_t *chosen) { \
        return search_boxes(cloud, found, chosen, fused);                                  \
    }                                                                                      \
    target static void multiply_##name(const Cloud *cloud, int64_t i, float *row) { multiply(cloud, i, row, fused); }
#ifdef X86
SEARCHES(WITH_AVX512, avx512, 1)
SEARCHES(WITH_FMA, fma, 1)
#endif
#ifdef __FP_FAST_FMAF
SEARCHES(, plain, 1)
#else
SEARCHES(, plain, 0)
#endif

/* Neighbours (n, k) of x (n, 3), 1 <= k <= n; 0 if there is no memory */
static int nearest_points(const float *x, const float *half, int64_t n, int64_t k, int64_t *chosen) {
    const int64_t boxes = (n + LEAF - 1) / LEAF, whole = boxes * LEAF, room = 3 * k + 2 * LEAF;
    Search *search = search_plain;
    Multiply *multiply_all = multiply_plain;
#ifdef X86
    if (level >= AVX512)
        search = search_avx512, multiply_all = multiply_avx512;
    else if (level >= AVX2)
        search = search_fma, multiply_all = multiply_fma;
#endif
    float *numbers = calloc((size_t)(4 * n + 5 * whole + 8 * boxes + 3 * room), sizeof *numbers);
    void *scratch = calloc((size_t)n + (size_t)k + FEW, 4 * sizeof(float)); /* of `nearest` */
    if (numbers == NULL || scratch == NULL) {
        free(numbers), free(scratch);
        return 0;
    }
    float *row = numbers, *next = numbers + n;
    Cloud cloud = {.half = (float *)half, .n = n, .boxes = boxes};
    for (int axis = 0; axis < 3; axis++) {
        cloud.x[axis] = next, next += n;
        cloud.at[axis] = next, next += whole;
        cloud.low[axis] = next, next += boxes;
        cloud.high[axis] = next, next += boxes;
        for (int64_t i = 0; i < n; i++) cloud.x[axis][i] = x[3 * i + axis];
    }
    cloud.away = next, next += whole;
    cloud.column = (int32_t *)next, next += whole;
    cloud.square = next, next += boxes;
    cloud.reach = next, next += boxes;
    Found found = {next, 0, (int32_t *)(next + room), (int32_t *)(next + 2 * room), 0, k, room};
    int64_t done = 0;
    if (n >= FEWEST && n < INT32_MAX - LEAF && k < n / 8 && has_norms(&cloud)) {
        make_boxes(&cloud);
        done = search(&cloud, &found, chosen);
    }
    const int sorted = done > 0;
    for (int64_t i = done; i < n; i++) {
        const int64_t own = sorted ? cloud.column[i] : i;
        multiply_all(&cloud, own, row);
        nearest(row, half, 1, n, k, chosen + own * k, scratch);
    }
    free(numbers), free(scratch);
    return 1;
}
