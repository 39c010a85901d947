/* Scenarios of the layers of 8 and 16 bits, for drive_edges.c. */

static const char *const LAYERS[] = {"Product8", "Linear8", "Edge8", "Pool8", "Max8",
                                     "Product16", "Linear16", "Edge16", "Pool16", "Max16"};
enum { LAYER_COUNT = sizeof LAYERS / sizeof *LAYERS };

static int is_a(const char *name, const char *kind) { return strncmp(name, kind, strlen(kind)) == 0; }
static int is_wide(const char *name) { return strcmp(name + strlen(name) - 2, "16") == 0; }

/* The inputs of a layer, of those of all layers: codes or floats, panels, scale, bias, best; how many they are */
static size_t choose_inputs(const char *name, Value *const *all, const Value **chosen) {
    size_t count = 0;
    chosen[count++] = all[0], chosen[count++] = all[1];
    if (!is_wide(name)) chosen[count++] = all[2];
    if (!is_a(name, "Product") && !is_a(name, "Max")) chosen[count++] = all[3];
    if (is_a(name, "Edge")) chosen[count++] = all[4];
    return count;
}

/* A layer of rows (2, rows, channels) and of one weight 1 for each column, so that it chooses a channel. */
static int layer_runs(const char *name, int64_t rows, int64_t channels, int64_t width) {
    const int pooled = is_a(name, "Pool"), largest = is_a(name, "Max"), wide = is_wide(name);
    const int64_t steps = wide ? (channels + 1) / 2 : (channels + 63) / 64 * 16, panel_count = (width + 31) / 32 * 2;
    Value *x = tensor(wide ? FLOAT : INT8, 3, (int64_t[]){2, rows, channels});
    Value *panels = tensor(INT8, 3, (int64_t[]){panel_count, steps + 1, 64}), result = {0};
    Value *scale = tensor(FLOAT, 1, &width), *bias = tensor(FLOAT, 1, &width);
    Value *best = tensor(FLOAT, 3, (int64_t[]){2, rows, width});
    memset(panels->data, 0, (size_t)(panel_count * (steps + 1) * 64));
    for (int64_t i = 0; i < width; i++) {
        const int32_t begin = channels && !wide ? -128 : 0;
        const uint16_t one = 0x3f80; /* in bfloat16 */
        int8_t *panel = (int8_t *)panels->data + i / 16 * (steps + 1) * 64;
        memcpy(panel + 4 * (i % 16), &begin, sizeof begin);
        if (channels && wide) memcpy(panel + (1 + i % channels / 2) * 64 + 4 * (i % 16) + i % channels % 2 * 2, &one, 2);
        if (channels && !wide) panel[(1 + i % channels / 4) * 64 + 4 * (i % 16) + i % channels % 4] = 1;
        ((float *)scale->data)[i] = 1, ((float *)bias->data)[i] = 0;
    }
    const Value *inputs[5];
    const size_t count = choose_inputs(name, (Value *[]){x, panels, scale, bias, best}, inputs);
    int ran = run_on(name, (Info){.axis = 1, .width = width, .slope = 1}, inputs, count, &result);
#define VALUE(row, column) \
    (wide ? ((float *)x->data)[(row) * channels + (column)] : ((int8_t *)x->data)[(row) * channels + (column)])
    for (int64_t i = 0; ran && channels && !pooled && !largest && i < 2 * rows * width; i++) {
        const float before = is_a(name, "Edge") ? ((float *)best->data)[i] : 0;
        HOLDS(((float *)result.data)[i] == VALUE(i / width, i % width % channels) + before);
    }
    for (int64_t i = 0; ran && channels && rows && (pooled || largest) && i < 2 * width; i++) {
        float most = -INFINITY;
        for (int64_t r = 0; r < rows; r++) {
            const float value = VALUE(i / width * rows + r, i % width % channels);
            most = value > most ? value : most;
        }
        HOLDS(((float *)result.data)[pooled ? i / width * 2 * width + i % width : i] == most);
    }
#undef VALUE
    drop(x), drop(panels), drop(scale), drop(bias), drop(best), free(result.data);
    return ran;
}

static void layers(void) {
    const int64_t some_rows[] = {0, 1, 31, 33, 130}, some_channels[] = {0, 1, 63, 64, 70}, some_widths[] = {0, 1, 16, 40};
    const int highest = level;
    for (level = PLAIN; level <= highest; level++)
        for (int l = 0; l < LAYER_COUNT; l++)
            for (int i = 0; i < 5 * 5 * 4; i++)
                HOLDS(layer_runs(LAYERS[l], some_rows[i % 5], some_channels[i / 5 % 5], some_widths[i / 25]));
    level = highest;
}

/* Anything else as an input of a layer: another type, rank or size, or none */
static void other_layers(void) {
    const int64_t goods[2][5][3] = {{{2, 5, 70}, {4, 33, 64}, {40}, {40}, {2, 5, 40}},
                                    {{2, 5, 70}, {4, 36, 64}, {40}, {40}, {2, 5, 40}}};
    const size_t ranks_of[] = {3, 3, 1, 1, 3};
    for (int l = 0; l < LAYER_COUNT; l++) {
        const int wide = is_wide(LAYERS[l]);
        const int64_t(*good)[3] = goods[wide];
        const int types[] = {wide ? FLOAT : INT8, INT8, FLOAT, FLOAT, FLOAT};
        for (size_t place = 0; place < 5; place++)
            for (int change = 0; change < 12; change++) {
                Value *values[5], result = {0};
                const Value *inputs[5];
                for (size_t i = 0; i < 5; i++) {
                    int64_t dims[4] = {good[i][0], good[i][1], good[i][2], 1};
                    int type = types[i];
                    size_t rank = ranks_of[i];
                    if (i == place && change < 6) dims[change / 2] += change % 2 ? 1 : -1;
                    if (i == place && change == 6) rank++;
                    if (i == place && change == 7) rank--;
                    if (i == place && change == 8) type = type == INT8 ? FLOAT : INT8;
                    values[i] = tensor(type, rank, dims);
                    if (type == INT8 && values[i]->data) memset(values[i]->data, 0, (size_t)elements(dims, rank));
                }
                Info info = {.axis = 1, .width = change == 11 ? HUGE[place % HUGE_COUNT] : 40, .slope = change == 10 ? 2 : 0.2f};
                const size_t count = choose_inputs(LAYERS[l], values, inputs);
                if (change == 9 && place < count) inputs[place] = NULL;
                run_on(LAYERS[l], info, inputs, count, &result);
                for (int i = 0; i < 5; i++) drop(values[i]);
                free(result.data);
            }
        for (int i = 0; i < HUGE_COUNT; i++)
            for (int place = 0; place < 3; place++) { /* rows of impossible sizes, and panels of them */
                Value *values[5], result = {0};
                const Value *inputs[5];
                const Info info = {.axis = 1, .width = 40};
                for (size_t v = 0; v < 5; v++) values[v] = tensor(types[v], ranks_of[v], good[v]);
                const size_t count = choose_inputs(LAYERS[l], values, inputs);
                values[0]->dims[place] = HUGE[i];
                if (HUGE[i] < 0 || HUGE[i] >= 1LL << 61) HOLDS(!run_on(LAYERS[l], info, inputs, count, &result));
                values[0]->dims[place] = good[0][place], values[1]->dims[place] = HUGE[i];
                HOLDS(!run_on(LAYERS[l], info, inputs, count, &result));
                values[1]->dims[place] = good[1][place];
                if (wide) HOLDS(!run_on(LAYERS[l], (Info){.axis = 1, .width = HUGE[i]}, inputs, count, &result));
                for (int v = 0; v < 5; v++) drop(values[v]);
                free(result.data);
            }
    }
}
