"""An encoder with its projection head: embeddings in the space of the losses."""

import onnx
from onnx import helper, numpy_helper
from torch import Tensor, nn

from crosspoint.core.errors import InputError
from crosspoint.export.onnx.fold import Linear
from crosspoint.models.heads import PROJECTION, PointHead
from crosspoint.models.weights import Weights, read_weights

NAME = "projection.safetensors"
FEATURES = "features"  # name of the encoder's own output in front of the head


class Projected(nn.Module):
    """`head(encoder(points))`, `(B, N, 3)` to `(B, 256)`, not normalised.

    Args:
        encoder: A point encoder.
        head: Its projection head.
    """

    dim = PROJECTION

    def __init__(self, encoder: nn.Module, head: PointHead) -> None:
        super().__init__()
        config = encoder.config
        assert isinstance(config, dict)
        self.config: dict[str, int | str] = {**config, "projection": PROJECTION}
        self.encoder, self.head = encoder, head

    def forward(self, points: Tensor) -> Tensor:
        """Projections `(B, 256)` of `points (B, N, 3)`."""
        result: Tensor = self.head(self.encoder(points))
        return result


def load_head(source: Weights, encoder: nn.Module) -> tuple[Weights, PointHead]:
    """Load the projection head beside an encoder's weights; returns its weights and the head.

    Raises:
        InputError: It is missing, or belongs to another network or another training step.
    """
    path = source.path.parent / NAME
    if getattr(encoder, "dim", None) is None:
        raise InputError(f"{source.path} is a part segmenter without a projection head; leave --projection out")
    if not path.is_file():
        raise InputError(
            f"{source.path.parent} holds no {NAME}; give the run folder of a training, whose --resume writes it, or "
            "leave --projection out"
        )
    weights = read_weights(path)
    head = weights.network()
    if not isinstance(head, PointHead) or head.config["dim"] != encoder.dim:
        raise InputError(f"{path} is no projection head of {source.path}; give the run folder that both come from")
    if weights.recipe != source.recipe:
        raise InputError(
            f"{path} and {source.path} are of different steps of a training; --resume it to write both anew"
        )
    return weights, head


def append_head(model: onnx.ModelProto, layers: tuple[Linear, Linear]) -> None:
    """Append a head to a graph's output `embedding`: `ReLU(x W₁ + b₁) W₂ + b₂`."""
    graph = model.graph
    for node in graph.node:
        node.output[:] = [FEATURES if name == "embedding" else name for name in node.output]
        node.input[:] = [FEATURES if name == "embedding" else name for name in node.input]
        node.name = FEATURES if node.name == "embedding" else node.name
    x = FEATURES
    for name, layer, output in zip(("head1", "head2"), layers, ("head1/linear", "embedding"), strict=True):
        graph.initializer.append(numpy_helper.from_array(layer.weight, f"{name}/weight"))
        graph.initializer.append(numpy_helper.from_array(layer.bias, f"{name}/bias"))
        graph.node.append(helper.make_node("MatMul", [x, f"{name}/weight"], [f"{name}/product"], f"{name}/product"))
        graph.node.append(helper.make_node("Add", [f"{name}/product", f"{name}/bias"], [output], output))
        if output != "embedding":
            graph.node.append(helper.make_node("Relu", [output], [name], name))
            x = name
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = len(layers[1].bias)
