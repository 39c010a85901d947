"""Checks the LASzip part of a LAZ file before it is decoded: the decoder allocates what the file claims.

The layout of the record and of the chunks: https://github.com/LASzip/LASzip/blob/master/src/laszip.hpp.
"""

import struct
from pathlib import Path
from typing import Any

from crosspoint.core.errors import InputError
from crosspoint.core.reading import ADVICE, check_announced

RECORD_ID, ITEMS = 22204, 34  # of the LASzip record; byte at which its list of items begins
LAYERED = 3  # compressor of point formats 6 to 10: each item of a chunk has layers of its own
LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}  # layers of an item by its type; type 14, extra bytes, has one per byte
EXTRA_BYTES = 14
VARIABLE = 0xFFFFFFFF  # in place of the points per chunk: the table of chunks gives those of each


def check_chunks(path: Path, *, header: Any, lazrs: Any) -> None:
    """Refuse a LAZ file whose chunks cannot be in it.

    Args:
        path: The file.
        header: Header of the file, as laspy reads it.
        lazrs: The decoder's module.

    Raises:
        InputError: The LASzip record does not fit the points, or the file cannot hold the chunks or layers it claims.
    """
    record = next((bytes(x.record_data) for x in header.vlrs if getattr(x, "record_id", None) == RECORD_ID), b"")
    row, size = int(header.point_format.size), path.stat().st_size
    compressor, chunk = struct.unpack_from("<H", record)[0], struct.unpack_from("<I", record, 12)[0]
    number = struct.unpack_from("<H", record, ITEMS - 2)[0]
    items = [struct.unpack_from("<HHH", record, ITEMS + 6 * i) for i in range(number)]  # type, bytes, version
    if sum(item[1] for item in items) != row or chunk == 0:
        raise InputError(f"has a LASzip record that does not fit its points; {ADVICE}")
    if chunk != VARIABLE:
        check_announced(chunk * row, size)  # the decoder makes room for a whole chunk
    with open(path, "rb") as file:
        file.seek(header.offset_to_point_data)
        table = _table(struct.unpack("<q", file.read(8))[0], file, size)
        file.seek(table)
        count = struct.unpack("<4xI", file.read(8))[0]
        if count > header.point_count or count * row > size:
            raise InputError(f"is damaged: {size} bytes cannot hold {count} chunks of points; {ADVICE}")
        file.seek(header.offset_to_point_data)
        chunks = lazrs.read_chunk_table(file, lazrs.LazVlr(record))  # (points, bytes) of each
        start = header.offset_to_point_data + 8
        layers = sum(item[1] if item[0] == EXTRA_BYTES else LAYERS.get(item[0], 0) for item in items)
        check_announced(max((points for points, _ in chunks), default=0) * row, size)
        for _, length in chunks:
            if length < row or start + length > table:
                raise InputError(f"is damaged: a chunk of points has {length} bytes; {ADVICE}")
            if compressor == LAYERED:
                file.seek(start + row + 4)
                sizes = struct.unpack(f"<{layers}I", file.read(4 * layers))
                if row + 4 + 4 * layers + sum(sizes) > length:
                    raise InputError(f"is damaged: layers of {sum(sizes)} bytes in a chunk of {length}; {ADVICE}")
            start += length


def _table(offset: int, file: Any, size: int) -> int:
    """Where the table of chunks begins; -1 in its place means that the file ends with the offset."""
    if offset == -1:
        file.seek(size - 8)
        offset = struct.unpack("<q", file.read(8))[0]
    if not 0 < offset <= size - 8:
        raise InputError(f"is cut off: its table of chunks would begin at byte {offset} of {size}; {ADVICE}")
    return int(offset)
