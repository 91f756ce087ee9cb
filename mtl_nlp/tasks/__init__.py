"""The task types, one file each, and how a recipe or a saved model names them."""

import difflib
from collections.abc import Mapping
from dataclasses import Field, asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.dependency_parsing import DependencyParsing
from mtl_nlp.tasks.lemmatization import Lemmatization
from mtl_nlp.tasks.masked_language_modeling import MaskedLanguageModeling
from mtl_nlp.tasks.multi_label_classification import MultiLabelClassification
from mtl_nlp.tasks.multi_label_token_classification import MultiLabelTokenClassification
from mtl_nlp.tasks.multiple_choice import MultipleChoice
from mtl_nlp.tasks.question_answering import QuestionAnswering
from mtl_nlp.tasks.regression import Regression
from mtl_nlp.tasks.relation_classification import RelationClassification
from mtl_nlp.tasks.sentence_similarity import SentenceSimilarity
from mtl_nlp.tasks.soft_classification import SoftClassification
from mtl_nlp.tasks.span_classification import SpanClassification
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.tasks.text_generation import TextGeneration
from mtl_nlp.tasks.token_classification import TokenClassification

TASK_TYPES: dict[str, type[Task]] = {
    "text_classification": TextClassification,
    "multi_label_classification": MultiLabelClassification,
    "regression": Regression,
    "soft_classification": SoftClassification,
    "token_classification": TokenClassification,
    "multi_label_token_classification": MultiLabelTokenClassification,
    "span_classification": SpanClassification,
    "relation_classification": RelationClassification,
    "lemmatization": Lemmatization,
    "dependency_parsing": DependencyParsing,
    "question_answering": QuestionAnswering,
    "multiple_choice": MultipleChoice,
    "sentence_similarity": SentenceSimilarity,
    "masked_language_modeling": MaskedLanguageModeling,
    "text_generation": TextGeneration,
}


def task_type(name: str, *, where: str, own: Mapping[str, type[Task]] | None = None) -> type[Task]:
    """The task type of this name, this package's or one of the user's ``own``.

    Raises:
        RecipeError: If there is none; ``where`` is the place the message names.
    """
    if own and name in own:
        return own[name]
    if name not in TASK_TYPES:
        near = difflib.get_close_matches(name, TASK_TYPES, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise RecipeError(
            f"{where}: {name!r} is no task type; {meant}the types are {', '.join(TASK_TYPES)}, and"
            " your own as module:Class"
        )
    return TASK_TYPES[name]


def build_task(
    name: str,
    type_name: str,
    settings: Mapping[str, Any],
    *,
    where: str,
    own: Mapping[str, type[Task]] | None = None,
) -> Task:
    """A task from its saved or written form.

    Args:
        name: The task's name.
        type_name: Its type, a key of ``TASK_TYPES`` or of ``own``.
        settings: Its fields, such as labels and the type's options.
        where: The place that an error names: a recipe's key or a model's folder.
        own: Types of the user's own.

    Raises:
        RecipeError: If the type or a setting is not known or has a value it cannot have.
    """
    cls = task_type(type_name, where=where, own=own)
    try:
        task: Task = TypeAdapter(cls).validate_python({"name": name, **settings})
    except ValidationError as error:
        raise RecipeError("; ".join(_explain(cls, e, where) for e in error.errors())) from None
    return task


def options_of(task_type: type[Task]) -> dict[str, Field[Any]]:
    """The fields of a task type that a recipe may set."""
    fields: dict[str, Field[Any]] = task_type.__dataclass_fields__
    return {name: f for name, f in fields.items() if "option" in f.metadata}


def saved_form(task: Task) -> dict[str, Any]:
    """A task as ``config.json`` keeps it: its type and all its fields."""
    return {"type": task.type, **asdict(task)}


def _explain(cls: type[Task], error: Any, where: str) -> str:
    if not error["loc"]:  # from the task as a whole
        return f"{where}: {error['msg'].removeprefix('Value error, ')}"
    key = str(error["loc"][0])
    if error["type"] != "unexpected_keyword_argument":
        expected = error["msg"].replace("Input should", "should")
        return f"{where}.{key}: {expected}, found {error['input']!r}"
    known = [*{column: None for way in cls.columns for column in way}, *options_of(cls)]
    known += ["type", "dataset", "labels", "map", "weight", "metrics"]
    near = difflib.get_close_matches(key, known, n=1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{where}.{key}: unknown key; {meant}a {cls.type} task has {', '.join(known)}"
