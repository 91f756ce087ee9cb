"""Invariant 2: a step is the same step, to rounding, however it is cut into pieces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.mixture import Mixture
from mtl_nlp.data.strategies import STRATEGIES
from mtl_nlp.recipe_sampling import SamplingSpec
from mtl_nlp.training.preparation import Prepared, prepare
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

CUTS = (32, 8, 5, 1)  # rows of a piece; 5 leaves a smaller last one
MIXES = ("batch", "step")
OPTIONS: dict[str, dict[str, Any]] = {
    "proportional": {},
    "round_robin": {},
    "uniform": {},
    "weights": {"weights": {"chat": 1.0, "news": 5.0}},
    "temperature": {"temperature": 3.0},
    "capped": {"cap": 10},
    "annealed": {},
    "main": {"main": "news", "ratio": 0.2},
    "dynamic": {"targets": {"intent": 0.9, "topic": 0.9}},
}
Gradients = dict[str, Tensor]


@pytest.fixture(scope="module")
def prepared_by_mix(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Prepared]:
    known: dict[str, Prepared] = {}
    folder = tmp_path_factory.mktemp("accumulation")

    def get(mix: str) -> Prepared:
        if mix not in known:
            recipe = tiny_recipe(folder, sampling__mix=mix, training__batch_size=32)
            known[mix] = prepare(recipe)
        return known[mix]

    return get


def run_steps(
    prepared: Prepared,
    folder: Path,
    *,
    cut: int,
    steps: int,
    dtype: torch.dtype = torch.float32,
    tokens: int | None = None,
) -> tuple[list[dict[str, Any]], Gradients]:
    """Train some steps; their records, and the last step's gradient before clipping."""
    model = tiny_model(prepared).to(dtype)
    gradients: Gradients = {}
    for name, parameter in model.named_parameters():
        parameter.register_post_accumulate_grad_hook(
            lambda p, name=name: gradients.update({name: p.grad.clone()})
        )
    spec = {"micro_batch_size": cut, "micro_batch_tokens": tokens, "max_steps": steps}
    tiny_loop(prepared, model, folder, **spec).run()
    return steps_of(folder), gradients


def relative_difference(one: Gradients, other: Gradients) -> float:
    assert one.keys() == other.keys()
    difference = torch.stack([(one[name] - other[name]).norm() for name in one]).norm()
    return float(difference / torch.stack([gradient.norm() for gradient in other.values()]).norm())


def reference(prepared: Prepared) -> tuple[dict[str, float], Gradients]:
    """Loss per task and gradient of the first step, all its rows in one batch, in plain torch."""
    recipe, model = prepared.recipe, tiny_model(prepared)
    plan = Mixture(
        {name: split.lengths for name, split in prepared.train.items()},
        batch_size=32,
        sampling=recipe.sampling,
        seed=recipe.seed,
        steps=prepared.steps,
    ).plan(0)
    tables = [prepared.train[name].take(rows) for name, rows in plan.rows.items()]
    batch = Collator(model.tasks, 0).batch(tables)
    loss, means = torch.zeros(()), {}
    for name, target in batch.targets.items():
        labels = target.labels
        logits = model(**batch, tasks=[name]).logits[name]
        labelled = labels != -100
        means[name] = F.cross_entropy(logits[labelled], labels[labelled], reduction="mean")
        rows = sum(plan.counts.get(b.dataset, 0) for b in prepared.bindings if b.task == name)
        loss = loss + prepared.recipe.tasks[name].weight * rows / 32 * means[name]
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {name: mean.item() for name, mean in means.items()}, gradients


@pytest.mark.parametrize("mix", MIXES)
def test_the_gradient_is_that_of_the_whole_step_in_one_batch(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path, mix: str
) -> None:
    prepared = prepared_by_mix(mix)
    means, whole = reference(prepared)
    norm = float(torch.stack([gradient.norm() for gradient in whole.values()]).norm())
    assert len(means) == (3 if mix == "batch" else 2)
    for cut in CUTS:
        records, gradients = run_steps(prepared, tmp_path / str(cut), cut=cut, steps=1)
        assert relative_difference(gradients, whole) <= 1e-6, f"pieces of {cut} rows"
        assert records[0]["losses"] == pytest.approx(means, rel=1e-5)
        assert records[0]["grad_norm"] == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("strategy", sorted(OPTIONS))
def test_no_strategy_makes_a_step_depend_on_its_cuts(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path, mix: str, strategy: str
) -> None:
    prepared = prepared_by_mix(mix)
    sampling = SamplingSpec(strategy=strategy, mix=mix, **OPTIONS[strategy])
    recipe = prepared.recipe.model_copy(update={"sampling": sampling})
    prepared = Prepared(**{**vars(prepared), "recipe": recipe})
    whole, *cut = (
        run_steps(prepared, tmp_path / str(rows), cut=rows, steps=1) for rows in (32, 16, 8)
    )
    for records, gradients in cut:
        assert records[0]["rows"] == whole[0][0]["rows"]
        assert relative_difference(gradients, whole[1]) <= 1e-6


def test_every_strategy_is_cut() -> None:
    assert OPTIONS.keys() == STRATEGIES.keys()


def test_what_difference_there_is_is_rounding(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path
) -> None:
    prepared = prepared_by_mix("batch")
    whole, *cut = (
        run_steps(prepared, tmp_path / str(cut), cut=cut, steps=1, dtype=torch.float64)[1]
        for cut in CUTS
    )
    for gradients in cut:
        assert relative_difference(gradients, whole) <= 1e-9


@pytest.mark.parametrize("mix", MIXES)
def test_over_many_steps_the_losses_agree(
    prepared_by_mix: Callable[[str], Prepared], tmp_path: Path, mix: str
) -> None:
    prepared = prepared_by_mix(mix)
    whole, *cut = (
        run_steps(prepared, tmp_path / str(cut), cut=cut, steps=6)[0] for cut in (32, 8, 1)
    )
    cut.append(run_steps(prepared, tmp_path / "tokens", cut=32, steps=6, tokens=90)[0])
    assert whole[0]["losses"] != whole[-1]["losses"], "nothing was learned"
    for other in cut:
        for one, step in zip(whole, other, strict=True):
            assert one["rows"] == step["rows"]
            assert one["tokens"] == step["tokens"]
            assert one["losses"] == pytest.approx(step["losses"], rel=1e-5)
            assert one["loss"] == pytest.approx(step["loss"], rel=1e-5)
            assert one["grad_norm"] == pytest.approx(step["grad_norm"], rel=1e-4)
