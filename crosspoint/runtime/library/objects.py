"""The objects of embeddings: their content, surfaces and measures, read when they are needed."""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from crosspoint.core.console import track
from crosspoint.core.errors import CrosspointError
from crosspoint.core.files import sha256
from crosspoint.data.frames import to_y_up
from crosspoint.data.io.files import is_mesh
from crosspoint.data.io.meshes import read_mesh
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.library.measures import COUNT, measures
from crosspoint.runtime.library.surface import Array, Surface, of_cloud, of_mesh

KEPT = 2_000_000  # triangles and points of surfaces in memory


class Objects:
    """Objects by name; None for one that is not found or cannot be read."""

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self._surfaces: OrderedDict[str, Surface | None] = OrderedDict()
        self._size = 0

    def content(self, name: str) -> str | None:
        """SHA-256 of an object's file, or of its points if the file holds several objects."""
        try:
            if (path := self._originals.path(name)) is not None:
                return sha256(path)
            cloud = self._originals.cloud(name)
        except (CrosspointError, OSError):
            return None
        return None if cloud is None else hashlib.sha256(np.ascontiguousarray(cloud).data).hexdigest()

    def surface(self, name: str) -> Surface | None:
        """An object's surface; the most recent ones stay in memory, up to `KEPT` triangles and points."""
        if name in self._surfaces:
            self._surfaces.move_to_end(name)
            return self._surfaces[name]
        try:
            found = self._read(name)
        except CrosspointError:
            found = None
        self._surfaces[name] = found
        self._size += _size(found)
        while len(self._surfaces) > 1 and self._size > KEPT:
            self._size -= _size(self._surfaces.popitem(last=False)[1])
        return found

    def measures(self, names: Sequence[str]) -> Array:
        """Measures of the surfaces of objects `(n, COUNT)`, NaN for those that cannot be read."""
        found = np.full((len(names), COUNT), np.nan)
        for row, name in enumerate(track(names, "Measuring objects")):
            if (surface := self.surface(name)) is not None:
                found[row] = measures(surface)
        return found

    def _read(self, name: str) -> Surface | None:
        path = self._originals.path(name)
        if path is None:
            cloud = self._originals.cloud(name)
            return None if cloud is None else of_cloud(cloud.astype(np.float64))
        if is_mesh(path):
            mesh = read_mesh(path)
            vertices = to_y_up(np.asarray(mesh.vertices, np.float64), self._originals.up_of(path))
            return of_mesh(vertices, np.asarray(mesh.faces, np.int64))
        return of_cloud(self._originals.points(path)[0].astype(np.float64))


def _size(surface: Surface | None) -> int:
    return 0 if surface is None else len(surface.corners) + len(surface.samples)
