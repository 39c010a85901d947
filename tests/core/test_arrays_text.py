"""Text in arrays is text: NumPy hands on characters that do not exist, and Python fails at them later."""

import io

import numpy as np
import pytest

from crosspoint.core.arrays import Npz, read_npy
from crosspoint.core.errors import InputError


def npz(array):
    memory = io.BytesIO()
    np.savez(memory, text=array)
    return memory.getvalue()


@pytest.mark.parametrize("order", ["<", ">"])
def test_characters_that_do_not_exist_are_refused(order):
    codes = np.array([0x41, 0x110000, 0xFFFFFFFF], f"{order}u4")
    with pytest.raises(InputError, match="invalid characters"):
        Npz(npz(codes.view(f"{order}U1")))["text"]


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_last_character_there_is_is_read(order):
    text = np.array(["a\U0010ffff", "", "añ"]).astype(f"{order}U2")
    assert Npz(npz(text))["text"].tolist() == text.tolist()


def test_an_array_of_no_text_is_read():
    assert Npz(npz(np.array([], "<U3")))["text"].tolist() == []


def test_a_billion_texts_of_no_length_are_refused():
    header = b"{'descr': '|S0', 'fortran_order': False, 'shape': (1000000000,), }\n"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(InputError, match="cut off"):
        read_npy(content)


def test_a_version_that_is_not_known_is_refused_by_its_number():
    memory = io.BytesIO()
    np.lib.format.write_array(memory, np.arange(3), version=(3, 0))
    with pytest.raises(InputError, match=r"version 3\.0; save it again as plain numbers"):
        read_npy(memory.getvalue())
