"""Training of part segmenters, from a pretrained backbone or from random weights (Table 5 of the paper)."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

import crosspoint
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.core.files import write_json
from crosspoint.core.reading import reading
from crosspoint.core.results import from_json, to_json
from crosspoint.data.points import normalise
from crosspoint.data.sets.datasets import PartClouds
from crosspoint.data.sets.taxonomy import TaxonomyFile
from crosspoint.eval.metrics.miou import Ious, allowed_parts, most_likely, object_ious
from crosspoint.models.kernels.choice import choose_kernels
from crosspoint.models.segmentation import DGCNNSegmenter
from crosspoint.models.weights import save_model
from crosspoint.train.engine.checkpoint import State, newest, restore, save_checkpoint, state_of
from crosspoint.train.engine.distributed import ProcessGroup, processes
from crosspoint.train.engine.loop import TrainResult, run_steps
from crosspoint.train.engine.run_folder import AGAIN, read_config, resolve_recipe, tidy
from crosspoint.train.partseg.data import PartData, augment_parts, load_part_data
from crosspoint.train.partseg.recipes import RECIPES, PartSegRecipe
from crosspoint.train.partseg.weights import Initial, find_initial, load_initial
from crosspoint.train.pretrain.augment import SampleRng
from crosspoint.train.pretrain.options import CHECKPOINT_SECONDS
from crosspoint.train.pretrain.pairs import Item, StepSampler
from crosspoint.train.pretrain.pretrain import choose_device

SCHEMA = "crosspoint.partseg-run/1"
SEGMENTER = "segmenter.safetensors"
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class BestEpoch:
    """The epoch, counted from 0, whose network is the result, and its mIoUs on the selection clouds."""

    epoch: int
    instance_miou: float
    class_miou: float


@dataclass(frozen=True)
class FinetuneResult(TrainResult):
    """The result of a fine-tuning run.

    Attributes:
        initial: Where the backbone's weights come from; None: random weights.
        selected_on: What selected the best epoch, in words.
        best: The best epoch; None without selection clouds.
    """

    schema: ClassVar[str] = "crosspoint.finetune-partseg/1"

    initial: Initial | None
    selected_on: str
    best: BestEpoch | None


def partseg(
    data: Path,
    out: Path,
    *,
    start: Path | None = None,
    recipe: str | PartSegRecipe | None = None,
    overrides: Sequence[str] = (),
    resume: bool = False,
    device: str | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> FinetuneResult:
    """Train a part segmenter and write a run folder.

    The folder holds `config.json`, `metrics.jsonl`, TensorBoard events, `checkpoints/` and `segmenter.safetensors`, the
    network of the best epoch so far. Under `torchrun` all processes share each batch.

    Args:
        data: A folder in ShapeNetPart's format; with `taxonomy.json` if the parts are not ShapeNetPart's.
        out: Run folder; new, or an interrupted run with `resume`.
        start: A run folder or `.safetensors` file with a pretrained backbone; None: random weights.
        recipe: A recipe, or the name of one; None: that of the resumed run, else `clean`.
        overrides: `key=value` for fields of the recipe.
        resume: Continue the run in `out`; start it if there is none.
        device: `cpu`, `cuda` or `cuda:i`; None: the GPU if there is one.
        checkpoint_seconds: Seconds between checkpoints.

    Raises:
        InputError: An input or option cannot be used.
        CheckFailed: The loss is not finite.
        Stopped: SIGINT, SIGTERM or SIGHUP arrived; the state is saved.
    """
    chosen = resolve_recipe(out, recipe, overrides=overrides, resume=resume, recipes=RECIPES)
    initial = _settle_initial(out, start)
    part_data = load_part_data(data, chosen)
    with processes(choose_device(device)) as (group, where):
        if group.is_main and resume:
            tidy(out)
        run = FinetuneRun(chosen, part_data, initial=initial, out=out, device=where, group=group)
        if resume and newest(out / "checkpoints") is not None:
            run.restore()
        else:
            run.begin()
        run.wrap_ddp()
        return run.loop(checkpoint_seconds)


def _settle_initial(out: Path, start: Path | None) -> Initial | None:
    """The initial weights of a new run, or of the run in `out`; both must be the same."""
    found = None if start is None else find_initial(start)
    if not (out / "config.json").exists():
        return found
    values = read_config(out).initial
    with reading(out / "config.json", "the start of a run", advice=AGAIN):
        saved = None if values is None else from_json(Initial, values)
    if found is not None and (saved is None or saved.sha256 != found.sha256):
        was = "random weights" if saved is None else saved.path
        raise InputError(f"{out} was started from {was}, not from {found.path}; resume without --from")
    return saved


def learning_rate(recipe: PartSegRecipe, epoch: int) -> float:
    """Learning rate of all steps of an epoch (from 0): `l + ½ (h − l) (1 + cos(π e / E))`, falling from h to l."""
    low, high = recipe.final_learning_rate, recipe.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2


def smoothed_cross_entropy(logits: Tensor, parts: Tensor, *, smoothing: float) -> Tensor:
    """Cross entropy with target 1 − ε for the true part and ε / (K − 1) for each other part, as in DGCNN's code.

    PyTorch's own label smoothing by ε' gives ε' / K to *every* part; both are equal for ε' = ε K / (K − 1).

    Args:
        logits: `(B, N, K)`.
        parts: `(B, N)`.
        smoothing: ε.
    """
    count = logits.shape[2]
    own = smoothing * count / (count - 1) if count > 1 else 0.0
    wide = torch.promote_types(logits.dtype, torch.float32)
    return functional.cross_entropy(logits.flatten(0, 1).to(wide), parts.flatten(), label_smoothing=own)


def make_network(recipe: PartSegRecipe, data: PartData) -> DGCNNSegmenter:
    """Make the network of a recipe, with random weights that depend on its seed only."""
    torch.manual_seed(recipe.seed)
    return DGCNNSegmenter(len(data.taxonomy.parts), len(data.taxonomy.categories), k=recipe.k)


class FinetuneRun:
    """The state of a run: network, optimiser, best epoch, and number of steps.

    Args:
        recipe: The recipe.
        data: As the recipe divides it.
        initial: Where the backbone's weights come from; None: random weights.
        out: Run folder.
        device: Training device.
        group: The processes that share each batch.
    """

    def __init__(
        self,
        recipe: PartSegRecipe,
        data: PartData,
        *,
        initial: Initial | None,
        out: Path,
        device: torch.device,
        group: ProcessGroup,
    ) -> None:
        self.recipe, self.data, self.initial, self.out = recipe, data, initial, out
        self.device, self.group = device, group
        self.network = make_network(recipe, data).to(device).train()
        self.shared: nn.Module = self.network
        self.optimiser = torch.optim.SGD(
            self.network.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
        )
        self.rng = SampleRng(device, group.rank, size=group.size)
        self.fingerprint = data.fingerprint()
        self.best: dict[str, float] | None = None
        self.step = 0

    def begin(self) -> None:
        """Load the initial weights and write `config.json`."""
        if self.initial is not None:
            load_initial(self.initial, self.network)
        if not self.group.is_main:
            return
        weights = "random" if self.initial is None else self.initial.describe(self.recipe.k)
        click.echo(f"initial weights: {weights}", err=True)
        contents = {"objects": len(self.data.train.labels), "sha256": self.fingerprint}
        write_json(
            self.out / "config.json",
            {
                "schema": SCHEMA,
                "recipe": self.recipe.as_dict(),
                "initial": to_json(self.initial),
                "data": {**contents, "selected_on": self.data.selected_on, "taxonomy": self._taxonomy()},
                "device": self.device.type,
                "kernels": str(choose_kernels(self.device)),
                "versions": {"crosspoint": crosspoint.__version__, "torch": torch.__version__},
            },
        )

    def wrap_ddp(self) -> None:
        """Wrap the network for the processes of the group."""
        self.shared = self.group.wrap_ddp(self.network, self.device)

    def restore(self) -> None:
        """Restore the newest readable checkpoint.

        Raises:
            InputError: There is none, or the data has changed.
        """
        state = restore(self.out / "checkpoints", self.network, optimiser=self.optimiser, data=self.fingerprint)
        best = state.get("best")
        if best is not None and not (isinstance(best, dict) and isinstance(best.get("instance_miou"), float)):
            raise InputError(f"the checkpoints in {self.out} do not say which epoch was the best; start the run anew")
        self.best, self.step = best, state["step"]

    def save(self) -> None:
        """Save a checkpoint. Without selection clouds, also save the network as the result."""
        if not self.group.is_main:
            return
        state: State = {
            "network": self.network.state_dict(),
            "optimiser": state_of(self.optimiser),
            "best": self.best,
            "data": self.fingerprint,
        }
        save_checkpoint(self.out / "checkpoints", self.step, state=state)
        if self.data.selection is None:
            self._save_segmenter()

    def loop(self, checkpoint_seconds: float) -> FinetuneResult:
        """Train until the last epoch of the recipe; see `partseg`."""
        steps = StepSampler(
            len(self.data.train.labels), self.recipe, start=self.step, rank=self.group.rank, size=self.group.size
        )

        def train(items: list[Item], epoch: int) -> dict[str, float]:
            rows = torch.tensor([item for _, item in items])
            return self.train_step(rows, learning_rate(self.recipe, epoch))

        def measure() -> dict[str, float]:
            epochs, rest = divmod(self.step, steps.per_epoch)
            return self.end_epoch(epochs - 1) if epochs and not rest else {}

        result = run_steps(
            self, steps, per_epoch=steps.per_epoch, checkpoint_seconds=checkpoint_seconds, train=train, measure=measure
        )
        best = (
            None
            if self.best is None
            else BestEpoch(int(self.best["epoch"]), self.best["instance_miou"], self.best["class_miou"])
        )
        return FinetuneResult(**vars(result), initial=self.initial, selected_on=self.data.selected_on, best=best)

    def train_step(self, rows: Tensor, rate: float) -> dict[str, float]:
        """Train one step on some training objects; returns loss and accuracy.

        Raises:
            CheckFailed: The loss is not finite. The weights are unchanged.
        """
        for parameters in self.optimiser.param_groups:
            parameters["lr"] = rate
        logits, parts = self.forward(rows)
        loss = smoothed_cross_entropy(logits, parts, smoothing=self.recipe.label_smoothing)
        if self.group.any(not math.isfinite(loss.item()), self.device):
            last = newest(self.out / "checkpoints")
            raise CheckFailed(
                f"the loss is {loss.item()} in step {self.step + 1}, with the objects {rows.tolist()}; "
                f"the last good checkpoint is {last or 'none'}; lower the learning rate or look at these objects"
            )
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.get_total_norm([p.grad for p in self.network.parameters() if p.grad is not None])
        self.optimiser.step()
        values = {"loss": loss.item(), "accuracy": (logits.argmax(dim=2) == parts).float().mean().item()}
        return {**self.group.mean(values, self.device), "gradient_norm": norm.item(), "learning_rate": rate}

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Augment objects and pass them through the network: logits `(B, N, parts)` and true parts `(B, N)`."""
        digest = hashlib.sha256(f"{self.recipe.seed}/{self.step}".encode()).digest()[:7]
        seed = int.from_bytes(digest, "big")
        torch.manual_seed(seed + self.group.rank)  # for dropout in the head
        train = self.data.train
        points = torch.from_numpy(train.points)[rows].to(self.device)
        parts = torch.from_numpy(train.parts)[rows].to(self.device)
        points, parts = augment_parts(points, parts, recipe=self.recipe, rng=self.rng.seed(seed))
        return self._logits(self.shared, points, train.labels[rows.numpy()]), parts

    def _logits(self, network: nn.Module, points: Tensor, labels: NDArray[np.int64]) -> Tensor:
        category = functional.one_hot(torch.from_numpy(labels), len(self.data.taxonomy.categories))
        low = PRECISIONS[self.recipe.precision]
        dtype = next(self.network.parameters()).dtype
        with torch.autocast(self.device.type, dtype=low, enabled=low is not None):
            logits: Tensor = network(points.to(dtype), category.to(self.device, dtype))
        return logits

    def end_epoch(self, epoch: int) -> dict[str, float]:
        """Mean IoUs on the selection clouds after an epoch; the best network so far becomes the result."""
        if self.data.selection is None:
            return {}
        result = self.evaluate(self.data.selection)
        values = {"instance_miou": result.instance, "class_miou": result.by_class}
        if self.best is None or values["instance_miou"] >= self.best["instance_miou"]:
            self.best = {"epoch": epoch, **values}
            self._save_segmenter()
        return {f"selection_{name}": value for name, value in values.items()}

    @torch.no_grad()
    def evaluate(self, clouds: PartClouds) -> Ious:
        """IoUs of the current network on the first points of each cloud."""
        taxonomy, recipe = self.data.taxonomy, self.recipe
        allowed = allowed_parts(clouds.labels, taxonomy.category_parts, parts=len(taxonomy.parts))
        predicted = []
        self.network.eval()
        for start in range(0, len(clouds.labels), recipe.batch):
            rows = slice(start, start + recipe.batch)
            points = torch.from_numpy(normalise(clouds.points[rows, : recipe.points])).to(self.device)
            logits = self._logits(self.network, points, clouds.labels[rows]).float().cpu().numpy()
            predicted.append(most_likely(logits, allowed[rows] if recipe.restrict else None))
        self.network.train()
        truth = clouds.parts[:, : recipe.points]
        return object_ious(
            truth, np.concatenate(predicted), labels=clouds.labels, category_parts=taxonomy.category_parts
        )

    def _save_segmenter(self) -> None:
        origin = {
            "task": "partseg",
            **self.recipe.as_dict(),
            "steps": self.step,
            "selected_on": self.data.selected_on,
            "best": self.best,
            "initial": self.initial and self.initial.sha256,
            "taxonomy": self._taxonomy(),
        }
        save_model(self.network, self.out / SEGMENTER, recipe=origin)

    def _taxonomy(self) -> TaxonomyFile:
        taxonomy = self.data.taxonomy
        own = dict(zip(taxonomy.categories, taxonomy.category_parts, strict=True))
        return {"categories": taxonomy.categories, "parts": taxonomy.parts, "category_parts": own}
