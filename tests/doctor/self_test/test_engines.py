"""What the self-test holds of a TensorRT engine, on encoders in host memory that are right, or wrong in one way."""

from types import SimpleNamespace

import numpy as np
import pytest
from toy_machine import facts_of

from crosspoint.core.errors import CheckFailed
from crosspoint.doctor.self_test import engines
from crosspoint.doctor.self_test.engines import lent, replayed, run_on
from crosspoint.doctor.self_test.step import BATCH, POINTS, Context, NotAvailable
from crosspoint.parity.clouds import ordinary


class Engine:
    """A linear encoder that captures a shape at its second call; `stale` repeats what it captured."""

    def __init__(self, stale=False, captures=True, by_itself=False, categories=None):
        self.specification = type("Specification", (), {"categories": categories})
        self.stale, self.captures, self.by_itself = stale, captures, by_itself
        self.calls, self.kept = 0, None

    @property
    def graphs(self):
        return None if self.by_itself else int(self.captures and self.calls > 1)

    def embed(self, points):
        self.calls += 1
        result = np.cumsum(points.max(axis=1), axis=1)
        if self.stale and self.calls > 2:
            return self.kept
        self.kept = result
        return result

    def segment(self, points, category):
        return points @ np.ones((3, 4), np.float32) + category.sum(axis=1)[:, None, None]

    def embed_into(self, points, out):
        out[...] = self.embed(points)

    def segment_into(self, points, category, out):
        out[...] = self.segment(points, category)


@pytest.mark.parametrize(
    ("module", "said"),
    [("tensorrt", "256 to 1024 points, timing cache of 3 bytes; built"), ("rtx", "256 to 1024 points; built")],
)
def test_a_range_says_which_timing_cache_it_left(tmp_path, monkeypatch, module, said):
    def built(context, run, out, module, precision, *, points, build):
        assert points == engines.RANGE
        if build.timing_cache is not None:
            build.timing_cache.write_bytes(b"abc")
        return "built"

    monkeypatch.setattr(engines, "_built", built)
    monkeypatch.setattr(engines, "RANGE", (256, 512, 1024))
    assert engines.build_range(Context(tmp_path, 0), "run", module=module) == said


def test_a_build_that_leaves_no_timing_cache_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "_built", lambda *given, **options: "built")
    with pytest.raises(CheckFailed, match="left no timing cache"):
        engines.build_range(Context(tmp_path, 0), "run", module="tensorrt")


def copy(array):
    return np.array(array)


def others():
    """What another encoder gives for other clouds."""
    return run_on(Engine(), [ordinary(BATCH[1], POINTS, seed=1)])


def test_graphs_that_compute_the_same_pass():
    assert replayed(Engine(), others()).startswith("1 captured; calls differ by 0.0e+00")
    assert replayed(Engine(by_itself=True), others()).startswith("TensorRT-RTX captures by itself")


def test_a_graph_that_repeats_old_clouds_fails():
    with pytest.raises(CheckFailed, match=r"calls differ by .* \(limit 1e-05\)"):
        replayed(Engine(stale=True), others())


def test_where_nothing_is_captured_it_says_so():
    with pytest.raises(CheckFailed, match="nothing was captured as a CUDA graph"):
        replayed(Engine(captures=False), others())


@pytest.mark.parametrize("categories", [None, 3])
def test_arrays_that_are_used_where_they_lie(categories):
    assert lent(Engine(categories=categories), copy, to_host=copy).startswith(
        "results differ from those of copies by 0.0e+00"
    )


def test_arrays_that_are_not_read_again_fail():
    class Once(Engine):
        def embed_into(self, points, out):
            if self.kept is not None and not out.any():
                out[...] = self.kept

    with pytest.raises(CheckFailed, match="results differ from those of copies"):
        lent(Once(), copy, to_host=copy)


def test_inputs_are_a_batch_of_the_self_test_s_size():
    given = []

    class Recorder(Engine):
        def segment(self, points, category):
            given.append((points.shape, category.tolist()))
            return super().segment(points, category)

    lent(Recorder(categories=3), copy, to_host=copy)
    assert {shape for shape, _ in given} == {(BATCH[1], POINTS, 3)}
    categories = [category for _, category in given]
    assert [[1, 0, 0], [0, 1, 0]] in categories
    assert [[0, 1, 0], [0, 0, 1]] in categories, "another call has other categories"


def test_an_engine_for_other_gpus_is_not_available(monkeypatch, tmp_path):
    built = type("Manifest", (), {"engine": type("Entry", (), {"targets": ("sm86", "sm89")})})
    monkeypatch.setattr(engines, "load_manifest", lambda folder: built)
    with pytest.raises(NotAvailable, match="built for sm86, sm89, and this GPU is sm90"):
        engines.require_own(Context(tmp_path, facts_of(cuda_python={"devices": ["sm90"]})), "bundle")
    engines.require_own(Context(tmp_path, facts_of(cuda_python={"devices": ["sm86"]})), "bundle")


def test_every_call_has_its_own_categories():
    given = []

    class Recorder(Engine):
        def segment(self, points, category):
            given.append(category.argmax(axis=1).tolist())
            return super().segment(points, category)

    lent(Recorder(categories=5), copy, to_host=copy)
    assert given == [[0, 1], [1, 2], [2, 3]] * 2


def built_engine(executed, targets=("sm90",)):
    return SimpleNamespace(
        builder="tensorrt", version="10.1", targets=targets, status="a status", executed=executed, parity=None
    )


def exported(engine, given=None, script=None):
    """In place of `export`: notes its options, and leaves a script."""

    def export(context, run, *, out, **options):
        if given is not None:
            given.append((run, out, options))
        if script is not None:
            (context.folder / out).mkdir()
            (context.folder / out / "build_on_device.sh").write_text(script)
        return SimpleNamespace(engine=engine)

    return export


@pytest.mark.parametrize(("targets", "fails"), [(("sm90",), True), (("sm86",), False)])
def test_an_engine_of_this_gpu_must_have_been_executed(tmp_path, monkeypatch, targets, fails):
    monkeypatch.setattr(engines, "own_gpu", lambda context: "sm90")
    monkeypatch.setattr(engines, "export", exported(built_engine(False, targets)))
    if fails:
        with pytest.raises(CheckFailed, match="built for this GPU and not executed: a status"):
            engines.build(Context(tmp_path, 0), "trained dgcnn", run="run", module="tensorrt", precision="fp16")
    else:
        said = engines.build(Context(tmp_path, 0), "trained dgcnn", run="run", module="tensorrt", precision="fp16")
        assert said == "tensorrt 10.1 for sm86: a status"


@pytest.mark.parametrize(("module", "builder"), [("tensorrt", "tensorrt"), ("tensorrt_rtx", "rtx")])
def test_a_range_is_built_in_a_limited_workspace(tmp_path, monkeypatch, module, builder):
    given = []
    monkeypatch.setattr(engines, "own_gpu", lambda context: "sm90")
    monkeypatch.setattr(engines, "export", exported(built_engine(True), given))
    (tmp_path / "timing.cache").write_bytes(b"abc")
    engines.build_range(Context(tmp_path, 0), "run", module=module)
    ((run, out, options),) = given
    assert (run, out, options["points"]) == ("run", f"engine-{module}-range", engines.RANGE)
    assert options["precision"] == "fp32"
    assert options["trt"] is True
    assert options["options"].builder == builder
    assert options["options"].build.workspace == 1024, "MiB"
    assert options["options"].build.timing_cache == (tmp_path / "timing.cache" if module == "tensorrt" else None)


def test_the_device_s_script_must_end_well(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "export", exported(None, script="echo no such engine >&2; exit 3"))
    monkeypatch.setattr(engines, "load_manifest", lambda out: SimpleNamespace(engine=built_engine(True)))
    monkeypatch.setattr(engines, "diagnosed", lambda *given, **options: "equal")
    with pytest.raises(CheckFailed, match="the script ended with 3: no such engine"):
        engines.build_by_script(Context(tmp_path, 0), "run")


@pytest.mark.parametrize("executed", [False, True])
def test_the_device_s_script_must_execute_what_it_builds(tmp_path, monkeypatch, executed):
    monkeypatch.setattr(engines, "export", exported(None, script="exit 0"))
    monkeypatch.setattr(engines, "load_manifest", lambda out: SimpleNamespace(engine=built_engine(executed)))
    monkeypatch.setattr(engines, "diagnosed", lambda *given, **options: "equal")
    if executed:
        assert engines.build_by_script(Context(tmp_path, 0), "run") == "tensorrt 10.1: a status; equal"
    else:
        with pytest.raises(CheckFailed, match="left an engine that was not executed: a status"):
            engines.build_by_script(Context(tmp_path, 0), "run")
