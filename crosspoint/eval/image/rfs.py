"""Training an image encoder on base classes: the first half of RFS (Tian et al., Rethinking Few-Shot, ECCV 2020)."""

import hashlib
import json
import shutil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from crosspoint.core.console import track
from crosspoint.core.errors import CheckFailed, InputError
from crosspoint.data.sets.cifar_fs import Pictures
from crosspoint.eval.image.rfs_recipe import RFSRecipe
from crosspoint.models.image import ImageEncoder
from crosspoint.models.weights import Weights, read_weights, save_model
from crosspoint.train.engine.checkpoint import State, newest, restore, save_checkpoint, state_of
from crosspoint.train.pretrain.augment import SampleRng, augment_images

PADDING = 4  # pixels around a picture, for random crops
DECAYS = (1 / 2, 2 / 3, 5 / 6)  # shares of the epochs at which the learning rate falls to a tenth: 45, 60, 75 of 90


def train_rfs(
    base: Pictures, start: Weights | None, *, depth: int, recipe: RFSRecipe, device: str, cache: Path | None
) -> nn.Module:
    """Train an image encoder with a linear classifier of the base classes; the classifier is dropped.

    Args:
        base: The base classes.
        start: Initial weights; None: random ones.
        depth: Depth of the ResNet.
        recipe: The recipe.
        device: `cpu`, `cuda` or `cuda:<index>`.
        cache: Folder in which the trained encoder is stored and, for the same recipe, start and pictures, found again.
            An interrupted training continues there after its last complete epoch and gives the same weights.

    Raises:
        CheckFailed: The loss is not finite.
    """
    about = {
        "recipe": recipe.as_dict(),
        "depth": depth,
        "initial": None if start is None else start.sha256,
        "pictures": hashlib.sha256(base.images.data).hexdigest(),
        "labels": hashlib.sha256(base.labels.data).hexdigest(),
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    kept = None if cache is None else Path(cache) / f"rfs-{key[:32]}.safetensors"
    if kept is not None and kept.exists():
        found = read_weights(kept)
        if found.recipe != json.loads(json.dumps(about)):
            raise InputError(f"{kept} does not match its name; remove it, and it is trained again")
        return found.network()
    unfinished = None if kept is None else kept.with_suffix("")
    encoder = _train(base, start, depth, recipe, torch.device(device), unfinished).cpu().eval()
    if kept is not None and unfinished is not None:
        save_model(encoder, kept, recipe=about)
        shutil.rmtree(unfinished, ignore_errors=True)
    return encoder


def _train(
    base: Pictures, start: Weights | None, depth: int, recipe: RFSRecipe, device: torch.device, checkpoints: Path | None
) -> nn.Module:
    torch.manual_seed(recipe.seed)
    encoder: nn.Module = ImageEncoder(depth)
    if start is not None:
        encoder.load_state_dict(start.network().state_dict())
    classifier = nn.Linear(int(encoder.dim), len(base.class_names))  # type: ignore[arg-type]
    network = nn.Sequential(encoder, classifier).to(device).train()
    optimiser = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    rng = SampleRng(device)
    first = 0
    if checkpoints is not None and newest(checkpoints) is not None:
        first = restore(checkpoints, network, optimiser=optimiser, data=checkpoints.name)["step"]
    images, labels = torch.from_numpy(base.images), torch.from_numpy(base.labels)
    what = "RFS from scratch" if start is None else "RFS from the image encoder"
    for epoch in track(range(first, recipe.epochs), what):
        rng.seed(recipe.seed + epoch)
        rate = recipe.learning_rate * 0.1 ** sum(epoch >= share * recipe.epochs for share in DECAYS)
        for group in optimiser.param_groups:
            group["lr"] = rate
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(recipe.seed + epoch))
        for rows in torch.split(order, recipe.batch):
            if len(rows) < 2:
                continue  # batch normalisation needs at least two pictures
            x = augment_images(_random_shift(images[rows].to(device), rng).unsqueeze(1), False, rng=rng).squeeze(1)
            loss = functional.cross_entropy(network(x), labels[rows].to(device))
            if not torch.isfinite(loss):
                raise CheckFailed(f"the loss is {loss.item()} in epoch {epoch + 1}; lower it: --rfs learning_rate=0.01")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        if checkpoints is not None:
            state: State = {"network": network.state_dict(), "optimiser": state_of(optimiser), "data": checkpoints.name}
            save_checkpoint(checkpoints, epoch + 1, state=state)
    return encoder


def _random_shift(images: Tensor, rng: SampleRng) -> Tensor:
    """Random crops `(B, 3, S, S)` of pictures with `PADDING` black pixels around them, in their own size."""
    batch, _, size, _ = images.shape
    padded = functional.pad(images, [PADDING] * 4)
    start = (rng.uniform(batch, 2) * (2 * PADDING + 1)).long().clamp_max(2 * PADDING)  # (B, 2)
    inside = torch.arange(size, device=images.device)
    rows = (start[:, :1] + inside).view(batch, 1, size, 1)
    columns = (start[:, 1:] + inside).view(batch, 1, 1, size)
    sample = torch.arange(batch, device=images.device).view(batch, 1, 1, 1)
    channel = torch.arange(3, device=images.device).view(1, 3, 1, 1)
    return padded[sample, channel, rows, columns]
