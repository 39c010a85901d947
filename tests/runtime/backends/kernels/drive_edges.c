/* Drives the operators of edges.c through a table of functions in the place of ONNX Runtime's, to be built with
 * sanitizers. Every tensor lies in a block of exactly its size, any call of the table can be made to fail, and so can
 * any allocation.
 *
 *   drive_edges SCENARIO    exits with 0, or says what did not hold
 */
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local int allocations_left = -1; /* before they fail; -1: they do not */

static int has_memory(void) { return allocations_left < 0 || allocations_left-- > 0; }
static void *limited_malloc(size_t size) { return has_memory() ? malloc(size) : NULL; }
static void *limited_calloc(size_t count, size_t size) { return has_memory() ? calloc(count, size) : NULL; }

#define malloc limited_malloc
#define calloc limited_calloc
#include EDGES
#undef malloc
#undef calloc

#define HOLDS(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
            exit(1);                                                          \
        }                                                                     \
    } while (0)

/* ---- in the place of ONNX Runtime ---- */

enum { MANY = 32, OPERATOR_COUNT = sizeof OPERATORS / sizeof *OPERATORS };

typedef struct { int type; size_t rank; int64_t dims[MANY]; void *data; } Value;
typedef struct { const Value *inputs[5]; Value *output; } Context;
typedef struct { int64_t k, axis, keep, width; float slope; } Info;

static _Thread_local int calls_left = -1; /* before one fails; -1: none does */
static _Thread_local int open_shapes = 0, open_domains = 0;
static const Operator *registered[OPERATOR_COUNT];
static size_t registered_count = 0;

static Status *make_status(int code, const char *message) {
    HOLDS(code != 0);
    return strdup(message);
}
static Status *checked_call(void) {
    if (calls_left < 0 || calls_left-- > 0) return NULL;
    calls_left = -1;
    return make_status(FAIL, "a call failed");
}
static Status *fake_attribute(const void *info, const char *name, int64_t *value) {
    const Info *values = info;
    TRY(checked_call());
    *value = strcmp(name, "k") == 0       ? values->k
             : strcmp(name, "axis") == 0  ? values->axis
             : strcmp(name, "width") == 0 ? values->width
                                          : values->keep;
    return NULL;
}
static Status *fake_float_attribute(const void *info, const char *name, float *value) {
    TRY(checked_call());
    HOLDS(strcmp(name, "slope") == 0);
    *value = ((const Info *)info)->slope;
    return NULL;
}
static Status *fake_input(const void *context, size_t index, void **value) {
    TRY(checked_call());
    *value = (void *)((const Context *)context)->inputs[index];
    return NULL;
}
static Status *fake_shape(const void *value, void **shape) {
    TRY(checked_call());
    *shape = (void *)value;
    open_shapes++;
    return NULL;
}
static void fake_release_shape(void *shape) {
    HOLDS(shape != NULL);
    open_shapes--;
}
static Status *fake_type(const void *shape, int *type) {
    TRY(checked_call());
    *type = ((const Value *)shape)->type;
    return NULL;
}
static Status *fake_rank(const void *shape, size_t *rank) {
    TRY(checked_call());
    *rank = ((const Value *)shape)->rank;
    return NULL;
}
static Status *fake_dims(const void *shape, int64_t *dims, size_t rank) {
    TRY(checked_call());
    memcpy(dims, ((const Value *)shape)->dims, rank * sizeof *dims);
    return NULL;
}
static Status *fake_data(void *value, void **data) {
    TRY(checked_call());
    *data = ((Value *)value)->data;
    return NULL;
}

static int64_t elements(const int64_t *dims, size_t rank) {
    int64_t count = 1;
    for (size_t i = 0; i < rank; i++) count = dims[i] && count > INT64_MAX / 16 / dims[i] ? INT64_MAX / 16 : count * dims[i];
    return count;
}
static size_t size_of(int type) { return type == INT8 ? 1 : type == FLOAT ? sizeof(float) : sizeof(int64_t); }

static Status *fake_output(void *context, size_t index, const int64_t *dims, size_t rank, void **value) {
    Value *output = ((Context *)context)->output;
    int64_t count = elements(dims, rank);
    TRY(checked_call());
    HOLDS(index == 0 && rank <= MANY);
    if (count > 1 << 24) return make_status(FAIL, "no memory for an output");
    output->rank = rank;
    if (rank > 0) memcpy(output->dims, dims, rank * sizeof *dims);
    free(output->data);
    output->data = malloc((size_t)count * size_of(output->type));
    *value = output;
    return NULL;
}
static Status *fake_create_domain(const char *name, void **domain) {
    TRY(checked_call());
    HOLDS(strcmp(name, "crosspoint") == 0);
    *domain = &open_domains;
    open_domains++;
    return NULL;
}
static Status *fake_domain_add(void *domain, const Operator *operator) {
    TRY(checked_call());
    HOLDS(domain == &open_domains && registered_count < OPERATOR_COUNT);
    registered[registered_count++] = operator;
    return NULL;
}
static Status *fake_add_domain(void *options, void *domain) {
    TRY(checked_call());
    HOLDS(options == NULL && domain == &open_domains);
    return NULL;
}
static void fake_release_domain(void *domain) {
    HOLDS(domain == &open_domains);
    open_domains--;
}

static Api api;
static const Api *get_api(uint32_t version) { return version <= 18 ? &api : NULL; }
static const Api *get_no_api(uint32_t version) { return (void)version, NULL; }

static void fill_api(void) {
    api.function[CREATE_STATUS] = (void *)make_status;
    api.function[CREATE_DOMAIN] = (void *)fake_create_domain;
    api.function[DOMAIN_ADD] = (void *)fake_domain_add;
    api.function[ADD_DOMAIN] = (void *)fake_add_domain;
    api.function[TENSOR_DATA] = (void *)fake_data;
    api.function[ELEMENT_TYPE] = (void *)fake_type;
    api.function[COUNT_DIMENSIONS] = (void *)fake_rank;
    api.function[DIMENSIONS] = (void *)fake_dims;
    api.function[TENSOR_SHAPE] = (void *)fake_shape;
    api.function[ATTRIBUTE] = (void *)fake_attribute;
    api.function[FLOAT_ATTRIBUTE] = (void *)fake_float_attribute;
    api.function[INPUT] = (void *)fake_input;
    api.function[OUTPUT] = (void *)fake_output;
    api.function[RELEASE_SHAPE] = (void *)fake_release_shape;
    api.function[RELEASE_DOMAIN] = (void *)fake_release_domain;
}
static void register_all(void) {
    ApiBase base = {get_api, NULL};
    HOLDS(RegisterCustomOps(NULL, &base) == NULL);
    HOLDS(registered_count == OPERATOR_COUNT);
}
static const Operator *named(const char *name) {
    for (size_t i = 0; i < registered_count; i++)
        if (strcmp(registered[i]->name(registered[i]), name) == 0) return registered[i];
    HOLDS(!"no such operator");
    return NULL;
}

/* A tensor in a block of its size; data is filled with a pattern. Sizes too large for memory have no data. */
static Value *tensor(int type, size_t rank, const int64_t *dims) {
    Value *value = calloc(1, sizeof *value);
    int64_t count = elements(dims, rank);
    value->type = type;
    value->rank = rank;
    if (rank > 0) memcpy(value->dims, dims, rank * sizeof *dims);
    if (count < 0 || count > 1 << 24) return value;
    value->data = malloc((size_t)count * size_of(type));
    for (int64_t i = 0; i < count; i++) {
        if (type == FLOAT)
            ((float *)value->data)[i] = (float)((i * 37) % 101);
        else if (type == INT8)
            ((int8_t *)value->data)[i] = (int8_t)(i * 37);
        else
            ((int64_t *)value->data)[i] = 0;
    }
    return value;
}
static void drop(Value *value) {
    if (value != NULL) free(value->data);
    free(value);
}

/* Make a kernel, run it once on inputs and drop it; whether it gave a value. */
static int run_on(const char *name, Info info, const Value *const *inputs, size_t count, Value *result) {
    const Operator *operator = named(name);
    Context context = {{NULL}, result};
    void *kernel = NULL;
    for (size_t i = 0; i < count; i++) context.inputs[i] = inputs[i];
    result->type = operator->output_type(operator, 0);
    Status *status = operator->make_kernel(operator, &api, &info, &kernel);
    if (status == NULL) {
        HOLDS(kernel != NULL);
        status = operator->run(kernel, &context);
        operator->destroy(kernel);
    }
    HOLDS(open_shapes == 0);
    free(status);
    return status == NULL;
}
static int run_once(const char *name, Info info, const Value *first, const Value *second, Value *result) {
    return run_on(name, info, (const Value *[]){first, second}, 2, result);
}

static int nearest_runs(int64_t k, int64_t batch, int64_t rows, int64_t n) {
    Value *products = tensor(FLOAT, 3, (int64_t[]){batch, rows, n}), *half = tensor(FLOAT, 3, (int64_t[]){batch, 1, n});
    Value result = {0};
    int ran = run_once("Nearest", (Info){.k = k}, products, half, &result);
    drop(products), drop(half), free(result.data);
    return ran;
}
static int near16_runs(int64_t k, int64_t batch, int64_t n, int64_t c) {
    Value *x = tensor(FLOAT, 3, (int64_t[]){batch, n, c}), result = {0};
    int ran = run_once("Nearest16", (Info){.k = k}, x, NULL, &result);
    for (int64_t i = 0; ran && i < batch * n * k; i++) {
        const int64_t chosen = ((int64_t *)result.data)[i];
        HOLDS(chosen >= 0 && chosen < n);
    }
    drop(x), free(result.data);
    return ran;
}
static float norm(const float *x) { return 0.5f * (x[0] * x[0] + x[1] * x[1] + x[2] * x[2]); }
static int points_run(int64_t k, int64_t batch, int64_t n) {
    Value *points = tensor(FLOAT, 3, (int64_t[]){batch, n, 3}), *half = tensor(FLOAT, 3, (int64_t[]){batch, 1, n});
    Value result = {0};
    for (int64_t i = 0; half->data != NULL && i < batch * n; i++)
        ((float *)half->data)[i] = norm((float *)points->data + 3 * i);
    int ran = run_once("NearestPoints", (Info){.k = k}, points, half, &result);
    drop(points), drop(half), free(result.data);
    return ran;
}
static int gather_runs(int64_t batch, int64_t n, int64_t d, int64_t m, int64_t k, int64_t index) {
    Value *rows = tensor(FLOAT, 3, (int64_t[]){batch, n, d}), *chosen = tensor(INT64, 3, (int64_t[]){batch, m, k});
    Value result = {0};
    int64_t count = elements(chosen->dims, 3);
    if (chosen->data != NULL && count > 0) ((int64_t *)chosen->data)[count - 1] = index;
    int ran = run_once("GatherMax", (Info){0}, rows, chosen, &result);
    for (int64_t i = 0; ran && k > 0 && i < batch * m * d; i++) {
        const int64_t b = i / (m * d), *row = (int64_t *)chosen->data + i / d * k;
        float best = -INFINITY;
        for (int64_t j = 0; j < k; j++) {
            float value = ((float *)rows->data)[(b * n + (row[j] < 0 ? row[j] + n : row[j])) * d + i % d];
            best = value > best ? value : best;
        }
        HOLDS(((float *)result.data)[i] == best);
    }
    drop(rows), drop(chosen), free(result.data);
    return ran;
}
static int reduction_runs(const char *name, int64_t axis, int64_t keep, size_t rank, const int64_t *dims) {
    Value *x = tensor(FLOAT, rank, dims);
    Value result = {0};
    int ran = run_once(name, (Info){.axis = axis, .keep = keep}, x, NULL, &result);
    if (ran) HOLDS(result.rank == rank - (keep == 0));
    drop(x), free(result.data);
    return ran;
}

/* ---- scenarios ---- */

static const int64_t HUGE[] = {INT64_MIN, -(1LL << 32), -1, 1LL << 31, (1LL << 32) + 1, 1LL << 61, INT64_MAX};
enum { HUGE_COUNT = sizeof HUGE / sizeof *HUGE };

static void ranks(void) {
    int64_t ones[MANY];
    for (int i = 0; i < MANY; i++) ones[i] = 1;
    for (size_t rank = 0; rank <= MANY; rank++) {
        Value *floats = tensor(FLOAT, rank, ones), *integers = tensor(INT64, rank, ones);
        Value *three = tensor(FLOAT, 3, ones), *indices = tensor(INT64, 3, ones), result = {0};
        HOLDS(run_once("Nearest", (Info){.k = 1}, floats, three, &result) == (rank == 3));
        HOLDS(run_once("Nearest", (Info){.k = 1}, three, floats, &result) == (rank == 3));
        HOLDS(run_once("Nearest16", (Info){.k = 1}, floats, NULL, &result) == (rank == 3));
        HOLDS(!run_once("NearestPoints", (Info){.k = 1}, floats, three, &result)); /* of 3 dimensions, one is not 3 */
        HOLDS(run_once("GatherMax", (Info){0}, floats, indices, &result) == (rank == 3));
        HOLDS(run_once("GatherMax", (Info){0}, three, integers, &result) == (rank == 3));
        for (int keep = 0; keep < 2; keep++) {
            HOLDS(reduction_runs("Max", 0, keep, rank, ones) == (rank >= 1 && rank <= 8));
            HOLDS(reduction_runs("Mean", (int64_t)rank - 1, keep, rank, ones) == (rank >= 1 && rank <= 8));
        }
        drop(floats), drop(integers), drop(three), drop(indices), free(result.data);
    }
}

static void types(void) {
    const int64_t ones[] = {1, 1, 1};
    Value *floats = tensor(FLOAT, 3, ones), *integers = tensor(INT64, 3, ones), result = {0};
    HOLDS(!run_once("Nearest", (Info){.k = 1}, integers, floats, &result));
    HOLDS(!run_once("Nearest", (Info){.k = 1}, floats, integers, &result));
    HOLDS(!run_once("Nearest16", (Info){.k = 1}, integers, NULL, &result));
    HOLDS(!run_once("Nearest16", (Info){.k = 1}, NULL, NULL, &result));
    HOLDS(!run_once("GatherMax", (Info){0}, floats, floats, &result));
    HOLDS(!run_once("GatherMax", (Info){0}, integers, integers, &result));
    HOLDS(!run_once("Max", (Info){.axis = 1}, integers, NULL, &result));
    HOLDS(!run_once("Mean", (Info){.axis = 1}, NULL, NULL, &result));
    HOLDS(!run_once("GatherMax", (Info){0}, floats, NULL, &result));
    drop(floats), drop(integers), free(result.data);
}

static void sizes(void) {
    const int64_t small[] = {0, 1, 2, 7, 31, 32, 33, 64, 65, 200};
    for (int i = 0; i < 10; i++)
        for (int j = 0; j < 10; j++) {
            int64_t a = small[i], b = small[j];
            HOLDS(nearest_runs(b, 2, 3, a) == (b <= a));
            HOLDS(nearest_runs(b, 0, 3, a) == (b <= a));
            HOLDS(nearest_runs(b, 2, 0, a) == (b <= a));
            HOLDS(near16_runs(b, 2, a, 5) == (b <= a) && near16_runs(b, 0, a, 17) == (b <= a) && near16_runs(a / 2, 1, a, b));
            HOLDS(points_run(b, 2, a) == (b <= a) && points_run(b, 0, a) == (b <= a));
            HOLDS(gather_runs(2, a, b, 3, 4, 0) == (a > 0));
            HOLDS(gather_runs(2, a, b, 0, 4, 0) && gather_runs(2, a, b, 3, 0, 0) && gather_runs(0, a, b, 3, 4, 0));
            for (int64_t axis = 0; axis < 3; axis++) {
                HOLDS(reduction_runs("Max", axis, i % 2, 3, (int64_t[]){3, a, b}));
                HOLDS(reduction_runs("Mean", axis, j % 2, 3, (int64_t[]){a, 2, b}));
            }
        }
    Value *products = tensor(FLOAT, 3, (int64_t[]){2, 3, 5}), *rows = tensor(FLOAT, 3, (int64_t[]){2, 5, 4}), result = {0};
    const int64_t others[][3] = {{1, 1, 5}, {2, 3, 5}, {2, 1, 4}, {2, 1, 6}, {2, 0, 5}, {3, 1, 5}};
    for (int i = 0; i < 6; i++) {
        Value *half = tensor(FLOAT, 3, others[i]);
        HOLDS(!run_once("Nearest", (Info){.k = 2}, products, half, &result));
        Value *points = tensor(FLOAT, 3, (int64_t[]){2, 5, 3});
        HOLDS(!run_once("NearestPoints", (Info){.k = 2}, points, half, &result));
        drop(half), drop(points);
    }
    for (int64_t batch = 0; batch < 4; batch++) {
        Value *chosen = tensor(INT64, 3, (int64_t[]){batch, 3, 2});
        HOLDS(run_once("GatherMax", (Info){0}, rows, chosen, &result) == (batch == 2));
        drop(chosen);
    }
    drop(products), drop(rows), free(result.data);
}

/* No such tensor is in memory unless another of its sizes is 0. */
static void overflows(void) {
    HOLDS(nearest_runs(1, 0, 3, 1LL << 40) && nearest_runs(1, 0, 1LL << 40, 3));
    for (int64_t size = INT64_MAX; size >= 1LL << 61; size /= 2) {
        Value *one = tensor(FLOAT, 3, (int64_t[]){1, 1, 1}), *chosen = tensor(INT64, 3, (int64_t[]){1, 1, 1});
        Value result = {0};
        chosen->dims[1] = size;
        HOLDS(!run_once("GatherMax", (Info){0}, one, chosen, &result));
        drop(one), drop(chosen), free(result.data);
    }
    for (int i = 0; i < HUGE_COUNT; i++)
        for (int place = 0; place < 3; place++)
            for (int other = 0; other < 2; other++) {
                int64_t dims[] = {HUGE[i], HUGE[i], HUGE[i]};
                if (other) dims[place] = 0;
                Value *x = tensor(FLOAT, 3, (int64_t[]){1, 1, 1}), *chosen = tensor(INT64, 3, (int64_t[]){1, 1, 1});
                Value result = {0};
                memcpy(x->dims, dims, sizeof dims);
                for (int axis = 0; axis < 3; axis++) {
                    run_once("Max", (Info){.axis = axis}, x, NULL, &result);
                    run_once("Mean", (Info){.axis = axis, .keep = 1}, x, NULL, &result);
                }
                run_once("Nearest", (Info){.k = HUGE[i]}, x, x, &result);
                run_once("Nearest16", (Info){.k = HUGE[i]}, x, NULL, &result);
                run_once("NearestPoints", (Info){.k = HUGE[i]}, x, x, &result);
                run_once("GatherMax", (Info){0}, x, chosen, &result);
                memcpy(chosen->dims, dims, sizeof dims);
                run_once("GatherMax", (Info){0}, x, chosen, &result);
                drop(x), drop(chosen), free(result.data);
            }
}

static void attributes(void) {
    for (int i = 0; i < HUGE_COUNT; i++) {
        HOLDS(!nearest_runs(HUGE[i], 1, 2, 5) && !near16_runs(HUGE[i], 1, 5, 2));
        HOLDS(!points_run(HUGE[i], 1, 5));
        HOLDS(!reduction_runs("Max", HUGE[i], 0, 3, (int64_t[]){2, 3, 4}));
        HOLDS(!reduction_runs("Mean", HUGE[i], 1, 3, (int64_t[]){2, 3, 4}));
        HOLDS(reduction_runs("Max", 1, HUGE[i], 3, (int64_t[]){2, 3, 4}));
    }
    HOLDS(!reduction_runs("Max", 3, 0, 3, (int64_t[]){2, 3, 4}));
    HOLDS(nearest_runs(0, 1, 2, 5) && nearest_runs(5, 1, 2, 5) && !nearest_runs(6, 1, 2, 5));
}

static void indices(void) {
    for (int64_t d = 1; d <= 130; d += 43)
        for (int64_t index = -8; index < 8; index++) HOLDS(gather_runs(2, 5, d, 3, 4, index) == (index >= -5 && index < 5));
    for (int i = 0; i < HUGE_COUNT; i++)
        if (HUGE[i] != -1) HOLDS(!gather_runs(2, 5, 70, 3, 4, HUGE[i]));
}

static int before(const float *scores, int64_t a, int64_t b) { /* in the order of the result */
    if (isnan(scores[a]) != isnan(scores[b])) return isnan(scores[a]);
    if (!isnan(scores[a]) && scores[a] != scores[b]) return scores[a] > scores[b];
    return a < b;
}
static void nan_scores(void) {
    const float specials[] = {NAN, INFINITY, -INFINITY, 0, -0.0f, 1, 2, 3};
    uint32_t random = 1;
    for (int round = 0; round < 600; round++) {
        int64_t n = 1 + round % 150, k = 1 + round * 7 % n, dims[] = {1, 1, n};
        Value *products = tensor(FLOAT, 3, dims), *half = tensor(FLOAT, 3, dims), result = {0};
        for (int64_t i = 0; i < n; i++) {
            random = random * 1664525u + 1013904223u;
            ((float *)products->data)[i] = round % 3 ? specials[random >> 29] : (random >> 28 ? (float)(random >> 8) : NAN);
            ((float *)half->data)[i] = 0;
        }
        HOLDS(run_once("Nearest", (Info){.k = k}, products, half, &result));
        for (int64_t i = 0; i < n; i++) { /* the place of each column is the number of those before it */
            int64_t place = 0;
            for (int64_t j = 0; j < n; j++) place += before(products->data, j, i);
            HOLDS(place >= k || ((int64_t *)result.data)[place] == i);
        }
        drop(products), drop(half), free(result.data);
    }
}

/* On every level that the CPU has, the same columns in the same order, and the same of the other scenarios */
static void every_level(void) {
    const int highest = level;
    uint32_t random = 1;
    for (int round = 0; round < 300; round++) {
        const int64_t n = 1 + round * 31 % 1100, k = 1 + round * 5 % (n < 40 ? n : 40), rows = 3;
        Value *products = tensor(FLOAT, 3, (int64_t[]){1, rows, n}), *half = tensor(FLOAT, 3, (int64_t[]){1, 1, n});
        Value plain = {0}, fast = {0};
        for (int64_t i = 0; i < rows * n; i++) { /* many are equal, some, or none */
            random = random * 1664525u + 1013904223u;
            ((float *)products->data)[i] = (float)(random >> (round % 3 == 0 ? 28 : round % 3 == 1 ? 24 : 8)) - 4;
        }
        level = PLAIN;
        HOLDS(run_once("Nearest", (Info){.k = k}, products, half, &plain));
        for (level = AVX2; level <= highest; level++) {
            HOLDS(run_once("Nearest", (Info){.k = k}, products, half, &fast));
            HOLDS(memcmp(plain.data, fast.data, (size_t)(rows * k) * sizeof(int64_t)) == 0);
        }
        drop(products), drop(half), free(plain.data), free(fast.data);
    }
    for (level = PLAIN; level < highest; level++) nan_scores(), sizes(), indices();
    level = highest;
}

/* What the boxes leave out, with the instructions that are there, is none of the k best of all pairs. Whole numbers, so
 * that no score is rounded: kind 0 is a grid, 1 has many that are equal, 2 a line, 3 one place, 4 has NaN and infinity. */
static float coordinate(int kind, int axis, uint32_t random) {
    if (kind == 0) return (float)(random >> 26);
    if (kind == 1) return (float)(random >> 29);
    if (kind == 2) return axis == 0 ? (float)(random >> 22) : 0;
    if (kind == 4 && random >> 22 == 7) return random & 256 ? NAN : INFINITY;
    return kind == 3 ? 2 : (float)(random >> 27);
}
static void check_points(int kind, int64_t n, int64_t k) {
    Value *points = tensor(FLOAT, 3, (int64_t[]){1, n, 3}), *half = tensor(FLOAT, 3, (int64_t[]){1, 1, n});
    Value result = {0};
    float *x = points->data, *scores = malloc((size_t)n * sizeof *scores);
    uint32_t random = (uint32_t)(n + k);
    for (int64_t i = 0; i < 3 * n; i++) {
        random = random * 1664525u + 1013904223u;
        x[i] = coordinate(kind, (int)(i % 3), random);
    }
    for (int64_t i = 0; i < n; i++) ((float *)half->data)[i] = norm(x + 3 * i);
    HOLDS(run_once("NearestPoints", (Info){.k = k}, points, half, &result));
    for (int64_t i = 0; i < n; i += n / 13 + 1) {
        const int64_t *chosen = (int64_t *)result.data + i * k;
        for (int64_t j = 0; j < n; j++)
            scores[j] = x[3 * i] * x[3 * j] + x[3 * i + 1] * x[3 * j + 1] + x[3 * i + 2] * x[3 * j + 2] -
                        ((float *)half->data)[j];
        for (int64_t j = 0; j + 1 < k; j++) HOLDS(before(scores, chosen[j], chosen[j + 1]));
        int64_t ahead = 0; /* of the last chosen one, itself included: k distinct ones in order, so no other is */
        for (int64_t j = 0; j < n; j++) ahead += j == chosen[k - 1] || before(scores, j, chosen[k - 1]);
        HOLDS(ahead == k);
    }
    drop(points), drop(half), free(result.data), free(scores);
}
static void points(void) {
    const int highest = level;
    for (level = PLAIN; level <= (highest < AVX512 ? highest : AVX512); level++)
        for (int kind = 0; kind < 5; kind++) {
            const int64_t few[] = {1, 2, 31, 33, 200};
            for (int i = 0; i < 5; i++) check_points(kind, few[i], few[i] < 20 ? 1 : 20);
            check_points(kind, FEWEST - 1, 20), check_points(kind, FEWEST, 1), check_points(kind, FEWEST + 33, 20);
            check_points(kind, 2 * FEWEST + 100, 64), check_points(kind, 2 * FEWEST + 100, 200);
        }
    level = highest;
}

#include "drive_layers.h"

static int everything_runs(void) {
    for (int i = 0; i < LAYER_COUNT; i++)
        if (!layer_runs(LAYERS[i], 33, 70, 40)) return 0;
    return nearest_runs(3, 2, 4, 40) && near16_runs(3, 2, 40, 5) && points_run(3, 2, 40) && gather_runs(2, 5, 70, 3, 4, 4) && reduction_runs("Max", 1, 0, 3, (int64_t[]){2, 5, 9}) &&
           reduction_runs("Mean", 1, 1, 3, (int64_t[]){2, 5, 9});
}
static void failing_calls(void) {
    int refused = 0;
    for (int good = 0;; good++, refused++) {
        calls_left = good;
        int ran = everything_runs();
        HOLDS(ran == (calls_left >= 0)); /* the call that failed was seen */
        calls_left = -1;
        if (ran) break;
    }
    HOLDS(refused > 30);
    for (int good = 0; good < 2 + OPERATOR_COUNT; good++) {
        ApiBase base = {get_api, NULL};
        registered_count = 0;
        open_domains = 0;
        calls_left = good;
        Status *status = RegisterCustomOps(NULL, &base);
        HOLDS(status != NULL && open_domains == 0);
        free(status);
    }
    ApiBase none = {get_no_api, NULL};
    HOLDS(RegisterCustomOps(NULL, &none) == NULL);
}
static void failing_memory(void) {
    for (int good = 0; good < 34; good++) { /* a kernel each, and scratch of all but Max; of points two for each cloud */
        allocations_left = good;
        HOLDS(!everything_runs());
    }
    allocations_left = 34;
    HOLDS(everything_runs());
}

static void *run_many(void *unused) {
    for (int i = 0; i < 60; i++) HOLDS(everything_runs());
    return unused;
}
static void threads(void) {
    pthread_t running[8];
    for (int i = 0; i < 8; i++) HOLDS(pthread_create(&running[i], NULL, run_many, NULL) == 0);
    for (int i = 0; i < 8; i++) HOLDS(pthread_join(running[i], NULL) == 0);
}

typedef struct { const char *name; void (*run)(void); } Scenario;
static const Scenario SCENARIOS[] = {
    {"ranks", ranks}, {"types", types}, {"sizes", sizes}, {"overflows", overflows}, {"attributes", attributes},
    {"indices", indices}, {"nan_scores", nan_scores}, {"points", points}, {"every_level", every_level},
    {"layers", layers}, {"other_layers", other_layers},
    {"failing_calls", failing_calls}, {"failing_memory", failing_memory}, {"threads", threads},
};

int main(int count, char **arguments) {
    fill_api();
    register_all();
    for (size_t i = 0; count == 2 && i < sizeof SCENARIOS / sizeof *SCENARIOS; i++)
        if (strcmp(SCENARIOS[i].name, arguments[1]) == 0) {
            SCENARIOS[i].run();
            return 0;
        }
    fprintf(stderr, "no such scenario\n");
    return 2;
}
