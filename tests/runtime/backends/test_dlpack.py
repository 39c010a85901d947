"""With real arrays of numpy and torch, on the CPU: what is read of a capsule does not depend on the device."""

import ctypes

import numpy as np
import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends.dlpack import CPU, Borrowed, borrow, require_aligned


def on_cpu(array: object) -> Borrowed:
    return borrow(array, "points", device="the CPU", kinds=(CPU,), index=0, stream=None)


def values(borrowed: Borrowed) -> np.ndarray:
    count = int(np.prod(borrowed.shape))
    return np.ctypeslib.as_array((ctypes.c_float * count).from_address(borrowed.address)).reshape(borrowed.shape)


def test_numpy_arrays_are_not_copied() -> None:
    array = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    borrowed = on_cpu(array)
    assert borrowed.address == array.ctypes.data
    np.testing.assert_array_equal(values(borrowed), array)
    values(borrowed)[1, 2, 0] = -5
    assert array[1, 2, 0] == -5


def test_torch_tensors_are_not_copied() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(24, dtype=torch.float32).reshape(2, 4, 3)
    borrowed = on_cpu(tensor)
    assert borrowed.address == tensor.data_ptr()
    np.testing.assert_array_equal(values(borrowed), tensor.numpy())


def test_a_part_of_an_array_begins_where_it_begins() -> None:
    torch = pytest.importorskip("torch")
    for array in (np.arange(24, dtype=np.float32).reshape(4, 2, 3)[1:3], torch.arange(24.0).reshape(4, 2, 3)[1:3]):
        np.testing.assert_array_equal(values(on_cpu(array)), np.arange(6, 18).reshape(2, 2, 3))


def test_the_array_lives_as_long_as_it_is_borrowed() -> None:
    borrowed = on_cpu(np.full((2, 4, 3), 7, np.float32))  # nothing else holds it
    junk = [np.zeros((2, 4, 3), np.float32) for _ in range(100)]
    np.testing.assert_array_equal(values(borrowed), 7)
    del junk


def test_dimensions_of_one_may_have_any_stride() -> None:
    array = np.zeros((4, 4, 3), np.float32)[:1, :4]
    assert on_cpu(np.lib.stride_tricks.as_strided(array, strides=(4000, 12, 4))).shape == (1, 4, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: np.zeros((2, 4, 3)), "points is not float32"),
        (lambda: np.zeros((2, 4, 3), np.int32), "points is not float32"),
        (lambda: np.zeros((2, 4, 3), np.float16), "points is not float32"),
        (
            lambda: np.zeros((2, 3, 4), np.float32).transpose(0, 2, 1),
            r"points is not C-contiguous; give points\.contig",
        ),
        (lambda: np.zeros((2, 8, 3), np.float32)[:, ::2], "points is not C-contiguous"),
        (lambda: np.broadcast_to(np.zeros((1, 4, 3), np.float32), (2, 4, 3)), "points cannot be shared"),
        (lambda: pytest.importorskip("torch").zeros(2, 4, 3, requires_grad=True), "points cannot be shared"),
        (lambda: [[1.0]], "points is a list, without DLPack; give an array of torch or CuPy"),
        (lambda: None, "points is a NoneType, without DLPack"),
    ],
)
def test_what_cannot_be_borrowed(make, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        on_cpu(make())
    assert "\n" not in str(caught.value)


def test_an_array_elsewhere_is_refused_before_it_is_touched() -> None:
    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return (2, 1)

        def __dlpack__(self, stream: int | None = None) -> object:
            raise AssertionError("touched")

    with pytest.raises(InputError, match="points is not on the CPU, where the encoder is"):
        on_cpu(Elsewhere())


def test_addresses_are_multiples_of_256() -> None:
    require_aligned(Borrowed(512, (1,), None), "points")
    with pytest.raises(InputError, match="points does not start at a multiple of 256 bytes"):
        require_aligned(Borrowed(516, (1,), None), "points")
