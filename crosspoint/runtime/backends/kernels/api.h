/* ONNX Runtime's side of an operator: its table of functions, the description of an operator, inputs and outputs.
 *
 * ONNX Runtime hands out its functions as one table that only ever grows at its end, so that the few that are needed
 * are named here by their place in it, and no header of any one version is needed to build this.
 */

typedef void Status;
typedef struct { void *function[128]; } Api;
typedef struct { const Api *(*get)(uint32_t version); const char *(*version)(void); } ApiBase;
typedef struct Operator Operator;
enum { FLOAT = 1, INT8 = 3, INT64 = 7, FAIL = 1, INVALID_ARGUMENT = 2 };
enum { API_VERSION = 16 }; /* the first in which making a kernel and computing return a status: ONNX Runtime 1.16 */
enum { /* places in the table */
    CREATE_STATUS = 0, CREATE_DOMAIN = 26, DOMAIN_ADD = 27, ADD_DOMAIN = 28, TENSOR_DATA = 51, ELEMENT_TYPE = 60,
    COUNT_DIMENSIONS = 61, DIMENSIONS = 62, TENSOR_SHAPE = 65, FLOAT_ATTRIBUTE = 85, ATTRIBUTE = 86, INPUT = 90, OUTPUT = 91,
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

typedef struct { const Api *api; int64_t k, axis, keep, width; float slope; int kind, bits; } Kernel;
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

static Status *float_attribute(const Api *api, const void *info, const char *name, float *value) {
    return CALL(api, FLOAT_ATTRIBUTE, Status *(*)(const void *, const char *, float *))(info, name, value);
}

static Status *make_kernel(const Api *api, Kernel values, void **out) {
    Kernel *kernel = malloc(sizeof *kernel);
    if (kernel == NULL) return error(api, FAIL, "no memory for an operator");
    values.api = api;
    *kernel = values;
    *out = kernel;
    return NULL;
}
static Status *data_of(const Api *api, void *value, void **data) {
    return CALL(api, TENSOR_DATA, Status *(*)(void *, void **))(value, data);
}
static Status *read_shape(const Api *api, const void *shape, int type, Tensor *tensor) {
    int found = 0;
    int64_t count;
    TRY(CALL(api, ELEMENT_TYPE, Status *(*)(const void *, int *))(shape, &found));
    if (found != type)
        return refuse(api, type == FLOAT  ? "an input is not float32"
                           : type == INT8 ? "an input is not int8"
                                          : "an input is not int64");
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

