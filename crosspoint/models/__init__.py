"""The networks, as torch modules."""

from crosspoint.models.dgcnn import DGCNN
from crosspoint.models.heads import image_head, point_head
from crosspoint.models.image import ImageEncoder
from crosspoint.models.pointnet import PointNet
from crosspoint.models.scenes import SceneBackbone
from crosspoint.models.segmentation import DGCNNSegmenter, SegmentationBackbone

__all__ = [
    "DGCNN",
    "DGCNNSegmenter",
    "ImageEncoder",
    "PointNet",
    "SceneBackbone",
    "SegmentationBackbone",
    "image_head",
    "point_head",
]
