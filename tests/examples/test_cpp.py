"""The C++ example, compiled and run beside Python.

The header is that of ONNX Runtime where `ORT_INCLUDE` names its folder, else the few lines in `tests/fixtures`.
"""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from crosspoint.runtime.load import load_encoder

runtime = pytest.importorskip("onnxruntime")

COMPILER = shutil.which("g++") or shutil.which("clang++")
LIBRARY = next(Path(runtime.__file__).parent.glob("capi/libonnxruntime.so*"), None)
HEADER = os.environ.get("ORT_INCLUDE", str(Path(__file__).parents[1] / "fixtures" / "onnxruntime"))
pytestmark = [
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler, g++ or clang++"),
    pytest.mark.skipif(LIBRARY is None, reason="this onnxruntime has no libonnxruntime.so"),
]
UPS = ("x", "y", "z", "-x", "-y", "-z")


@pytest.fixture(scope="module")
def program(tmp_path_factory, examples):
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(LIBRARY)
    flags = ["-O1", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{HEADER}"]
    link = [f"-L{folder}", "-lonnxruntime", f"-Wl,-rpath,{folder}"]
    source = str(examples / "cpp" / "classify.cpp")
    subprocess.run([COMPILER, *flags, "-o", str(folder / "classify"), source, *link], check=True)
    return folder / "classify"


@pytest.fixture(scope="module")
def classify(program, bundle):
    """Its line, and all scores by name."""

    def run(*words):
        done = subprocess.run([program, bundle, *map(str, words)], capture_output=True, text=True, check=True)
        label, probability, known = done.stdout.rstrip("\n").split("\t")
        rows = [line.split("\t") for line in done.stderr.splitlines()]
        return label, float(probability), known, {name: float(score) for name, score in rows}

    return run


def expect(bundle, path, up="y"):
    with load_encoder(bundle, threads=1) as encoder:
        return encoder.predict([path], up=up)


def check(found, expected):
    label, probability, known, scores = found
    np.testing.assert_allclose(list(scores.values()), expected.scores[0], atol=1e-4)
    assert list(scores) == list(expected.classifier.classes)
    assert label == expected.labels[0]
    assert probability == pytest.approx(float(expected.probabilities[0]), abs=1e-4)
    assert known == ("unknown" if expected.unknown[0] else "known")


def test_the_program_has_200_lines_at_most(examples):
    parts = [examples / "cpp" / name for name in ("classify.cpp", "cloud.hpp")]
    assert sum(len(part.read_text().splitlines()) for part in parts) <= 200


def test_golden_vectors_come_out(classify, golden, tmp_path):
    np.save(tmp_path / "cloud.npy", golden["cloud"])
    _, _, _, scores = classify(tmp_path / "cloud.npy", golden["up"])
    np.testing.assert_allclose(list(scores.values()), golden["scores"][0], atol=1e-4)


@pytest.mark.parametrize("up", UPS)
def test_a_cloud_gets_the_scores_of_python(classify, bundle, golden, tmp_path, up):
    np.save(tmp_path / "cloud.npy", golden["cloud"])
    check(classify(tmp_path / "cloud.npy", up), expect(bundle, tmp_path / "cloud.npy", up))


@pytest.mark.parametrize("count", [1, 3, 63, 64, 65, 3199, 10_000, 10_001, 20_000])
def test_any_number_of_points_is_drawn_as_in_python(classify, bundle, tmp_path, count):
    np.save(tmp_path / "cloud.npy", np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32))
    check(classify(tmp_path / "cloud.npy"), expect(bundle, tmp_path / "cloud.npy"))


@pytest.mark.parametrize("separator", [" ", ",", "\t", ", "])
def test_text_is_read(classify, bundle, tmp_path, separator):
    np.savetxt(tmp_path / "cloud.xyz", np.random.default_rng(0).normal(size=(100, 3)), delimiter=separator)
    check(classify(tmp_path / "cloud.xyz"), expect(bundle, tmp_path / "cloud.xyz"))


def test_an_array_in_fortran_order_is_read(classify, bundle, tmp_path):
    np.save(tmp_path / "cloud.npy", np.asfortranarray(np.random.default_rng(0).normal(size=(90, 3))))
    check(classify(tmp_path / "cloud.npy"), expect(bundle, tmp_path / "cloud.npy"))


def test_a_file_that_was_cut_off_is_one_line(program, bundle, tmp_path):
    np.save(tmp_path / "cloud.npy", np.zeros((90, 3)))
    (tmp_path / "cloud.npy").write_bytes((tmp_path / "cloud.npy").read_bytes()[:-1])
    done = subprocess.run([program, bundle, tmp_path / "cloud.npy"], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_equal_points_become_zeros(classify, bundle, tmp_path):
    np.save(tmp_path / "cloud.npy", np.full((70, 3), 0.1))
    check(classify(tmp_path / "cloud.npy"), expect(bundle, tmp_path / "cloud.npy"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 3), np.int32), "no (N, 3) array"),
        (np.zeros((5, 2)), "no (N, 3) array"),
        (np.zeros((5, 6)), "no (N, 3) array"),
        (np.full((5, 3), np.nan), "the cloud has 0 points"),
    ],
)
def test_what_cannot_be_read_is_one_line(program, bundle, tmp_path, array, message):
    np.save(tmp_path / "cloud.npy", array)
    done = subprocess.run([program, bundle, tmp_path / "cloud.npy"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert message in done.stderr


def test_a_folder_without_a_classifier_is_one_line(program, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    done = subprocess.run([program, tmp_path, "cloud.npy"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"classify: {tmp_path} is not a classifier of crosspoint fit\n")


def test_the_operators_of_the_package_give_the_same_scores(classify, bundle, golden, tmp_path):
    from crosspoint.runtime.backends import kernels
    from crosspoint.runtime.backends.kernels.operators import write_operators

    if not kernels.LIBRARY.is_file():
        pytest.skip("the CPU operators are not compiled")
    write_operators(bundle, tmp_path / "fast")
    np.save(tmp_path / "cloud.npy", golden["cloud"])
    check(classify(tmp_path / "cloud.npy", "z", tmp_path / "fast"), expect(bundle, tmp_path / "cloud.npy", "z"))
