"""What a saved model is judged by: a recipe's tasks, and its rows of one split."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mtl_nlp.data.binding import Binding
from mtl_nlp.data.loading import load_splits
from mtl_nlp.errors import RecipeError
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.recipe import Recipe
from mtl_nlp.tasks.base import Task
from mtl_nlp.training.evaluation import LabelledRows, labelled_rows


def check_served(wanted: Mapping[str, Task], tasks: Mapping[str, Task]) -> None:
    """Refuse a recipe with tasks that a model does not have."""
    for name, task in wanted.items():
        own = tasks.get(name)
        if own is None or own.type != task.type:
            has = ", ".join(f"{n} ({t.type})" for n, t in tasks.items())
            raise RecipeError(f"tasks.{name}: the model has no {task.type} of that name, but {has}")


def split_rows(
    recipe: Recipe, split: str, predictor: Predictor, bindings: Sequence[Binding]
) -> list[LabelledRows]:
    """The rows of one split for a saved model, one entry per dataset that has it."""
    rows = []
    for name, spec in recipe.datasets.items():
        if spec.streaming and split == "train":
            raise RecipeError(
                f"datasets.{name}.streaming: train of a stream is not read whole; evaluate another"
                " split, or set streaming: false"
            )
        splits = load_splits(name, spec, seed=recipe.seed, needs_train=False)
        if split in splits:
            own = [b for b in bindings if b.dataset == name]
            for binding in own:
                binding.check(split, splits[split])
            rows.append(
                labelled_rows(
                    splits[split],
                    place=f"dataset {name!r}, split {split}",
                    spec=spec,
                    encoder=replace(predictor.encoder, join=spec.join),
                    tasks=predictor.model.tasks,
                    bindings=own,
                )
            )
    if not rows:
        raise RecipeError(f"datasets: none of the recipe's datasets has the split {split!r}")
    return rows
