"""Damage to bytes, text and JSON; `formats` builds on these to damage what has a structure of its own."""

import json
import re
import struct
from collections.abc import Callable
from random import Random

Mutator = Callable[[bytes, Random], bytes]

LONG = "9" * 5000
NUMBERS = (  # as text
    *("0", "-1", "1", "3", "255", "65536", "10000000", "1000000000", "2147483648", "4294967295", "9223372036854775807"),
    *("9223372036854775808", "18446744073709551616", "-9223372036854775809", "NaN", "inf", "-inf", "1e999", "-1e308"),
    *("1.5", "1e-320", "0x10", "1_000", "٣", "²", "+5", "", "1e10", LONG, f"-{LONG}"),
)
INTEGERS = (0, 1, -1, 2, 24, 127, 255, 10**4, 10**6, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**62, 2**63 - 1, -(2**63))
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n%%EndComments\n(/tmp/crosspoint-fuzz) (w) file closefile\n"
STRANGERS = (  # what has nothing to do with any format
    *(b"", b"\0", b"\0" * 4096, b"\xff" * 4096, b"null", b"[]", b"{}", b"0", b'"x"', b"\n" * 1000, EPS),
    *(
        b"\x89PNG\r\n\x1a\n" + b"\0" * 32,
        b"PK\x03\x04" + b"\0" * 64,
        b"\x1f\x8b\x08" + b"\0" * 32,
        b"GIF89a" + b"\0" * 32,
    ),
    *(
        b"<!DOCTYPE html><html></html>",
        b"version https://git-lfs.github.com/spec/v1\n",
        b"\x89HDF\r\n\x1a\n" + b"\0" * 64,
    ),
    *(b"[" * 200_000, b'{"a":' * 100_000, b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"\xef\xbb\xbf", "é".encode("utf-16")),
)


def strange(content: bytes, rng: Random) -> bytes:
    """Something else altogether."""
    return rng.choice(STRANGERS)


def flip(content: bytes, rng: Random) -> bytes:
    """One to eight bytes are others, mostly near the beginning or the end, where headers are."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[place(content, rng)] = rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))
    return bytes(changed)


def cut(content: bytes, rng: Random) -> bytes:
    """The end is missing."""
    return content[: place(content, rng)]


def insert(content: bytes, rng: Random) -> bytes:
    """Something in between: random bytes, or a piece of the file again."""
    at, start = place(content, rng), rng.randrange(len(content))
    piece = rng.choice((rng.randbytes(rng.choice((1, 4, 64))), content[start : start + 64], b"\0" * 16))
    return content[:at] + piece + content[at:]


def remove(content: bytes, rng: Random) -> bytes:
    """A piece is missing."""
    at = place(content, rng)
    return content[:at] + content[at + rng.choice((1, 4, 8, 100)) :]


def integer(content: bytes, rng: Random) -> bytes:
    """A binary integer of 1 to 8 bytes is a hostile one."""
    size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
    value = rng.choice(INTEGERS) % (1 << 8 * size)
    at = place(content, rng)
    return content[:at] + value.to_bytes(size, order) + content[at + size :]


def real(content: bytes, rng: Random) -> bytes:
    """A binary float is NaN, infinite, huge or tiny."""
    kind = rng.choice(("<f", "<d"))
    value = rng.choice((float("nan"), float("inf"), -float("inf"), 3e38, 1e-45, 0.0))
    at = place(content, rng) // 4 * 4
    return content[:at] + struct.pack(kind, value) + content[at + struct.calcsize(kind) :]


def place(content: bytes, rng: Random) -> int:
    """An offset within, in every second case in the first or the last 100 bytes."""
    size = len(content)
    where = rng.randrange(4)
    if where == 0:
        return rng.randrange(min(size, 100))
    if where == 1:
        return size - 1 - rng.randrange(min(size, 100))
    return rng.randrange(size)


def number(content: bytes, rng: Random) -> bytes:
    """A number that is written out is another one."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?", content[:50_000]))
    if not found:
        return flip(content, rng)
    match = rng.choice(found[:40] if rng.randrange(2) else found)
    return content[: match.start()] + rng.choice(NUMBERS).encode() + content[match.end() :]


def word(content: bytes, rng: Random) -> bytes:
    """A word is another one, doubled, left out or very long."""
    found = list(re.finditer(rb"[A-Za-z_]{2,}", content[:50_000]))
    if not found:
        return flip(content, rng)
    match, other = rng.choice(found[:60]), rng.choice(found[:60])
    new = rng.choice(
        (other[0], match[0] * 2, b"", b"x" * 100_000, b"\xff\xfe", b"\0", match[0].upper(), b"list uchar int")
    )
    return content[: match.start()] + new + content[match.end() :]


def line(content: bytes, rng: Random) -> bytes:
    """A line is missing, doubled, moved, empty or cut."""
    lines = content.split(b"\n")
    at = rng.randrange(min(len(lines), 30))
    how = rng.randrange(5)
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(at, lines[at])
    elif how == 2:
        lines.insert(rng.randrange(len(lines)), lines.pop(at))
    elif how == 3:
        lines[at] = lines[at][: len(lines[at]) // 2]
    else:
        lines.insert(at, rng.choice((b"", b"\0", b"#", b"\x1b[31m", b"nan nan nan", b"1" * 200_000, b" " * 10_000)))
    return b"\n".join(lines)


def line_ends(content: bytes, rng: Random) -> bytes:
    """All line ends are others, or the text is in another encoding."""
    text = content.decode("latin-1")
    return rng.choice(
        (
            content.replace(b"\n", b"\r\n"),
            content.replace(b"\n", b"\r"),
            text.encode("utf-16"),
            b"\xef\xbb\xbf" + content,
        )
    )


BYTES: tuple[Mutator, ...] = (flip, cut, insert, remove, integer, real, strange)
TEXT: tuple[Mutator, ...] = (number, number, number, word, line, line_ends, *BYTES)


# JSON

VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        3,
        2**31,
        2**63,
        10**6,
        10**30,
        -(2**63) - 1,
        1.5,
        1e308,
        float("nan"),
        float("inf"),
    ),
    *("", "x", "\ud800", "\0", "a\nb\x1b[31mc", "../../etc/passwd", "/dev/zero", "x" * 100_000, "1e999", "5", [], {}),
    *([[]], [None], {"a": 1}, [0] * 10_000, {"": {}}, "deep", "long"),
)


def json_text(content: bytes, rng: Random) -> bytes:
    """A JSON document with one change to its values, or to its text."""
    if rng.randrange(8) == 0:
        return rng.choice(TEXT)(content, rng)
    try:
        value = json.loads(content)
    except ValueError:
        return rng.choice(TEXT)(content, rng)
    return dump(json_value(value, rng), rng).encode("utf-8", "surrogatepass")


def dump(value: object, rng: Random) -> str:
    """JSON text; now and then a key is there twice."""
    text = json.dumps(value, indent=rng.choice((None, 2)))
    text = text.replace('"deep"', "[" * 100_000 + "]" * 100_000).replace('"long"', LONG)
    if rng.randrange(10) == 0 and (found := re.search(r'"\w+": [^,{}\[\]]+,', text)):
        text = (
            text[: found.end()]
            + found[0].replace(":", ': "twice",' + found[0].split(":")[0] + ":", 1)
            + text[found.end() :]
        )
    return text


def json_value(value: object, rng: Random) -> object:
    """A JSON value in which one value, somewhere, is another one."""
    if isinstance(value, dict) and value and rng.randrange(8):
        return _in_object(value, rng)
    if isinstance(value, list) and value and rng.randrange(6):
        return _in_list(value, rng)
    if isinstance(value, str) and value.startswith(("{", "[")) and rng.randrange(4):
        return json_text(value.encode(), rng).decode("utf-8", "replace")
    if isinstance(value, dict) and rng.randrange(2):
        return list(value.values())
    if isinstance(value, list) and rng.randrange(2):
        return dict(enumerate(value))
    return rng.choice(VALUES)


def _in_object(value: dict, rng: Random) -> dict:
    key = rng.choice(list(value))
    how = rng.randrange(8)
    if how == 0:
        return {name: kept for name, kept in value.items() if name != key}
    if how == 1:
        return {
            rng.choice(("", "x", "../x", "\0", "\ud800", "a\nb", "x" * 5000)) if name == key else name: kept
            for name, kept in value.items()
        }
    if how == 2:
        return {**value, rng.choice(("x", "name", "points", "__class__")): rng.choice(VALUES)}
    return {**value, key: json_value(value[key], rng)}


def _in_list(value: list, rng: Random) -> list:
    at = rng.randrange(len(value))
    how = rng.randrange(6)
    if how == 0:
        return value[:at] + value[at + 1 :]
    if how == 1:
        return value + [value[at]] * rng.choice((1, 1000))
    return [*value[:at], json_value(value[at], rng), *value[at + 1 :]]


def json_lines(content: bytes, rng: Random) -> bytes:
    """Lines of JSON with a change in one of them, or of the lines."""
    lines = content.splitlines()
    if not lines or rng.randrange(3) == 0:
        return rng.choice(TEXT)(content, rng)
    at = rng.randrange(len(lines))
    lines[at] = json_text(lines[at], rng).replace(b"\n", b" ")
    return b"\n".join(lines) + b"\n"
