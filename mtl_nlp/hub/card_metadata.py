"""The head of a model card: what the Hub indexes of a model."""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index

from mtl_nlp.hub.origins import hub_id, starting_point
from mtl_nlp.hub.run_folder import RunFolder, UnreadableError, known
from mtl_nlp.recipe import DatasetSpec, Recipe
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.text_generation import TextGeneration

LIBRARY = "mtl_nlp"
KEPT = ("license", "license_name", "license_link", "language")  # a person's own words in a card
_PIPELINES = {
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTokenClassification": "token-classification",
    "AutoModelForQuestionAnswering": "question-answering",
    "AutoModelForMultipleChoice": "multiple-choice",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSeq2SeqLM": "text2text-generation",
}
_PIPELINES_OF_OWN = {
    "multi_label_token_classification": "token-classification",
    "sentence_similarity": "sentence-similarity",
    "span_classification": "token-classification",
}
"""Those of task types whose heads are of no stock class."""
# Names of metrics on the Hub and their arguments, where they are not our names.
_HUB_METRICS: dict[str, tuple[str, dict[str, Any] | None]] = {
    "macro_f1": ("f1", {"average": "macro"}),
    "weighted_f1": ("f1", {"average": "weighted"}),
    "micro_f1": ("f1", {"average": "micro"}),
    "mcc": ("matthews_correlation", None),
}


def card_metadata(folder: RunFolder, name: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """The card's metadata, as much of it as the folder tells.

    Args:
        folder: Run or model folder.
        name: What the model is called.
        kept: What an earlier card's metadata had under `KEPT`.
    """
    tasks = known(lambda: folder.tasks) or {}
    recipe = known(lambda: folder.recipe)
    results = list(task_results(folder).values())
    metrics = dict.fromkeys(result.metric_type for one in results for result in one)
    pipelines = {_known_pipeline(task) for task in tasks.values()}
    ids = [hub_id(spec.path) for spec in recipe.datasets.values()] if recipe else []
    types = [task.type.replace("_", "-") for task in tasks.values()]
    card: dict[str, Any] = ModelCardData(
        **kept,
        library_name=LIBRARY,
        pipeline_tag=pipelines.pop() if len(pipelines) == 1 else None,
        tags=["multi-task", *types, *(pipeline_of(task) for task in tasks.values())],
        base_model=hub_id(starting_point(folder)),
        datasets=list(dict.fromkeys(one for one in ids if one)) or None,
        metrics=list(metrics) or None,
    ).to_dict()  # type: ignore[no-untyped-call]
    # The library joins the results of two tasks of one type on one dataset under the first's name.
    indices = [eval_results_to_model_index(name, one) for one in results]
    if entries := [entry for index in indices for entry in index[0]["results"]]:
        card["model-index"] = [{"name": name, "results": entries}]
    return card


def task_results(folder: RunFolder) -> dict[str, list[EvalResult]]:
    """The scores of each task on test, or on validation, with the dataset that they are of.

    Empty where the folder does not tell tasks, scores and datasets.
    """
    try:
        tasks, recipe, _ = folder.tasks, folder.recipe, folder.metrics
    except UnreadableError:
        return {}
    results = {
        name: list(_results(folder, recipe, task))
        for name, task in tasks.items()
        if name in recipe.tasks
    }
    return {name: one for name, one in results.items() if one}


def pipeline_of(task: Task) -> str:
    """The Hub's name for a kind of task."""
    return _known_pipeline(task) or task.type.replace("_", "-")


def kept_from(card: Path) -> dict[str, Any]:
    """What a person wrote under `KEPT` into a card's metadata."""
    with suppress(OSError, ValueError, yaml.YAMLError):
        earlier = ModelCard.load(card, ignore_metadata_errors=True)
        content: dict[str, Any] = earlier.data.to_dict()
        return {key: content[key] for key in KEPT if key in content}
    return {}


def is_number(value: Any) -> bool:
    """Whether a metric's value is a number, as a score is."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _known_pipeline(task: Task) -> str | None:
    """The Hub's own name for a kind of task, where it has one."""
    if isinstance(task, TextGeneration) and task.target_language is not None:
        return "translation"
    return _PIPELINES.get(str(task.auto_class)) or _PIPELINES_OF_OWN.get(task.type)


def _results(folder: RunFolder, recipe: Recipe, task: Task) -> Iterator[EvalResult]:
    split = folder.judged_by(task.name)
    if split is None:
        return
    names = recipe.tasks[task.name].datasets
    # Scores over several datasets belong to none of them alone.
    spec = recipe.datasets[names[0]] if len(names) == 1 else None
    on_hub = hub_id(spec.path) if spec is not None else None
    for metric, value in folder.metrics[split][task.name].items():
        if not is_number(value) or not math.isfinite(value):
            continue
        # Numbers of further metrics are called <metric>.<number>.
        hub_metric, arguments = _HUB_METRICS.get(metric, (metric.partition(".")[0], None))
        yield EvalResult(
            task_type=pipeline_of(task),
            task_name=task.name,
            dataset_type=on_hub or "-".join(names),
            dataset_name=on_hub or ", ".join(names),
            dataset_config=spec.name if spec is not None and on_hub else None,
            dataset_revision=spec.revision if spec is not None and on_hub else None,
            dataset_split=_their_split(spec, split) if on_hub else split,
            metric_type=hub_metric,
            metric_name=f"{task.name} {metric}",
            metric_value=float(value),
            metric_args=arguments,
        )


def _their_split(spec: DatasetSpec | None, split: str) -> str:
    theirs = {str(ours): source for ours, source in spec.splits.items()} if spec else {}
    source = theirs.get(split, split)
    return source if isinstance(source, str) else split
