"""A model that cannot be looked into: its output is all that it shows."""

from collections.abc import Iterable, Mapping

from crosspoint.parity.layers.layers import INPUTS, Array, Layers
from crosspoint.runtime.encoder import Encoder


class WholeModel(Layers):
    """An open encoder or segmenter as one layer.

    Args:
        encoder: It stays the caller's to close.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.specification = encoder.specification
        self._encoder = encoder
        self._output = "embedding" if encoder.specification.categories is None else "logits"
        self.names = frozenset({self._output})

    def compute(self, names: Iterable[str], given: Mapping[str, Array]) -> dict[str, Array]:
        """The whole model, from its inputs."""
        assert {*names} <= self.names
        return {self._output: self._encoder.infer({name: given[name] for name in INPUTS if name in given})}
