"""What is wrong with a recipe, and what differs between two, in words."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from mtl_nlp.recipe_values import found
from mtl_nlp.suggest import did_you_mean

_EXPECTED = {
    "model_type": "should be a mapping (`key: value`)",
    "dict_type": "should be a mapping (`key: value`)",
    "list_type": "should be a list",
    "int_type": "should be a whole number",
    "float_type": "should be a number",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "string_type": "should be text",
    "string_too_short": "should not be empty",
    "too_short": "should hold at least one entry",
}
_REQUIRED = {
    "encoder": "give a Hub id, a folder or package:NAME",
    "datasets": "give at least one, as `name: {path: …, text: …}`",
    "tasks": "give at least one, as `name: {type: …, dataset: …}`",
    "path": "give a Hub id, or one of json, csv, parquet and text with `data_files`",
    "type": "give a task type, such as text_classification",
    "dataset": "give the name of one of the recipe's datasets, or a list of them",
    "method": "give r_drop or smart",
}


def together(mistakes: Sequence[str]) -> str:
    """One paragraph of them, each on a line of its own."""
    if len(mistakes) == 1:
        return mistakes[0]
    return "\n  ".join([f"{len(mistakes)} mistakes:", *mistakes])


def mistake(error: ErrorDetails, recipe: type[BaseModel]) -> str:
    """One of pydantic's errors as `place: what is wrong, what was found and the mend`."""
    keys = [str(key) for key in error["loc"] if key != "[key]"]
    place, kind, value = ".".join(keys), error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"{place}: unknown key; {_nearest_key(keys, recipe)}"
    if kind == "missing":
        near = _nearest(keys[-1], value).removeprefix("did you mean ").removesuffix("?")
        return f"{place}: missing; " + (
            f"is {near} meant to be it?" if near else _REQUIRED[keys[-1]]
        )
    if kind == "value_error":
        return f"{place}: {error['ctx']['error']}"
    expected = _EXPECTED.get(kind) or error["msg"].replace("Input should", "should")
    message = f"{place}: {expected}, found {found(value)}"
    if kind == "string_type" and isinstance(value, int | float):
        return f"{message}; write it in quotes"
    if kind == "literal_error":
        near = _nearest(str(value), re.findall("'([^']*)'", error["ctx"]["expected"]))
        return f"{message}; {near}" if near else message
    return message


def broken_references(
    datasets: Collection[str],
    datasets_of_tasks: Mapping[str, Sequence[str]],
    select: str | Mapping[str, float],
) -> Iterator[str]:
    """What is wrong between the parts of a recipe whose parts are right.

    Args:
        datasets: The names of the datasets.
        datasets_of_tasks: For each task the names of its datasets.
        select: How the best model is told.
    """
    used = {name: task for task, names in datasets_of_tasks.items() for name in names}
    unknown = [name for name in used if name not in datasets]
    for name in unknown:
        hint = did_you_mean(name, datasets)
        yield f"tasks.{used[name]}.dataset: there is no dataset `{name}`; {hint}"
    for name in datasets:
        if name not in used and not unknown:  # it may be the one that was meant
            yield f"datasets.{name}: no task uses it; name it as a task's dataset or take it out"
    if select in ("mean", "worst"):
        return
    if isinstance(select, str) and "." not in select.strip("."):
        hint = "mean, worst, {task: weight} or task.metric"
        if select in datasets_of_tasks:
            hint = f"`{select}.METRIC` (or {{{select}: 1}} for its primary metric)"
        yield f"evaluation.select: should be {hint}, found {found(select)}"
        return
    for task in [select.partition(".")[0]] if isinstance(select, str) else select:
        if task not in datasets_of_tasks:
            hint = did_you_mean(task, datasets_of_tasks)
            yield f"evaluation.select: there is no task `{task}`; {hint}"


def unequal_joins(joins: Mapping[str, str]) -> Iterator[str]:
    """What is wrong where words are joined in several ways, of which a model can keep but one.

    Args:
        joins: What stands between the words, by dataset.
    """
    for name, join in joins.items():
        first, kept = next(iter(joins.items()))
        if join != kept:
            yield (
                f"datasets.{name}.join: should be {found(kept)} as in `datasets.{first}`, found"
                f" {found(join)}; a model joins the words of all its inputs alike, so make them"
                " the same or train a model for each"
            )


def differences(place: str, before: Any, after: Any) -> Iterator[str]:
    """The changed values of two mappings, `place: before -> after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            where = f"{place}.{key}" if place else str(key)
            if key not in before:
                yield f"{where}: absent -> {_shown(after[key])}"
            elif key not in after:
                yield f"{where}: {_shown(before[key])} -> absent"
            else:
                yield from differences(where, before[key], after[key])
    elif before != after:
        yield f"{place}: {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _nearest(word: str, known: Any) -> str:
    """`did_you_mean`, or nothing where nothing is near."""
    hint = did_you_mean(word, map(str, known)) if isinstance(known, dict | list) else ""
    return hint if hint.startswith("did") else ""


def _nearest_key(keys: list[str], recipe: type[BaseModel]) -> str:
    """Which known key an unknown one may stand for, in its own section or in another."""
    top = list(recipe.model_fields)
    sections = {key: _keys_of(recipe, key) for key in top}
    word, own = keys[-1], top if len(keys) == 1 else sections[keys[0]]
    if near := _nearest(word, own):
        return near
    if len(keys) > 1 and word in top:
        return f"did you mean `{word}` outside of `{keys[0]}`?"
    for section, known in sections.items():
        if word in known:
            place = (
                f"{section}.NAME.{word}"
                if section in ("datasets", "tasks")
                else f"{section}.{word}"
            )
            return f"did you mean `{place}`?"
    return did_you_mean(word, own)


def _keys_of(recipe: type[BaseModel], section: str) -> list[str]:
    """The keys that a section of the recipe, or an entry of it, may have."""
    annotation = recipe.model_fields[section].annotation
    for spec in (annotation, *get_args(annotation)):
        if isinstance(spec, type) and issubclass(spec, BaseModel):
            return list(spec.model_fields)
    return []
