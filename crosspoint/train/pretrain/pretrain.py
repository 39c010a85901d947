"""CrossPoint pretraining (Section 3 of the paper)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crosspoint.core.content import read_once
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.reading import reading
from crosspoint.core.results import OPTIONAL
from crosspoint.core.system.processes import available_cpus
from crosspoint.models.weights import save_model
from crosspoint.train.engine.checkpoint import ADVICE, State, newest, restore, save_checkpoint, state_of
from crosspoint.train.engine.distributed import ProcessGroup, processes
from crosspoint.train.engine.loop import TrainResult, run_steps
from crosspoint.train.engine.metrics import embedding_health
from crosspoint.train.engine.run_folder import check_origin, fingerprint, resolve_recipe, start_folder, tidy
from crosspoint.train.pretrain.augment import SampleRng, augment_images, augment_points
from crosspoint.train.pretrain.distillation import Distillation
from crosspoint.train.pretrain.initial_weights import find_initial_weights, load_initial_weights
from crosspoint.train.pretrain.losses import crosspoint_loss, distillation_loss
from crosspoint.train.pretrain.networks import make_network
from crosspoint.train.pretrain.options import RunOptions
from crosspoint.train.pretrain.pairs import Batch, PairSource, StepSampler, make_loader
from crosspoint.train.pretrain.probe import LinearProbe
from crosspoint.train.pretrain.recipes import RECIPES, Recipe
from crosspoint.train.pretrain.scans import ScannedSides, TrainingSet
from crosspoint.train.pretrain.single_view import single_view
from crosspoint.train.pretrain.teaching import require_teacher, views_of

PICKED_BY = "accuracy on the test split, as in the published code: not an independent measurement"
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Picked:
    """The state of a run that a probe on the test split preferred, as in the published code.

    Attributes:
        step: Steps done in that state.
        accuracy: Accuracy of the probe there. It chose the state, so it is too high.
    """

    step: int
    accuracy: float


@dataclass(frozen=True)
class PretrainResult(TrainResult):
    """The result of a pretraining run.

    Attributes:
        picked: Of the recipe `official` with a probe: the state whose encoders were kept.
    """

    picked: Picked | None = field(default=None, metadata=OPTIONAL)


def train(
    data: Path | TrainingSet,
    out: Path,
    *,
    recipe: str | Recipe | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str | None = None,
    init: Path | None = None,
    options: RunOptions = RunOptions(),
) -> PretrainResult:
    """Pretrain CrossPoint and write a run folder.

    The folder holds `config.json`, `metrics.jsonl`, TensorBoard events, `checkpoints/`, `encoder.safetensors`, its
    projection head `projection.safetensors` and, with an image branch, `image_encoder.safetensors`. Under `torchrun`
    all processes share each batch.

    Args:
        data: Pairs of clouds and renderings, in ShapeNetRender's layout or packed; or these and scans of their objects.
        out: Run folder; new, or an interrupted run with `resume`.
        recipe: A recipe, or the name of one; None: that of the resumed run, else `clean`.
        overrides: `key=value` for fields of the recipe.
        resume: Continue the run in `out`; start it if there is none.
        device: `cpu`, `cuda` or `cuda:i`; None: the GPU if there is one.
        init: Initial weights of the point encoder, of the same architecture; or a run folder, whose newest checkpoint
            gives the weights of all branches. None: random weights.
        options: Reading processes, checkpoints and a linear probe; they do not change what is trained.

    Raises:
        InputError: An input or option cannot be used.
        CheckFailed: The loss is not finite.
        Stopped: SIGINT, SIGTERM or SIGHUP arrived; the state is saved.
    """
    chosen = resolve_recipe(out, recipe, overrides=overrides, resume=resume, recipes=RECIPES)
    source, scans = (data if isinstance(data, TrainingSet) else TrainingSet(data)).open(chosen)
    start = None if init is None else read_once(find_initial_weights(init))
    if start is None and not (resume and newest(out / "checkpoints")):
        require_teacher(chosen)
    origin = check_origin(out, start)
    linear_probe = None if options.probe is None else LinearProbe(options.probe, options.probe_every, recipe=chosen)
    with processes(choose_device(device)) as (group, where):
        if group.is_main and resume:
            tidy(out)
        run = PretrainRun(chosen, source, out=out, device=where, group=group, scans=scans)
        if resume and newest(out / "checkpoints") is not None:
            run.restore()
        else:
            if start is not None:
                load_initial_weights(start, run.network, recipe=chosen)
            if group.is_main:
                start_folder(out, chosen, objects=len(source), data=run.data, device=where, init_sha256=origin)
        run.wrap_ddp()
        workers = available_cpus() // 2 if options.workers is None else options.workers
        return run.loop(workers, options.checkpoint_seconds, probe=linear_probe)


def choose_device(name: str | None) -> torch.device:
    """The device with this name; None: the first GPU, or the CPU if there is none.

    Raises:
        InputError: The device does not exist.
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


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Learning rate of all steps of an epoch (from 0): `½ lr (1 + cos(π e / E))`; `cosine-early` uses e + 1."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    done = epoch + (recipe.schedule == "cosine-early")
    return recipe.learning_rate * (1 + math.cos(math.pi * done / recipe.epochs)) / 2


class PretrainRun:
    """The state of a run: network, optimiser and number of steps.

    Args:
        recipe: The recipe.
        source: The training data.
        out: Run folder.
        device: Training device.
        group: The processes that share each batch.
        scans: Scans of the objects, the single views of the recipe; None: views are cut from the clouds.
    """

    def __init__(
        self,
        recipe: Recipe,
        source: PairSource,
        *,
        out: Path,
        device: torch.device,
        group: ProcessGroup,
        scans: ScannedSides | None = None,
    ) -> None:
        self.recipe, self.source, self.out, self.device, self.group = recipe, source, out, device, group
        self.scans = scans
        self.network = make_network(recipe).to(device).train()
        self.shared: nn.Module = self.network
        self.optimiser = torch.optim.Adam(
            [p for p in self.network.parameters() if p.requires_grad],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.precision == "fp16")
        self.rng = SampleRng(device, group.rank, size=group.size)
        self.step = 0
        self.picks = False  # whether the probe chooses the encoders that are kept
        self.picked: Picked | None = None

    @cached_property
    def data(self) -> str:
        """Fingerprint of the training data."""
        pairs = fingerprint(self.source)
        if self.scans is None:
            return pairs
        return hashlib.sha256(f"{pairs} {fingerprint(self.scans.source)}".encode()).hexdigest()

    def wrap_ddp(self) -> None:
        """Wrap the network for the processes of the group."""
        self.shared = self.group.wrap_ddp(self.network, self.device)

    def restore(self) -> None:
        """Restore the newest readable checkpoint.

        Raises:
            InputError: There is none, or the data has changed.
        """
        checkpoints = self.out / "checkpoints"
        state = restore(checkpoints, self.network, optimiser=self.optimiser, data=self.data)
        with reading(checkpoints, "the checkpoints of this run", advice=ADVICE):
            self.scaler.load_state_dict(state["scaler"])
            best = state.get("best")
            self.picked = None if best is None else Picked(int(best["step"]), best["accuracy"])
        self.step = state["step"]

    def save(self) -> None:
        """Save a checkpoint, and the encoders as they are now unless the probe chooses them."""
        if not self.group.is_main:
            return
        state: State = {
            "network": self.network.state_dict(),
            "optimiser": state_of(self.optimiser),
            "scaler": self.scaler.state_dict(),
            "data": self.data,
            "best": None if self.picked is None else asdict(self.picked),
        }
        save_checkpoint(self.out / "checkpoints", self.step, state=state)
        if not self.picks or self.picked is None:
            self._save_encoders()

    def _save_encoders(self) -> None:
        picked = {"picked": PICKED_BY} if self.picks and self.picked is not None else {}
        origin = {**self.recipe.as_dict(), "steps": self.step, **picked}
        save_model(self.network.points, self.out / "encoder.safetensors", recipe=origin)
        if isinstance(self.network, Distillation):
            return
        save_model(self.network.point_head, self.out / "projection.safetensors", recipe=origin)
        if self.network.image is not None:
            save_model(self.network.image, self.out / "image_encoder.safetensors", recipe=origin)

    def loop(self, workers: int, checkpoint_seconds: float, *, probe: LinearProbe | None = None) -> PretrainResult:
        """Train until the last epoch of the recipe; see `train`."""
        steps = StepSampler(len(self.source), self.recipe, start=self.step, rank=self.group.rank, size=self.group.size)

        def train(batch: Batch, epoch: int) -> dict[str, float]:
            return self.train_step(batch, learning_rate(self.recipe, epoch))

        def measure() -> dict[str, float]:
            if probe is None or not probe.due(self.step / steps.per_epoch):
                return {}
            accuracy = probe.accuracy(self.network.points)
            if self.picks and self.step > 0 and (self.picked is None or accuracy > self.picked.accuracy):
                self.picked = Picked(self.step, accuracy)
                self._save_encoders()
            return {"probe_accuracy": accuracy}

        self.picks = probe is not None and probe.on_test_split
        batches = make_loader(self.source, self.recipe, steps=steps, workers=workers, sides=self.scans)
        result = run_steps(
            self,
            batches,
            per_epoch=steps.per_epoch,
            checkpoint_seconds=checkpoint_seconds,
            train=train,
            measure=measure,
        )
        return PretrainResult(**vars(result), picked=self.picked if self.picks else None)

    def forward(self, batch: Batch) -> tuple[Any, Any]:
        """Augment a batch and run the network; returns projections and losses."""
        recipe = self.recipe
        seed = hashlib.sha256(f"{recipe.seed}/{self.step}".encode()).digest()[:7]
        rng = self.rng.seed(int.from_bytes(seed, "big"))
        points = batch.points.to(self.device, non_blocking=True)
        sides = None if self.scans is None else batch.sides.to(self.device, non_blocking=True)
        if recipe.objective == "distil":
            views = views_of(points, sides, recipe=recipe, rng=rng)
            with self._autocast():
                embeddings = self.shared(*(view.to(self.dtype) for view in views[:2]), whole=views.whole.to(self.dtype))
            return embeddings, distillation_loss(embeddings, self.group)
        cloud = points[:, : recipe.points]
        first = augment_points(cloud, recipe.dropout, with_elastic=recipe.elastic, rng=rng)
        other = cloud
        if recipe.single_view:
            other = single_view(points, recipe.points, rng=rng) if sides is None else sides
        second = augment_points(other, recipe.dropout, with_elastic=recipe.elastic, rng=rng)
        images: Tensor | None = None
        if recipe.needs_images:
            images = augment_images(batch.images.to(self.device, non_blocking=True), recipe.crop, rng=rng).to(
                self.dtype
            )
        with self._autocast():
            projections = self.shared(first.to(self.dtype), second.to(self.dtype), images=images)
        group = self.group if recipe.negatives == "global" else ProcessGroup()
        return projections, crosspoint_loss(projections, recipe.temperature, objective=recipe.objective, group=group)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.network.parameters()).dtype

    def _autocast(self) -> torch.autocast:
        low = PRECISIONS[self.recipe.precision]
        return torch.autocast(self.device.type, dtype=low, enabled=low is not None)

    def train_step(self, batch: Batch, rate: float) -> dict[str, float]:
        """Train one step; returns its losses and the metrics of the embedding.

        Raises:
            CheckFailed: The loss is not finite. The weights are unchanged.
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
        values = {name: term.item() for name, term in losses.named().items()}
        values |= embedding_health(projections.first.detach(), projections.second.detach())
        return {**self.group.mean(values, self.device), "gradient_norm": norm.item(), "learning_rate": rate}

    def _not_finite(self, loss: float, batch: Batch) -> str:
        last = newest(self.out / "checkpoints")
        names = ", ".join(self.source.keys[i] for i in batch.items.tolist())
        return (
            f"the loss is {loss} in step {self.step + 1}, with {names}; "
            f"the last good checkpoint is {last or 'none'}; lower the learning rate or look at these objects"
        )
