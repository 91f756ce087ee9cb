"""A recipe with its data read, its tasks learned and its training rows encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from datasets import Dataset

from mtl_nlp.data.bind_tasks import bind_tasks
from mtl_nlp.data.binding import Binding
from mtl_nlp.data.doctor import Examination, examine
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.data.learn_tasks import learn_tasks
from mtl_nlp.data.loading import load_splits, load_stream
from mtl_nlp.data.mixture import Mixture
from mtl_nlp.data.prepare import EncodedSplit, prepare_split
from mtl_nlp.data.streamed_split import StreamedSplit, buffers_of, prepare_stream
from mtl_nlp.data.streams import Stream
from mtl_nlp.errors import RecipeError
from mtl_nlp.model.encoders import resolve_encoder
from mtl_nlp.model.loading import load_tokenizer
from mtl_nlp.recipe import Recipe, check_files
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.balancing import check_balancing
from mtl_nlp.training.evaluation import LabelledRows, labelled_rows
from mtl_nlp.training.regularizing import check_regularization
from mtl_nlp.training.selection import check_selection


@dataclass(frozen=True)
class Prepared:
    """A recipe with its data read, its tasks learned and its training rows encoded.

    Attributes:
        recipe: What was asked for.
        encoder: Makes sub-words.
        tasks: By name, with their labels.
        bindings: Where each task finds its labels.
        splits: By dataset and split; of train that is streamed the first rows.
        train: Encoded training rows, by dataset.
        notes: What a user should know, such as rows held out.
    """

    recipe: Recipe
    encoder: RowEncoder
    tasks: Mapping[str, Task]
    bindings: Sequence[Binding]
    splits: Mapping[str, Mapping[str, Dataset]]
    train: Mapping[str, EncodedSplit | StreamedSplit]
    notes: Sequence[str]

    def examine(self) -> Examination:
        """What is in the data and what is doubtful about it; reads all that is not streamed."""
        tables = {
            name: split.sample if isinstance(split, StreamedSplit) else split
            for name, split in self.train.items()
        }
        found = examine(self.recipe, self.splits, self.tasks, self.bindings, self.encoder, tables)
        for name, split in self.train.items():
            found.datasets[name]["rows"]["train"] = len(split)
        return found

    def mixture(self) -> Mixture:
        """The plan of a training's steps from its beginning."""
        recipe = self.recipe
        return Mixture(
            {name: split.lengths for name, split in self.train.items()},
            batch_size=recipe.training.batch_size,
            sampling=recipe.sampling,
            seed=recipe.seed,
            steps=self.steps,
            buffers=buffers_of(self.train),
        )

    def datasets_of_tasks(self) -> dict[str, list[str]]:
        """The datasets of each task."""
        return {t: [b.dataset for b in self.bindings if b.task == t] for t in self.tasks}

    @property
    def steps(self) -> int:
        """Optimizer steps of a whole training."""
        return self.recipe.training.steps(sum(len(split) for split in self.train.values()))

    def labelled(self, split: str) -> list[LabelledRows]:
        """The rows of one split, one entry per dataset that has it."""
        return [
            labelled_rows(
                splits[split],
                place=f"dataset {name!r}, split {split}",
                spec=self.recipe.datasets[name],
                encoder=_joined(self.encoder, self.recipe, name),
                tasks=self.tasks,
                bindings=[b for b in self.bindings if b.dataset == name],
            )
            for name, splits in self.splits.items()
            if split in splits
        ]


def prepare(recipe: Recipe) -> Prepared:
    """Read, check and encode what a recipe names; no encoder weights are loaded.

    Raises:
        UserError: If the recipe or the data is wrong.
    """
    check_files(recipe)
    tasks, bindings = bind_tasks(recipe)
    check_selection(recipe.evaluation.select, tasks)
    notes: list[str] = []
    splits: dict[str, dict[str, Dataset]] = {}
    streams: dict[str, Stream] = {}
    for name, spec in recipe.datasets.items():
        if spec.streaming:
            streams[name], whole = load_stream(name, spec, seed=recipe.seed)
            splits[name] = {"train": streams[name].sample, **whole}
            notes.append(_read_as_stream(streams[name]))
        else:
            splits[name] = load_splits(name, spec, seed=recipe.seed, say=notes)
    tasks = learn_tasks(tasks, bindings, splits)
    encoder = RowEncoder(
        load_tokenizer(resolve_encoder(recipe.encoder)),
        recipe.max_length,
        long_text=recipe.long_text,
        stride=recipe.stride,
    )
    train: dict[str, EncodedSplit | StreamedSplit] = {}
    for name, spec in recipe.datasets.items():
        own = [b for b in bindings if b.dataset == name]
        learned, joined = [tasks[b.task] for b in own], _joined(encoder, recipe, name)
        if name in streams:
            train[name] = prepare_stream(
                streams[name], spec=spec, encoder=joined, tasks=learned, bindings=own
            )
            continue
        train[name] = prepare_split(
            splits[name]["train"],
            place=f"dataset {name!r}, split train",
            spec=spec,
            encoder=joined,
            tasks=learned,
            bindings=own,
        )
    recipe = _with_whole_steps(recipe, tasks, train, say=notes)
    prepared = Prepared(recipe, encoder, tasks, bindings, splits, train, notes)
    check_balancing(recipe, prepared.datasets_of_tasks(), prepared.mixture())
    notes += check_regularization(recipe, tasks)
    return prepared


def _with_whole_steps(
    recipe: Recipe,
    tasks: Mapping[str, Task],
    train: Mapping[str, EncodedSplit | StreamedSplit],
    *,
    say: list[str],
) -> Recipe:
    """The recipe with room for whole steps in one forward, where a task compares all their rows.

    Raises:
        RecipeError: If it asks for less room.
    """
    compared = [name for name, task in tasks.items() if task.whole_step]
    if not compared:
        return recipe
    training = recipe.training
    for name, split in train.items():
        if isinstance(split, StreamedSplit):
            raise RecipeError(
                f"datasets.{name}.streaming: task {compared[0]!r} compares all rows of a step, and"
                " how many tokens these have is not known of a stream; set streaming: false"
            )
    largest = [split.largest for split in train.values()]
    most, longest = (max(numbers) for numbers in zip(*largest, strict=True))
    rows = training.batch_size * most
    reason = (
        f"task {compared[0]!r} compares all rows of a step, which may be {rows} encoder rows of up"
        f" to {longest} tokens ({training.batch_size} rows of up to {most})"
    )
    for key, needed in (("micro_batch_size", rows), ("micro_batch_tokens", rows * longest)):
        allowed = getattr(training, key)
        if key in training.model_fields_set and allowed is not None and needed > allowed:
            raise RecipeError(
                f"training.{key}: {reason} and so must go through the encoder together; expected at"
                f" least {needed}, found {allowed}; raise it, leave it out, or lower"
                " training.batch_size"
            )
    if rows <= training.micro_batch_size:
        return recipe
    say.append(
        f"training.micro_batch_size is {rows} here, not {training.micro_batch_size}: {reason}; if"
        " memory runs out, lower training.batch_size"
    )
    roomy = training.model_copy(update={"micro_batch_size": rows})
    return recipe.model_copy(update={"training": roomy})


def _joined(encoder: RowEncoder, recipe: Recipe, dataset: str) -> RowEncoder:
    return replace(encoder, join=recipe.datasets[dataset].join)


def _read_as_stream(stream: Stream) -> str:
    first = len(stream.sample)
    return (
        f"dataset {stream.name!r} is streamed: {len(stream):,} training rows in"
        f" {len(stream.sizes):,} files; labels are learned from the first {first:,} rows, which"
        " alone are examined, and a bad row behind them is only found when it is read"
    )
