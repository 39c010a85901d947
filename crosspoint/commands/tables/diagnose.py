"""What `crosspoint diagnose` prints."""

from typing import TYPE_CHECKING

from crosspoint.core.console import print_table

if TYPE_CHECKING:
    from crosspoint.parity.layers.diagnosis import Diagnosis
    from crosspoint.runtime.specification import Specification


def print_diagnosis(result: "Diagnosis") -> None:
    """Print one row for each layer, then every layer that adds a difference of its own."""
    counts = result.clouds
    title = (
        f"{_name(result.candidate)} against {_name(result.reference)}, worst of {counts['usual']} clouds and "
        f"{counts['hostile']} hostile ones, {counts['points']} points"
    )
    columns = ("layer", "gathered", "added", "worst channel", "right neighbours", "on equal features")
    print_table(title, (*columns, "hostile: worst channel", "on equal features", ""), rows=_rows(result))
    if len(result.causes) > 1:
        entries = [(cause.layer, cause.kind, cause.text) for cause in result.causes]
        print_table("Layers that add a difference of their own", ("layer", "kind", "what"), rows=entries)


def _name(specification: "Specification") -> str:
    return f"{specification.path} ({specification.precision}, {specification.backend})"


def _rows(result: "Diagnosis") -> list[tuple[str, ...]]:
    return [
        (
            layer.name,
            f"{layer.usual.total_max:.1e}",
            f"{layer.usual.introduced_max:.1e}",
            f"{layer.usual.channel_max:.1e}",
            _share(layer.usual.overlap_min),
            _share(layer.usual.own_overlap_min),
            f"{layer.hostile.channel_max:.1e}",
            _share(layer.hostile.own_overlap_min),
            "parts here" if layer.parts else "",
        )
        for layer in result.layers
    ]


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
