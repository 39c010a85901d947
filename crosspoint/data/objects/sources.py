"""Scans among what is to be embedded: each is read, divided into objects, and gives a cloud for each of them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crosspoint.core.errors import InputError
from crosspoint.data.frames import to_y_up
from crosspoint.data.io.scans.bags import split_topic
from crosspoint.data.objects.clouds import Boxes, ObjectClouds
from crosspoint.data.objects.find import SCAN_UP, Object, ObjectOptions, segment
from crosspoint.data.objects.scan import check_found, object_names, read_scans
from crosspoint.data.points import Points, normalise
from crosspoint.data.reading import Reading
from crosspoint.data.sources import Source, draw_points, find_sources

_one_at_a_time = threading.Lock()  # a large scan takes a gigabyte, and several are read ahead


@dataclass(frozen=True)
class Scans:
    """Files of many objects each, to be embedded object by object.

    Attributes:
        inputs: Files, and folders, searched recursively.
        options: How objects are found.
    """

    inputs: Sequence[Path]
    options: ObjectOptions = ObjectOptions()


@dataclass(frozen=True, kw_only=True)
class ScanSource(Source):
    """A file of many objects, in one scan or several.

    Attributes:
        options: How they are found.
        count: Points per object; None for all.
        seed: Of the points drawn.
    """

    options: ObjectOptions
    count: int | None
    seed: int

    def clouds(self) -> ObjectClouds:
        """The objects, turned to y-up and normalised.

        Raises:
            InputError: The file cannot be read, or holds no object.
        """
        options = replace(self.options, up=self.frame.up)
        scenes = []
        for points in read_scans(Path(self.origin), seed=self.seed, columns=self.columns):
            with _one_at_a_time:
                scenes.append(segment(points, options))
        check_found(self.origin, scenes, options=self.options)
        found = [one for scene in scenes for one in scene.objects]
        return ObjectClouds(
            clouds=[self._cloud(one) for one in found],
            names=object_names(scenes),
            boxes=Boxes(
                np.array([(one.lower, one.upper) for one in found]),
                np.array([len(one.points) for one in found], np.int64),
            ),
        )

    def _cloud(self, one: Object) -> Points:
        """At most `count` points, drawn as from a file that holds the object alone."""
        (points,) = draw_points(one.points, self.count, seed=self.seed, at_most=True, draws=1)
        return normalise(to_y_up(points, self.frame.up))


def find_scans(
    inputs: Sequence[Path],
    count: int | None,
    *,
    seed: int,
    options: ObjectOptions,
    reading: Reading = Reading(),
) -> list[Source]:
    """The scans in files and folders, as `find_sources` finds and names them.

    Args:
        inputs: Files, and folders that are searched recursively.
        count: Points per object; objects of fewer are taken whole. None for all.
        seed: Of the points drawn.
        options: How objects are found, and the axis that points up in the scans.
        reading: How files are found and read.

    Raises:
        InputError: An input is missing, holds nothing that can be read, or is a data set.
    """
    sources: list[Source] = []
    found = find_sources(inputs, None, seed=seed, reading=reading, up=options.up, assumed=SCAN_UP)
    for source in found:
        path = Path(source.origin)  # with the topic of a bag
        if not isinstance(source.stored, Path) or source.stored != split_topic(path)[0]:
            raise InputError(f"{source.origin} is a data set of objects, not a scan; leave --objects away")
        sources.append(ScanSource(**vars(source), options=options, count=count, seed=seed))
    return sources
