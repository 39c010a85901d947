/* The parts of an EdgeConv that ONNX Runtime is slow at, as custom operators of its CPU provider.
 *
 *   Nearest(products (B, M, N), half (B, 1, N); k)  ->  (B, M, k) int64
 *       the k columns with the largest products - half of every row, largest first, of equal ones the first:
 *       what Sub and TopK give, without a heap
 *   GatherMax(rows (B, N, D), chosen (B, M, k))     ->  (B, M, D)
 *       maxima over chosen rows: what GatherND and ReduceMax give, without the (B, M, k, D) between them
 *   Max(x; axis, keep), Mean(x; axis, keep)
 *       over one axis that is not the last
 *
 * ONNX Runtime hands out its functions as one table that only ever grows at its end, so that the few that are needed
 * are named here by their place in it, and no header of any one version is needed to build this.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define VECTORISED __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define VECTORISED
#endif
#define EXPORTED __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 32, FEW = 64, BLOCK = 8, PIECE = 64, RANK = 8 };

/* ranks[i]: how many of `count` values are larger than values[i]; `width` >= count of them may be read */
INLINE void rank(const float *values, int count, int width, int32_t *ranks) {
    for (int i = 0; i < width; i++) ranks[i] = 0;
    for (int j = 0; j < count; j++)
        for (int i = 0; i < width; i++) ranks[i] += values[j] > values[i];
}

/* At least k scores are as large as the k-th largest of LANES maxima, each over every LANES-th column. */
INLINE float lower_bound(const float *maxima, int k) {
    int32_t ranks[LANES];
    float bound = INFINITY;
    rank(maxima, LANES, LANES, ranks);
    for (int i = 0; i < LANES; i++) bound = ranks[i] < k && maxima[i] < bound ? maxima[i] : bound;
    return k <= LANES ? bound : -INFINITY;
}

/* The k largest of a few candidates that are in the order of their columns. */
INLINE void choose_few(const float *values, const int32_t *columns, int count, int k, int64_t *chosen) {
    int32_t ranks[FEW], equal[FEW] = {0};
    rank(values, count, (count + BLOCK - 1) / BLOCK * BLOCK, ranks);
    for (int i = 0; i < count; i++) {
        int place = ranks[i] + equal[ranks[i]]++;
        if (place < k) chosen[place] = columns[i];
    }
}

/* The same of many (ties, or a large k), by insertion into the sorted best. */
static void choose_many(const float *values, const int32_t *columns, int count, int k, int64_t *chosen, float *best) {
    int filled = 0;
    for (int i = 0; i < count; i++) {
        if (filled == k && !(values[i] > best[k - 1])) continue;
        int place = filled < k ? filled++ : k - 1;
        for (; place > 0 && best[place - 1] < values[i]; place--) {
            best[place] = best[place - 1];
            chosen[place] = chosen[place - 1];
        }
        best[place] = values[i];
        chosen[place] = columns[i];
    }
}

/* scratch: 3 n + FEW + k floats. Scores that are not numbers are never chosen; the places that they leave hold 0. */
VECTORISED static void nearest(const float *products, const float *half, int rows, int n, int k, int64_t *chosen,
                               float *scratch) {
    float *scores = scratch, *values = scratch + n, *best = values + n + FEW;
    int32_t *columns = (int32_t *)(best + k);
    memset(chosen, 0, (size_t)rows * k * sizeof *chosen);
    for (int i = 0; i < rows; i++, products += n, chosen += k) {
        float maxima[LANES];
        int j = 0, count = 0;
        for (int l = 0; l < LANES; l++) maxima[l] = -INFINITY;
        for (; j + LANES <= n; j += LANES)
            for (int l = 0; l < LANES; l++) {
                float score = products[j + l] - half[j + l];
                scores[j + l] = score;
                maxima[l] = maxima[l] < score ? score : maxima[l];
            }
        for (; j < n; j++) scores[j] = products[j] - half[j];
        float bound = lower_bound(maxima, k);
        for (j = 0; j + BLOCK <= n; j += BLOCK) {
            int32_t any = 0;
            for (int l = 0; l < BLOCK; l++) any |= scores[j + l] >= bound;
            for (int l = 0; any && l < BLOCK; l++) {
                values[count] = scores[j + l];
                columns[count] = j + l;
                count += scores[j + l] >= bound;
            }
        }
        for (; j < n; j++) {
            values[count] = scores[j];
            columns[count] = j;
            count += scores[j] >= bound;
        }
        if (count <= FEW)
            choose_few(values, columns, count, k, chosen);
        else
            choose_many(values, columns, count, k, chosen, best);
    }
}

VECTORISED static void gather_max(const float *rows, const int64_t *chosen, int count, int k, int d, float *out) {
    for (int i = 0; i < count; i++, chosen += k, out += d) {
        int c = 0;
        for (; c + PIECE <= d; c += PIECE) {
            float best[PIECE];
            memcpy(best, rows + chosen[0] * d + c, sizeof best);
            for (int j = 1; j < k; j++) {
                const float *row = rows + chosen[j] * d + c;
                for (int l = 0; l < PIECE; l++) best[l] = best[l] < row[l] ? row[l] : best[l];
            }
            memcpy(out + c, best, sizeof best);
        }
        for (; c < d; c++) {
            out[c] = rows[chosen[0] * d + c];
            for (int j = 1; j < k; j++) out[c] = fmaxf(out[c], rows[chosen[j] * d + c]);
        }
    }
}

/* (outer, n, inner) to (outer, inner) */
VECTORISED static void maximum(const float *x, int64_t outer, int64_t n, int64_t inner, float *out) {
    for (int64_t o = 0; o < outer; o++, out += inner) {
        memcpy(out, x, inner * sizeof *x);
        x += inner;
        for (int64_t i = 1; i < n; i++, x += inner)
            for (int64_t c = 0; c < inner; c++) out[c] = out[c] < x[c] ? x[c] : out[c];
    }
}

/* As a sum of sums of sqrt(n) rows, so that rounding grows with sqrt(n) and not with n; scratch: inner floats. */
VECTORISED static void mean(const float *x, int64_t outer, int64_t n, int64_t inner, float *out, float *scratch) {
    int64_t together = 1;
    while (together * together < n) together++;
    for (int64_t o = 0; o < outer; o++, out += inner) {
        memset(out, 0, inner * sizeof *out);
        for (int64_t i = 0; i < n;) {
            int64_t end = i + together < n ? i + together : n;
            memset(scratch, 0, inner * sizeof *scratch);
            for (; i < end; i++, x += inner)
                for (int64_t c = 0; c < inner; c++) scratch[c] += x[c];
            for (int64_t c = 0; c < inner; c++) out[c] += scratch[c];
        }
        for (int64_t c = 0; c < inner; c++) out[c] /= (float)n;
    }
}

/* ---- ONNX Runtime's side ---- */

typedef void Status;
typedef struct { void *function[128]; } Api;
typedef struct { const Api *(*get)(uint32_t version); const char *(*version)(void); } ApiBase;
typedef struct Operator Operator;
enum { FLOAT = 1, INT64 = 7, API_VERSION = 11, FAIL = 1 };
enum { /* places in the table */
    CREATE_STATUS = 0, CREATE_DOMAIN = 26, DOMAIN_ADD = 27, ADD_DOMAIN = 28, TENSOR_DATA = 51, COUNT_DIMENSIONS = 61,
    DIMENSIONS = 62, TENSOR_SHAPE = 65, ATTRIBUTE = 86, INPUT = 90, OUTPUT = 91, RELEASE_SHAPE = 99
};
#define CALL(api, place, type) ((type)(api)->function[place])

/* What an operator tells of itself, in ONNX Runtime's order. */
struct Operator {
    uint32_t version;
    void *(*create)(const Operator *, const Api *, const void *info);
    const char *(*name)(const Operator *);
    const char *(*provider)(const Operator *);
    int (*input_type)(const Operator *, size_t);
    size_t (*inputs)(const Operator *);
    int (*output_type)(const Operator *, size_t);
    size_t (*outputs)(const Operator *);
    void (*compute)(void *kernel, void *context);
    void (*destroy)(void *kernel);
    int (*input_kind)(const Operator *, size_t);
    int (*output_kind)(const Operator *, size_t);
    int (*input_memory)(const Operator *, size_t);
    void *later[16];
};

typedef struct { const Api *api; int64_t k, axis, keep; } Kernel;
typedef struct { void *data; int64_t dims[RANK]; size_t rank; } Tensor;

static int64_t attribute(const Api *api, const void *info, const char *name) {
    int64_t value = 0;
    CALL(api, ATTRIBUTE, Status *(*)(const void *, const char *, int64_t *))(info, name, &value);
    return value;
}

static Kernel *create(const Api *api) {
    Kernel *kernel = calloc(1, sizeof *kernel);
    kernel->api = api;
    return kernel;
}
static void *create_nearest(const Operator *self, const Api *api, const void *info) {
    Kernel *kernel = create(api);
    (void)self, kernel->k = attribute(api, info, "k");
    return kernel;
}
static void *create_gather(const Operator *self, const Api *api, const void *info) {
    return (void)self, (void)info, create(api);
}
static void *create_reduction(const Operator *self, const Api *api, const void *info) {
    Kernel *kernel = create(api);
    (void)self, kernel->axis = attribute(api, info, "axis"), kernel->keep = attribute(api, info, "keep");
    return kernel;
}

static void *data_of(const Api *api, void *value) {
    void *data = NULL;
    CALL(api, TENSOR_DATA, Status *(*)(void *, void **))(value, &data);
    return data;
}
static Tensor input(const Kernel *kernel, void *context, size_t index) {
    const Api *api = kernel->api;
    Tensor tensor = {0};
    void *value, *shape;
    CALL(api, INPUT, Status *(*)(void *, size_t, void **))(context, index, &value);
    CALL(api, TENSOR_SHAPE, Status *(*)(void *, void **))(value, &shape);
    CALL(api, COUNT_DIMENSIONS, Status *(*)(void *, size_t *))(shape, &tensor.rank);
    CALL(api, DIMENSIONS, Status *(*)(void *, int64_t *, size_t))(shape, tensor.dims, tensor.rank);
    CALL(api, RELEASE_SHAPE, void (*)(void *))(shape);
    tensor.data = data_of(api, value);
    return tensor;
}
static void *output(const Kernel *kernel, void *context, const int64_t *dims, size_t rank) {
    void *value;
    CALL(kernel->api, OUTPUT, Status *(*)(void *, size_t, const int64_t *, size_t, void **))
    (context, 0, dims, rank, &value);
    return data_of(kernel->api, value);
}

static void compute_nearest(void *self, void *context) {
    const Kernel *kernel = self;
    Tensor products = input(kernel, context, 0), half = input(kernel, context, 1);
    int64_t batch = products.dims[0], rows = products.dims[1], n = products.dims[2], k = kernel->k;
    int64_t *chosen = output(kernel, context, (int64_t[]){batch, rows, k}, 3);
    float *scratch = malloc((3 * n + FEW + k) * sizeof *scratch);
    for (int64_t b = 0; b < batch; b++)
        nearest((float *)products.data + b * rows * n, (float *)half.data + b * n, (int)rows, (int)n, (int)k,
                chosen + b * rows * k, scratch);
    free(scratch);
}
static void compute_gather_max(void *self, void *context) {
    const Kernel *kernel = self;
    Tensor rows = input(kernel, context, 0), chosen = input(kernel, context, 1);
    int64_t batch = rows.dims[0], n = rows.dims[1], d = rows.dims[2], count = chosen.dims[1], k = chosen.dims[2];
    float *out = output(kernel, context, (int64_t[]){batch, count, d}, 3);
    for (int64_t b = 0; b < batch; b++)
        gather_max((float *)rows.data + b * n * d, (int64_t *)chosen.data + b * count * k, (int)count, (int)k, (int)d,
                   out + b * count * d);
}
static void reduce(const Kernel *kernel, void *context, int averaged) {
    Tensor x = input(kernel, context, 0);
    int64_t outer = 1, inner = 1, dims[RANK];
    size_t rank = 0;
    for (size_t i = 0; i < x.rank; i++) {
        if ((int64_t)i < kernel->axis) outer *= x.dims[i];
        if ((int64_t)i > kernel->axis) inner *= x.dims[i];
        if ((int64_t)i != kernel->axis || kernel->keep) dims[rank++] = (int64_t)i == kernel->axis ? 1 : x.dims[i];
    }
    float *out = output(kernel, context, dims, rank);
    if (!averaged) {
        maximum(x.data, outer, x.dims[kernel->axis], inner, out);
        return;
    }
    float *scratch = malloc(inner * sizeof *scratch);
    mean(x.data, outer, x.dims[kernel->axis], inner, out, scratch);
    free(scratch);
}
static void compute_max(void *self, void *context) { reduce(self, context, 0); }
static void compute_mean(void *self, void *context) { reduce(self, context, 1); }

static const char *name_nearest(const Operator *self) { return (void)self, "Nearest"; }
static const char *name_gather_max(const Operator *self) { return (void)self, "GatherMax"; }
static const char *name_max(const Operator *self) { return (void)self, "Max"; }
static const char *name_mean(const Operator *self) { return (void)self, "Mean"; }
static const char *on_the_cpu(const Operator *self) { return (void)self, NULL; }
static int floats(const Operator *self, size_t index) { return (void)self, (void)index, FLOAT; }
static int integers(const Operator *self, size_t index) { return (void)self, (void)index, INT64; }
static int floats_integers(const Operator *self, size_t index) { return (void)self, index == 1 ? INT64 : FLOAT; }
static int zero(const Operator *self, size_t index) { return (void)self, (void)index, 0; } /* required; usual memory */
static size_t one(const Operator *self) { return (void)self, (size_t)1; }
static size_t two(const Operator *self) { return (void)self, (size_t)2; }

static const Operator OPERATORS[] = {
    {API_VERSION, create_nearest, name_nearest, on_the_cpu, floats, two, integers, one, compute_nearest, free, zero, zero, zero, {0}},
    {API_VERSION, create_gather, name_gather_max, on_the_cpu, floats_integers, two, floats, one, compute_gather_max, free, zero, zero, zero, {0}},
    {API_VERSION, create_reduction, name_max, on_the_cpu, floats, one, floats, one, compute_max, free, zero, zero, zero, {0}},
    {API_VERSION, create_reduction, name_mean, on_the_cpu, floats, one, floats, one, compute_mean, free, zero, zero, zero, {0}},
};

EXPORTED Status *RegisterCustomOps(void *options, const ApiBase *base) {
    const Api *api = base->get(API_VERSION);
    void *domain;
    if (api == NULL) return NULL; /* no such operators then, and the session says so */
    Status *status = CALL(api, CREATE_DOMAIN, Status *(*)(const char *, void **))("crosspoint", &domain);
    for (size_t i = 0; status == NULL && i < sizeof OPERATORS / sizeof *OPERATORS; i++)
        status = CALL(api, DOMAIN_ADD, Status *(*)(void *, const Operator *))(domain, &OPERATORS[i]);
    return status ? status : CALL(api, ADD_DOMAIN, Status *(*)(void *, void *))(options, domain);
}
