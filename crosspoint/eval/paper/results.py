"""What a table or figure of the paper is written as: the paper's numbers beside ours, in per cent."""

from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.core.results import FLAT, Result
from crosspoint.data.sets.catalogue import DataSet
from crosspoint.eval.features import ModelInfo
from crosspoint.eval.image.fewshot import ImageData
from crosspoint.eval.metrics.statistics import Summary
from crosspoint.eval.paper.published import Number


@dataclass(frozen=True)
class Cell:
    """A number of ours, in per cent.

    Attributes:
        summary: Of several models over the models, of one over its repetitions.
        over: What the deviation is over.
        interval: 95 % interval of a single model's value, where there is one.
        values: Of each model, its repetitions.
    """

    summary: Summary = field(metadata=FLAT)
    over: str
    interval: tuple[float, float] | None
    values: list[list[float]] = field(repr=False)


@dataclass(frozen=True)
class TableRow:
    """One line of a table: the paper's number, and ours by either rule; None where there is none."""

    method: str
    setting: str
    paper: Number | None
    official: Cell | None
    clean: Cell | None


@dataclass(frozen=True)
class SetInfo:
    """A set that was found.

    Attributes:
        path: Its folder.
        format: As of `crosspoint.data.sets.layout`.
        train: Objects to train on, and to validate.
        test: Objects to test on.
        classes: Or categories.
        published: Whether it is the published set, by counts and names.
        remark: The same for the reader.
    """

    path: str
    format: str
    train: int
    test: int
    classes: int
    published: bool
    remark: str


@dataclass(frozen=True)
class Needs:
    """What a table or figure needs.

    Attributes:
        sets: The data: what they are, where they can be had, the expected files.
        then: What to do with the data, and which models are needed.
    """

    sets: tuple[DataSet, ...]
    then: str


@dataclass(frozen=True)
class WeightsInfo:
    """Trained weights that are no bundle and no engine."""

    path: str
    sha256: str


@dataclass(frozen=True)
class TableModel:
    """A model of a table.

    Attributes:
        about: The file, and of an exported model how it runs.
        config: Of the network.
        recipe: How it was trained; empty where that is not recorded.
        objects: Objects that it was pretrained on; None where that is not recorded.
    """

    about: ModelInfo | WeightsInfo = field(metadata=FLAT)
    config: dict[str, object]
    recipe: dict[str, object]
    objects: int | None


@dataclass(frozen=True)
class ReproduceResult(Result):
    """A table or figure of the paper, and the same measured here.

    Attributes:
        target: Its short name, as `table1`.
        title: What it shows.
        source: Where the paper's numbers are from.
        unit: Of all numbers.
        needs: What it takes.
        data: The sets that were found.
        models: By role.
        rules: What `official` and `clean` mean here.
        rows: The lines.
        notes: What the reader has to know.
        files: What was written.
    """

    schema: ClassVar[str] = "crosspoint.reproduce/1"

    target: str
    title: str
    source: str
    unit: str
    needs: Needs = field(repr=False)
    data: tuple[SetInfo | ImageData, ...]
    models: dict[str, tuple[TableModel, ...]]
    rules: dict[str, str]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...]
    files: tuple[str, ...]
