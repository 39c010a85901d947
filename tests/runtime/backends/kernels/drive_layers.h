/* Scenarios of the layers of 8 bits, for drive_edges.c. */

/* A layer of 8 bits on codes (2, rows, channels): of one weight 1 for each column, so that it chooses a channel. */
static int layer_runs(const char *name, int64_t rows, int64_t channels, int64_t width) {
    const int pooled = strcmp(name, "Pool8") == 0, largest = strcmp(name, "Max8") == 0;
    const int64_t steps = (channels + 63) / 64 * 16, panel_count = (width + 31) / 32 * 2;
    Value *codes = tensor(INT8, 3, (int64_t[]){2, rows, channels});
    Value *panels = tensor(INT8, 3, (int64_t[]){panel_count, steps + 1, 64}), result = {0};
    Value *scale = tensor(FLOAT, 1, &width), *bias = tensor(FLOAT, 1, &width);
    Value *best = tensor(FLOAT, 3, (int64_t[]){2, rows, width});
    memset(panels->data, 0, (size_t)(panel_count * (steps + 1) * 64));
    for (int64_t i = 0; i < width; i++) {
        const int32_t begin = channels ? -128 : 0;
        int8_t *panel = (int8_t *)panels->data + i / 16 * (steps + 1) * 64;
        memcpy(panel + 4 * (i % 16), &begin, sizeof begin);
        if (channels) panel[(1 + i % channels / 4) * 64 + 4 * (i % 16) + i % channels % 4] = 1;
        ((float *)scale->data)[i] = 1, ((float *)bias->data)[i] = 0;
    }
    const Value *inputs[] = {codes, panels, scale, bias, best};
    int ran = run_on(name, (Info){.axis = 1, .slope = 1}, inputs, 5, &result);
    for (int64_t i = 0; ran && channels && !pooled && !largest && i < 2 * rows * width; i++) {
        const float code = ((int8_t *)codes->data)[i / width * channels + i % width % channels];
        const float before = strcmp(name, "Edge8") ? 0 : ((float *)best->data)[i];
        HOLDS(((float *)result.data)[i] == code + before);
    }
    for (int64_t i = 0; ran && channels && rows && (pooled || largest) && i < 2 * width; i++) {
        float most = -INFINITY;
        for (int64_t r = 0; r < rows; r++) {
            const float code = ((int8_t *)codes->data)[(i / width * rows + r) * channels + i % width % channels];
            most = code > most ? code : most;
        }
        HOLDS(((float *)result.data)[pooled ? i / width * 2 * width + i % width : i] == most);
    }
    drop(codes), drop(panels), drop(scale), drop(bias), drop(best), free(result.data);
    return ran;
}

static const char *const LAYERS[] = {"Product8", "Linear8", "Edge8", "Pool8", "Max8"};

static void layers(void) {
    const int64_t some_rows[] = {0, 1, 31, 33, 130}, some_channels[] = {0, 1, 63, 64, 70}, some_widths[] = {0, 1, 16, 40};
    const int highest = level;
    for (level = PLAIN; level <= highest; level++)
        for (int i = 0; i < 5 * 5 * 5 * 4; i++)
            HOLDS(layer_runs(LAYERS[i % 5], some_rows[i / 5 % 5], some_channels[i / 25 % 5], some_widths[i / 125]));
    level = highest;
}

/* Anything else as an input of a layer: another type, rank or size, or none */
static void other_layers(void) {
    const int64_t good[5][3] = {{2, 5, 70}, {4, 33, 64}, {40}, {40}, {2, 5, 40}};
    const size_t ranks_of[] = {3, 3, 1, 1, 3};
    for (int l = 0; l < 5; l++) {
        const size_t counts[] = {3, 4, 5, 4, 3};
        for (size_t place = 0; place < counts[l]; place++)
            for (int change = 0; change < 11; change++) {
                Value *values[5], result = {0};
                for (size_t i = 0; i < 5; i++) {
                    int64_t dims[4] = {good[i][0], good[i][1], good[i][2], 1};
                    int type = i < 2 ? INT8 : FLOAT;
                    size_t rank = ranks_of[i];
                    if (i == place && change < 6) dims[change / 2] += change % 2 ? 1 : -1;
                    if (i == place && change == 6) rank++;
                    if (i == place && change == 7) rank--;
                    if (i == place && change == 8) type = type == INT8 ? FLOAT : INT8;
                    values[i] = tensor(type, rank, dims);
                    if (type == INT8 && values[i]->data) memset(values[i]->data, 0, (size_t)elements(dims, rank));
                }
                Info info = {.axis = 1, .slope = change == 10 ? 2 : 0.2f};
                const Value *inputs[] = {values[0], values[1], values[2], values[3], values[4]};
                if (change == 9) inputs[place] = NULL;
                run_on(LAYERS[l], info, inputs, counts[l], &result);
                for (int i = 0; i < 5; i++) drop(values[i]);
                free(result.data);
            }
        for (int i = 0; i < HUGE_COUNT; i++)
            for (int place = 0; place < 3; place++) { /* codes of impossible sizes, and panels of them */
                Value *values[5], result = {0};
                for (size_t v = 0; v < 5; v++) values[v] = tensor(v < 2 ? INT8 : FLOAT, ranks_of[v], good[v]);
                const Value *inputs[] = {values[0], values[1], values[2], values[3], values[4]};
                values[0]->dims[place] = HUGE[i];
                if (HUGE[i] < 0 || HUGE[i] >= 1LL << 61) HOLDS(!run_on(LAYERS[l], (Info){.axis = 1}, inputs, counts[l], &result));
                values[0]->dims[place] = good[0][place], values[1]->dims[place] = HUGE[i];
                HOLDS(!run_on(LAYERS[l], (Info){.axis = 1}, inputs, counts[l], &result));
                for (int v = 0; v < 5; v++) drop(values[v]);
                free(result.data);
            }
    }
}
