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
 *   Product8, Linear8, Edge8, Pool8, Max8, Product16, Linear16, Edge16, Pool16, Max16
 *       layers of products of 8 and 16 bits (layers.h)
 *   Nearest16
 *       the nearest points, by way of products of 16 bits (nearest16.h)
 *
 * Whatever a model feeds them, they give what the standard operators give or end in an error of the session, never in
 * memory that is not theirs: types, ranks, sizes, attributes, indices, allocations and every status are checked.
 * Scores that are NaN come first, of several the first, as in ONNX Runtime's TopK. A maximum is NaN where the first row
 * is, and other NaN are passed over.
 */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE /* syscall */
#endif
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 32, FEW = 64, MOST = 128, BLOCK = 8, PIECE = 64, RANK = 8 };

#include "instructions.h"
#include "api.h"
#include "gather.h"
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

#include "products.h"
#include "layers.h"
#include "nearest16.h"

/* ---- the operators, for ONNX Runtime ---- */

static Status *make_nearest(const Operator *self, const Api *api, const void *info, void **out) {
    Kernel values = {0};
    (void)self;
    TRY(attribute(api, info, "k", &values.k));
    if (values.k < 0) return refuse(api, "Nearest: k must not be negative");
    return make_kernel(api, values, out);
}
static Status *make_plain(const Operator *self, const Api *api, const void *info, void **out) {
    return (void)self, (void)info, make_kernel(api, (Kernel){0}, out);
}
static Status *make_reduction(const Operator *self, const Api *api, const void *info, void **out) {
    Kernel values = {0};
    (void)self;
    TRY(attribute(api, info, "axis", &values.axis));
    TRY(attribute(api, info, "keep", &values.keep));
    return make_kernel(api, values, out);
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
static const char *name_nearest16(const Operator *self) { return (void)self, "Nearest16"; }
static const char *on_the_cpu(const Operator *self) { return (void)self, NULL; }
static int floats(const Operator *self, size_t index) { return (void)self, (void)index, FLOAT; }
static int integers(const Operator *self, size_t index) { return (void)self, (void)index, INT64; }
static int floats_integers(const Operator *self, size_t index) { return (void)self, index == 1 ? INT64 : FLOAT; }
static int codes_floats(const Operator *self, size_t index) { return (void)self, index < 2 ? INT8 : FLOAT; }
static int floats_panels(const Operator *self, size_t index) { return (void)self, index == 1 ? INT8 : FLOAT; }
static int zero(const Operator *self, size_t index) { return (void)self, (void)index, 0; } /* required; usual memory */
static size_t one(const Operator *self) { return (void)self, (size_t)1; }
static size_t two(const Operator *self) { return (void)self, (size_t)2; }
static size_t three(const Operator *self) { return (void)self, (size_t)3; }
static size_t four(const Operator *self) { return (void)self, (size_t)4; }
static size_t five(const Operator *self) { return (void)self, (size_t)5; }

#define OPERATOR(title, input_type_of, input_count, output_type_of, make, compute_it)                               \
    {                                                                                                              \
        .version = API_VERSION, .name = title, .provider = on_the_cpu, .input_type = input_type_of,                \
        .inputs = input_count, .output_type = output_type_of, .outputs = one, .destroy = free, .input_kind = zero, \
        .output_kind = zero, .input_memory = zero, .make_kernel = make, .run = compute_it                          \
    }
static const Operator OPERATORS[] = {
    OPERATOR(name_nearest, floats, two, integers, make_nearest, run_nearest),
    OPERATOR(name_gather_max, floats_integers, two, floats, make_plain, run_gather_max),
    OPERATOR(name_max, floats, one, floats, make_reduction, run_max),
    OPERATOR(name_mean, floats, one, floats, make_reduction, run_mean),
    OPERATOR(name_nearest16, floats, one, integers, make_nearest, run_nearest16),
    OPERATOR(name_Product8, codes_floats, three, floats, make_Product8, run_rows),
    OPERATOR(name_Linear8, codes_floats, four, floats, make_Linear8, run_rows),
    OPERATOR(name_Edge8, codes_floats, five, floats, make_Edge8, run_rows),
    OPERATOR(name_Pool8, codes_floats, four, floats, make_Pool8, run_pool),
    OPERATOR(name_Max8, codes_floats, three, floats, make_Max8, run_maximum),
    OPERATOR(name_Product16, floats_panels, two, floats, make_Product16, run_rows),
    OPERATOR(name_Linear16, floats_panels, three, floats, make_Linear16, run_rows),
    OPERATOR(name_Edge16, floats_panels, four, floats, make_Edge16, run_rows),
    OPERATOR(name_Pool16, floats_panels, three, floats, make_Pool16, run_pool),
    OPERATOR(name_Max16, floats_panels, two, floats, make_Max16, run_maximum),
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
