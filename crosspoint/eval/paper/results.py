"""The result of a reproduced table or figure: the paper's numbers beside ours, in per cent."""

from dataclasses import dataclass, field
from typing import ClassVar

from crosspoint.core.results import FLAT, OPTIONAL, Result
from crosspoint.data.sets.catalogue import DataSet
from crosspoint.eval.features import ModelInfo
from crosspoint.eval.image.fewshot import ImageData
from crosspoint.eval.metrics.statistics import Summary
from crosspoint.eval.paper.published import Number


@dataclass(frozen=True)
class Cell:
    """One of our numbers, in per cent.

    Attributes:
        summary: Mean and deviation; over the models if there are several, else over the repetitions.
        over: What the deviation is over, in words.
        interval: 95 % interval of the value of a single model, or None.
        values: The repeated values of each model.
        std_n: Of one model: deviation with n in the place of n − 1, as the published few-shot code prints it.
    """

    summary: Summary = field(metadata=FLAT)
    over: str
    interval: tuple[float, float] | None
    values: list[list[float]] = field(repr=False)
    std_n: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True)
class TableRow:
    """A row of a table: the paper's number, and ours by both rules; None if there is none."""

    method: str
    setting: str
    paper: Number | None
    official: Cell | None
    clean: Cell | None


@dataclass(frozen=True)
class SetInfo:
    """A data set that was used.

    Attributes:
        path: Folder of the data set.
        format: Format, as in `crosspoint.data.sets.layout`.
        train: Number of objects for training and validation.
        test: Number of test objects.
        classes: Number of classes or categories.
        published: Whether it is the published set, by counts and names.
        remark: The same, in words.
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
    """The data and models that a table or figure needs.

    Attributes:
        sets: The data sets: content, source, expected files.
        then: What to do with the data, and which models are needed.
    """

    sets: tuple[DataSet, ...]
    then: str


@dataclass(frozen=True)
class WeightsInfo:
    """A file of trained weights, not exported."""

    path: str
    sha256: str


@dataclass(frozen=True)
class TableModel:
    """A model of a table.

    Attributes:
        about: The file; for an exported model also how it runs.
        config: Description of the network.
        recipe: How it was trained; empty if that is not recorded.
        objects: Number of objects in its pretraining; None if that is not recorded.
    """

    about: ModelInfo | WeightsInfo = field(metadata=FLAT)
    config: dict[str, object]
    recipe: dict[str, object]
    objects: int | None


@dataclass(frozen=True)
class ReproduceResult(Result):
    """A table or figure of the paper, and the same measured here.

    Attributes:
        target: Short name, e.g. `table1`.
        title: Title.
        source: Source of the paper's numbers.
        unit: Unit of all numbers.
        needs: The data and models it needs.
        data: The data sets that were used.
        models: Models, by role.
        rules: Meaning of `official` and `clean`.
        rows: The lines.
        notes: Notes for the reader.
        files: The files that were written.
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
