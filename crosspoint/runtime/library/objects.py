"""The objects of embeddings: their content and their surfaces, read when they are needed."""

import hashlib
from collections import OrderedDict

import numpy as np

from crosspoint.core.errors import CrosspointError
from crosspoint.core.files import sha256
from crosspoint.data.frames import to_y_up
from crosspoint.data.io.files import is_mesh, read_points
from crosspoint.data.io.meshes import read_mesh
from crosspoint.runtime.jobs.originals import Originals
from crosspoint.runtime.library.surface import Surface, of_cloud, of_mesh

KEPT = 2_000_000  # triangles and points of surfaces in memory


class Objects:
    """Objects by name; None for one that is not found or cannot be read."""

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self._surfaces: OrderedDict[str, Surface | None] = OrderedDict()

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
        while len(self._surfaces) > 1 and sum(map(_size, self._surfaces.values())) > KEPT:
            self._surfaces.popitem(last=False)
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
        return of_cloud(read_points(path, None, seed=0, up=self._originals.up_of(path))[0].astype(np.float64))


def _size(surface: Surface | None) -> int:
    return 0 if surface is None else len(surface.corners) + len(surface.samples)
