"""The pretraining loop (Section 3 of the paper)."""

import dataclasses
import hashlib
import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

import crosspoint
from crosspoint.artefacts import write_json
from crosspoint.errors import CheckFailed, CrosspointError, InputError
from crosspoint.models.crosspoint import CrossPoint
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import image_head, point_head
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.segmentation import SegmentationBackbone
from crosspoint.models.weights import save_model
from crosspoint.train.augment import Draw, augment_images, augment_points
from crosspoint.train.checkpoint import load_checkpoint, newest, save_checkpoint
from crosspoint.train.losses import crosspoint_loss
from crosspoint.train.metrics import Recorder, embedding_health
from crosspoint.train.pairs import Batch, Source, Steps, make_loader, open_source
from crosspoint.train.progress import Progress
from crosspoint.train.recipes import Recipe, make_recipe, recipe_from

CHECKPOINT_SECONDS = 600.0
SCHEMA = "crosspoint.run/1"


class Stopped(CrosspointError):
    """The run was asked to stop, saved its state and can be resumed."""

    exit_code = 130


def train(
    data: Path,
    out: Path,
    recipe: str | Recipe | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Pretrain CrossPoint and leave a run folder.

    The folder holds `config.json`, `metrics.jsonl`, TensorBoard events, `checkpoints/`, `encoder.safetensors` and,
    with an image branch, `image_encoder.safetensors`.

    Args:
        data: Pairs of clouds and renderings, in ShapeNetRender's layout or packed.
        out: The run folder; new, or an interrupted run with `resume`.
        recipe: A recipe or the name of one; `clean` if None, or what the resumed run had.
        overrides: `key=value` for fields of the recipe.
        resume: Go on with the run in `out`; it starts if there is none yet.
        device: `cpu`, `cuda` or `cuda:i`; a GPU if there is one, if None.
        workers: Processes that read data; half of the cores if None. They do not change the result.

    Returns:
        `out`, `steps`, `epochs`, `seconds`, `device` and the last recorded losses.

    Raises:
        InputError: Anything the user gave cannot be used.
        CheckFailed: The loss is not finite.
        Stopped: SIGINT or SIGTERM arrived; the state is saved.
    """
    where = _device(device)
    chosen = _settle(out, recipe, overrides, resume)
    source = open_source(data)
    run = Run(chosen, source, out, where)
    if resume and newest(out / "checkpoints") is not None:
        run.restore()
    else:
        _start_folder(out, chosen, source, where)
    return run.loop(_workers(workers))


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"{name!r} is not a device; give cpu, cuda or cuda:0") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"training on {name!r} is not supported; give cpu, cuda or cuda:0")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is available to PyTorch; give --device cpu or install a CUDA build of torch")
    return device


def _workers(workers: int | None) -> int:
    import os

    return len(os.sched_getaffinity(0)) // 2 if workers is None else workers


def _settle(out: Path, recipe: str | Recipe | None, overrides: Sequence[str], resume: bool) -> Recipe:
    """The recipe of a new run, or of the one in `out`, which must not change."""
    import json

    config = out / "config.json"
    if not config.exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out} exists and is not a run; choose a new folder for --out")
        if isinstance(recipe, Recipe):
            return recipe
        return make_recipe(recipe or "clean", overrides)
    if not resume:
        raise InputError(f"{out} holds a run already; go on with --resume or choose another --out")
    try:
        saved = recipe_from(json.loads(config.read_text())["recipe"], str(config))
    except (ValueError, KeyError) as error:
        raise InputError(f"{config} is damaged; restore it or start the run anew in another folder") from error
    if recipe is None and not overrides:
        return saved
    asked = recipe if isinstance(recipe, Recipe) else make_recipe(recipe or saved.name, overrides)
    changed = [
        f"{field.name} was {getattr(saved, field.name)}, now {getattr(asked, field.name)}"
        for field in dataclasses.fields(Recipe)
        if getattr(saved, field.name) != getattr(asked, field.name)
    ]
    if changed:
        raise InputError(
            f"{out} was started with another recipe ({'; '.join(changed)}); resume without --set and --recipe"
        )
    return saved


def _start_folder(out: Path, recipe: Recipe, source: Source, device: torch.device) -> None:
    versions = {"crosspoint": crosspoint.__version__, "torch": torch.__version__}
    contents = {"objects": len(source), "sha256": _fingerprint(source)}
    write_json(
        out / "config.json",
        {"schema": SCHEMA, "recipe": recipe.as_dict(), "data": contents, "device": str(device), "versions": versions},
    )


def _fingerprint(source: Source) -> str:
    """SHA-256 of the objects' names, in order."""
    return hashlib.sha256("\n".join(source.keys).encode()).hexdigest()


def make_network(recipe: Recipe) -> CrossPoint:
    """The network of a recipe, with random weights that depend on its seed alone."""
    torch.manual_seed(recipe.seed)
    points: nn.Module
    if recipe.backbone == "dgcnn":
        points = DGCNN(recipe.k)
    elif recipe.backbone == "pointnet":
        points = PointNet()
    else:
        points = SegmentationBackbone(recipe.k)
    head = point_head(points.dim)
    if recipe.objective == "imid":
        return CrossPoint(points, head, None, None)
    image = ImageEncoder(recipe.image_depth)
    return CrossPoint(points, head, image, image_head(image.dim))


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Of all steps of an epoch, counted from 0: `½ lr (1 + cos(π e / E))`; `cosine-early` takes e + 1 for e."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = epoch + (recipe.schedule == "cosine-early")
    return recipe.learning_rate * (1 + math.cos(math.pi * done / recipe.epochs)) / 2


class Run:
    """State of a run: the network, its optimiser, and how many steps they have behind them.

    Args:
        recipe: Everything that decides the outcome.
        source: The data.
        out: The run's folder.
        device: Where to train.
    """

    def __init__(self, recipe: Recipe, source: Source, out: Path, device: torch.device) -> None:
        self.recipe, self.source, self.out, self.device = recipe, source, out, device
        self.network = make_network(recipe).to(device).train()
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.draw = Draw(device)
        self.step = 0

    def restore(self) -> None:
        """Go back to the newest readable checkpoint.

        Raises:
            InputError: There is none, or the data has changed since.
        """
        import click

        state, unreadable = load_checkpoint(self.out / "checkpoints")
        for line in unreadable:
            click.echo(line, err=True)
        if state["data"] != _fingerprint(self.source):
            raise InputError("the data is not what the run was started with; give the same folder or start a new run")
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]

    def save(self) -> None:
        """Write a checkpoint, and the encoders as they are now."""
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "data": _fingerprint(self.source),
        }
        save_checkpoint(self.out / "checkpoints", self.step, state)
        origin = {**self.recipe.as_dict(), "steps": self.step}
        save_model(self.network.points, self.out / "encoder.safetensors", origin)
        if self.network.image is not None:
            save_model(self.network.image, self.out / "image_encoder.safetensors", origin)

    def loop(self, workers: int) -> dict[str, Any]:
        """Train until the recipe's last epoch; see `train`."""
        steps = Steps(len(self.source), self.recipe, self.step)
        total = steps.per_epoch * self.recipe.epochs
        started = saved = time.monotonic()
        values: dict[str, Any] = {}
        loader = make_loader(self.source, self.recipe, steps, workers)
        with (
            Recorder(self.out, self.step) as recorder,
            Progress(f"Training on {self.device}", self.step, total) as progress,
            _stop_signals() as asked_to_stop,
        ):
            for batch in loader:
                epoch = self.step // steps.per_epoch
                values = {"epoch": epoch, **self.train_step(batch, learning_rate(self.recipe, epoch))}
                self.step += 1
                values["clouds_per_second"] = progress.advance(values, self.recipe.batch)
                recorder.write(self.step, values)
                if asked_to_stop or time.monotonic() - saved > CHECKPOINT_SECONDS:
                    recorder.flush()
                    self.save()
                    saved = time.monotonic()
                if asked_to_stop:
                    raise Stopped(f"stopped after step {self.step} of {total}, saved; go on with --resume")
            recorder.flush()
        self.save()
        seconds = time.monotonic() - started
        return {
            "out": str(self.out),
            "steps": self.step,
            "epochs": self.recipe.epochs,
            "seconds": round(seconds, 1),
            "device": str(self.device),
            **{name: value for name, value in values.items() if name != "epoch"},
        }

    def train_step(self, batch: Batch, rate: float) -> dict[str, float]:
        """One step of the optimiser; returns its losses and health.

        Raises:
            CheckFailed: The loss is not finite. Nothing was changed.
        """
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        draw = self.draw.seed(int.from_bytes(hashlib.sha256(f"{recipe.seed}/{self.step}".encode()).digest()[:7], "big"))
        points = batch.points.to(self.device, non_blocking=True)
        first = augment_points(points, recipe.dropout, recipe.elastic, draw)
        second = augment_points(points, recipe.dropout, recipe.elastic, draw)
        images: Tensor | None = None
        if recipe.objective != "imid":
            images = augment_images(batch.images.to(self.device, non_blocking=True), recipe.crop, draw)
        projections = self.network(first, second, images)
        losses = crosspoint_loss(projections, recipe.temperature, recipe.objective)
        total = losses.total.item()
        if not math.isfinite(total):
            raise CheckFailed(self._not_finite(total, batch))
        self.optimiser.zero_grad()
        losses.total.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])
        self.optimiser.step()
        terms = {"loss": losses.total, "loss_imid": losses.imid, "loss_cmid": losses.cmid}
        return {
            **{name: term.item() for name, term in terms.items() if term is not None},
            "learning_rate": rate,
            "gradient_norm": norm.item(),
            **embedding_health(projections.first.detach(), projections.second.detach()),
        }

    def _not_finite(self, loss: float, batch: Batch) -> str:
        last = newest(self.out / "checkpoints")
        names = ", ".join(self.source.keys[i] for i in batch.items.tolist())
        return (
            f"the loss is {loss} in step {self.step + 1}, with {names}; "
            f"the last good checkpoint is {last or 'none'}; lower the learning rate or look at these objects"
        )


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that gets an entry when SIGINT or SIGTERM arrives; a second one interrupts at once."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    old = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
