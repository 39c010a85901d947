"""Several processes that fine-tune together compute what one does with the whole batch."""

import pytest
import torch
from ranks import run_ranks
from torch import nn

from crosspoint.train.engine.distributed import processes
from crosspoint.train.partseg.data import load_part_data
from crosspoint.train.partseg.finetune import FinetuneRun
from crosspoint.train.partseg.recipes import PartSegRecipe
from crosspoint.train.pretrain.pairs import StepSampler

STEPS = 3


def train_some(data, folder):
    """Three steps in float64 without dropout, whose masks each process draws for itself."""
    recipe = PartSegRecipe("clean", k=4, points=24, batch=8, learning_rate=1e-3)
    with processes(torch.device("cpu")) as (group, device):
        run = FinetuneRun(recipe, load_part_data(data, recipe), initial=None, out=folder, device=device, group=group)
        run.network.double()
        run.network.dropouts = nn.ModuleList([nn.Identity()] * 3)
        run.wrap_ddp()
        losses = []
        for items in StepSampler(16, recipe, start=0, rank=group.rank, size=group.size):
            losses.append(run.train_step(torch.tensor([i for _, i in items]), 1e-3)["loss"])
            run.step += 1
            if run.step == STEPS:
                break
        return losses, run.network.state_dict()


def test_two_processes_equal_one_with_the_whole_batch(part_set, tmp_path):
    losses, state = train_some(part_set, tmp_path)
    for other_losses, other in run_ranks(2, tmp_path, train_some, part_set, tmp_path):
        assert other_losses == pytest.approx(losses, abs=1e-9)
        for name, value in state.items():
            scale = max(1.0, value.abs().max().item())
            assert (value - other[name]).abs().max() <= 1e-10 * scale, name
