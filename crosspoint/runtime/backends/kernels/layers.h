/* Layers of products of 8 or 16 bits (products.h) and of what follows them, without the products in memory.
 *
 *   8 bits: y = sums * scale, with the exact sums of codes (..., C) times weights (C, D), and one scale for each column
 *   Product8(codes, panels, scale)                     y  (..., D)
 *   Linear8(codes, panels, scale, bias; slope)         leaky(y + bias)  (..., D)
 *   Edge8(codes, panels, scale, bias, best; slope)     leaky(best + (y + bias))  (..., D)
 *   Pool8(codes (B, N, C), panels, scale, bias; slope) maximum and mean over N of leaky(y + bias)  (B, 2 D)
 *   Max8(codes (..., n, C), panels, scale; axis)       maximum over n, which is the axis, of y  (..., D)
 *
 *   16 bits: y = the float32 sums of x (..., C), rounded to bfloat16, times weights (C, D) in bfloat16
 *   Product16(x, panels; width), Linear16(x, panels, bias; width, slope), Edge16(x, panels, bias, best; width, slope),
 *   Pool16(x, panels, bias; width, slope), Max16(x, panels; width, axis): the same of this y, with D = width
 *
 * leaky(x) is x, or slope * x where x is negative; the slope is 0 to 1. Every step after the sums is rounded as the
 * float32 operators of the graph round it. A maximum is NaN where the first row is, and other NaN are passed over.
 */
#ifdef __clang__ /* others do not join operations that the standard keeps apart */
#pragma STDC FP_CONTRACT OFF
#endif

enum { ROWS = 128 }; /* that are packed at a time */
enum { DEEPEST = 32768 }; /* channels whose sums of 8 bits fit in 32 bits */
typedef enum { PRODUCT, LINEAR, EDGE, POOL, MAXIMUM } Kind;

typedef struct {
    Kind kind;
    int bits; /* 8 or 16 */
    const void *rows_in; /* (rows, channels) of int8 codes, or of float */
    int64_t rows, channels, width, n; /* width: D; n: rows that are pooled together, and 1 where none are */
    const int8_t *panels;
    int64_t panel_count, steps;
    const float *scale, *bias, *best; /* scale: of 8 bits */
    float slope, *out;
} Layer;

/* What is known of 32 columns while the rows of a cloud go by */
typedef struct { float largest[SIDE], part[SIDE], total[SIDE]; } Pooled;

/* 32 columns of a layer: constants, padded with 0 */
typedef struct { float scale[SIDE], bias[SIDE]; int64_t from, count; } Columns;

/* slope is 0 to 1; where it is 0, so is the result of minus infinity */
INLINE float leaky(float x, float slope) {
    const float low = slope > 0 ? slope * x : 0;
    return x < 0 ? low : x;
}

/* A column of a row of sums, without the maxima of EDGE */
INLINE float value_of(const Kind kind, const int bits, const void *restrict sums, int c, const Columns *restrict columns) {
    const float y = bits == 8 ? (float)((const int32_t *)sums)[c] * columns->scale[c] : ((const float *)sums)[c];
    return kind == PRODUCT || kind == MAXIMUM ? y : y + columns->bias[c];
}
INLINE const void *later_row(const void *sums, int64_t rows) { return (const char *)sums + rows * SIDE * 4; }

INLINE void write_row(const Kind kind, const int bits, const void *restrict sums, const Columns *restrict columns,
                      const float *restrict best, float slope, float *restrict out) {
    for (int c = 0; c < SIDE; c++) {
        float y = value_of(kind, bits, sums, c, columns);
        if (kind == EDGE) y = best[c] + y;
        out[c] = kind == PRODUCT ? y : leaky(y, slope);
    }
}
INLINE void write_rows_of(const Kind kind, const int bits, const Layer *layer, const Columns *columns, const void *sums,
                          int64_t first, int64_t rows) {
    const size_t size = (size_t)columns->count * sizeof(float);
    for (int64_t r = 0; r < rows; r++, sums = later_row(sums, 1)) {
        const int64_t start = (first + r) * layer->width + columns->from;
        const float *best = kind == EDGE ? layer->best + start : NULL;
        if (columns->count == SIDE) {
            write_row(kind, bits, sums, columns, best, layer->slope, layer->out + start);
        } else {
            float y[SIDE], some[SIDE] = {0};
            if (kind == EDGE) memcpy(some, best, size);
            write_row(kind, bits, sums, columns, some, layer->slope, y);
            memcpy(layer->out + start, y, size);
        }
    }
}
/* The rows `first` and on of a block, for layers that keep every row */
VECTORISED static void write_rows(const Layer *layer, const Columns *columns, const void *sums, int64_t first,
                                  int64_t rows) {
    const int wide = layer->bits == 16;
    if (layer->kind == PRODUCT && !wide) write_rows_of(PRODUCT, 8, layer, columns, sums, first, rows);
    if (layer->kind == LINEAR && !wide) write_rows_of(LINEAR, 8, layer, columns, sums, first, rows);
    if (layer->kind == EDGE && !wide) write_rows_of(EDGE, 8, layer, columns, sums, first, rows);
    if (layer->kind == PRODUCT && wide) write_rows_of(PRODUCT, 16, layer, columns, sums, first, rows);
    if (layer->kind == LINEAR && wide) write_rows_of(LINEAR, 16, layer, columns, sums, first, rows);
    if (layer->kind == EDGE && wide) write_rows_of(EDGE, 16, layer, columns, sums, first, rows);
}

/* Into what is known of the columns, some rows of one cloud, which may be its first */
INLINE void pool_rows_of(const Kind kind, const int bits, const Columns *restrict columns, const void *restrict sums,
                         int64_t rows, int is_first, float slope, Pooled *restrict pooled) {
    for (int c = 0; is_first && c < SIDE; c++) {
        const float y = value_of(kind, bits, sums, c, columns);
        pooled->largest[c] = kind == POOL ? leaky(y, slope) : y;
        pooled->part[c] = pooled->total[c] = 0;
    }
    for (int64_t r = 0; r < rows; r++, sums = later_row(sums, 1))
        for (int c = 0; c < SIDE; c++) {
            float y = value_of(kind, bits, sums, c, columns);
            if (kind == POOL) y = leaky(y, slope);
            pooled->largest[c] = pooled->largest[c] < y ? y : pooled->largest[c];
            if (kind == POOL) pooled->part[c] += y;
        }
}
/* The same for layers that pool rows. A mean is a sum of sums of sqrt(n) = `together` rows, as `mean` adds them. */
VECTORISED static void pool_rows(const Layer *layer, const Columns *columns, const void *sums, int64_t first,
                                 int64_t rows, int64_t together, Pooled *pooled) {
    const int64_t stride = layer->kind == POOL ? 2 * layer->width : layer->width;
    const size_t size = (size_t)columns->count * sizeof(float);
    const int wide = layer->bits == 16;
    for (int64_t end = first + rows; first < end;) {
        const int64_t row = first % layer->n;
        float *out = layer->out + first / layer->n * stride + columns->from;
        int64_t some = together - row % together; /* rows of the same sum */
        some = some < layer->n - row ? some : layer->n - row;
        some = some < end - first ? some : end - first;
        if (layer->kind == POOL && !wide) pool_rows_of(POOL, 8, columns, sums, some, row == 0, layer->slope, pooled);
        if (layer->kind == POOL && wide) pool_rows_of(POOL, 16, columns, sums, some, row == 0, layer->slope, pooled);
        if (layer->kind == MAXIMUM && !wide) pool_rows_of(MAXIMUM, 8, columns, sums, some, row == 0, 0, pooled);
        if (layer->kind == MAXIMUM && wide) pool_rows_of(MAXIMUM, 16, columns, sums, some, row == 0, 0, pooled);
        first += some, sums = later_row(sums, some);
        const int last = row + some == layer->n;
        if (last || (row + some) % together == 0)
            for (int c = 0; c < SIDE; c++) pooled->total[c] += pooled->part[c], pooled->part[c] = 0;
        if (!last) continue;
        for (int c = 0; c < SIDE; c++) pooled->total[c] /= (float)layer->n;
        memcpy(out, pooled->largest, size);
        if (layer->kind == POOL) memcpy(out + layer->width, pooled->total, size);
    }
}

/* The codes of a row with 128 added */
VECTORISED static void pack_codes(const int8_t *codes, int64_t channels, uint8_t *out) {
    for (int64_t c = 0; c < channels; c++) out[c] = (uint8_t)codes[c] ^ 0x80;
}
/* A row in bfloat16: to nearest, ties to even; a NaN stays one */
VECTORISED static void round_row(const float *x, int64_t channels, uint16_t *out) {
    for (int64_t c = 0; c < channels; c++) {
        uint32_t bits;
        memcpy(&bits, x + c, sizeof bits);
        const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
        out[c] = (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
    }
}
/* Some rows as factors, and rows of 0 up to a whole block; weights of what pads channels are 0 */
static void pack_rows(const Layer *layer, int64_t first, int64_t rows, int64_t length, uint8_t *out) {
    const int64_t channels = layer->channels, filled = channels * layer->bits / 8;
    for (int64_t r = first; r < first + rows; r++, out += length) {
        if (layer->bits == 8)
            pack_codes((const int8_t *)layer->rows_in + r * channels, channels, out);
        else
            round_row((const float *)layer->rows_in + r * channels, channels, (uint16_t *)out);
        memset(out + filled, 0, (size_t)(length - filled));
    }
    memset(out, 0, (size_t)((SIDE - rows % SIDE) % SIDE * length));
}

/* scratch: of the size that finish_layer takes */
static void run_layer(const Layer *layer, uint8_t *scratch) {
    const int64_t length = 4 * layer->steps, pairs = layer->panel_count / 2;
    const int64_t panel_size = (layer->steps + 1) * LINE;
    scratch += (LINE - (uintptr_t)scratch % LINE) % LINE;
    void *sums = scratch;
    Pooled *pooled = (Pooled *)(scratch + SIDE * SIDE * 4);
    uint8_t *packed = (uint8_t *)(pooled + pairs);
    int64_t together = 1;
    while (together * together < layer->n) together++;
    const MultiplyBlock multiply =
        layer->bits == 16 ? choose_products16() : open_products8(layer->panels, layer->panel_count, layer->steps);
    for (int64_t first = 0; first < layer->rows; first += ROWS) {
        const int64_t chunk = layer->rows - first < ROWS ? layer->rows - first : ROWS;
        pack_rows(layer, first, chunk, length, packed);
        for (int64_t p = 0; p < pairs; p++) {
            Columns columns = {.from = p * SIDE, .count = layer->width - p * SIDE};
            if (columns.count > SIDE) columns.count = SIDE;
            const size_t size = (size_t)columns.count * sizeof(float);
            if (layer->scale) memcpy(columns.scale, layer->scale + columns.from, size);
            if (layer->bias) memcpy(columns.bias, layer->bias + columns.from, size);
            for (int64_t r = 0; r < chunk; r += SIDE) {
                const int64_t rows = chunk - r < SIDE ? chunk - r : SIDE;
                multiply((Block){packed + r * length, layer->panels + 2 * p * panel_size, layer->steps, sums});
                if (layer->kind >= POOL)
                    pool_rows(layer, &columns, sums, first + r, rows, together, &pooled[p]);
                else
                    write_rows(layer, &columns, sums, first + r, rows);
            }
        }
    }
    if (layer->bits == 8) close_products8();
}

static Status *vector(const Api *api, const void *context, size_t index, int64_t width, const float **data) {
    Tensor tensor;
    TRY(input(api, context, index, FLOAT, &tensor));
    if (tensor.rank != 1 || tensor.dims[0] != width)
        return refuse(api, "a layer: scale and bias must have the size of a row of the result");
    *data = tensor.data;
    return NULL;
}

/* What all kinds have: rows, panels and, of 8 bits, scale; x: sizes of the rows; next: place of the next input */
static Status *read_layer(const Kernel *kernel, const void *context, Layer *layer, Tensor *x, size_t *next) {
    const Api *api = kernel->api;
    Tensor panels, scale;
    *layer = (Layer){.kind = (Kind)kernel->kind, .bits = kernel->bits, .width = kernel->width, .slope = kernel->slope};
    *next = 2;
    TRY(input(api, context, 0, layer->bits == 8 ? INT8 : FLOAT, x));
    TRY(input(api, context, 1, INT8, &panels));
    if (layer->bits == 8) {
        TRY(input(api, context, (*next)++, FLOAT, &scale));
        if (scale.rank != 1) return refuse(api, "a layer of 8 bits: scale must have 1 dimension");
        layer->scale = scale.data, layer->width = scale.dims[0];
    }
    if (x->rank < 2 || panels.rank != 3) return refuse(api, "a layer: of rows (..., C), panels must have 3 dimensions");
    layer->rows_in = x->data, layer->panels = panels.data;
    layer->channels = x->dims[x->rank - 1], layer->n = 1;
    layer->panel_count = panels.dims[0], layer->steps = panels.dims[1] - 1;
    if (layer->channels > DEEPEST || layer->steps < 0 || layer->steps > DEEPEST ||
        (layer->bits == 8 && layer->steps % TILE) || 4 * layer->steps < layer->channels * layer->bits / 8 ||
        panels.dims[2] != LINE || layer->panel_count != layer->width / SIDE * 2 + (layer->width % SIDE ? 2 : 0))
        return refuse(api, "a layer: panels are not those of weights (C, D)");
    layer->rows = 1;
    for (size_t i = 0; i + 1 < x->rank; i++)
        if (__builtin_mul_overflow(layer->rows, x->dims[i], &layer->rows))
            return refuse(api, "a layer: an input is too large");
    return NULL;
}

static Status *finish_layer(const Api *api, void *context, Layer *layer, const int64_t *dims, size_t rank) {
    void *out = NULL;
    int64_t count;
    TRY(output(api, context, dims, rank, &out, &count));
    if (count == 0) return NULL;
    layer->out = out;
    if (layer->n == 0) { /* as the standard operators: no value is the largest, and a mean of nothing is 0 */
        for (int64_t i = 0; i < count; i++)
            layer->out[i] = layer->kind == POOL && i / layer->width % 2 ? 0 : -INFINITY;
        return NULL;
    }
    uint8_t *scratch = malloc(LINE + SIDE * SIDE * 4 + (size_t)(layer->panel_count / 2) * sizeof(Pooled) +
                              (size_t)(4 * layer->steps) * ROWS);
    if (scratch == NULL) return error(api, FAIL, "a layer: no memory");
    run_layer(layer, scratch);
    free(scratch);
    return NULL;
}

static Status *run_rows(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    Layer layer;
    Tensor x, best;
    size_t next;
    TRY(read_layer(self, context, &layer, &x, &next));
    if (layer.kind != PRODUCT) TRY(vector(api, context, next++, layer.width, &layer.bias));
    x.dims[x.rank - 1] = layer.width;
    if (layer.kind == EDGE) {
        TRY(input(api, context, next, FLOAT, &best));
        if (best.rank != x.rank || memcmp(best.dims, x.dims, x.rank * sizeof *best.dims))
            return refuse(api, "an EdgeConv: the maxima must have the sizes of the result");
        layer.best = best.data;
    }
    return finish_layer(api, context, &layer, x.dims, x.rank);
}

static Status *run_pool(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    Layer layer;
    Tensor x;
    size_t next;
    TRY(read_layer(self, context, &layer, &x, &next));
    TRY(vector(api, context, next, layer.width, &layer.bias));
    if (x.rank != 3) return refuse(api, "a layer that pools: its rows must have 3 dimensions");
    layer.n = x.dims[1];
    return finish_layer(api, context, &layer, (int64_t[]){x.dims[0], 2 * layer.width}, 2);
}

static Status *run_maximum(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    Layer layer;
    Tensor x;
    size_t next;
    TRY(read_layer(self, context, &layer, &x, &next));
    if (((Kernel *)self)->axis != (int64_t)x.rank - 2) return refuse(api, "a layer's maximum: the axis is not that of rows");
    layer.n = x.dims[x.rank - 2];
    x.dims[x.rank - 2] = layer.width;
    return finish_layer(api, context, &layer, x.dims, x.rank - 1);
}

static Status *make_layer(const Api *api, const void *info, Kind kind, int bits, void **out) {
    Kernel values = {.kind = kind, .bits = bits};
    if (bits == 16) {
        TRY(attribute(api, info, "width", &values.width));
        if (values.width < 0) return refuse(api, "a layer of 16 bits: the width must not be negative");
    }
    if (kind == MAXIMUM) TRY(attribute(api, info, "axis", &values.axis));
    if (kind != MAXIMUM && kind != PRODUCT) {
        TRY(float_attribute(api, info, "slope", &values.slope));
        if (!(values.slope >= 0 && values.slope <= 1)) return refuse(api, "a layer: the slope must be 0 to 1");
    }
    return make_kernel(api, values, out);
}

/* The name of a layer and how it is made, for the table of operators */
#define LAYER(title, kind, bits)                                                                                    \
    static const char *name_##title(const Operator *self) { return (void)self, #title; }                            \
    static Status *make_##title(const Operator *self, const Api *api, const void *info, void **out) {               \
        return (void)self, make_layer(api, info, kind, bits, out);                                                  \
    }
LAYER(Product8, PRODUCT, 8)
LAYER(Linear8, LINEAR, 8)
LAYER(Edge8, EDGE, 8)
LAYER(Pool8, POOL, 8)
LAYER(Max8, MAXIMUM, 8)
LAYER(Product16, PRODUCT, 16)
LAYER(Linear16, LINEAR, 16)
LAYER(Edge16, EDGE, 16)
LAYER(Pool16, POOL, 16)
LAYER(Max16, MAXIMUM, 16)
