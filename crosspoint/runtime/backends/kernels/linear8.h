/* Layers of 8-bit products, from codes to what follows the products, without the products in memory.
 *
 *   y = sums * scale, with the exact sums of codes (..., C) times weights (C, D), and one scale for each column
 *   Product8(codes, panels, scale)                     y  (..., D)
 *   Linear8(codes, panels, scale, bias; slope)         leaky(y + bias)  (..., D)
 *   Edge8(codes, panels, scale, bias, best; slope)     leaky(best + (y + bias))  (..., D)
 *   Pool8(codes (B, N, C), panels, scale, bias; slope) maximum and mean over N of leaky(y + bias)  (B, 2 D)
 *   Max8(codes (..., n, C), panels, scale; axis)       maximum over n, which is the axis, of y  (..., D)
 *
 * leaky(x) is x, or slope * x where x is negative; the slope is 0 to 1. Every step is rounded as the float32 operators
 * of the graph round it.
 */
#ifdef __clang__ /* others do not join operations that the standard keeps apart */
#pragma STDC FP_CONTRACT OFF
#endif

enum { ROWS = 128 }; /* whose codes are packed at a time */
enum { DEEPEST = 32768 }; /* channels whose sums fit in 32 bits */
typedef enum { PRODUCT, LINEAR, EDGE, POOL, MAXIMUM } Kind;

typedef struct {
    Kind kind;
    const int8_t *codes; /* (rows, channels) */
    int64_t rows, channels, width, n; /* width: D; n: rows that are pooled together, and 1 where none are */
    const int8_t *panels;
    int64_t panel_count, steps;
    const float *scale, *bias, *best;
    float slope, *out;
} Layer;

/* What is known of 32 columns while the rows of a cloud go by */
typedef struct { float largest[SIDE], part[SIDE], total[SIDE]; } Pooled;

/* 32 columns of a layer: constants, padded with 0 */
typedef struct { float scale[SIDE], bias[SIDE]; int64_t from, count; } Columns;

/* slope is 0 to 1 */
INLINE float leaky(float x, float slope) {
    const float low = slope * x;
    return x > low ? x : low;
}

INLINE void write_row(const Kind kind, const int32_t *restrict sums, const Columns *restrict columns,
                      const float *restrict best, float slope, float *restrict out) {
    for (int c = 0; c < SIDE; c++) {
        float y = (float)sums[c] * columns->scale[c];
        if (kind != PRODUCT) y += columns->bias[c];
        if (kind == EDGE) y = best[c] + y;
        out[c] = kind == PRODUCT ? y : leaky(y, slope);
    }
}
INLINE void write_rows_of(const Kind kind, const Layer *layer, const Columns *columns, const int32_t *sums,
                          int64_t first, int64_t rows) {
    const size_t size = (size_t)columns->count * sizeof(float);
    for (int64_t r = 0; r < rows; r++, sums += SIDE) {
        const int64_t start = (first + r) * layer->width + columns->from;
        if (columns->count == SIDE) {
            write_row(kind, sums, columns, kind == EDGE ? layer->best + start : NULL, layer->slope, layer->out + start);
        } else {
            float y[SIDE], best[SIDE] = {0};
            if (kind == EDGE) memcpy(best, layer->best + start, size);
            write_row(kind, sums, columns, best, layer->slope, y);
            memcpy(layer->out + start, y, size);
        }
    }
}
/* The rows `first` and on of a block, for layers that keep every row */
VECTORISED static void write_rows(const Layer *layer, const Columns *columns, const int32_t *sums, int64_t first,
                                  int64_t rows) {
    if (layer->kind == PRODUCT) write_rows_of(PRODUCT, layer, columns, sums, first, rows);
    if (layer->kind == LINEAR) write_rows_of(LINEAR, layer, columns, sums, first, rows);
    if (layer->kind == EDGE) write_rows_of(EDGE, layer, columns, sums, first, rows);
}

/* Into what is known of the columns, some rows of one cloud */
INLINE void pool_rows_of(const Kind kind, const Columns *restrict columns, const int32_t *restrict sums, int64_t rows,
                         float slope, Pooled *restrict pooled) {
    for (int64_t r = 0; r < rows; r++, sums += SIDE)
        for (int c = 0; c < SIDE; c++) {
            float y = (float)sums[c] * columns->scale[c];
            if (kind == POOL) y = leaky(y + columns->bias[c], slope);
            pooled->largest[c] = pooled->largest[c] < y ? y : pooled->largest[c];
            if (kind == POOL) pooled->part[c] += y;
        }
}
/* The same for layers that pool rows. A mean is a sum of sums of sqrt(n) = `together` rows, as `mean` adds them. */
VECTORISED static void pool_rows(const Layer *layer, const Columns *columns, const int32_t *sums, int64_t first,
                                 int64_t rows, int64_t together, Pooled *pooled) {
    const int64_t stride = layer->kind == POOL ? 2 * layer->width : layer->width;
    const size_t size = (size_t)columns->count * sizeof(float);
    for (int64_t end = first + rows; first < end;) {
        const int64_t row = first % layer->n;
        float *out = layer->out + first / layer->n * stride + columns->from;
        int64_t some = together - row % together; /* rows of the same sum */
        some = some < layer->n - row ? some : layer->n - row;
        some = some < end - first ? some : end - first;
        if (row == 0)
            for (int c = 0; c < SIDE; c++) pooled->largest[c] = -INFINITY, pooled->part[c] = pooled->total[c] = 0;
        if (layer->kind == POOL)
            pool_rows_of(POOL, columns, sums, some, layer->slope, pooled);
        else
            pool_rows_of(MAXIMUM, columns, sums, some, layer->slope, pooled);
        first += some, sums += some * SIDE;
        const int last = row + some == layer->n;
        if (last || (row + some) % together == 0)
            for (int c = 0; c < SIDE; c++) pooled->total[c] += pooled->part[c], pooled->part[c] = 0;
        if (!last) continue;
        for (int c = 0; c < SIDE; c++) pooled->total[c] /= (float)layer->n;
        memcpy(out, pooled->largest, size);
        if (layer->kind == POOL) memcpy(out + layer->width, pooled->total, size);
    }
}

/* Codes of some rows, with 128 added, and rows of 0 up to a whole block; weights of what pads channels are 0 */
VECTORISED static void pack_codes(const int8_t *codes, int64_t rows, int64_t channels, int64_t length, uint8_t *out) {
    for (int64_t r = 0; r < rows; r++, codes += channels, out += length) {
        for (int64_t c = 0; c < channels; c++) out[c] = (uint8_t)codes[c] ^ 0x80;
        memset(out + channels, 0, (size_t)(length - channels));
    }
    memset(out, 0, (size_t)((SIDE - rows % SIDE) % SIDE * length));
}

/* scratch: `scratch_size` bytes */
static void run_layer(const Layer *layer, uint8_t *scratch) {
    const int64_t length = 4 * layer->steps, pairs = layer->panel_count / 2;
    const int64_t panel_size = (layer->steps + 1) * LINE;
    scratch += (LINE - (uintptr_t)scratch % LINE) % LINE;
    int32_t *sums = (int32_t *)scratch;
    Pooled *pooled = (Pooled *)(sums + SIDE * SIDE);
    uint8_t *codes = (uint8_t *)(pooled + pairs);
    int64_t together = 1;
    while (together * together < layer->n) together++;
    const Multiply8 multiply = open_products(layer->panels, layer->panel_count, layer->steps);
    for (int64_t first = 0; first < layer->rows; first += ROWS) {
        const int64_t chunk = layer->rows - first < ROWS ? layer->rows - first : ROWS;
        pack_codes(layer->codes + first * layer->channels, chunk, layer->channels, length, codes);
        for (int64_t p = 0; p < pairs; p++) {
            Columns columns = {.from = p * SIDE, .count = layer->width - p * SIDE};
            if (columns.count > SIDE) columns.count = SIDE;
            memcpy(columns.scale, layer->scale + columns.from, (size_t)columns.count * sizeof(float));
            if (layer->bias) memcpy(columns.bias, layer->bias + columns.from, (size_t)columns.count * sizeof(float));
            for (int64_t r = 0; r < chunk; r += SIDE) {
                const int64_t rows = chunk - r < SIDE ? chunk - r : SIDE;
                multiply((Block){codes + r * length, layer->panels + 2 * p * panel_size, layer->steps, sums});
                if (layer->kind >= POOL)
                    pool_rows(layer, &columns, sums, first + r, rows, together, &pooled[p]);
                else
                    write_rows(layer, &columns, sums, first + r, rows);
            }
        }
    }
    close_products();
}

static Status *vector(const Api *api, const void *context, size_t index, int64_t width, const float **data) {
    Tensor tensor;
    TRY(input(api, context, index, FLOAT, &tensor));
    if (tensor.rank != 1 || tensor.dims[0] != width)
        return refuse(api, "a layer of 8 bits: scale and bias must have the size of a row of the result");
    *data = tensor.data;
    return NULL;
}

/* codes, panels and scale, which all kinds have; codes: their sizes */
static Status *read_layer(const Api *api, const void *context, Layer *layer, Tensor *codes) {
    Tensor panels, scale;
    TRY(input(api, context, 0, INT8, codes));
    TRY(input(api, context, 1, INT8, &panels));
    TRY(input(api, context, 2, FLOAT, &scale));
    if (codes->rank < 2 || panels.rank != 3 || scale.rank != 1)
        return refuse(api, "a layer of 8 bits: of codes (..., C), panels must have 3 dimensions and scale 1");
    layer->codes = codes->data, layer->panels = panels.data, layer->scale = scale.data;
    layer->channels = codes->dims[codes->rank - 1], layer->width = scale.dims[0], layer->n = 1;
    layer->panel_count = panels.dims[0], layer->steps = panels.dims[1] - 1;
    if (layer->channels > DEEPEST || layer->steps < 0 || layer->steps > DEEPEST || layer->steps % TILE ||
        4 * layer->steps < layer->channels || panels.dims[2] != LINE ||
        layer->panel_count != layer->width / SIDE * 2 + (layer->width % SIDE ? 2 : 0))
        return refuse(api, "a layer of 8 bits: panels are not those of weights (C, D), with D scales");
    layer->rows = 1;
    for (size_t i = 0; i + 1 < codes->rank; i++)
        if (__builtin_mul_overflow(layer->rows, codes->dims[i], &layer->rows))
            return refuse(api, "a layer of 8 bits: an input is too large");
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
    uint8_t *scratch = malloc(LINE + SIDE * SIDE * sizeof(int32_t) + (size_t)(layer->panel_count / 2) * sizeof(Pooled) +
                              (size_t)(4 * layer->steps) * ROWS);
    if (scratch == NULL) return error(api, FAIL, "a layer of 8 bits: no memory");
    run_layer(layer, scratch);
    free(scratch);
    return NULL;
}

static Status *run_rows(void *self, void *context, Kind kind) {
    const Api *api = ((Kernel *)self)->api;
    Layer layer = {.kind = kind, .slope = ((Kernel *)self)->slope};
    Tensor codes, best;
    TRY(read_layer(api, context, &layer, &codes));
    if (kind != PRODUCT) TRY(vector(api, context, 3, layer.width, &layer.bias));
    codes.dims[codes.rank - 1] = layer.width;
    if (kind == EDGE) {
        TRY(input(api, context, 4, FLOAT, &best));
        if (best.rank != codes.rank || memcmp(best.dims, codes.dims, codes.rank * sizeof *best.dims))
            return refuse(api, "Edge8: the maxima must have the sizes of the result");
        layer.best = best.data;
    }
    return finish_layer(api, context, &layer, codes.dims, codes.rank);
}
static Status *run_product8(void *self, void *context) { return run_rows(self, context, PRODUCT); }
static Status *run_linear8(void *self, void *context) { return run_rows(self, context, LINEAR); }
static Status *run_edge8(void *self, void *context) { return run_rows(self, context, EDGE); }

static Status *run_pool8(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    Layer layer = {.kind = POOL, .slope = ((Kernel *)self)->slope};
    Tensor codes;
    TRY(read_layer(api, context, &layer, &codes));
    TRY(vector(api, context, 3, layer.width, &layer.bias));
    if (codes.rank != 3) return refuse(api, "Pool8: the codes must have 3 dimensions");
    layer.n = codes.dims[1];
    return finish_layer(api, context, &layer, (int64_t[]){codes.dims[0], 2 * layer.width}, 2);
}

static Status *run_max8(void *self, void *context) {
    const Api *api = ((Kernel *)self)->api;
    Layer layer = {.kind = MAXIMUM};
    Tensor codes;
    TRY(read_layer(api, context, &layer, &codes));
    if (((Kernel *)self)->axis != (int64_t)codes.rank - 2) return refuse(api, "Max8: the axis is not that of rows");
    layer.n = codes.dims[codes.rank - 2];
    codes.dims[codes.rank - 2] = layer.width;
    return finish_layer(api, context, &layer, codes.dims, codes.rank - 1);
}
