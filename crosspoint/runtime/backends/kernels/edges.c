/* The parts of an EdgeConv that ONNX Runtime is slow at, as custom operators of its CPU provider.
 *
 *   Nearest(products (B, M, N), half (B, 1, N); k)  ->  (B, M, k) int64
 *       the k columns with the largest products - half of every row, largest first, of equal ones the first:
 *       what Sub and TopK give, without a heap
 *   NearestPoints(points (B, N, 3), half (B, 1, N); k)  ->  (B, N, k) int64
 *       the same of the products of points in three dimensions, which are not formed
 *   GatherMax(rows (B, N, D), chosen (B, M, k))     ->  (B, M, D)
 *       maxima over chosen rows: what GatherND and ReduceMax give, without the (B, M, k, D) between them
 *   Max(x; axis, keep), Mean(x; axis, keep)
 *       over one axis that is not the last
 *
 * Whatever a model feeds them, they give what the standard operators give or end in an error of the session, never in
 * memory that is not theirs: types, ranks, sizes, attributes, indices, allocations and every status are checked.
 * Scores that are NaN come first, of several the first, as in ONNX Runtime's TopK. A maximum is NaN where the first row
 * is, and other NaN are passed over.
 *
 * ONNX Runtime hands out its functions as one table that only ever grows at its end, so that the few that are needed
 * are named here by their place in it, and no header of any one version is needed to build this.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 32, FEW = 64, BLOCK = 8, PIECE = 64, RANK = 8 };

#include "instructions.h"
#include "search.h"
#include "tree.h"

/* Indices -n to n - 1 as rows 0 to n - 1, the negative ones from the end; 0 if one is none of these. */
VECTORISED static int find_rows(const int64_t *indices, int64_t count, int64_t n, int64_t *rows) {
    int outside = 0;
    for (int64_t i = 0; i < count; i++) {
        outside |= indices[i] < -n || indices[i] >= n;
        rows[i] = indices[i] < 0 ? indices[i] + n : indices[i];
    }
    return !outside;
}

/* rows (n, d), of them chosen (count, k), to (count, d) */
VECTORISED static void gather_max(const float *rows, const int64_t *chosen, int64_t count, int64_t k, int64_t d,
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
        for (; c < d; c++) {
            float best = rows[chosen[0] * d + c];
            for (int64_t j = 1; j < k; j++) {
                float value = rows[chosen[j] * d + c];
                best = best < value ? value : best;
            }
            out[c] = best;
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
enum { FLOAT = 1, INT64 = 7, FAIL = 1, INVALID_ARGUMENT = 2 };
enum { API_VERSION = 16 }; /* the first in which making a kernel and computing return a status: ONNX Runtime 1.16 */
enum { /* places in the table */
    CREATE_STATUS = 0, CREATE_DOMAIN = 26, DOMAIN_ADD = 27, ADD_DOMAIN = 28, TENSOR_DATA = 51, ELEMENT_TYPE = 60,
    COUNT_DIMENSIONS = 61, DIMENSIONS = 62, TENSOR_SHAPE = 65, ATTRIBUTE = 86, INPUT = 90, OUTPUT = 91,
    RELEASE_SHAPE = 99, RELEASE_DOMAIN = 101
};
#define CALL(api, place, type) ((type)(api)->function[place])
#define TRY(call)                          \
    do {                                   \
        Status *failed = (call);           \
        if (failed != NULL) return failed; \
    } while (0)

/* What an operator tells of itself, in ONNX Runtime's order. */
struct Operator {
    uint32_t version;
    void *(*create)(const Operator *, const Api *, const void *info); /* not asked: make_kernel is there */
    const char *(*name)(const Operator *);
    const char *(*provider)(const Operator *);
    int (*input_type)(const Operator *, size_t);
    size_t (*inputs)(const Operator *);
    int (*output_type)(const Operator *, size_t);
    size_t (*outputs)(const Operator *);
    void (*compute)(void *kernel, void *context); /* not asked: run is there */
    void (*destroy)(void *kernel);
    int (*input_kind)(const Operator *, size_t);
    int (*output_kind)(const Operator *, size_t);
    int (*input_memory)(const Operator *, size_t);
    void *variadic[4];
    Status *(*make_kernel)(const Operator *, const Api *, const void *info, void **kernel);
    Status *(*run)(void *kernel, void *context);
    void *later[8];
};

typedef struct { const Api *api; int64_t k, axis, keep; } Kernel;
typedef struct { void *data; int64_t dims[RANK]; size_t rank; } Tensor;

static Status *error(const Api *api, int code, const char *message) {
    return CALL(api, CREATE_STATUS, Status *(*)(int, const char *))(code, message);
}
static Status *refuse(const Api *api, const char *message) { return error(api, INVALID_ARGUMENT, message); }

/* Number of elements; no tensor in memory has as many as overflow. */
static int count_elements(const int64_t *dims, size_t rank, int64_t *count) {
    *count = 1;
    for (size_t i = 0; i < rank; i++)
        if (dims[i] < 0 || __builtin_mul_overflow(*count, dims[i], count)) return 0;
    return *count <= PTRDIFF_MAX / (int64_t)sizeof(int64_t);
}

static Status *attribute(const Api *api, const void *info, const char *name, int64_t *value) {
    return CALL(api, ATTRIBUTE, Status *(*)(const void *, const char *, int64_t *))(info, name, value);
}

static Status *make_kernel(const Api *api, Kernel values, void **out) {
    Kernel *kernel = malloc(sizeof *kernel);
    if (kernel == NULL) return error(api, FAIL, "no memory for an operator");
    values.api = api;
    *kernel = values;
    *out = kernel;
    return NULL;
}
static Status *make_nearest(const Operator *self, const Api *api, const void *info, void **out) {
    Kernel values = {0};
    (void)self;
    TRY(attribute(api, info, "k", &values.k));
    if (values.k < 0) return refuse(api, "Nearest: k must not be negative");
    return make_kernel(api, values, out);
}
static Status *make_gather_max(const Operator *self, const Api *api, const void *info, void **out) {
    return (void)self, (void)info, make_kernel(api, (Kernel){0}, out);
}
static Status *make_reduction(const Operator *self, const Api *api, const void *info, void **out) {
    Kernel values = {0};
    (void)self;
    TRY(attribute(api, info, "axis", &values.axis));
    TRY(attribute(api, info, "keep", &values.keep));
    return make_kernel(api, values, out);
}

static Status *data_of(const Api *api, void *value, void **data) {
    return CALL(api, TENSOR_DATA, Status *(*)(void *, void **))(value, data);
}
static Status *read_shape(const Api *api, const void *shape, int type, Tensor *tensor) {
    int found = 0;
    int64_t count;
    TRY(CALL(api, ELEMENT_TYPE, Status *(*)(const void *, int *))(shape, &found));
    if (found != type) return refuse(api, type == FLOAT ? "an input is not float32" : "an input is not int64");
    TRY(CALL(api, COUNT_DIMENSIONS, Status *(*)(const void *, size_t *))(shape, &tensor->rank));
    if (tensor->rank > RANK) return refuse(api, "an input has more than 8 dimensions");
    TRY(CALL(api, DIMENSIONS, Status *(*)(const void *, int64_t *, size_t))(shape, tensor->dims, tensor->rank));
    return count_elements(tensor->dims, tensor->rank, &count) ? NULL : refuse(api, "an input is too large");
}
static Status *input(const Api *api, const void *context, size_t index, int type, Tensor *tensor) {
    void *value = NULL, *shape = NULL;
    *tensor = (Tensor){0};
    TRY(CALL(api, INPUT, Status *(*)(const void *, size_t, void **))(context, index, &value));
    if (value == NULL) return refuse(api, "an input is missing");
    TRY(CALL(api, TENSOR_SHAPE, Status *(*)(const void *, void **))(value, &shape));
    Status *status = read_shape(api, shape, type, tensor);
    CALL(api, RELEASE_SHAPE, void (*)(void *))(shape);
    return status ? status : data_of(api, value, &tensor->data);
}
/* The output, and how many elements it has */
static Status *output(const Api *api, void *context, const int64_t *dims, size_t rank, void **data, int64_t *count) {
    void *value = NULL;
    if (!count_elements(dims, rank, count)) return refuse(api, "the output is too large");
    TRY(CALL(api, OUTPUT, Status *(*)(void *, size_t, const int64_t *, size_t, void **))(context, 0, dims, rank, &value));
    return value ? data_of(api, value, data) : error(api, FAIL, "there is no output");
}

static Status *check_count(const Api *api, const char *name, int64_t k, int64_t n) {
    char message[128];
    if (k <= n) return NULL;
    snprintf(message, sizeof message, "%s: k = %lld of %lld", name, (long long)k, (long long)n);
    return refuse(api, message);
}

static Status *run_nearest(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    const int64_t k = ((Kernel *)self)->k;
    Tensor products, half;
    TRY(input(api, context, 0, FLOAT, &products));
    TRY(input(api, context, 1, FLOAT, &half));
    if (products.rank != 3 || half.rank != 3) return refuse(api, "Nearest: its inputs must have 3 dimensions");
    const int64_t batch = products.dims[0], rows = products.dims[1], n = products.dims[2];
    if (half.dims[0] != batch || half.dims[1] != 1 || half.dims[2] != n)
        return refuse(api, "Nearest: of products (B, M, N), half must be (B, 1, N)");
    TRY(check_count(api, "Nearest", k, n));
    void *out = NULL;
    int64_t count;
    TRY(output(api, context, (int64_t[]){batch, rows, k}, 3, &out, &count));
    if (count == 0) return NULL;
    void *scratch = calloc((size_t)n + (size_t)k + FEW, 4 * sizeof(float));
    if (scratch == NULL) return error(api, FAIL, "Nearest: no memory");
    for (int64_t b = 0; b < batch; b++)
        nearest((float *)products.data + b * rows * n, (float *)half.data + b * n, rows, n, k,
                (int64_t *)out + b * rows * k, scratch);
    free(scratch);
    return NULL;
}

static Status *run_nearest_points(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    const int64_t k = ((Kernel *)self)->k;
    Tensor points, half;
    TRY(input(api, context, 0, FLOAT, &points));
    TRY(input(api, context, 1, FLOAT, &half));
    if (points.rank != 3 || half.rank != 3) return refuse(api, "NearestPoints: its inputs must have 3 dimensions");
    const int64_t batch = points.dims[0], n = points.dims[1];
    if (points.dims[2] != 3 || half.dims[0] != batch || half.dims[1] != 1 || half.dims[2] != n)
        return refuse(api, "NearestPoints: of points (B, N, 3), half must be (B, 1, N)");
    TRY(check_count(api, "NearestPoints", k, n));
    void *out = NULL;
    int64_t count;
    TRY(output(api, context, (int64_t[]){batch, n, k}, 3, &out, &count));
    if (count == 0) return NULL;
    for (int64_t b = 0; b < batch; b++)
        if (!nearest_points((float *)points.data + b * n * 3, (float *)half.data + b * n, n, k,
                            (int64_t *)out + b * n * k))
            return error(api, FAIL, "NearestPoints: no memory");
    return NULL;
}

/* found: chosen, as rows that are there */
static Status *gather_rows(const Api *api, void *context, const Tensor *rows, const Tensor *chosen,
                           const int64_t *found) {
    const int64_t batch = rows->dims[0], n = rows->dims[1], d = rows->dims[2];
    const int64_t m = chosen->dims[1], k = chosen->dims[2];
    void *out = NULL;
    int64_t count;
    TRY(output(api, context, (int64_t[]){batch, m, d}, 3, &out, &count));
    if (count == 0) return NULL;
    for (int64_t i = 0; k == 0 && i < count; i++) ((float *)out)[i] = -INFINITY; /* as ONNX Runtime */
    for (int64_t b = 0; k > 0 && b < batch; b++)
        gather_max((float *)rows->data + b * n * d, found + b * m * k, m, k, d, (float *)out + b * m * d);
    return NULL;
}
static Status *run_gather_max(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    Tensor rows, chosen;
    int64_t count;
    TRY(input(api, context, 0, FLOAT, &rows));
    TRY(input(api, context, 1, INT64, &chosen));
    if (rows.rank != 3 || chosen.rank != 3) return refuse(api, "GatherMax: its inputs must have 3 dimensions");
    if (chosen.dims[0] != rows.dims[0]) return refuse(api, "GatherMax: its inputs must have the same batch");
    if (!count_elements(chosen.dims, 3, &count)) return refuse(api, "GatherMax: an input is too large");
    int64_t *found = malloc((size_t)(count ? count : 1) * sizeof *found);
    if (found == NULL) return error(api, FAIL, "GatherMax: no memory");
    Status *status = find_rows(chosen.data, count, rows.dims[1], found)
                         ? gather_rows(api, context, &rows, &chosen, found)
                         : refuse(api, "GatherMax: an index is not that of a row");
    free(found);
    return status;
}

static Status *reduce(const Kernel *kernel, void *context, int averaged) {
    const Api *api = kernel->api;
    Tensor x;
    TRY(input(api, context, 0, FLOAT, &x));
    if (kernel->axis < 0 || kernel->axis >= (int64_t)x.rank) return refuse(api, "the axis is not one of the input's");
    const size_t axis = (size_t)kernel->axis;
    const int64_t n = x.dims[axis];
    int64_t outer = 1, inner = 1, count, dims[RANK] = {0};
    size_t rank = 0;
    for (size_t i = 0; i < x.rank; i++)
        if (i != axis || kernel->keep) dims[rank++] = i == axis ? 1 : x.dims[i];
    void *out = NULL;
    TRY(output(api, context, dims, rank, &out, &count));
    if (count == 0) return NULL;
    for (size_t i = 0; i < axis; i++) outer *= x.dims[i];
    for (size_t i = axis + 1; i < x.rank; i++) inner *= x.dims[i];
    if (n == 0) { /* as ONNX Runtime: no value is the largest, and a mean of nothing is 0 */
        for (int64_t i = 0; i < count; i++) ((float *)out)[i] = averaged ? 0 : -INFINITY;
        return NULL;
    }
    if (!averaged) {
        maximum(x.data, outer, n, inner, out);
        return NULL;
    }
    float *scratch = calloc((size_t)inner, sizeof *scratch);
    if (scratch == NULL) return error(api, FAIL, "Mean: no memory");
    mean(x.data, outer, n, inner, out, scratch);
    free(scratch);
    return NULL;
}
static Status *run_max(void *self, void *context) { return reduce(self, context, 0); }
static Status *run_mean(void *self, void *context) { return reduce(self, context, 1); }

static const char *name_nearest(const Operator *self) { return (void)self, "Nearest"; }
static const char *name_nearest_points(const Operator *self) { return (void)self, "NearestPoints"; }
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

#define OPERATOR(title, input_type_of, input_count, output_type_of, make, compute_it)                               \
    {                                                                                                              \
        .version = API_VERSION, .name = title, .provider = on_the_cpu, .input_type = input_type_of,                \
        .inputs = input_count, .output_type = output_type_of, .outputs = one, .destroy = free, .input_kind = zero, \
        .output_kind = zero, .input_memory = zero, .make_kernel = make, .run = compute_it                          \
    }
static const Operator OPERATORS[] = {
    OPERATOR(name_nearest, floats, two, integers, make_nearest, run_nearest),
    OPERATOR(name_gather_max, floats_integers, two, floats, make_gather_max, run_gather_max),
    OPERATOR(name_max, floats, one, floats, make_reduction, run_max),
    OPERATOR(name_mean, floats, one, floats, make_reduction, run_mean),
    OPERATOR(name_nearest_points, floats, two, integers, make_nearest, run_nearest_points),
};

EXPORTED Status *RegisterCustomOps(void *options, const ApiBase *base) {
    const Api *api = base->get(API_VERSION);
    void *domain = NULL;
    if (api == NULL) return NULL; /* no such operators then, and the session says so */
    TRY(CALL(api, CREATE_DOMAIN, Status *(*)(const char *, void **))("crosspoint", &domain));
    Status *status = NULL;
    for (size_t i = 0; status == NULL && i < sizeof OPERATORS / sizeof *OPERATORS; i++)
        status = CALL(api, DOMAIN_ADD, Status *(*)(void *, const Operator *))(domain, &OPERATORS[i]);
    if (status == NULL) status = CALL(api, ADD_DOMAIN, Status *(*)(void *, void *))(options, domain);
    if (status != NULL) CALL(api, RELEASE_DOMAIN, void (*)(void *))(domain);
    return status;
}
