"""The list of self-test steps: train, export, build, execute, compare; first on the CPU, then on a GPU."""

from functools import partial

from crosspoint.doctor.self_test import engines, networks, training
from crosspoint.doctor.self_test.step import (
    PRECISIONS,
    Step,
    needs_build_script,
    needs_building,
    needs_engine,
    needs_gpu,
    needs_packages,
    needs_provider,
)

_ALL = needs_packages("torch", "torchvision", "onnx", "onnxruntime")
_TORCH, _TRAINING = needs_packages("torch"), needs_packages("torch", "torchvision")
_CUDA, _TENSORRT = needs_provider("CUDAExecutionProvider"), needs_provider("TensorrtExecutionProvider")
_MADE, _TRAINED, _EXPORTED = "make shapes", "train DGCNN on the CPU", "export fp32 to ONNX"
_POINTNET, _PARTS = "train PointNet on the CPU", "fine-tune a part segmenter on the CPU"
_FLAVOURS = tuple(engines.BUILDERS)
_ENGINES = (  # network, its run, the step that makes it, precisions
    ("DGCNN", "run", _TRAINED, PRECISIONS),
    ("PointNet", "run-pointnet", _POINTNET, ("fp32", "fp16", "int8")),
    ("a part segmenter", "run-parts", _PARTS, ("fp32", "fp16", "int8")),
)
_BUNDLES = (  # network, run, its bundle in fp32, the step that exports it
    ("PointNet", "run-pointnet", "bundle-pointnet", "export PointNet to ONNX"),
    ("a part segmenter", "run-parts", "bundle-parts", "export a part segmenter to ONNX"),
)


def _build_name(network: str, module: str, precision: str = "fp32") -> str:
    return f"build an engine of {network} with {module}, {precision}"


_ON_THE_CPU = (
    Step(_MADE, training.make_shapes, needs_packages("embreex")),
    Step(_TRAINED, partial(training.train, name="run", device="cpu"), _TRAINING, (_MADE,)),
    Step(
        _POINTNET,
        lambda context: training.train(context, "run-pointnet", "backbone=pointnet", device="cpu"),
        _TRAINING,
        (_MADE,),
    ),
    Step(_PARTS, partial(training.finetune, name="run-parts", device="cpu"), _TORCH, (_MADE,)),
    Step(
        "train under torchrun, two processes, gloo",
        partial(training.torchrun, processes=2, device="cpu"),
        _TRAINING,
        (_MADE,),
    ),
    *(
        Step(
            f"export {precision} to ONNX",
            partial(networks.export_onnx, run="run", out=f"bundle-{precision}", precision=precision),
            _ALL,
            (_TRAINED,),
        )
        for precision in PRECISIONS
    ),
    Step(
        "export PointNet to ONNX",
        partial(networks.export_onnx, run="run-pointnet", out="bundle-pointnet"),
        _ALL,
        (_POINTNET,),
    ),
    Step(
        "export a part segmenter to ONNX",
        partial(networks.export_segmenter, run="run-parts", out="bundle-parts"),
        _ALL,
        (_PARTS,),
    ),
    Step(
        "write a Triton repository",
        partial(networks.export_for_triton, run="run-pointnet", out="bundle-triton"),
        _ALL,
        (_POINTNET,),
    ),
    *(
        Step(
            f"diagnose ONNX on the CPU, {precision}",
            partial(networks.diagnosed, reference="run", candidate=f"bundle-{precision}"),
            _ALL,
            (f"export {precision} to ONNX",),
        )
        for precision in PRECISIONS
    ),
    Step(
        "parity of PyTorch and ONNX",
        partial(networks.compared, reference="run", candidate="bundle-fp32"),
        _ALL,
        (_EXPORTED,),
    ),
    Step(
        "embed where torch cannot be imported",
        partial(networks.embed_without_torch, model="bundle-fp32"),
        needs_packages("onnxruntime"),
        (_EXPORTED,),
    ),
    Step(
        "bench on the CPU",
        partial(networks.measured, device="cpu", models=("run", "bundle-fp32", "bundle-parts")),
        _ALL,
        (_EXPORTED,),
    ),
)

_TENSORRT_ENGINES = (
    *(
        Step(
            _build_name(network, module, precision),
            partial(engines.build, network=network, run=run, module=module, precision=precision),
            partial(needs_building, module=module),
            (made,),
        )
        for module in _FLAVOURS
        for network, run, made, precisions in _ENGINES
        for precision in precisions
    ),
    *(
        Step(
            f"execute the engine of {network} with {module}, {precision}",
            partial(engines.execute, network=network, run=run, module=module, precision=precision),
            needs_engine,
            (_build_name(network, module, precision),),
        )
        for module in _FLAVOURS
        for network, run, _, precisions in _ENGINES
        for precision in precisions
    ),
    *(
        Step(
            f"build an engine for a range of points with {module}",
            partial(engines.build_range, run="run", module=module),
            partial(needs_building, module=module),
            (_TRAINED,),
        )
        for module in _FLAVOURS
    ),
    Step(
        "build an engine by the bundle's script, as on a Jetson",
        partial(engines.build_by_script, run="run"),
        needs_build_script,
        (_TRAINED,),
    ),
    *(
        Step(
            f"parity of PyTorch and the engine of {module}",
            partial(engines.compare, network="DGCNN", run="run", module=module),
            needs_engine,
            (_build_name("DGCNN", module),),
        )
        for module in _FLAVOURS
    ),
    *(
        Step(
            f"CUDA graphs of {network} with {module}",
            partial(engines.replay, network=network, module=module),
            needs_engine,
            (_build_name(network, module),),
        )
        for module in _FLAVOURS
        for network, *_ in _ENGINES
    ),
    *(
        Step(
            f"DLPack with {library}, {network} with {module}",
            partial(engines.lend, network=network, module=module, library=library),
            needs_gpu("torch", "cuda_python") if library == "torch" else needs_engine,
            (_build_name(network, module),),
        )
        for module in _FLAVOURS
        for network, *_ in (_ENGINES[0], _ENGINES[2])
        for library in ("torch", "cupy")
    ),
    *(
        Step(
            f"embed with {module} where torch cannot be imported",
            partial(engines.embed, network="DGCNN", module=module),
            needs_engine,
            (_build_name("DGCNN", module),),
        )
        for module in _FLAVOURS
    ),
)

_ON_CUDA = (
    *(
        Step(
            f"{network} in PyTorch on CUDA against the CPU",
            partial(networks.diagnosed, reference=run, candidate=run, device="cuda"),
            needs_gpu("torch"),
            (made,),
        )
        for network, run, made, _ in _ENGINES
    ),
    *(
        Step(
            f"training step on CUDA, {precision}",
            partial(training.training_step, precision=precision),
            needs_gpu("torch"),
        )
        for precision in ("fp32", "bf16", "fp16")
    ),
    *(
        Step(
            f"train on CUDA, {precision}",
            partial(training.train_on_cuda, precision=precision),
            needs_gpu("torch", "torchvision"),
            (_MADE,),
        )
        for precision in ("fp32", "bf16", "fp16")
    ),
    *(
        Step(
            f"fine-tune a part segmenter on CUDA, {precision}",
            partial(training.finetune_on_cuda, precision=precision),
            needs_gpu("torch"),
            (_MADE,),
        )
        for precision in ("fp32", "bf16")
    ),
    Step("train under torchrun on 1 to all GPUs, NCCL", training.nccl, needs_gpu("torch", "torchvision"), (_MADE,)),
    *(
        Step(
            f"ONNX on CUDA, {precision}",
            partial(
                networks.diagnosed,
                reference="run",
                candidate=f"bundle-{precision}",
                device="cuda",
                backend="onnxruntime",
            ),
            _CUDA,
            (f"export {precision} to ONNX",),
        )
        for precision in PRECISIONS
    ),
    *(
        Step(
            f"ONNX of {network} on CUDA",
            partial(networks.diagnosed, reference=run, candidate=bundle, device="cuda", backend="onnxruntime"),
            _CUDA,
            (exported,),
        )
        for network, run, bundle, exported in _BUNDLES
    ),
    *(
        Step(
            f"ONNX of {network} through ONNX Runtime's TensorRT",
            partial(networks.diagnosed, reference=run, candidate=bundle, device="cuda", backend="onnxruntime-tensorrt"),
            _TENSORRT,
            (exported,),
        )
        for network, run, bundle, exported in (("DGCNN", "run", "bundle-fp32", _EXPORTED), *_BUNDLES)
    ),
    Step(
        "bench on the GPU",
        partial(
            networks.measured,
            device="cuda:0",
            models=(
                "run",
                "bundle-fp32",
                *(engines.folder_of("DGCNN", module, precision="fp16") for module in _FLAVOURS),
            ),
        ),
        needs_engine,
        (_EXPORTED,),
    ),
)

STEPS: tuple[Step, ...] = (*_ON_THE_CPU, *_TENSORRT_ENGINES, *_ON_CUDA)
