"""The recipe: encoder, datasets, tasks and training, a pure description checked at the door."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_validator,
)

from mtl_nlp import recipe_values as values
from mtl_nlp.errors import RecipeError
from mtl_nlp.local_files import absolute, missing
from mtl_nlp.recipe_hub import HubSpec
from mtl_nlp.recipe_mistakes import (
    broken_references,
    differences,
    mistake,
    together,
    unequal_joins,
)
from mtl_nlp.recipe_sampling import SamplingSpec
from mtl_nlp.recipe_sharing import SharingSpec
from mtl_nlp.recipe_spec import Count, Fraction, Positive, Spec, Text
from mtl_nlp.recipe_training import TrainingSpec
from mtl_nlp.recipe_warm_start import WarmStartSpec

Split = Literal["train", "validation", "test"]
LongText = Literal["cut", "windows"]
Name = Annotated[str, AfterValidator(values.name)]


class DatasetSpec(Spec):
    """A table of rows: where it is and which columns are the input."""

    path: Text  # Hub id, folder, or a loader of files: json, csv (.tsv too), parquet, text, conllu
    name: Text | None = None  # configuration of the Hub dataset
    revision: Text | None = None  # commit, branch or tag of the Hub dataset
    data_files: Annotated[dict[str, list[str]] | None, PlainValidator(values.data_files)] = None
    text: Text | None = None  # column: the text
    text_pair: Text | None = None  # column: the second text of a pair
    choices: Text | None = None  # column: a list of texts to choose from
    tokens: Text | None = None  # column: a list of words, instead of text
    join: str = " "  # put between the words to encode one string; the same in all datasets
    splits: dict[Split, Annotated[str | float, PlainValidator(values.split_source)]] = {}
    max_rows: dict[Split, Count] = {}  # rows of a seeded sample, per split
    streaming: Annotated[bool, Field(strict=True)] = False  # train is read as it is needed

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.text is None and self.tokens is None:
            raise ValueError(
                "has no input column; give `text: COLUMN`, or `tokens: COLUMN` for lists of words"
            )
        if self.text is not None and self.tokens is not None:
            raise ValueError(f"has both `text: {self.text}` and `tokens: {self.tokens}`; keep one")
        if self.text_pair is not None and self.text is None:
            raise ValueError(f"`text_pair: {self.text_pair}` goes with `text`, not with `tokens`")
        if self.choices is not None and (self.text is None or self.text_pair is not None):
            raise ValueError(f"`choices: {self.choices}` goes with `text` alone")
        values.check_path(self.path, self.data_files)
        values.check_splits(self.path, self.splits, self.data_files or {})
        if self.streaming:
            values.check_streaming(self.path, self.splits)
        return self

    @property
    def inputs(self) -> dict[str, str]:
        """Its input columns, by what they are to us."""
        given = {key: getattr(self, key) for key in ("text", "text_pair", "choices", "tokens")}
        return {key: column for key, column in given.items() if column is not None}


class TaskSpec(Spec):
    """What is learned: a task type, its datasets, and keys of the type's own in `model_extra`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[Any, AfterValidator(values.option)]]

    type: Text  # a task type's name, or the import path of one's own
    dataset: Annotated[str | list[str], PlainValidator(values.dataset_names)]  # one or several
    weight: Positive = 1.0  # factor of the task's loss
    map: Annotated[dict[str, str], PlainValidator(values.label_map)] = {}  # label renamed: old: new
    # Their names, null: from data; for a type that reads a column `labels` also that column.
    labels: Annotated[
        list[str] | str | dict[str, str] | None, PlainValidator(values.label_names_or_column)
    ] = None
    metrics: list[Text] = []  # further metrics, by their names on the Hub
    sharing: Name | None = None  # name of its adapter; null: as `sharing` says

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of its datasets, in the recipe's order."""
        return (self.dataset,) if isinstance(self.dataset, str) else tuple(self.dataset)


class BalancingSpec(Spec):
    """How the tasks' losses become one."""

    method: Text = "equal"  # weight x share x mean, summed; or a TorchJD method
    options: Annotated[dict[Text, Any], AfterValidator(values.options)] = {}  # the method's own


class EvaluationSpec(Spec):
    """When the model is evaluated and how the best one is told."""

    every: Annotated[str | int, PlainValidator(values.evaluation_interval)] = "epoch"  # or steps
    select: Annotated[str | dict[str, float], PlainValidator(values.selection)] = (
        "mean"  # of the primary metrics; or worst, {task: weight}, task.metric
    )


class Recipe(Spec):
    """What is trained on what and how; `Recipe(**mapping)` has the YAML's shape.

    Relative files of a Python object start from the working directory.

    Raises:
        RecipeError: Listing every mistake with its place, what was found and the mend.

    >>> Recipe(
    ...     encoder="org/encoder",
    ...     datasets={"sst2": {"path": "stanfordnlp/sst2", "text": "sentence"}},
    ...     tasks={"mood": {"type": "text_classification", "dataset": "sst2", "label": "label"}},
    ... ).training.epochs
    3
    """

    encoder: Text  # Hub id, folder, or package:NAME (weights inside an installed package)
    warm_start: WarmStartSpec = WarmStartSpec()
    max_length: Annotated[int, Field(strict=True, ge=3)] = 128  # tokens of one encoder row
    long_text: LongText = "cut"  # of a longer text: lose its end, or read it in windows
    stride: Annotated[int, Field(strict=True, ge=0)] = 32  # tokens that windows share
    dropout: Fraction | None = None  # of encoder and heads; null: the encoder's own
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 13  # of all that is random
    output: Text = "runs/recipe"  # run folder; a recipe read from a file: runs/<the file's stem>
    datasets: Annotated[dict[Name, DatasetSpec], Field(min_length=1)]  # what is sampled
    tasks: Annotated[dict[Name, TaskSpec], Field(min_length=1)]  # what is learned
    sharing: SharingSpec = SharingSpec()
    sampling: SamplingSpec = SamplingSpec()
    balancing: BalancingSpec = BalancingSpec()
    training: TrainingSpec = TrainingSpec()
    evaluation: EvaluationSpec = EvaluationSpec()
    hub: HubSpec = HubSpec()

    def __init__(self, /, **content: Any) -> None:
        try:
            super().__init__(**content)
        except ValidationError as error:
            mistakes = [mistake(details, Recipe) for details in error.errors(include_url=False)]
        else:
            by_task = {name: task.datasets for name, task in self.tasks.items()}
            joins = {name: d.join for name, d in self.datasets.items() if d.tokens is not None}
            mistakes = [
                *broken_references(self.datasets, by_task, self.evaluation.select),
                *unequal_joins(joins),
                *self.sampling.misnamed(self.datasets, by_task),
                *self.sharing.misnamed(self.tasks),
                *self.sharing.clashes(self.training, self.tasks),
            ]
        if mistakes:
            raise RecipeError(together(mistakes))

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """Reads a recipe, its local files made absolute.

        Args:
            path: The YAML file; its folder is where the relative files in it start from.
            overrides: `dotted.path=value` words, values in YAML. A value replaces the whole that
                stands there and null brings back the default; relative files in it start from the
                working directory. Of `training.epochs` and `training.max_steps` the one in a word
                puts the other out of force.

        Raises:
            RecipeError: As `Recipe` does, also for a file that is missing or not YAML.
        """
        from mtl_nlp.recipe_file import read_yaml
        from mtl_nlp.recipe_overrides import apply_overrides
        from mtl_nlp.recipe_paths import absolute_paths

        path = Path(path)
        content = absolute_paths(read_yaml(path), path.absolute().parent)
        content = absolute_paths(apply_overrides(content, overrides), Path.cwd())
        if content.get("output") is None:
            content["output"] = f"runs/{path.stem}"
        try:
            return cls(**content)
        except RecipeError as error:
            source = f"{path} and its overrides" if overrides else str(path)
            raise RecipeError(f"{source}: {error}") from None

    def with_overrides(self, overrides: Sequence[str]) -> Self:
        """The recipe under `dotted.path=value` words, as `from_yaml` takes them.

        Raises:
            RecipeError: If a word or what it leads to is wrong.
        """
        from mtl_nlp.recipe_overrides import apply_overrides

        return type(self)(**apply_overrides(self.model_dump(exclude_unset=True), overrides))

    def resolved(self) -> Self:
        """The recipe with local files, folders and output absolute: the same from any folder.

        What was not set in it is not set in what it gives.
        """
        from mtl_nlp.recipe_paths import absolute_paths

        content = absolute_paths(self.model_dump(exclude_unset=True), Path.cwd())
        content["output"] = absolute(self.output, Path.cwd())
        return type(self)(**content)

    def to_yaml(self, path: str | Path) -> None:
        """Writes the resolved recipe, every value in it; reading it gives `resolved()` back.

        Raises:
            RecipeError: If the file cannot be written; then it is as it was.
        """
        from mtl_nlp.recipe_file import write_yaml

        write_yaml(self.resolved().model_dump(), Path(path))

    def describe_difference(self, other: "Recipe") -> list[str]:
        """What `other` has changed, one `place: before -> after` a line, in the recipe's order."""
        changes = list(differences("", self.model_dump(), other.model_dump()))
        before, after = ", ".join(self.datasets), ", ".join(other.datasets)
        if before != after and self.datasets.keys() == other.datasets.keys():
            changes.append(f"datasets: in the order {before} -> {after}")  # who is drawn from first
        return changes


def check_files(recipe: Recipe) -> None:
    """Looks whether the local files of a recipe exist and fit their loaders.

    Raises:
        RecipeError: Naming dataset, split and file, and what the folder holds instead.
    """
    mistakes = []
    for name, dataset in recipe.datasets.items():
        if dataset.path not in values.FILE_LOADERS:
            continue
        for split, patterns in (dataset.data_files or {}).items():
            for pattern in patterns:
                wrong = values.wrong_loader(dataset.path, pattern) or missing(pattern)
                if wrong:
                    mistakes.append(f"datasets.{name}.data_files.{split}: {wrong}")
    if mistakes:
        raise RecipeError(together(mistakes))
