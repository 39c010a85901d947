"""A point encoder that is trained on beside a frozen copy of itself."""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Distilled(NamedTuple):
    """What the student makes of two views of each cloud, and the teacher of the cloud."""

    first: Tensor  # (B, D), of the student
    second: Tensor  # (B, D), of the student
    target: Tensor  # (B, D), of the teacher, without gradient


class Distillation(nn.Module):
    """Student and teacher, which begin as the same encoder; only the student learns.

    Both normalise with the running statistics that the encoder came with, in training as in use: the student sees
    whole clouds and single views, and one set of statistics has to serve both.

    Args:
        points: Encoder `(B, N, 3)` to `(B, D)`, the student.
    """

    def __init__(self, points: nn.Module) -> None:
        super().__init__()
        self.points = points
        self.teacher = copy.deepcopy(points).requires_grad_(False)

    def train(self, mode: bool = True) -> "Distillation":
        """Running statistics are used in every mode."""
        super().train(False)
        self.training = mode
        return self

    def follow(self) -> None:
        """Make the teacher a copy of the student as it is now."""
        self.teacher.load_state_dict(self.points.state_dict())

    def forward(self, first: Tensor, second: Tensor, *, whole: Tensor) -> Distilled:
        """Embed two views of the same clouds with the student, and the clouds with the teacher.

        Args:
            first: `(B, N, 3)`.
            second: `(B, N, 3)`.
            whole: `(B, N, 3)`.
        """
        one, two = self.points(torch.cat([first, second])).chunk(2)
        with torch.no_grad():
            target = self.teacher(whole)
        return Distilled(one, two, target)
