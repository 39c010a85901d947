// classify BUNDLE CLOUD [UP [OPERATORS]]: names the class of a cloud, with ONNX Runtime's C API.
#include "cloud.hpp"
#include <onnxruntime_c_api.h>
static const OrtApi *api = OrtGetApiBase()->GetApi(11);  // all that is used here; later libraries have it too
static void check(OrtStatus *status) { if (status) throw std::runtime_error(api->GetErrorMessage(status)); }
static std::vector<float> run(std::string model, std::string operators, std::vector<float> points, size_t classes) {
    const char *inputs[] = {"points"}, *outputs[] = {"scores"};
    const int64_t shape[] = {1, int64_t(points.size() / 3), 3};
    OrtEnv *env = nullptr;
    OrtSessionOptions *options = nullptr;
    OrtSession *session = nullptr;
    OrtMemoryInfo *memory = nullptr;
    OrtValue *cloud = nullptr, *result = nullptr;
    void *library = nullptr, *values = nullptr;
    check(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "classify", &env));
    check(api->CreateSessionOptions(&options));
    if (!operators.empty()) check(api->RegisterCustomOpsLibrary(options, operators.c_str(), &library));
    check(api->CreateSession(env, model.c_str(), options, &session));
    check(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory));
    check(api->CreateTensorWithDataAsOrtValue(memory, points.data(), points.size() * sizeof(float), shape, 3,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &cloud));
    check(api->Run(session, nullptr, inputs, &cloud, 1, outputs, 1, &result));
    check(api->GetTensorMutableData(result, &values));
    return {(float *)values, (float *)values + classes};  // a longer program frees all: api->ReleaseValue(result), …
}

int main(int count, char **words) try {
    if (count < 3) throw std::runtime_error("give BUNDLE CLOUD [UP [OPERATORS]]");
    const std::string bundle = words[1], up = count > 3 ? words[3] : "y", from = count > 4 ? words[4] : bundle;
    const Classifier about(bundle);
    const auto points = prepare(read_cloud(words[2]), about.points, about.at_most, up);
    const std::string library = count > 4 ? from + "/edges.so" : "";
    const auto found = run(from + "/encoder.onnx", library, points, about.classes.size());
    const size_t best = size_t(std::max_element(found.begin(), found.end()) - found.begin());
    const char *known = found[best] < about.threshold ? "unknown" : "known";
    std::printf("%s\t%.9g\t%s\n", about.classes[best].c_str(), found[best], known);
    for (size_t i = 0; i < found.size(); i++) std::fprintf(stderr, "%s\t%.9g\n", about.classes[i].c_str(), found[i]);
} catch (const std::exception &error) {
    std::fprintf(stderr, "classify: %s\n", error.what());
    return 2;
}
