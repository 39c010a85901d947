// From a file to the points that a model takes: docs/preprocessing.md in C++17 (GCC or Clang, for 128-bit integers).
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_set>
#include <vector>

class Rng {  // NumPy's SeedSequence and PCG64
    using Wide = unsigned __int128;
    Wide state, step;
    uint64_t half = 0;
    bool has_half = false;
    uint32_t constant = 0x43B0D7E5;

    uint32_t scramble(uint32_t value, uint32_t factor) {
        value ^= constant;
        value *= constant *= factor;
        return value ^ value >> 16;
    }
    void mix(uint32_t &x, uint32_t word) {
        x = 0xCA01F9DDu * x - 0x4973F715u * scramble(word, 0x931E8875);
        x ^= x >> 16;
    }
    void advance() { state = state * (Wide(0x2360ED051FC65DA4) << 64 | 0x4385DF649FCCF645) + step; }
    uint32_t word() {
        if ((has_half = !has_half) == false) return uint32_t(half >> 32);
        advance();
        const uint64_t value = uint64_t(state >> 64) ^ uint64_t(state);
        const int turn = int(state >> 122);
        return uint32_t(half = value >> turn | value << (-turn & 63));
    }
  public:
    Rng(uint32_t seed, uint32_t stored) {
        const uint32_t words[10] = {seed,       stored,     0x42C4B0E3, 0x141CFC98, 0xC8F4FB9A,
                                    0x24B96F99, 0xE441AE27, 0x4C939B64, 0x1B9995A4, 0x55B85278};
        uint32_t pool[4];
        uint64_t out[4] = {};
        for (int i = 0; i < 4; i++) pool[i] = scramble(words[i], 0x931E8875);
        for (int i = 0; i < 16; i++)
            if (i / 4 != i % 4) mix(pool[i % 4], pool[i / 4]);
        for (int i = 16; i < 40; i++) mix(pool[i % 4], words[i / 4]);
        constant = 0x8B51F9DD;
        for (int i = 0; i < 8; i++) out[i / 2] |= uint64_t(scramble(pool[i % 4], 0x58F38DED)) << (i % 2 * 32);
        step = (Wide(out[2]) << 64 | out[3]) << 1 | 1;
        state = step + (Wide(out[0]) << 64 | out[1]);
        advance();
    }
    uint32_t below(uint32_t n) {  // 0 to n - 1
        if (n == 1) return 0;
        uint64_t product = uint64_t(word()) * n;
        while (uint32_t(product) < (uint64_t(1) << 32) % n) product = uint64_t(word()) * n;
        return uint32_t(product >> 32);
    }
};

inline std::vector<uint32_t> draw(Rng &rng, uint32_t stored, uint32_t count) {
    std::vector<uint32_t> rows;
    const bool shuffle_all = stored > 10000 && count > stored / 50;
    std::unordered_set<uint32_t> seen;
    for (uint32_t j = shuffle_all ? 0 : stored - count; j < stored; j++) {
        const uint32_t row = shuffle_all ? j : rng.below(j + 1);
        rows.push_back(shuffle_all || seen.insert(row).second ? row : *seen.insert(j).first);
    }
    for (size_t i = rows.size() - 1, last = rows.size() - count; i >= std::max(last, size_t(1)); i--)
        std::swap(rows[i], rows[rng.below(uint32_t(i) + 1)]);
    return {rows.end() - count, rows.end()};
}

inline std::string read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(path + " cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

template <class T> T number(const char *bytes) { T value; return *(T *)std::memcpy(&value, bytes, sizeof value); }

// x, y, z of each point of an .npy file (N, 3; float32 or float64) or of text, without missing points.
inline std::vector<double> read_cloud(const std::string &path) {
    const std::string bytes = read_file(path), head = bytes.substr(0, bytes.find('\n') + 1);
    std::vector<double> cloud;
    auto add = [&cloud](const double (&p)[3]) {
        if (std::all_of(p, p + 3, [](double value) { return std::abs(value) <= 3.4028234663852886e38; }))
            cloud.insert(cloud.end(), p, p + 3);
    };
    double point[3];
    if (head.compare(0, 6, "\x93NUMPY") == 0) {
        auto has = [&head](const char *text) { return head.find(text) != std::string::npos; };
        const bool wide = has("'<f8'"), columns_first = has("': True");
        const size_t shape = std::min(head.find("'shape': ("), head.size()), size = wide ? 8 : 4;
        size_t rows = 0, columns = 0;
        std::sscanf(head.c_str() + shape, "'shape': (%zu, %zu)", &rows, &columns);
        if (columns != 3 || !(wide || has("'<f4'")) || (bytes.size() - head.size()) / size / 3 < rows)
            throw std::runtime_error(path + " holds no (N, 3) array of float32 or float64");
        const size_t next_row = columns_first ? size : 3 * size, next_axis = columns_first ? rows * size : size;
        for (size_t row = 0; row < rows; row++, add(point))
            for (size_t axis = 0, at = head.size() + row * next_row; axis < 3; axis++, at += next_axis)
                point[axis] = wide ? number<double>(&bytes[at]) : number<float>(&bytes[at]);
    } else {
        std::istringstream lines(bytes);
        for (std::string line; std::getline(lines, line);)
            if (std::sscanf(line.c_str(), "%lf%*[ ,;\t]%lf%*[ ,;\t]%lf", point, point + 1, point + 2) == 3) add(point);
    }
    return cloud;
}

// Draws `count` points (all if it is 0), turns them to y-up, centres and scales them: (N, 3) float32.
inline std::vector<float> prepare(const std::vector<double> &cloud, size_t count, bool at_most, const std::string &up) {
    const std::string turn = std::map<std::string, std::string>{
        {"x", "-y+x+z"}, {"y", "+x+y+z"}, {"z", "+x+z-y"}, {"-x", "+y-x+z"}, {"-y", "+x-y-z"}, {"-z", "+x-z+y"}}.at(up);
    const size_t stored = cloud.size() / 3, used = count == 0 || (at_most && stored < count) ? stored : count;
    if (stored == 0 || stored < used) throw std::runtime_error("the cloud has " + std::to_string(stored) + " points");
    Rng rng(0, uint32_t(stored));
    std::vector<uint32_t> rows(stored);
    for (size_t i = 0; i < stored; i++) rows[i] = uint32_t(i);
    if (used == count && !(at_most && stored == count)) rows = draw(rng, uint32_t(stored), uint32_t(count));
    std::vector<double> points;
    for (uint32_t row : rows)
        for (int i = 0; i < 6; i += 2) points.push_back((turn[i] == '-' ? -1 : 1) * cloud[3 * row + turn[i + 1] - 'x']);
    double mean[3] = {}, radius = 0;
    bool same = true;
    for (size_t i = 0; i < points.size(); i++) {
        mean[i % 3] += points[i] / double(used);
        same = same && points[i] == points[i % 3];
    }
    for (size_t i = 0; i < points.size(); i++) points[i] -= mean[i % 3];
    for (size_t i = 0; i < points.size(); i += 3)
        radius = std::max(radius, std::hypot(points[i], points[i + 1], points[i + 2]));
    std::vector<float> result;
    for (double value : points) result.push_back(same ? 0.0f : float(value / radius));
    return result;
}

struct Classifier {  // from manifest.json of a bundle
    std::vector<std::string> classes;
    double threshold = 0;
    size_t points = 0;  // 0: all
    bool at_most = false;
    explicit Classifier(const std::string &bundle) {
        const std::string text = read_file(bundle + "/manifest.json");
        const size_t own = text.find("\"classifier\": {"), list = text.find("\"classes\": [", own);
        if (list == std::string::npos) throw std::runtime_error(bundle + " is not a classifier of crosspoint fit");
        auto value = [&](const char *key) { return text.c_str() + text.find(key, own) + std::strlen(key); };
        for (size_t i = list + 12; text[i] != ']'; i++) {
            if (text[i] != '"') continue;
            for (classes.emplace_back(); text[++i] != '"'; classes.back() += text[i]) i += text[i] == '\\';
        }
        threshold = std::strtod(value("\"threshold\":"), nullptr);
        points = size_t(std::strtod(value("\"points\":"), nullptr));  // null becomes 0
        at_most = std::strncmp(value("\"at_most\": "), "true", 4) == 0;
    }
};
