"""The sections of a model card: from the pieces of a folder to Markdown."""

import importlib.metadata
import platform
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mtl_nlp import __version__
from mtl_nlp.data.loading import HELD_OUT
from mtl_nlp.hub.card_metadata import LIBRARY, is_number
from mtl_nlp.hub.markdown import bullets, code, fold, table, text
from mtl_nlp.hub.origins import file_name, named, starting_point, warm_start
from mtl_nlp.hub.run_folder import RunFolder, Training, known
from mtl_nlp.recipe import DatasetSpec
from mtl_nlp.recipe_values import FILE_LOADERS
from mtl_nlp.tables import format_score
from mtl_nlp.tasks import options_of
from mtl_nlp.tasks.base import Task

_PACKAGES = ("torch", "transformers", "tokenizers", "datasets", "accelerate", "safetensors")
_FEW_LABELS = 12  # shown in the table; more are folded
_OFF = (None, "none", "last", 0.0, ())  # options that go without saying, False among them
_NOT_SETTINGS = ("training.trackers", "training.checkpoint_every", "training.keep_checkpoints")


def summary(source: RunFolder) -> str:
    """What the model is, in one paragraph."""
    tasks, config = source.tasks, source.config
    names = ", ".join(map(code, tasks))
    heads = f"a head for each of {len(tasks)} tasks" if len(tasks) != 1 else "a head for one task"
    kind = code(config.encoder_config.model_type)
    sentences = [f"One shared {kind} encoder with {heads}: {names}."]
    if start := starting_point(source):
        sentences.append(f"The encoder started from {named(start)}.")
    if warm := warm_start(source):
        sentences.append(f"Training went on from the weights of {named(warm)}.")
    size, base = known(lambda: source.parameters), (config.sharing or {}).get("base")
    if base is not None:
        sentences.append(
            f"Its weights were frozen and are not in here, but fetched from {named(base['name'])}"
            f" at commit {code(base['revision'])} when the model is loaded."
        )
    elif size is not None:
        sentences.append(f"The whole model has {_amount(size)} parameters.")
    return " ".join(sentences)


def tasks(source: RunFolder) -> str:
    """Type, input, labels and main score of every task."""
    scored = known(lambda: source.metrics) is not None
    header = ["Task", "Type", "Input", "Labels", *(["Score"] if scored else [])]
    rows, folded = [], []
    for name, task in source.tasks.items():
        labels = ", ".join(map(text, task.labels))
        if len(task.labels) > _FEW_LABELS:
            folded.append(fold(f"The {len(task.labels)} labels of {name}", labels))
            labels = f"{len(task.labels)} labels, below"
        row = [code(name), _kind(task), text(" + ".join(task.inputs)), labels]
        rows.append([*row, *([_primary_score(source, task)] if scored else [])])
    return "\n\n".join([table(header, rows), *folded])


def scores(source: RunFolder) -> str:
    """All metrics, a column per split; metrics with parts folded."""
    metrics = source.metrics
    rows, folded = [], []
    for task in _in_order(metrics.values()):
        if task == "mean":
            continue
        of_task = [metrics[split].get(task, {}) for split in metrics]
        for metric in _in_order(of_task):
            values = [one.get(metric) for one in of_task]
            if any(isinstance(value, Mapping) for value in values):
                for split, value in zip(metrics, values, strict=True):
                    folded += [_parts(f"{task}, {split}: {metric}", value)] if value else []
            else:
                rows.append([code(task), text(metric), *map(_score, values)])
    if any("mean" in one for one in metrics.values()):
        means = [_score(one.get("mean")) for one in metrics.values()]
        rows.append(["mean of the tasks", "", *means])
    header = ["Task", "Metric", *map(text, metrics)]
    return "\n\n".join([table(header, rows, numbers=len(metrics)), *folded])


def data(source: RunFolder) -> str:
    """Where the rows came from, and how many of each dataset were drawn."""
    recipe, training = source.recipe, known(lambda: source.training)
    header = ["Dataset", "Source", "Input columns", "Tasks"]
    rows = []
    for name, spec in recipe.datasets.items():
        served = [code(task) for task, one in recipe.tasks.items() if name in one.datasets]
        columns = [code(one) for one in spec.inputs.values()]
        row = [code(name), _origin(spec), ", ".join(columns), ", ".join(served)]
        rows.append([*row, *([_drawn(training, name)] if training else [])])
    drawn = ["Rows drawn in training"] if training else []
    notes = [note for name, spec in recipe.datasets.items() for note in _split_notes(name, spec)]
    parts = [table([*header, *drawn], rows, numbers=len(drawn)), bullets(notes)]
    return "\n\n".join(filter(None, parts))


def training(source: RunFolder) -> str:
    """How much was trained."""
    sums = source.training
    return (
        f"{sums.steps:,} optimizer steps over {sums.tokens:,} tokens (without padding), in"
        f" {_duration(sums.seconds)} without evaluations."
    )


def settings(source: RunFolder) -> str:
    """What the recipe says of the training."""
    recipe = source.recipe
    single = {"max_length", "long_text", "dropout", "seed"}
    groups = {"sampling", "balancing", "training", "evaluation"}
    content = recipe.model_dump(include=single | groups)
    weights = {name: {"weight": task.weight} for name, task in recipe.tasks.items()}
    if any(task.weight != 1 for task in recipe.tasks.values()):
        content["tasks"] = weights
    rows = [[code(key), code(value)] for key, value in _flat(content) if key not in _NOT_SETTINGS]
    told = "Settings, by their names in the recipe; the whole of it is [recipe.yaml](recipe.yaml)."
    return f"{told}\n\n{table(['Setting', 'Value'], rows)}"


def plots(source: RunFolder) -> str:
    """The pictures."""
    titles = [(Path(place).stem.replace("_", " "), place) for place in source.plots]
    return "\n\n".join(f"![{text(title)}]({quote(place)})" for title, place in titles)


def limits(source: RunFolder, declared: Mapping[str, Any]) -> str:
    """What the folder does not tell, or tells against the model."""
    return bullets(_limits(source, declared))


def versions() -> str:
    """The installed packages."""
    found = {"Python": platform.python_version(), LIBRARY: __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    listed = ", ".join(f"{name} {version}" for name, version in found.items())
    return f"Installed when this card was written: {text(listed)}."


def _kind(task: Task) -> str:
    given = {name: (getattr(task, name), f.default) for name, f in options_of(type(task)).items()}
    options = [
        f"{name}: {', '.join(value) if isinstance(value, tuple) else value}"
        for name, (value, default) in given.items()
        if value != default or value not in _OFF
    ]
    return text(task.type.replace("_", " ") + (f" ({', '.join(options)})" if options else ""))


def _primary_score(source: RunFolder, task: Task) -> str:
    split = source.judged_by(task.name)
    value = source.metrics[split][task.name].get(task.primary) if split else None
    return f"{text(task.primary)} {_score(value)} on {split}" if is_number(value) else "-"


def _parts(title: str, parts: Mapping[str, Any]) -> str:
    """A metric that is a table of its own, folded."""
    whole = all(isinstance(part, Mapping) for part in parts.values())
    by_part = parts if whole else {name: {"score": value} for name, value in parts.items()}
    columns = _in_order(by_part.values())
    rows = [
        [text(name), *(_score(part.get(column)) for column in columns)]
        for name, part in by_part.items()
    ]
    return fold(title, table(["", *map(text, columns)], rows, numbers=len(columns)))


def _origin(spec: DatasetSpec) -> str:
    listed = "; ".join(
        f"{text(split)}: {', '.join(code(file_name(file)) for file in names)}"
        for split, names in (spec.data_files or {}).items()
    )
    if spec.path in FILE_LOADERS:
        return f"{spec.path} files; {listed}"
    page = named(spec.path, "https://huggingface.co/datasets")
    details = [("configuration", spec.name), ("revision", spec.revision)]
    told = [f"{what} {code(value)}" for what, value in details if value is not None]
    return ", ".join([page, *told, *([listed] if listed else [])])


def _drawn(training: Training, name: str) -> str:
    rows, total = training.rows.get(name, 0), sum(training.rows.values()) or 1
    planned = f", planned {training.planned[name]:.1%}" if name in training.planned else ""
    return f"{rows:,} ({rows / total:.1%}{planned})"


def _split_notes(name: str, spec: DatasetSpec) -> Iterator[str]:
    held_out: dict[str, float] = {
        split: share for split, share in spec.splits.items() if isinstance(share, float)
    }
    if spec.path in FILE_LOADERS and "validation" not in {*(spec.data_files or {}), *spec.splits}:
        held_out["validation"] = HELD_OUT
    for split, share in held_out.items():
        yield f"{code(name)}: {split} is {share:.0%} of train, held out at random."
    for split, rows in spec.max_rows.items():
        yield f"{code(name)}: of {split} at most {rows:,} rows, a random sample, are used."


def _flat(content: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, str]]:
    """Dotted keys and their values as text; what is null or empty is left out."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{key}.")
        elif isinstance(value, float):
            yield f"{place}{key}", f"{value:g}"
        elif value is not None and value != []:
            yield f"{place}{key}", file_name(str(value))


def _limits(source: RunFolder, declared: Mapping[str, Any]) -> Iterator[str]:
    metrics, recipe = known(lambda: source.metrics), known(lambda: source.recipe)
    if metrics is None:
        yield "No scores are known, so nothing here tells how good the predictions are."
    elif "test" in metrics:
        yield (
            "The test scores are of the recipe's own test data; expect other scores on texts of"
            " another kind, domain or language."
        )
    elif "validation" in metrics:
        yield (
            "There are no test scores, and the validation scores also chose the model, so they"
            " flatter it."
        )
    if metrics is not None and recipe is not None:
        yield f"The scores are of one training (seed {recipe.seed}); other seeds give other scores."
    yield "A task answers in its own labels only, also where none of them fits."
    if (config := known(lambda: source.config)) is not None:
        yield f"At most {config.max_seq_length} sub-words of a text are read in one pass."
    if "language" not in declared:
        yield "No language is declared: the model knows those of its encoder and data at best."
    if "license" not in declared:
        yield "No licence is declared: see those of the encoder and of the data."


def _score(value: Any) -> str:
    return format_score(value) if is_number(value) else "-"


def _amount(count: int) -> str:
    return f"{count / 1e6:,.1f} million" if count >= 1_000_000 else f"{count:,}"


def _duration(seconds: float) -> str:
    """Time as people say it.

    >>> _duration(7.25), _duration(200), _duration(3900)
    ('7.2 s', '3 min 20 s', '1 h 5 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _in_order(mappings: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every key once, in the order of first sight."""
    return list(dict.fromkeys(key for mapping in mappings for key in mapping))
