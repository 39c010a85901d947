import ctypes
import json
import os
import signal
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from crosspoint.core.errors import CheckFailed, InputError, MissingDependency
from crosspoint.core.system.interrupt import Terminated
from crosspoint.export.bundle import export
from crosspoint.export.engine import builder as tensorrt
from crosspoint.export.engine.builder import Builder, Options, build_engine, find_builder
from crosspoint.export.onnx.build import build
from crosspoint.export.onnx.fold import deploy
from crosspoint.export.options import ExportOptions
from crosspoint.runtime.manifest import load_manifest, verify_files
from crosspoint.runtime.profile import make_profile

PROFILE = make_profile("1:2:4", "16:32:64")


@pytest.fixture
def rtx():
    """TensorRT-RTX, for two kinds of GPU."""
    return Builder("tensorrt-rtx", pytest.importorskip("tensorrt_rtx"), ("sm86", "sm89"), executes=False)


@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_seg", "dgcnn_partseg"])
def test_an_engine_is_built_with_the_contract_s_inputs_outputs_and_precision(name, network, rtx):
    engine = build_engine(rtx, build(deploy(network(name)), None).SerializeToString(), profile=PROFILE)
    assert len(engine.plan) > 100_000
    outputs = {"dgcnn": [-1, 2048], "pointnet": [-1, 1024], "dgcnn_seg": [-1, 1024]}
    if name == "dgcnn_partseg":
        assert engine.inputs == {"points": [-1, -1, 3], "category": [-1, 3]}
        assert engine.outputs == {"logits": [-1, -1, 7]}
    else:
        assert engine.inputs == {"points": [-1, -1, 3]}
        assert engine.outputs == {"embedding": outputs[name]}
    assert engine.precision == "fp32"
    assert not engine.tf32
    assert set(engine.types) <= {"FLOAT", "INT32", "INT64"}


def test_the_same_network_gives_the_same_engine(network, rtx):
    model = build(deploy(network("dgcnn")), None).SerializeToString()
    assert build_engine(rtx, model, profile=PROFILE).plan == build_engine(rtx, model, profile=PROFILE).plan


def test_what_tensorrt_cannot_read_is_one_message(rtx):
    with pytest.raises(CheckFailed, match=r"tensorrt-rtx .* could not build the engine: .*"):
        build_engine(rtx, b"no model", profile=PROFILE)


def test_an_error_in_the_build_is_one_message(network, rtx):
    turing = Builder(rtx.name, rtx.module, ("sm75",), executes=False)  # has no float32 matrix product
    with pytest.raises(CheckFailed, match="FP32 GEMM is not supported"):
        build_engine(turing, build(deploy(network("dgcnn")), 32).SerializeToString(), profile=make_profile(1, 32))


def test_a_build_after_a_failed_one_succeeds(network, rtx):
    with pytest.raises(CheckFailed):
        build_engine(rtx, b"no model", profile=PROFILE)
    assert build_engine(
        rtx, build(deploy(network("pointnet")), 32).SerializeToString(), profile=make_profile(1, 32)
    ).plan


def test_an_error_is_noticed_while_another_logger_is_in_use(network, rtx):
    other = rtx.module.Logger(rtx.module.Logger.ERROR)
    runtime = rtx.module.Runtime(other)  # TensorRT warns about a second logger in one process
    with pytest.raises(CheckFailed, match="FP32 GEMM is not supported"):
        build_engine(
            Builder(rtx.name, rtx.module, ("sm75",), executes=False),
            build(deploy(network("dgcnn")), 32).SerializeToString(),
            profile=make_profile(1, 32),
        )
    del runtime


def test_ctrl_c_cancels_the_build_and_is_then_as_it_was(network, rtx, monkeypatch):
    steps = []

    def interrupt(*_, **__):
        steps.append(True)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("rich.progress.Progress.update", interrupt)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(rtx, build(deploy(network("dgcnn")), 32).SerializeToString(), profile=make_profile(1, 32))
    assert steps
    assert signal.getsignal(signal.SIGINT) is before


# Ctrl-C, errors and constructors, with the real builder behind one that says or does something more


class Wrapped:
    """The real `tensorrt_rtx`, under the name of TensorRT, whose Builder's build is another function.

    Args:
        module: The real one.
        build: Given logger, configuration and a function that builds in truth.
    """

    __name__, __version__ = "tensorrt", "10.3.0"

    def __init__(self, module, build):
        self._module, self._build = module, build

    def __getattr__(self, name):
        return getattr(self._module, name)

    def Builder(self, logger):
        real = self._module.Builder(logger)

        def build(network, config):
            return self._build(logger, config, lambda: real.build_serialized_network(network, config))

        methods = ("create_network", "create_builder_config", "create_optimization_profile")
        return SimpleNamespace(build_serialized_network=build, **{name: getattr(real, name) for name in methods})


SKIPPING = (
    "Error Code: 9: Skipping tactic 0xfe80445f7bb61a99 due to exception Assertion vol == 1 failed.",
    "Error Code: 9: Skipping tactic 0x651002a8d73048a1 due to exception misaligned address",
)
REAL = "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error (Could not find any implementation for node)"


def saying(rtx, *messages, name="tensorrt", plan=True):
    """A builder that logs errors in its build, and then makes a plan or none."""

    def build(logger, config, truly):
        for message in messages:
            logger.log(rtx.module.ILogger.Severity.ERROR, message)
        return truly() if plan else None

    return Builder(name, Wrapped(rtx.module, build), rtx.targets, executes=False)


@pytest.fixture
def small_model(network):
    return build(deploy(network("pointnet")), 32).SerializeToString()


def test_a_kernel_that_tensorrt_skips_is_kept_and_fails_no_build(rtx, small_model):
    engine = build_engine(saying(rtx, *SKIPPING), small_model, profile=make_profile(1, 32))
    assert engine.plan
    assert engine.skipped == SKIPPING


@pytest.mark.parametrize(
    ("messages", "options", "reason"),
    [
        ((REAL,), {}, "Could not find any implementation"),
        ((SKIPPING[0], REAL), {}, "Could not find any implementation"),
        (SKIPPING, {"plan": False}, "Skipping tactic 0xfe80445f7bb61a99"),
        ((), {"plan": False}, "no reason given"),
        (SKIPPING, {"name": "tensorrt-rtx"}, "Skipping tactic 0xfe80445f7bb61a99"),
        (("the word Skipping tactic alone",), {}, "the word Skipping tactic alone"),
    ],
)
def test_every_other_error_fails_the_build(messages, options, reason, rtx, small_model):
    with pytest.raises(CheckFailed, match=f"could not build the engine: .*{reason}") as caught:
        build_engine(saying(rtx, *messages, **options), small_model, profile=make_profile(1, 32))
    assert "\n" not in str(caught.value)


def test_a_builder_that_does_not_start_is_one_line(rtx, small_model):
    def no_builder(logger):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    module = Wrapped(rtx.module, None)
    module.Builder = no_builder
    with pytest.raises(InputError, match=r"tensorrt 10\.3\.0 does not start \(pybind11::init.*nvidia-smi") as caught:
        build_engine(Builder("tensorrt", module, rtx.targets, executes=False), small_model, profile=make_profile(1, 32))
    assert "\n" not in str(caught.value)


class Barrier:
    """pthread's: waiting there is deaf to signals and runs no Python, as a build in C++ is."""

    def __init__(self):
        self.library, self.memory = ctypes.CDLL(None), ctypes.create_string_buffer(64)
        self.library.pthread_barrier_init(self.memory, None, 2)

    def wait(self):
        self.library.pthread_barrier_wait(self.memory)


def signalled(rtx, number):
    """A builder that gets a signal while it steps in a thread of its own; and what it was told to do at the end."""
    told = []

    def build(logger, config, truly):
        barrier, monitor = Barrier(), config.progress_monitor

        def step():
            monitor.phase_start("phase", None, 1000)
            while sys._current_frames()[builds].f_code is not Barrier.wait.__code__:
                pause.wait(0.01)
            pause.wait(0.01)
            os.kill(os.getpid(), number)
            steps = range(500)  # five seconds
            told.append(next((False for i in steps if not monitor.step_complete("phase", i) or pause.wait(0.01)), True))
            monitor.phase_finish("phase")
            barrier.wait()

        pause, builds = threading.Event(), threading.get_ident()
        threading.Thread(target=step).start()
        barrier.wait()
        return b"plan" if told[0] else None

    return Builder("tensorrt", Wrapped(rtx.module, build), rtx.targets, executes=False), told


def test_ctrl_c_cancels_a_build_whose_steps_are_told_by_another_thread(rtx, small_model):
    builder, told = signalled(rtx, signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        build_engine(builder, small_model, profile=make_profile(1, 32))
    assert told == [False]


def test_sigterm_cancels_the_build_too(rtx, small_model):
    builder, told = signalled(rtx, signal.SIGTERM)
    with pytest.raises(Terminated) as ended:
        build_engine(builder, small_model, profile=make_profile(1, 32))
    assert ended.value.number == signal.SIGTERM
    assert told == [False]


def typed(kind):
    """`embedding = max over points of relu(points W)` whose product is of a type, `"int8"` between Q and DQ."""
    values = {"points": ["batch", "points", 3], "embedding": ["batch", 4]}
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in values.items())
    weight, nodes = np.eye(3, 4, dtype=np.float32), []
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.float32(0.1), "s")]
    constants.append(numpy_helper.from_array(np.int8(0), "z"))
    for name in ("points", "w"):
        if kind == "int8":
            nodes.append(helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}/q"]))
            nodes.append(helper.make_node("DequantizeLinear", [f"{name}/q", "s", "z"], [f"{name}/low"]))
        else:
            to = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}[kind]
            nodes.append(helper.make_node("Cast", [name], [f"{name}/low"], to=to))
    nodes.append(helper.make_node("MatMul", ["points/low", "w/low"], ["product"]))
    nodes.append(helper.make_node("Cast", ["product"], ["back"], to=TensorProto.FLOAT))
    nodes.append(helper.make_node("ReduceMax", ["back"], ["embedding"], axes=[1], keepdims=0))
    graph = helper.make_graph(nodes, "typed", [given], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("kind", ["fp16", "bf16", "int8"])
def test_the_types_of_the_graph_are_those_of_the_engine(kind, rtx):
    engine = build_engine(rtx, typed(kind), profile=PROFILE)
    assert set(engine.precision.split("+")) == {kind, "fp32"}


def test_tf32_is_off_unless_it_is_asked_for(network, rtx):
    model = build(deploy(network("pointnet")), 32).SerializeToString()
    profile = make_profile(1, 32)
    assert not build_engine(rtx, model, profile=profile).tf32
    assert build_engine(rtx, model, profile=profile, options=Options(tf32=True)).tf32


def test_the_workspace_is_limited(network, rtx):
    model = build(deploy(network("dgcnn")), 1024).SerializeToString()
    assert build_engine(rtx, model, profile=make_profile(8, 1024), options=Options(workspace=1024)).plan
    with pytest.raises(CheckFailed, match="workspace limit"):
        build_engine(rtx, model, profile=make_profile(8, 1024), options=Options(workspace=1))


def test_a_timing_cache_is_not_rtx_s(network, rtx, tmp_path):
    model = build(deploy(network("pointnet")), 32).SerializeToString()
    with pytest.raises(InputError, match="--timing-cache needs TensorRT"):
        build_engine(rtx, model, profile=make_profile(1, 32), options=Options(timing_cache=tmp_path / "x"))
    assert not (tmp_path / "x").exists()


@pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")
def test_a_timing_cache_is_written(network, rtx, tmp_path):
    as_tensorrt = Builder("tensorrt", rtx.module, rtx.targets, executes=False)  # its calls are there, without an effect
    model = build(deploy(network("pointnet")), 32).SerializeToString()
    options = Options(timing_cache=tmp_path / "timing.cache")
    assert build_engine(as_tensorrt, model, profile=make_profile(1, 32), options=options).plan
    assert (tmp_path / "timing.cache").stat().st_size > 0


@pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")
def test_a_timing_cache_that_is_none_is_refused_and_kept(network, rtx, tmp_path):
    if tensorrt.find_gpu() is not None:
        pytest.skip("an NVIDIA GPU is here")
    as_tensorrt = Builder("tensorrt", rtx.module, rtx.targets, executes=False)
    (tmp_path / "timing.cache").write_bytes(b"rubbish" * 10)
    model = build(deploy(network("pointnet")), 32).SerializeToString()
    with pytest.raises(InputError, match=r"--timing-cache .*timing\.cache is from another GPU or TensorRT; delete it"):
        build_engine(
            as_tensorrt, model, profile=make_profile(1, 32), options=Options(timing_cache=tmp_path / "timing.cache")
        )
    assert (tmp_path / "timing.cache").read_bytes() == b"rubbish" * 10


@pytest.mark.parametrize(("available", "found"), [(True, "sm86"), (False, None)])
def test_torch_tells_of_the_gpu_where_cuda_python_is_missing(monkeypatch, available, found):
    def missing():
        raise MissingDependency("cuda-python is not installed")

    there = SimpleNamespace(is_available=lambda: available, get_device_capability=lambda index: (8, 6))
    monkeypatch.setattr(tensorrt, "device_count", missing)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(__version__="2", cuda=there))
    assert tensorrt.find_gpu() == found


def test_targets_are_chosen_and_sorted(rtx, monkeypatch):
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: None)
    assert find_builder(("sm120", "sm86")).targets == ("sm86", "sm120")
    everything = find_builder().targets
    assert {"sm80", "sm86", "sm89", "sm120"} <= set(everything)
    assert "sm75" not in everything


@pytest.mark.parametrize("target", ["sm75", "sm87", "ampere", "NONE", "current"])
def test_a_target_that_rtx_does_not_build_for_is_refused(target, rtx, monkeypatch):
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: None)
    with pytest.raises(InputError, match=f"--target {target} is not one of TensorRT-RTX's GPUs"):
        find_builder((target,))


def only_installed(monkeypatch, *names):
    """Of TensorRT and TensorRT-RTX, only those named can be imported."""

    def imported(name):
        return (SimpleNamespace(__version__="10.3"), "") if name in names else (None, "is not installed")

    monkeypatch.setattr(tensorrt, "import_or_reason", imported)


@pytest.mark.parametrize(
    ("installed", "gpu", "reason"),
    [
        ((), None, "tensorrt is not installed and there is no GPU here"),
        (("tensorrt",), None, "there is no GPU here"),
        ((), "sm86", "tensorrt is not installed"),
    ],
)
@pytest.mark.parametrize(("choice", "option"), [("auto", "--trt"), ("tensorrt", "--builder tensorrt")])
def test_without_a_builder_the_message_says_what_is_missing_and_what_else_there_is(
    choice, option, installed, gpu, reason, monkeypatch
):
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: gpu)
    only_installed(monkeypatch, *installed)
    with pytest.raises(
        MissingDependency, match=rf"^{option}: {reason}\. .*--builder device.*--builder rtx.*pip install .*\[trt-rtx\]"
    ) as caught:
        find_builder((), choice)
    assert "\n" not in str(caught.value)


def test_a_broken_tensorrt_is_not_called_missing(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: "sm86")
    with pytest.raises(
        MissingDependency, match=r"tensorrt is installed and does not load: ImportError: libnvinfer\.so"
    ):
        find_builder((), "tensorrt")


def test_rtx_that_was_asked_for_and_is_not_installed(monkeypatch):
    only_installed(monkeypatch)
    with pytest.raises(MissingDependency, match=r"--builder rtx: .*pip install .*\[trt-rtx\]"):
        find_builder((), "rtx")


@pytest.mark.parametrize(("choice", "said"), [("auto", "there is no GPU here"), ("rtx", "")])
def test_rtx_in_the_place_of_tensorrt_is_said_unless_it_was_asked_for(choice, said, rtx, monkeypatch):
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: None)
    builder = find_builder((), choice)
    assert builder.name == "tensorrt-rtx"
    assert said in builder.note
    assert bool(builder.note) is bool(said)


def test_a_builder_that_there_is_not():
    with pytest.raises(InputError, match="--builder trt is not known; give auto, tensorrt, rtx or device"):
        find_builder((), "trt")


def test_tensorrt_for_another_gpu_than_this_one_is_refused(monkeypatch):
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: "sm90")
    only_installed(monkeypatch, "tensorrt")
    with pytest.raises(InputError, match="this machine's GPU only, sm90"):
        find_builder(("sm86",))


def test_a_bundle_with_an_engine_says_that_it_was_only_built(saved, tmp_path, rtx, monkeypatch):
    monkeypatch.setattr(tensorrt, "find_gpu", lambda: None)
    export(
        saved("dgcnn"),
        tmp_path / "bundle",
        trt=True,
        batch="1:2:4",
        points="16:32:64",
        options=ExportOptions(target=("sm86",)),
    )
    manifest = load_manifest(tmp_path / "bundle")
    assert set(verify_files(manifest)) == {"encoder.onnx", "encoder.plan", "golden.npz"}
    assert manifest.engine.builder == "tensorrt-rtx"
    assert manifest.engine.version == rtx.module.__version__
    assert manifest.engine.targets == ("sm86",)
    assert (manifest.engine.executed, manifest.engine.status) == (False, "built, not executed")
    assert (manifest.batch, manifest.points) == ((1, 2, 4), (16, 32, 64))
    written = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert written["versions"]["tensorrt-rtx"] == rtx.module.__version__
    assert written["engine"]["tf32"] is False


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["dgcnn", "pointnet", "dgcnn_partseg"])
def test_an_engine_that_this_gpu_can_run_goes_through_the_gate(name, saved, tmp_path):
    if tensorrt.find_gpu() is None:
        pytest.skip("no NVIDIA GPU")
    try:
        executes = find_builder().executes
    except MissingDependency as error:
        pytest.skip(str(error))
    if not executes:
        pytest.skip("TensorRT is not installed, and TensorRT-RTX does not run on this GPU")
    manifest = export(saved(name), tmp_path / "bundle", trt=True, batch="1:2:4", points="16:32:64").to_json()
    assert manifest["engine"]["executed"] is True
    assert manifest["engine"]["parity"]["relative_l2_max"] <= 1e-4


def test_while_a_build_runs_ctrl_c_is_looked_for_ten_times_a_second(monkeypatch):
    waits, answers = [], [True, True, False]

    def wait(building, seconds):
        waits.append(seconds)
        return SimpleNamespace(not_done=answers.pop(0))

    monkeypatch.setattr(tensorrt, "wait", wait)
    monkeypatch.setattr(tensorrt, "errors_of", lambda trt: nullcontext(["an error"]))
    made = SimpleNamespace(build_serialized_network=lambda network, config: (network, config))
    cancelled = []
    assert tensorrt._build(None, made, "network", "config", cancelled) == (("network", "config"), ["an error"])
    assert (waits, cancelled) == ([0.1] * 3, [])


def test_whatever_ends_the_wait_ends_the_build(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(tensorrt, "wait", interrupted)
    monkeypatch.setattr(tensorrt, "errors_of", lambda trt: nullcontext([]))
    cancelled = []
    with pytest.raises(KeyboardInterrupt):
        tensorrt._build(None, SimpleNamespace(build_serialized_network=lambda *_: None), None, None, cancelled)
    assert cancelled == [signal.SIGINT]
