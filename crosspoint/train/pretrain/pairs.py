"""Pairs of clouds and images for pretraining. An item depends only on the seed, the epoch and its number."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from crosspoint.core.errors import InputError
from crosspoint.train.pretrain.recipes import Recipe
from crosspoint.train.pretrain.single_view import CUT_FROM

Item = tuple[int, int]  # epoch, number of the object
Sample = tuple[Tensor, Tensor, Tensor, int]  # points, images, a side, number of the object


class Schedule(Protocol):
    """The part of a recipe that decides the order of the objects."""

    @property
    def batch(self) -> int:
        """Objects per step, over all processes."""

    @property
    def epochs(self) -> int:
        """Passes over the data."""

    @property
    def seed(self) -> int:
        """Random seed of the order."""


class PairSource(Protocol):
    """A set of objects with points and renderings: `PairedRenders` or `PackedRenders`."""

    keys: list[str]

    def __len__(self) -> int: ...

    def points(self, i: int, /) -> npt.NDArray[np.float32]:
        """Points `(N, 3)` of object i."""

    def views(self, i: int, /) -> int:
        """Number of renderings of object i."""

    def image(self, i: int, view: int, /) -> npt.NDArray[np.uint8]:
        """One rendering `(H, W, 4)`."""

    def files(self) -> Iterator[Path]:
        """All files that objects are read from, in order."""


def open_source(data: Path) -> PairSource:
    """Open a folder of pairs, either in ShapeNetRender's layout or packed.

    Raises:
        InputError: It is neither.
    """
    from crosspoint.data.sets.datasets import PairedRenders
    from crosspoint.data.sets.pack import PackedRenders, is_pack

    source: PairSource = PackedRenders(data) if is_pack(data) else PairedRenders(data)
    return source


class Sides(Protocol):
    """Single views of a set's objects: `ScannedSides`."""

    def draw(self, i: int, count: int, *, rng: np.random.Generator) -> npt.NDArray[np.float32]:
        """Some points `(count, 3)` of a view of object i."""


class Batch(NamedTuple):
    """The part of a step's batch that one process gets."""

    points: Tensor  # (B, M, 3) float32; the first N of the recipe are the cloud, a view is cut from all
    images: Tensor  # (B, views, 3, S, S) uint8; (B, 0) if only clouds are contrasted
    sides: Tensor  # (B, N, 3) float32, single views; (B, 0) if they are not given
    items: Tensor  # (B,) numbers of the objects


class Pairs(Dataset[Sample]):
    """Objects as tensors: points and renderings drawn without replacement, renderings resized.

    Args:
        source: The objects.
        recipe: Number of points, number and size of images.
        sides: Single views of the objects; None: none is drawn.
    """

    def __init__(self, source: PairSource, recipe: Recipe, *, sides: Sides | None = None) -> None:
        self.source = source
        self.recipe = recipe
        self.sides = sides

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, item: Item) -> Sample:
        """Object `item = (epoch, i)`.

        Raises:
            InputError: It has fewer points or images than the recipe asks for.
        """
        epoch, i = item
        rng = np.random.default_rng((self.recipe.seed, epoch, i))
        points = self.source.points(i)
        if len(points) < self.recipe.points:
            raise InputError(
                f"{self.source.keys[i]} has {len(points)} points, the recipe asks for {self.recipe.points}; "
                f"--set points={len(points)} or render with more"
            )
        cut = self.recipe.single_view and self.sides is None
        wanted = self.recipe.points * (CUT_FROM if cut else 1)
        if len(points) > wanted:
            points = points[rng.choice(len(points), wanted, replace=False)]
        elif len(points) < wanted:
            points = np.resize(points, (wanted, 3))  # copies of all of them: there are too few to cut a view from
        images = torch.empty(0, dtype=torch.uint8)
        if self.recipe.needs_images:
            images = torch.stack([self._image(i, int(view)) for view in self._views(i, rng)])
        side = torch.empty(0)
        if self.sides is not None:
            side = torch.from_numpy(self.sides.draw(i, self.recipe.points, rng=rng))
        return torch.from_numpy(np.ascontiguousarray(points, np.float32)), images, side, i

    def _views(self, i: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        count = self.source.views(i)
        if count < self.recipe.views:
            raise InputError(
                f"{self.source.keys[i]} has {count} renderings, the recipe asks for {self.recipe.views}; "
                f"--set views={max(count, 1)} or render more"
            )
        return rng.choice(count, self.recipe.views, replace=False)

    def _image(self, i: int, view: int) -> Tensor:
        """`(3, S, S)`; alpha and the aspect ratio are ignored, as in the official code."""
        pixels = self.source.image(i, view)[..., :3]
        size = self.recipe.image_size
        if pixels.shape[:2] != (size, size):
            from PIL import Image

            pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


class StepSampler(Sampler[list[Item]]):
    """The items of every step of a run. Each epoch is a seeded permutation; its incomplete last batch is dropped.

    Args:
        count: Objects in the set.
        recipe: Batch, epochs and seed.
        start: First step.
        rank: Number of this process, which takes its slice of every batch.
        size: Number of processes.

    Raises:
        InputError: The set is smaller than a batch, or the batch size is not a multiple of the processes.
    """

    def __init__(self, count: int, recipe: Schedule, *, start: int = 0, rank: int = 0, size: int = 1) -> None:
        if count < recipe.batch:
            raise InputError(f"there are {count} objects, fewer than a batch of {recipe.batch}; --set batch={count}")
        if recipe.batch % size:
            raise InputError(
                f"{size} processes cannot share a batch of {recipe.batch}; --set batch= a multiple of {size}"
            )
        self.count, self.recipe, self.start = count, recipe, start
        self.rank, self.size = rank, size
        self.per_epoch = count // recipe.batch

    def __len__(self) -> int:
        return self.per_epoch * self.recipe.epochs - self.start

    def __iter__(self) -> Iterator[list[Item]]:
        own = self.recipe.batch // self.size
        for step in range(self.start, self.per_epoch * self.recipe.epochs):
            epoch, position = divmod(step, self.per_epoch)
            if position == 0 or step == self.start:
                order = np.random.default_rng((self.recipe.seed, epoch)).permutation(self.count)
            first = position * self.recipe.batch + self.rank * own
            yield [(epoch, int(i)) for i in order[first : first + own]]


def _collate(samples: list[Sample]) -> Batch:
    points, images, sides, items = zip(*samples, strict=True)
    return Batch(torch.stack(points), torch.stack(images), torch.stack(sides), torch.tensor(items))


def _leave_signals_to_the_parent(worker: int) -> None:
    """In a worker, ignore Ctrl-C and SIGTERM: the worker must go on until the parent has finished its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def make_loader(
    source: PairSource, recipe: Recipe, *, steps: StepSampler, workers: int, sides: Sides | None = None
) -> DataLoader[Batch]:
    """Make one data loader for all steps of a run, so that workers start once. `workers` does not change the items."""
    return DataLoader(
        Pairs(source, recipe, sides=sides),  # type: ignore[arg-type]
        batch_sampler=steps,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_leave_signals_to_the_parent,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )
