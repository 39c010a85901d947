// classify_trt BUNDLE CLOUD [UP]: names the class of a cloud with the TensorRT engine of a bundle. Not executed here.
#include "cloud.hpp"
#include <NvInfer.h>
#include <cuda_runtime_api.h>
#include <memory>

struct Logger : nvinfer1::ILogger {
    void log(Severity severity, const char *text) noexcept override {
        if (severity <= Severity::kWARNING) std::fprintf(stderr, "TensorRT: %s\n", text);
    }
};

template <class T> static T *need(T *made, const char *what) {
    if (!made) throw std::runtime_error(std::string(what) + " failed; TensorRT says why above");
    return made;
}
static void check(cudaError_t status) { if (status) throw std::runtime_error(cudaGetErrorString(status)); }
static void check(bool done, const char *what) { if (!done) throw std::runtime_error(std::string(what) + " failed"); }

static std::vector<float> run(const std::string &plan, const std::vector<float> &points, size_t classes) {
    Logger logger;
    std::unique_ptr<nvinfer1::IRuntime> runtime(need(nvinfer1::createInferRuntime(logger), "the runtime"));
    std::unique_ptr<nvinfer1::ICudaEngine> engine(
        need(runtime->deserializeCudaEngine(plan.data(), plan.size()), "opening the engine"));
    std::unique_ptr<nvinfer1::IExecutionContext> context(need(engine->createExecutionContext(), "the context"));
    check(context->setInputShape("points", nvinfer1::Dims3{1, int64_t(points.size() / 3), 3}), "this number of points");
    std::vector<void *> buffers;
    void *result = nullptr, *novelty = nullptr;
    for (int i = 0; i < engine->getNbIOTensors(); i++) {  // points, embedding, scores and novelty, all float32
        const char *name = engine->getIOTensorName(i);
        const nvinfer1::Dims shape = context->getTensorShape(name);
        size_t bytes = sizeof(float);
        for (int axis = 0; axis < shape.nbDims; axis++) bytes *= size_t(shape.d[axis]);
        check(cudaMalloc(&buffers.emplace_back(), bytes));
        check(context->setTensorAddress(name, buffers.back()), name);
        const bool input = std::string(name) == "points";
        if (input) check(cudaMemcpy(buffers.back(), points.data(), bytes, cudaMemcpyHostToDevice));
        if (std::string(name) == "scores") result = buffers.back();
        if (std::string(name) == "novelty") novelty = buffers.back();
    }
    cudaStream_t stream;
    check(cudaStreamCreate(&stream));
    check(context->enqueueV3(stream), "the run");
    check(cudaStreamSynchronize(stream));
    std::vector<float> found(classes + 1);  // a score each, then the novelty
    check(result && novelty, "finding the outputs scores and novelty");
    check(cudaMemcpy(found.data(), result, classes * sizeof(float), cudaMemcpyDeviceToHost));
    check(cudaMemcpy(&found[classes], novelty, sizeof(float), cudaMemcpyDeviceToHost));
    for (void *buffer : buffers) cudaFree(buffer);
    cudaStreamDestroy(stream);
    return found;
}

int main(int count, char **words) try {
    if (count < 3) throw std::runtime_error("give BUNDLE CLOUD [UP]");
    const std::string bundle = words[1], up = count > 3 ? words[3] : "y";
    const Classifier about(bundle);
    const auto points = prepare(read_cloud(words[2]), about.points, about.at_most, up);
    const std::string plan = read_file(bundle + "/encoder.plan");  // executable code: open your own bundles only
    const auto found = run(plan, points, about.classes.size());
    const size_t best = size_t(std::max_element(found.begin(), found.end() - 1) - found.begin());
    const char *known = found.back() > about.threshold ? "unknown" : "known";
    std::printf("%s\t%.9g\t%s\n", about.classes[best].c_str(), found[best], known);
} catch (const std::exception &error) {
    std::fprintf(stderr, "classify_trt: %s\n", error.what());
    return 2;
}
