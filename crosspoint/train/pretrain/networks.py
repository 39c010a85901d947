"""The network that a recipe trains."""

import torch
from torch import nn

from crosspoint.models.crosspoint import CrossPoint
from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import image_head, point_head
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.segmentation import SegmentationBackbone
from crosspoint.train.pretrain.distillation import Distillation
from crosspoint.train.pretrain.recipes import Recipe


def make_network(recipe: Recipe) -> CrossPoint | Distillation:
    """Make the network of a recipe, with random weights that depend on its seed only."""
    torch.manual_seed(recipe.seed)
    points: nn.Module
    if recipe.backbone == "dgcnn":
        points = DGCNN(recipe.k)
    elif recipe.backbone == "pointnet":
        points = PointNet()
    else:
        points = SegmentationBackbone(recipe.k)
    if recipe.objective == "distil":
        return Distillation(points)
    head = point_head(points.dim)
    if not recipe.needs_images:
        return CrossPoint(points, head, image=None, image_head=None)
    image = ImageEncoder(recipe.image_depth)
    return CrossPoint(points, head, image=image, image_head=image_head(image.dim))
