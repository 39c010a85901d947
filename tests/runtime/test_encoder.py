from collections.abc import Callable, Mapping

import numpy as np
import pytest

from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.runtime.encoder import Encoder
from crosspoint.runtime.specification import Specification, interface, parse_device


class Recorder(Encoder):
    """Sums each cloud, and keeps the batch sizes of its calls."""

    def __init__(self, **limits: int) -> None:
        self.specification = Specification("sum", 3, limits.pop("points", None), limits.pop("max_batch", None), "fp32",
                                           "numpy", "cpu", "", "sum", **limits)  # fmt: skip
        self.calls: list[int] = []

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls.append(len(inputs["points"]))
        if self.specification.categories is not None:
            category = inputs["category"]
            return {"logits": inputs["points"] + category.argmax(1)[:, None, None].astype(np.float32)}
        with np.errstate(over="ignore"):
            return {"embedding": inputs["points"].sum(axis=1)}


Clouds = Callable[..., np.ndarray]


@pytest.mark.parametrize(("max_batch", "calls"), [(None, [7]), (7, [7]), (3, [3, 3, 1]), (1, [1] * 7)])
def test_large_batches_are_split_to_the_same_result(clouds: Clouds, max_batch: int | None, calls: list[int]) -> None:
    encoder = Recorder(max_batch=max_batch)
    np.testing.assert_array_equal(encoder.embed(clouds(7)), Recorder().embed(clouds(7)))
    assert encoder.calls == calls


def test_small_batches_are_padded_and_the_padding_is_dropped(clouds: Clouds) -> None:
    encoder = Recorder(min_batch=2, max_batch=3)
    np.testing.assert_array_equal(encoder.embed(clouds(4)), Recorder().embed(clouds(4)))
    assert encoder.calls == [3, 2]


@pytest.mark.parametrize("fewest", [2**32 - 1, 2**62])
def test_a_batch_that_does_not_fit_into_memory_is_one_line(clouds: Clouds, fewest: int) -> None:
    with pytest.raises(InputError, match=rf"sum takes at least {fewest} clouds per call, which do not fit into memory"):
        Recorder(min_batch=fewest).embed(clouds(1))


@pytest.mark.parametrize("shape", [(), (7,), (7, 4), (6, 3), (8, 3), (7, 1, 3)])
def test_a_result_of_another_shape_than_the_file_says_is_refused(clouds: Clouds, shape: tuple[int, ...]) -> None:
    encoder = Recorder()
    encoder.run = lambda inputs: {"embedding": np.zeros(shape, np.float32)}
    with pytest.raises(InputError, match=r"sum gave embedding of shape .*, not \(7, 3\); export the model again"):
        encoder.embed(clouds(7))


@pytest.mark.parametrize(
    ("limits", "count", "fits"),
    [
        ({"points": 16}, 15, "exactly 16"),
        ({"points": 16}, 17, "exactly 16"),
        ({"min_points": 20}, 19, "at least 20"),
        ({"min_points": 8, "max_points": 32}, 33, "8 to 32"),
        ({"min_points": 8, "max_points": 32}, 7, "8 to 32"),
    ],
)
def test_number_of_points_that_does_not_fit(clouds: Clouds, limits: dict[str, int], count: int, fits: str) -> None:
    with pytest.raises(InputError, match=rf"sum takes {fits} points per cloud, not {count}"):
        Recorder(**limits).embed(clouds(2, count))


@pytest.mark.parametrize("count", [8, 32])
def test_limits_themselves_fit(clouds: Clouds, count: int) -> None:
    assert Recorder(min_points=8, max_points=32).embed(clouds(2, count)).shape == (2, 3)


def test_a_result_that_is_not_finite_is_an_error() -> None:
    points = np.ones((3, 4, 3), np.float32)
    points[1] = 3e38
    with pytest.raises(CheckFailed, match="for 1 of 3 clouds, first for cloud 1"):
        Recorder().infer({"points": points}, any_scale=True)


def test_segments_with_a_one_hot_category(clouds: Clouds) -> None:
    encoder = Recorder(categories=2, max_batch=2)
    category = np.array([[1, 0], [0, 1], [0, 1]])
    offset = np.array([0, 1, 1], np.float32)[:, None, None]
    np.testing.assert_array_equal(encoder.segment(clouds(3), category), clouds(3) + offset)


@pytest.mark.parametrize(
    ("category", "message"),
    [
        (np.eye(3), r"shape \(3, 3\); these points need one-hot \(3, 2\)"),
        (np.zeros((2, 2)), r"shape \(2, 2\)"),
        (np.array([0, 1, 1]), r"shape \(3,\)"),
        (np.zeros((3, 2)), "not one-hot"),
        (np.ones((3, 2)), "not one-hot"),
        (np.full((3, 2), 0.5), "not one-hot"),
        (np.full((3, 2), np.nan), "NaN"),
        (np.array([["a", "b"]] * 3), "type <U1"),
    ],
)
def test_a_category_that_does_not_fit(clouds: Clouds, category: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Recorder(categories=2).segment(clouds(3), category)


def test_a_segmenter_does_not_embed(clouds: Clouds) -> None:
    with pytest.raises(InputError, match=r"is a part segmenter.*use segment"):
        Recorder(categories=2).embed(clouds())


@pytest.mark.parametrize(("text", "index"), [("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_devices(text: str, index: int | None) -> None:
    assert parse_device(text) == index


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "CPU", "cpu:0"])
def test_unknown_devices(text: str) -> None:
    with pytest.raises(InputError, match="unknown device"):
        parse_device(text)


def test_interfaces() -> None:
    assert interface("m", ["points"], outputs=["embedding", "neighbours"]) == "embedding"
    assert interface("m", ["category", "points"], outputs=["logits"]) == "logits"
    for inputs, outputs in ((["x"], ["embedding"]), (["points"], ["logits"]), (["points", "x"], ["embedding"])):
        with pytest.raises(InputError, match=r"^m maps .*rename"):
            interface("m", inputs, outputs=outputs)
