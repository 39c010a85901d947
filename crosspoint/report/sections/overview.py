"""The sections of the report about results: headline, accuracy, parity, engine, time, provenance."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from crosspoint.core.errors import InputError
from crosspoint.core.files import sha256
from crosspoint.eval.paper import published
from crosspoint.parity.parity import verdict
from crosspoint.report.charts import shrunk
from crosspoint.report.html import Html, badge, bar, join, table, tag
from crosspoint.report.read import DAMAGE, Pieces, Result
from crosspoint.report.words import RULES, paired_table, percent, points, scored, span, where
from crosspoint.runtime.manifest import load_manifest, verify_files


class Missing(NamedTuple):
    """What the report does not show, and the command that would add it."""

    what: str
    command: str


def command(pieces: Pieces, *words: str | Path) -> str:
    """A command line to copy; a path is of the report's folder."""
    written = [shlex.quote(str(pieces.folder / word)) if isinstance(word, Path) else word for word in words]
    return " ".join(["crosspoint", *written])


def data_of(pieces: Pieces) -> str:
    """The labelled data that lie in the folder, for a command to copy."""
    return "DATA" if pieces.data_folder is None else shlex.quote(str(pieces.data_folder))


def model_of(pieces: Pieces) -> str:
    """The model that lies in the folder, for a command to copy."""
    place = pieces.run or pieces.bundle
    return "MODEL" if place is None else shlex.quote(str(place))


def headline(pieces: Pieces) -> Html | Missing:
    """What happened, in a few large numbers."""
    cards = []
    accuracy = accuracies(pieces)
    trained = accuracy.get("trained") or next(iter(accuracy.values()), None)
    if trained:
        what = f"of held-out objects right: linear SVM, clean (official: {percent(trained['official'])})"
        cards.append(_card(percent(trained["clean"]), what))
    if trained and "untrained" in accuracy:
        plain = accuracy["untrained"]
        what = f"the same encoder untrained (official: {percent(plain['official'])})"
        cards.append(_card(percent(plain["clean"]), what))
        clean, official = (points(trained[rule] - plain[rule]) for rule in ("clean", "official"))
        cards.append(_card(clean, f"percentage points, trained minus untrained, clean (official: {official})"))
    for result in pieces.of("parity")[:1]:
        kind, word = ("good", "passed") if result.values["passed"] else ("bad", "not passed")
        cards.append(_card(tag("span", word, class_=kind), "parity of the exported model with the trained one"))
    cards += _first_card(pieces.of("partseg"), _miou_card) + _first_card(pieces.of("bench"), _speed_card)
    engine = engine_status(pieces)
    if engine is not None:
        cards.append(_card(engine, "the TensorRT engine", "card words"))
    return tag("div", *cards, class_="cards") if cards else Html()


def _first_card(results: Sequence[Result], build: Callable[[dict[str, Any]], Html]) -> list[Html]:
    """Of the first result that is whole; those that are not get their remark in their own section."""
    for result in results:
        with suppress(*DAMAGE):
            return [build(result.values)]
    return []


def _miou_card(values: dict[str, Any]) -> Html:
    clean, official = (percent(values[rule]["instance_miou"]) for rule in ("clean", "official"))
    return _card(clean, f"mean IoU of parts, clean (official: {official})")


def _speed_card(values: dict[str, Any]) -> Html:
    row = max(values["rows"], key=lambda row: float(row["clouds_per_second"]))
    what = f"clouds a second: {row['engine']} on {row['device']}, {row['precision']}, {row['points']} points"
    return _card(f"{row['clouds_per_second']:,.0f}", what)


def _card(value: object, what: str, kind: str = "card") -> Html:
    return tag("div", tag("b", value), tag("span", what), class_=kind)


def accuracies(pieces: Pieces) -> dict[str, dict[str, float]]:
    """Accuracies by both rules, for each model that was evaluated."""
    found = {_name(result): {rule: result.values[rule]["accuracy"] for rule in RULES} for result in pieces.of("svm")}
    return found or dict(pieces.summary.get("accuracy", {}))


def _name(result: Result) -> str:
    return result.path.stem.removeprefix("svm-")


def _title(result: Result) -> str:
    """A model's name; one that is called an engine is called so only if an engine ran."""
    name, backend = _name(result), str(result.values["model"]["backend"])
    return "exported" if name == "engine" and not backend.startswith("tensorrt") else name


def engine_status(pieces: Pieces) -> Html | None:
    """What was done with the engine, in the manifest's words."""
    if not pieces.manifest:
        return None
    engine = pieces.manifest["engine"]
    if engine is None:
        return badge("no engine in the bundle", "warn")
    return badge(engine["status"], "good" if engine["executed"] is True else "warn")


def svm_section(pieces: Pieces) -> Html | Missing:
    """Accuracy of each model by both rules, per class, and where the first one errs."""
    order = {"trained": 0, "untrained": 1}
    results = sorted(pieces.of("svm"), key=lambda result: order.get(_name(result), 2))
    if not results:
        out = Path("results/svm-trained.json")
        return Missing(
            "accuracy of a linear SVM",
            command(pieces, "eval svm", model_of(pieces), "--data", data_of(pieces), "--json", out),
        )
    data = results[0].values["data"]
    note = (
        f"Frozen embeddings of {data['train']} objects to train the SVM, {data['test']} to test "
        f"({data['test_from']}), {data['points']} points each. Intervals are 95 %, for the number of objects tested. "
        f"Official: {results[0].values['official']['rule']}. Clean: {results[0].values['clean']['rule']}."
    )
    columns = ["model", "official", "clean", "class mean, clean", "ran on", "precision"]
    rows = [_svm_row(result) for result in results]
    papers = [_published(result) for result in results]
    if any(papers):
        columns.insert(2, "paper, official")
        for row, value in zip(rows, papers, strict=True):
            row.insert(2, percent(value))
    else:
        note += " The data are not those of the paper, so its numbers do not apply."
    parts = [tag("p", note, class_="quiet"), table(columns, rows), *_svm_paired(results), _per_class(results)]
    confusion = _confusion(results[0])
    return join(parts if confusion is None else [*parts, confusion])


def _svm_row(result: Result) -> list[object]:
    model, clean = result.values["model"], result.values["clean"]
    cells = [scored(result.values[rule]["accuracy"], result.values[rule]["interval"]) for rule in RULES]
    kind = tag("span", f"{model['architecture']}, {model['dim']} numbers", class_="sub")
    return [join([_title(result), kind]), *cells, percent(clean["class_accuracy"]), where(model), model["precision"]]


def _svm_paired(results: list[Result]) -> list[Html]:
    compared = [(_title(result), result.values["against"]) for result in results if "against" in result.values]
    return [
        paired_table(other["model"], [(f"{name}, {rule}", other[rule]) for rule in RULES]) for name, other in compared
    ]


def _published(result: Result) -> float | None:
    """The paper's accuracy for the same architecture, if the data have the sizes of the published splits."""
    data = result.values["data"]
    sizes = data["train"], data["test"]
    if sizes not in published.COUNTS.get(data["format"], ()) or data["points"] != 1024:
        return None
    known = published.LINEAR[data["format"]].get(result.values["model"]["architecture"])
    return None if known is None else known.value / 100


def _per_class(results: list[Result]) -> Html:
    columns = ["class", "objects", *(_title(result) for result in results)]
    kept = [{row["class"]: row for row in result.values["per_class"]} for result in results]
    rows = []
    for name, row in kept[0].items():
        values = [table_[name]["clean"] if name in table_ else None for table_ in kept]
        rows.append([name, row["objects"], *(bar(value or 0.0, percent(value)) for value in values)])
    return tag("details", tag("summary", "Accuracy of each class, clean"), table(columns, rows))


def _confusion(result: Result) -> Html | None:
    """The confusion matrix that was drawn beside a result, made small."""
    name = _name(result)
    drawn = shrunk(result.path.parent / name / "confusion.png", f"Confusion matrix of {name}")
    return None if drawn is None else tag("details", tag("summary", f"Which class is taken for which, {name}"), drawn)


def fewshot_section(pieces: Pieces) -> Html | Missing:
    """Accuracy with a few labelled objects per class."""
    results = pieces.of("fewshot")
    if not results:
        out = Path("results/fewshot.json")
        words = ("eval fewshot", model_of(pieces), "--data", data_of(pieces), "--json", out)
        return Missing("few-shot accuracy", command(pieces, *words))
    return pieces.each(results, lambda result: _fewshot(result.values))


def _fewshot(values: dict[str, Any]) -> Html:
    tasks, data = values["tasks"], values["data"]
    papers = [_published_tasks(values, row) for row in tasks]
    known = any(papers)
    note = f"{where(values['model'])}, {values['runs']} tasks each, {data['points']} points."
    if known:
        note += " The paper's tasks have 2,048 points and, with DGCNN, graphs of k = 5."
    columns = ("tasks", *(["paper"] if known else []), "accuracy", "std", "standard error", "queries from")
    rows = [
        (
            tag("span", f"{row['ways']}-way {row['shots']}-shot", class_="whole"),
            *(["–" if paper is None else f"{paper.value} ± {paper.spread}"] if known else []),
            bar(row["mean"], percent(row["mean"])),
            percent(row["std"]),
            percent(row["standard_error"]),
            row["queries_from"],
        )
        for row, paper in zip(tasks, papers, strict=True)
    ]
    parts = [tag("p", note, class_="quiet"), table(columns, rows)]
    if "against" in values:
        named = [(f"{row['ways']}-way {row['shots']}-shot, {row['queries_from']}", row["against"]) for row in tasks]
        parts.append(paired_table(values["against"]["model"], named))
    return join(parts)


def _published_tasks(values: dict[str, Any], row: dict[str, Any]) -> published.Number | None:
    """The paper's accuracy on such tasks with the same architecture, if the data have the published sizes."""
    data, setting = values["data"], (row["ways"], row["shots"])
    if (data["train"], data["test"]) not in published.COUNTS.get(data["format"], ()):
        return None
    known = published.FEWSHOT[data["format"]].get(values["model"]["architecture"])
    if known is None or setting not in published.SETTINGS or row["queries_from"] != "training split":
        return None
    return known[published.SETTINGS.index(setting)]


def parity_section(pieces: Pieces) -> Html | Missing:
    """Whether the exported model is the trained one, by how much, and on which clouds."""
    results = pieces.of("parity")
    gate = _export_gate(pieces)
    if not results and gate is None:
        out = Path("results/parity.json")
        bundle = "BUNDLE" if pieces.bundle is None else shlex.quote(str(pieces.bundle))
        return Missing(
            "parity of the exported model",
            command(pieces, "parity", model_of(pieces), bundle, "--data", data_of(pieces), "--json", out),
        )
    return join([*(part for result in results for part in _parity(result.values)), *([gate] if gate else [])])


def _parity(values: dict[str, Any]) -> list[Html]:
    gate, models = values["gate"], [values[side] for side in ("reference", "candidate")]
    kind, word = ("good", "passed") if values["passed"] else ("bad", "not passed")
    names = " against ".join(where(model) for model in reversed(models))
    lead = tag("p", badge(word, kind), f" {names}. {verdict(gate)}{_margin(gate)}.")
    task = values["task"]
    columns = ("clouds", "relative L2 error, largest", "99 %", "median", "cosine, least")
    errors = ("relative_l2_max", "relative_l2_p99", "relative_l2_median")
    rows = [
        [row["clouds"], *(f"{row[name]:.1e}" for name in errors), f"{row['cosine_min']:.7f}"]
        for row in values["numeric"]
    ]
    parts = [lead, *([] if task is None else [_task(task)]), table(columns, rows)]
    return parts


def _margin(gate: dict[str, Any]) -> str:
    if not gate["measured"] or not gate["passed"]:
        return ""
    return f" ({gate['limit'] / gate['measured']:,.1f} times below the limit)"


def _task(task: dict[str, Any]) -> Html:
    return tag(
        "p",
        f"Linear SVM on {task['objects']} objects: {percent(task['reference_accuracy'])} with the reference, "
        f"{percent(task['candidate_accuracy'])} with the candidate; {task['equal_predictions']:.2%} of predictions "
        f"are equal (difference {100 * task['difference']:+.2f} points, 95 % interval {span(task['interval'])}; "
        f"McNemar's p = {task['mcnemar_p']:.2g}).",
    )


def _export_gate(pieces: Pieces) -> Html | None:
    """What the export itself measured before it let the bundle appear."""
    parity = pieces.manifest.get("parity")
    if not parity:
        return None
    limits = parity["limits"]
    rows: list[list[object]] = [
        ["relative L2 error, largest", f"{parity['relative_l2_max']:.1e}", f"at most {limits['relative_l2']:g}"],
        ["cosine, least", f"{parity['cosine_min']:.7f}", "–"],
    ]
    if parity["overlap_min"] is not None:
        rows.append(["neighbours found, least", f"{parity['overlap_min']:.4f}", f"at least {limits['overlap']:g}"])
    lead = (
        f"At export, {parity['candidate']} was compared with {parity['reference']} in {len(parity['cases'])} cases, "
        "hostile clouds among them:"
    )
    return join([tag("h3", "The gate of the export"), tag("p", lead), table(("measured", "worst", "limit"), rows)])


def engine_section(pieces: Pieces) -> Html | Missing:
    """The bundle: what ran, what was only built, and for what."""
    manifest, engine = pieces.manifest, pieces.manifest.get("engine")
    if not manifest:
        return Missing("the exported model", command(pieces, "export", model_of(pieces), "--trt --out", Path("bundle")))
    profile, precision = manifest["profile"], manifest["precision"]
    points = _range(profile["points"]) if profile["points"] else "fixed"
    rows: list[tuple[object, object]] = [
        ("ONNX model", badge("executed on the CPU, passed the parity gate", "good")),
        ("TensorRT engine", engine_status(pieces) or ""),
    ]
    if engine is not None:
        rows.append(("builder", f"{engine['builder']} {engine['version']}"))
        rows.append(("built for", ", ".join(engine["targets"]) or "any GPU that the builder supports"))
    rows += [
        ("clouds at a time", _range(profile["batch"])),
        ("points of a cloud", points),
        ("precision", f"{precision['read_back']}, read back from the files (asked for: {precision['asked']})"),
    ]
    for way in ("inputs", "outputs"):
        shapes = [f"{name}: {' × '.join(map(str, shape))}" for name, shape in manifest[way].items()]
        rows.append((way, ", ".join(shapes)))
    note = tag(
        "p",
        "An engine that was built but not executed has not been shown to be right: run ",
        tag("code", "crosspoint parity"),
        " with it on a machine that has such a GPU.",
        class_="quiet",
    )
    only_built = engine is not None and engine["executed"] is not True
    return join([table(("", ""), rows), *([note] if only_built else [])])


def _range(values: Sequence[int]) -> str:
    low, usual, high = values
    return f"{low}" if low == high else f"{low} to {high}, usually {usual}"


def steps_section(pieces: Pieces) -> Html | Missing:
    """How long each step took."""
    steps = pieces.summary.get("steps")
    if not steps:
        return Missing("time of each step", "crosspoint quickstart --out quickstart")
    longest = max(*(float(step["seconds"]) for step in steps), 0.1)
    rows = []
    for step in steps:
        seconds = float(step["seconds"])
        ran = step["status"] == "ran"
        time = bar(seconds / longest, f"{seconds:.1f} s") if ran else badge(step["status"], "warn")
        rows.append([step["name"], time])
    total = sum(float(step["seconds"]) for step in steps)
    return join([table(("step", "time"), rows), tag("p", f"{total:.0f} s in all.", class_="quiet")])


def provenance_section(pieces: Pieces) -> Html | Missing:
    """Versions, the recipe, and the hashes of what was made."""
    versions = {**pieces.config.get("versions", {}), **pieces.manifest.get("versions", {})}
    parts = [tag("p", ", ".join(f"{name} {version}" for name, version in versions.items()))] if versions else []
    hashes = _hashes(pieces)
    if hashes:
        files = [
            (join([name, tag("span", remark, class_="sub")]), tag("code", digest)) for name, digest, remark in hashes
        ]
        parts.append(table(("file", "SHA-256"), files))
    recipe = pieces.config.get("recipe")
    if recipe:
        rows = [(name, tag("code", value)) for name, value in recipe.items()]
        parts.append(tag("details", tag("summary", "The training recipe"), table(("field", "value"), rows)))
    if not parts:
        return Missing("versions and hashes", command(pieces, "train --data PAIRS --out", Path("run")))
    return join(parts)


def _hashes(pieces: Pieces) -> list[tuple[str, str, object]]:
    found: list[tuple[str, str, object]] = []
    if pieces.run is not None and (pieces.run / "encoder.safetensors").is_file():
        found.append(("encoder.safetensors", sha256(pieces.run / "encoder.safetensors"), ""))
    if pieces.bundle is not None:
        try:
            checked = verify_files(load_manifest(pieces.bundle))
            found += [(name, digest, badge("as exported", "good")) for name, digest in checked.items()]
        except InputError as error:
            found.append((pieces.bundle.name, "", badge(str(error), "bad")))
    if pieces.embeddings is not None:
        origin = next((name for name, digest, _ in found if digest == pieces.embeddings.sha256), None)
        remark = (
            f"the model of the embeddings: {origin}" if origin else "the model of the embeddings, not in this folder"
        )
        found.append((pieces.embeddings.path.name, pieces.embeddings.sha256, remark))
    return found
