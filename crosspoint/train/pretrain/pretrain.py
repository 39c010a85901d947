"""The pretraining loop (Section 3 of the paper)."""

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crosspoint.core.content import read_once
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.processes import available_cpus
from crosspoint.core.reading import reading
from crosspoint.models.crosspoint import CrossPoint
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import image_head, point_head
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.segmentation import SegmentationBackbone
from crosspoint.models.weights import save_model
from crosspoint.train.engine.checkpoint import ADVICE, newest, restore, save_checkpoint
from crosspoint.train.engine.distributed import ProcessGroup, processes
from crosspoint.train.engine.loop import TrainResult, run_steps
from crosspoint.train.engine.metrics import embedding_health
from crosspoint.train.engine.run_folder import check_origin, fingerprint, resolve_recipe, start_folder, tidy
from crosspoint.train.pretrain.augment import SampleRng, augment_images, augment_points
from crosspoint.train.pretrain.initial_weights import find_initial_weights, load_initial_weights
from crosspoint.train.pretrain.losses import crosspoint_loss
from crosspoint.train.pretrain.pairs import Batch, Source, Steps, make_loader, open_source
from crosspoint.train.pretrain.probe import LinearProbe
from crosspoint.train.pretrain.recipes import RECIPES, Recipe
from crosspoint.train.pretrain.single_view import single_view

CHECKPOINT_SECONDS = 600.0
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    data: Path,
    out: Path,
    recipe: str | Recipe | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str | None = None,
    workers: int | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    probe: Path | None = None,
    probe_every: int = 1,
    init: Path | None = None,
) -> TrainResult:
    """Pretrain CrossPoint and leave a run folder.

    The folder holds `config.json`, `metrics.jsonl`, TensorBoard events, `checkpoints/`, `encoder.safetensors`, its
    projection head in `projection.safetensors` and, with an image branch, `image_encoder.safetensors`. Under `torchrun`
    the batch is shared by all processes.

    Args:
        data: Pairs of clouds and renderings, in ShapeNetRender's layout or packed.
        out: The run folder; new, or an interrupted run with `resume`.
        recipe: A recipe or the name of one; `clean` if None, or what the resumed run had.
        overrides: `key=value` for fields of the recipe.
        resume: Go on with the run in `out`; it starts if there is none yet.
        device: `cpu`, `cuda` or `cuda:i`; a GPU if there is one, if None.
        workers: Processes that read data; half of the cores if None. They do not change the result.
        checkpoint_seconds: Time between checkpoints.
        probe: Labelled clouds for a linear probe (see `LinearProbe`); it does not change what is trained.
        probe_every: Epochs between two probes.
        init: Weights that the point encoder starts from, of the same architecture, or a run folder, from whose newest
            checkpoint all branches start; random weights if None.

    Raises:
        InputError: Anything the user gave cannot be used.
        CheckFailed: The loss is not finite.
        Stopped: SIGINT, SIGTERM or SIGHUP arrived; the state is saved.
    """
    chosen = resolve_recipe(out, recipe, overrides, resume, RECIPES)
    source = open_source(data)
    start = None if init is None else read_once(find_initial_weights(init))
    origin = check_origin(out, start)
    linear_probe = None if probe is None else LinearProbe(probe, probe_every, chosen)
    with processes(choose_device(device)) as (group, where):
        if group.is_main and resume:
            tidy(out)
        run = Run(chosen, source, out, where, group)
        if resume and newest(out / "checkpoints") is not None:
            run.restore()
        else:
            if start is not None:
                load_initial_weights(start, run.network, chosen)
            if group.is_main:
                start_folder(out, chosen, len(source), run.data, where, origin)
        run.wrap_ddp()
        workers = available_cpus() // 2 if workers is None else workers
        return run.loop(workers, checkpoint_seconds, linear_probe)


def choose_device(name: str | None) -> torch.device:
    """The device of that name; the first GPU, or the CPU where there is none, if None.

    Raises:
        InputError: There is no such device.
    """
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
        group: The processes that share each batch.
    """

    def __init__(self, recipe: Recipe, source: Source, out: Path, device: torch.device, group: ProcessGroup) -> None:
        self.recipe, self.source, self.out, self.device, self.group = recipe, source, out, device, group
        self.network = make_network(recipe).to(device).train()
        self.shared: nn.Module = self.network
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.rng = SampleRng(device, group.rank, group.size)
        self.step = 0

    @cached_property
    def data(self) -> str:
        """What tells the data from others."""
        return fingerprint(self.source)

    def wrap_ddp(self) -> None:
        """Spread the network over the processes of the group."""
        self.shared = self.group.wrap_ddp(self.network, self.device)

    def restore(self) -> None:
        """Go back to the newest readable checkpoint.

        Raises:
            InputError: There is none, or the data has changed since.
        """
        checkpoints = self.out / "checkpoints"
        state = restore(checkpoints, self.network, self.optimiser, self.data)
        with reading(checkpoints, "the checkpoints of this run", ADVICE):
            self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]

    def save(self) -> None:
        """Write a checkpoint, and the encoders as they are now."""
        if not self.group.is_main:
            return
        state = {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "data": self.data,
        }
        save_checkpoint(self.out / "checkpoints", self.step, state)
        origin = {**self.recipe.as_dict(), "steps": self.step}
        save_model(self.network.points, self.out / "encoder.safetensors", origin)
        save_model(self.network.point_head, self.out / "projection.safetensors", origin)
        if self.network.image is not None:
            save_model(self.network.image, self.out / "image_encoder.safetensors", origin)

    def loop(self, workers: int, checkpoint_seconds: float, probe: LinearProbe | None = None) -> TrainResult:
        """Train until the recipe's last epoch; see `train`."""
        steps = Steps(len(self.source), self.recipe, self.step, self.group.rank, self.group.size)

        def train(batch: Batch, epoch: int) -> dict[str, float]:
            return self.train_step(batch, learning_rate(self.recipe, epoch))

        def measure() -> dict[str, float]:
            if probe is None or not probe.due(self.step / steps.per_epoch):
                return {}
            return {"probe_accuracy": probe.accuracy(self.network.points)}

        batches = make_loader(self.source, self.recipe, steps, workers)
        return run_steps(self, batches, steps.per_epoch, checkpoint_seconds, train, measure)

    def forward(self, batch: Batch) -> tuple[Any, Any]:
        """Augment a batch and pass it through the network: projections and losses."""
        recipe = self.recipe
        seed = hashlib.sha256(f"{recipe.seed}/{self.step}".encode()).digest()[:7]
        rng = self.rng.seed(int.from_bytes(seed, "big"))
        points = batch.points.to(self.device, non_blocking=True)
        first = augment_points(points, recipe.dropout, recipe.elastic, rng)
        other = single_view(points, rng) if recipe.single_view else points
        second = augment_points(other, recipe.dropout, recipe.elastic, rng)
        images: Tensor | None = None
        if recipe.objective != "imid":
            images = augment_images(batch.images.to(self.device, non_blocking=True), recipe.crop, rng)
        low = PRECISIONS[recipe.precision]
        dtype = next(self.network.parameters()).dtype
        with torch.autocast(self.device.type, dtype=low, enabled=low is not None):
            inputs = (first.to(dtype), second.to(dtype), images if images is None else images.to(dtype))
            projections = self.shared(*inputs)
        group = self.group if recipe.negatives == "global" else ProcessGroup()
        return projections, crosspoint_loss(projections, recipe.temperature, recipe.objective, group)

    def train_step(self, batch: Batch, rate: float) -> dict[str, float]:
        """One step of the optimiser; returns its losses and health.

        Raises:
            CheckFailed: The loss is not finite. The weights are as they were.
        """
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate
        projections, losses = self.forward(batch)
        if self.group.any(not math.isfinite(losses.total.item()), self.device):
            raise CheckFailed(self._not_finite(losses.total.item(), batch))
        self.optimiser.zero_grad()
        self.scaler.scale(losses.total).backward()
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])
        self.scaler.step(self.optimiser)
        self.scaler.update()
        terms = {"loss": losses.total, "loss_imid": losses.imid, "loss_cmid": losses.cmid}
        values = {name: term.item() for name, term in terms.items() if term is not None}
        values |= embedding_health(projections.first.detach(), projections.second.detach())
        return {**self.group.mean(values, self.device), "gradient_norm": norm.item(), "learning_rate": rate}

    def _not_finite(self, loss: float, batch: Batch) -> str:
        last = newest(self.out / "checkpoints")
        names = ", ".join(self.source.keys[i] for i in batch.items.tolist())
        return (
            f"the loss is {loss} in step {self.step + 1}, with {names}; "
            f"the last good checkpoint is {last or 'none'}; lower the learning rate or look at these objects"
        )
