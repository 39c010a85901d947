"""Shapes, layers and parameter counts of the published networks."""

import pytest
import torch

from crosspoint.models import (
    DGCNN,
    DGCNNSegmenter,
    ImageEncoder,
    PointNet,
    SegmentationBackbone,
    image_head,
    point_head,
)
from crosspoint.models.crosspoint import CrossPoint


def points(batch=2, count=50):
    return torch.randn(batch, count, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("network", "dim"), [(DGCNN(k=20), 2048), (PointNet(), 1024), (SegmentationBackbone(k=10), 1024)]
)
def test_embeddings_do_not_depend_on_the_order_of_points(network, dim):
    network.eval()
    with torch.inference_mode():
        out = network(points())
        assert out.shape == (2, dim) == (2, network.dim)
        torch.testing.assert_close(network(points().flip(1)), out, rtol=1e-4, atol=1e-5)


def test_embedding_of_a_cloud_does_not_depend_on_its_batch():
    network = DGCNN(k=8).eval()
    with torch.inference_mode():
        torch.testing.assert_close(network(points(5))[3:4], network(points(5)[3:4]), rtol=1e-5, atol=1e-6)


def test_segmenter():
    logits = DGCNNSegmenter(9, 3, k=8).eval()(points(), torch.eye(3)[:2])
    assert logits.shape == (2, 50, 9)


def test_image_encoders_and_heads():
    for depth, dim in ((18, 512), (34, 512), (50, 2048)):
        encoder = ImageEncoder(depth).eval()
        assert encoder(torch.randn(1, 3, 64, 64)).shape == (1, dim) == (1, encoder.dim)
    with pytest.raises(ValueError, match="choose a depth of 18, 34, 50"):
        ImageEncoder(101)
    assert [tuple(p.shape) for p in point_head(2048).parameters()] == [
        (1024, 2048),
        (1024,),
        (1024,),
        (1024,),
        (256, 1024),
        (256,),
    ]
    assert [tuple(p.shape) for p in image_head(2048).parameters()] == [(512, 2048), (512,), (512,), (256, 512)]


def test_views_share_statistics_and_images_are_averaged():
    torch.manual_seed(0)
    network = CrossPoint(PointNet(), point_head(1024), image=ImageEncoder(18), image_head=image_head(512)).train()
    images = torch.randn(3, 2, 3, 32, 32)
    first, second, image = network(points(3), points(3) * 2, images=images)
    together = network.point_head(network.points(torch.cat([points(3), points(3) * 2])))
    torch.testing.assert_close(torch.cat([first, second]), together, rtol=1e-4, atol=1e-4)
    alone = network.image_head(network.image(images.flatten(0, 1))).view(3, 2, 256)
    torch.testing.assert_close(image, alone.mean(dim=1), rtol=1e-4, atol=1e-4)
    assert network(points(3), points(3), images=None).image is None


def test_too_few_points_are_refused():
    with pytest.raises(ValueError, match="20 neighbours were asked of clouds of 10 points"):
        DGCNN(k=20)(points(1, 10))
