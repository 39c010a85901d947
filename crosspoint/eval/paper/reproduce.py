"""Reproduces tables and figures of the paper; writes JSON, Markdown and a picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crosspoint.core.errors import InputError, require
from crosspoint.core.files import atomic_file, sha256, write_json
from crosspoint.core.outputs import check_folder
from crosspoint.core.plots import require_plots
from crosspoint.data.sets.catalogue import SETS
from crosspoint.data.sets.layout import find_sets, is_variant, locate
from crosspoint.eval.features import describe_model
from crosspoint.eval.image.fewshot import ImageData, describe_images
from crosspoint.eval.paper import published
from crosspoint.eval.paper.protocols import Study, StudyOptions, clusters, few, images, linear, parts
from crosspoint.eval.paper.results import Needs, ReproduceResult, SetInfo, TableModel, TableRow, WeightsInfo
from crosspoint.eval.paper.roles import ModelFacts, assign, weights_of

SOURCE = "Afham et al., CrossPoint, CVPR 2022"
OBJECTIVES = {"joint": "joint", "imid": "intra-modal alone", "cmid": "cross-modal alone"}
ENCODERS, SEGMENTERS, IMAGES = ("encoder.safetensors",), ("segmenter.safetensors",), ("image_encoder.safetensors",)
LINEAR_RULES = {
    "official": "the paper's C on the first points of each cloud",
    "clean": "C by cross-validation on the training split, random choices of points",
}


@dataclass(frozen=True)
class Target:
    """A table or figure of the paper.

    Attributes:
        title: What it shows.
        formats: Formats of its data sets.
        needs: Names of its data sets in the catalogue.
        advice: What to do with the data, and which models are needed.
        field: Field of a model's config or recipe that gives its role; empty if something else does.
        roles: Name of each role.
        protocol: Function from a study to rows.
        rules: Meaning of `official` and `clean`.
        files: Names of the model files in a run folder.
        several: Whether all data sets in the given folder are used.
    """

    title: str
    formats: tuple[str, ...]
    needs: tuple[str, ...]
    advice: str
    field: str
    roles: dict[str, str]
    protocol: Callable[[Study], list[TableRow]]
    rules: dict[str, str]
    files: tuple[str, ...] = ENCODERS
    several: bool = False

    def role_of(self, facts: ModelFacts) -> str | None:
        """The role of a model; None if its files do not record it."""
        if self.protocol is parts:
            started = facts.recipe.get("initial", "not recorded")
            return {None: "scratch", "not recorded": None}.get(started, "pretrained")
        return facts.value(self.field) if self.field else next(iter(self.roles))

    @property
    def pretrained(self) -> bool:
        """Whether pretraining alone makes the models."""
        return self.protocol is not parts

    @property
    def trained_by(self) -> str:
        """The field of a pretraining recipe that makes the roles; empty if there is one role."""
        return {"architecture": "backbone"}.get(self.field, self.field)


def _linear_table(kind: str, number: int, set_name: str) -> Target:
    names = {role: f"{name} + CrossPoint" for role, name in published.BACKBONES.items()}
    return Target(
        f"Table {number}: linear classification on {set_name}",
        (kind,),
        (set_name,),
        "unpack it and give its folder; models: runs with --set backbone=dgcnn and with --set backbone=pointnet",
        "architecture",
        names,
        lambda study: linear(study, published.LINEAR, names=names),
        LINEAR_RULES,
    )


def _few_table(kind: str, number: int, set_name: str) -> Target:
    return Target(
        f"Table {number}: few-shot classification on {set_name}",
        (kind,),
        (set_name,),
        "unpack it and give its folder; models: runs with --set backbone=dgcnn and with --set backbone=pointnet",
        "architecture",
        published.BACKBONES,
        few,
        {
            "official": "support and queries from the training split, k = 5 where the model's k can be set",
            "clean": "queries from the test split, the model's own k",
        },
    )


def _views(study: Study) -> list[TableRow]:
    paper = {"modelnet40": {str(n): number for n, number in published.IMAGES.items()}}
    return linear(study, paper, names=TARGETS["table6"].roles)


def _objectives(study: Study) -> list[TableRow]:
    return linear(study, published.OBJECTIVES, names=OBJECTIVES)


def _map(study: Study) -> list[TableRow]:
    return clusters(study, OBJECTIVES)


TARGETS: dict[str, Target] = {
    "table1": _linear_table("modelnet40", 1, "ModelNet40"),
    "table2": _linear_table("scanobjectnn", 2, "ScanObjectNN"),
    "table3": _few_table("modelnet40", 3, "ModelNet40"),
    "table4": _few_table("scanobjectnn", 4, "ScanObjectNN"),
    "table5": Target(
        "Table 5: part segmentation on ShapeNetPart",
        ("shapenetpart",),
        ("ShapeNetPart",),
        "unpack it and give its folder; models: runs of `crosspoint finetune partseg`, with --from a run with --set "
        "backbone=dgcnn_seg (pretrained=RUN) and without (scratch=RUN)",
        "",
        {"pretrained": "from a pretrained backbone", "scratch": "from scratch"},
        parts,
        {
            "official": "the first points, the most likely of all parts",
            "clean": "random choices of points, the most likely of the category's own parts",
        },
        SEGMENTERS,
    ),
    "table6": Target(
        "Table 6: number of images per object, linear classification on ModelNet40",
        ("modelnet40",),
        ("ModelNet40",),
        "unpack it and give its folder; models: runs with --views 1 to 5",
        "views",
        {str(n): f"n = {n}" for n in published.IMAGES},
        _views,
        LINEAR_RULES,
    ),
    "table7": Target(
        "Table 7: few-shot image classification on CIFAR-FS",
        ("cifar-fs",),
        ("CIFAR-FS",),
        "put the pictures into data/<class>/ and the division into splits/bertinetto/{train,val,test}.txt; model: the "
        "run folder, or its image_encoder.safetensors, of a run with images",
        "",
        {"image": "image encoder"},
        images,
        {"official": "logistic regression with C = 1", "clean": "C by tasks from the validation classes"},
        IMAGES,
    ),
    "figure3": Target(
        "Figure 3: joint objective against its parts, linear classification",
        ("modelnet40", "scanobjectnn"),
        ("ModelNet40", "ScanObjectNN"),
        "unpack one, or both into one folder, and give that; models: runs with --objective joint, imid and cmid",
        "objective",
        OBJECTIVES,
        _objectives,
        LINEAR_RULES,
        several=True,
    ),
    "figure4": Target(
        "Figure 4: t-SNE of the test objects of ModelNet10's classes",
        ("modelnet40",),
        ("ModelNet40",),
        "unpack it and give its folder; models: runs with --objective joint, imid and cmid",
        "objective",
        OBJECTIVES,
        _map,
        {"official": "–", "clean": "leave-one-out vote of the nearest neighbours in feature space"},
    ),
}

Provide = Callable[[str, Target, list[str]], dict[str, list[str]]]


def reproduce(
    name: str,
    data: Path,
    *,
    models: Sequence[str],
    out: Path,
    options: StudyOptions = StudyOptions(),
    provide: Provide | None = None,
) -> ReproduceResult:
    """Run the protocol of a table or figure, and write `NAME.json`, `NAME.md` and `NAME.png` to a folder.

    Args:
        name: A key of `TARGETS`.
        data: The folder of the data set, or its parent.
        models: Paths, or `ROLE=PATH` if the file does not record its role. Several models of one role are its seeds.
        out: Output folder.
        options: Options of the protocol.
        provide: Trains models for missing roles; None: these rows are left out.

    Returns:
        The content of `NAME.json`.

    Raises:
        InputError: The data or a model cannot be used, or there is no model.
        MissingDependency: matplotlib or scikit-learn is not installed.
    """
    require_plots()
    require("sklearn.svm", "eval", purpose="reproducing a table or figure")
    from crosspoint.eval.figures import draw_comparison
    from crosspoint.eval.paper.comparison import markdown

    target = TARGETS[name]
    files = [f"{name}.{suffix}" for suffix in ("json", "md", "png")]
    check_folder(out, files=files, inputs=[data], within=True)
    sets = find_data(target, data)
    described = tuple(describe_set(kind, folder) for kind, folder in sets)
    given = list(models)
    found, _ = assign(given, target.role_of, roles=list(target.roles), names=target.files)
    missing = [role for role in target.roles if role not in found]
    if missing and provide is not None:
        made = provide(name, target, missing)
        given += [f"{role}={path}" for role, paths in made.items() for path in paths]
    found, facts = assign(given, target.role_of, roles=list(target.roles), names=target.files)
    if not found:
        raise InputError(f"{name} needs models; {target.advice.partition('models: ')[2] or target.advice}")
    study = Study(found, facts, sets, options, Path(out))
    study.notes += [entry.remark for entry in described] + _remarks(target, study)
    rows = target.protocol(study)
    result = ReproduceResult(
        target=name,
        title=target.title,
        source=SOURCE,
        unit="per cent",
        needs=needs(target),
        data=described,
        models={role: tuple(_describe(target, path, facts[path]) for path in paths) for role, paths in found.items()},
        rules=target.rules,
        rows=tuple(rows),
        notes=tuple(study.notes),
        files=tuple(str(Path(out) / file) for file in files),
    )
    write_json(Path(out) / f"{name}.json", result.to_json())
    if target.protocol is not _map:  # it draws its own picture
        draw_comparison(rows, target.title, path=Path(out) / f"{name}.png")
    with atomic_file(Path(out) / f"{name}.md") as temporary:
        temporary.write_text(markdown(result), encoding="utf-8")
    return result


def needs(target: Target) -> Needs:
    """The data of a target: content, source, expected files, and what to do with them."""
    return Needs(tuple(known for known in SETS if known.name in target.needs), target.advice)


def find_data(target: Target, data: Path) -> list[tuple[str, Path]]:
    """Format and folder of the data sets of a target.

    Raises:
        InputError: There is no such data set, or more than one and only one is used.
    """
    if target.formats == ("cifar-fs",):
        return [("cifar-fs", Path(data))]
    if target.several:
        found = [(kind, folder) for kind, folder in find_sets(data) if kind in target.formats]
        if len({kind for kind, _ in found}) == len(found) > 0:
            return sorted(found)
    return [locate(data, target.formats)]


def describe_set(kind: str, folder: Path) -> SetInfo | ImageData:
    """Objects and classes of a data set, and whether its counts and class names are the published ones."""
    if kind == "cifar-fs":
        return describe_images(folder)
    train, test, names, right = _parts(folder) if kind == "shapenetpart" else _classes(kind, folder)
    is_published = right and (train, test) in published.COUNTS[kind] and not is_variant(folder)
    first = published.COUNTS[kind][0]
    remark = f"{folder}: {train} + {test} objects, {names} classes"
    if is_variant(folder):
        remark += "; the variant without background, not the published set, so these numbers are not the paper's"
    elif not is_published:
        remark += f"; not the published set ({first[0]} + {first[1]}), so these numbers are not the paper's"
    else:
        remark += ", by counts and names the published set"
    return SetInfo(str(folder), kind, train, test, names, is_published, remark)


def _classes(kind: str, folder: Path) -> tuple[int, int, int, bool]:
    from crosspoint.data.sets.datasets import load_classification
    from crosspoint.data.sets.taxonomy import CLASSES

    whole = load_classification(folder, None)
    test = 0 if whole.test is None else len(whole.test.labels)
    return len(whole.train.labels), test, len(whole.class_names), whole.class_names == CLASSES[kind]


def _parts(folder: Path) -> tuple[int, int, int, bool]:
    from crosspoint.data.sets.datasets import load_parts
    from crosspoint.data.sets.taxonomy import SHAPENETPART_COUNTS

    whole = load_parts(folder, None)
    train = len(whole.train.labels) + (0 if whole.val is None else len(whole.val.labels))
    names = whole.taxonomy.categories
    return train, len(whole.test.labels), len(names), names == tuple(SHAPENETPART_COUNTS)


def _remarks(target: Target, study: Study) -> list[str]:
    """Notes on missing models, and on models whose pretraining differs from the paper's."""
    remarks = [f"{label}: no model was given" for role, label in target.roles.items() if role not in study.models]
    for path, facts in study.facts.items():
        if facts.objects is not None and facts.objects != published.PRETRAINING_OBJECTS:
            remarks.append(
                f"{path} was pretrained on {facts.objects} objects, the paper's models on "
                f"{published.PRETRAINING_OBJECTS}"
            )
    return remarks


def _describe(target: Target, path: Path, facts: ModelFacts) -> TableModel:
    from crosspoint.runtime.load import load_encoder

    known = dict(facts.config), dict(facts.recipe), facts.objects
    weights = weights_of(path, target.files)
    if weights is not None:
        return TableModel(WeightsInfo(str(weights), sha256(weights)), *known)
    with load_encoder(path) as encoder:
        return TableModel(describe_model(encoder), *known)
