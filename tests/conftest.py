"""How hypothesis looks for examples, and a miniature part-segmentation set with a taxonomy of its own."""

import json
import os
import shutil
import signal
import sys

if "PYTEST_XDIST_WORKER" in os.environ:  # tests run beside tests: threads that wait for one another would spin
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if shutil.which("nvidia-smi") is None:  # without a GPU, Triton's kernels run in its interpreter
    os.environ.setdefault("TRITON_INTERPRET", "1")

import h5py
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("ordinary", max_examples=10, derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile(os.environ.get("CROSSPOINT_HYPOTHESIS", "ordinary"))

TAXONOMY = {
    "categories": ["Mushroom", "Dumbbell"],
    "parts": ["Mushroom/cap", "Mushroom/stem", "Dumbbell/ball", "Dumbbell/bar", "Dumbbell/ring"],
    "category_parts": {"Mushroom": [0, 1], "Dumbbell": [2, 3, 4]},
}


def make_parts(count, stored, seed):
    """Objects whose parts follow from the height of a point; the third part of a dumbbell is on every second one."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    points = rng.uniform(-1, 1, (count, stored, 3)).astype(np.float32)
    height = points[..., 1]
    mushroom = np.where(height > 0.2, 0, 1)
    dumbbell = np.where(np.abs(height) > 0.5, 2, 3)
    ringed = (np.abs(height) < 0.15) & (np.arange(count) % 4 == 1)[:, None]
    dumbbell = np.where(ringed, 4, dumbbell)
    points[..., 0] *= np.where(labels[:, None] == 0, np.where(mushroom == 0, 1.0, 0.3), np.where(dumbbell == 2, 1, 0.2))
    return points, labels, np.where(labels[:, None] == 0, mushroom, dumbbell)


def write_part_set(root, train=20, test=6, val=0, stored=64, taxonomy=TAXONOMY):
    folder = root / "my_part_seg_hdf5_data"
    folder.mkdir(parents=True)
    for seed, (split, count) in enumerate((("train", train), ("test", test), ("val", val))):
        if count:
            points, labels, parts = make_parts(count, stored, seed)
            with h5py.File(folder / f"ply_data_{split}0.h5", "w") as file:
                file["data"], file["label"], file["pid"] = points, labels[:, None].astype(np.uint8), parts
    (folder / "taxonomy.json").write_text(json.dumps(taxonomy))
    return folder


@pytest.fixture
def write_parts():
    return write_part_set


@pytest.fixture(scope="session")
def part_set(tmp_path_factory):
    """20 objects to train on and 6 to test, 64 points each; no validation split."""
    return write_part_set(tmp_path_factory.mktemp("parts"))


@pytest.fixture(autouse=True)
def usual_signals():
    """Signals as a command in a terminal finds them, in forked children and those that are started, too.

    Jobs in the background and under `nohup` begin with some of them ignored, and a command that runs in the tests' own
    process leaves them so.
    """
    hook = sys.unraisablehook
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    yield
    sys.unraisablehook = hook
