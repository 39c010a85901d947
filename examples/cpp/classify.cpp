// classify BUNDLE CLOUD [UP [OPERATORS]]: names the class of a cloud, with ONNX Runtime's C API.
#include "cloud.hpp"
#include <onnxruntime_c_api.h>
static const OrtApi *api = OrtGetApiBase()->GetApi(11);  // all that is used here; later libraries have it too
static void check(OrtStatus *status) { if (status) throw std::runtime_error(api->GetErrorMessage(status)); }
static std::vector<float> run(std::string model, std::string operators, std::vector<float> points, size_t classes) {
    const char *inputs[] = {"points"}, *outputs[] = {"scores", "novelty"};
    const int64_t shape[] = {1, int64_t(points.size() / 3), 3};
    OrtEnv *env = nullptr;
    OrtSessionOptions *options = nullptr;
    OrtSession *session = nullptr;
    OrtMemoryInfo *memory = nullptr;
    OrtValue *cloud = nullptr, *results[2] = {};
    void *library = nullptr, *values[2] = {};
    check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "classify", &env));
    check(api->CreateSessionOptions(&options));
    if (!operators.empty()) check(api->RegisterCustomOpsLibrary(options, operators.c_str(), &library));
    check(api->CreateSession(env, model.c_str(), options, &session));
    check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(api->CreateTensorWithDataAsOrtValue(memory, points.data(), points.size() * sizeof(float), shape, 3,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &cloud));
    check(api->Run(session, nullptr, inputs, &cloud, 1, outputs, 2, results));
    for (int i = 0; i < 2; i++) check(api->GetTensorMutableData(results[i], &values[i]));
    std::vector<float> found((float *)values[0], (float *)values[0] + classes);
    return found.push_back(*(float *)values[1]), found;  // a longer program frees all: api->ReleaseValue(cloud), …
}

int main(int count, char **words) try {
    if (count < 3) throw std::runtime_error("give BUNDLE CLOUD [UP [OPERATORS]]");
    const std::string bundle = words[1], up = count > 3 ? words[3] : "y", from = count > 4 ? words[4] : bundle;
    const Classifier about(bundle);
    const auto points = prepare(read_cloud(words[2]), about.points, about.at_most, up);
    const auto found = run(from + "/encoder.onnx", count > 4 ? from + "/edges.so" : "", points, about.classes.size());
    const size_t best = size_t(std::max_element(found.begin(), found.end() - 1) - found.begin());
    const char *known = found.back() > about.threshold ? "unknown" : "known";
    std::printf("%s\t%.9g\t%s\n", about.classes[best].c_str(), found[best], known);
    for (size_t i = 0; i + 1 < found.size(); i++) fprintf(stderr, "%s\t%.9g\n", about.classes[i].c_str(), found[i]);
} catch (const std::exception &error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 2;
}
