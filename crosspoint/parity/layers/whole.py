"""A model whose layers are not visible, such as an engine: only its output can be compared."""

from collections.abc import Iterable, Mapping

from crosspoint.parity.layers.layers import INPUTS, Array, Layers
from crosspoint.runtime.encoder import Encoder


class WholeModel(Layers):
    """An open encoder or segmenter as one layer.

    Args:
        encoder: The open model; the caller closes it.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.specification = encoder.specification
        self._encoder = encoder
        self._output = "embedding" if encoder.specification.categories is None else "logits"
        self.names = frozenset({self._output})

    def compute(self, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
        """Run the whole model on its inputs."""
        assert {*names} <= self.names
        inputs = {name: given[name] for name in INPUTS if name in given}
        return {self._output: self._encoder.infer(inputs, any_scale=True)}
