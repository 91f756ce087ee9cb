"""What the methods make of a step, against plain torch and TorchJD on the whole step at once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import DistributedType
from torch import Tensor
from torchjd import aggregation, scalarization

from mtl_nlp.data.step_plan import StepPlan
from mtl_nlp.errors import RecipeError
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import BalancingSpec, Recipe
from mtl_nlp.training.balancing import check_balancing, check_not_sharded
from mtl_nlp.training.loop import TrainingLoop
from mtl_nlp.training.objective import count_items
from mtl_nlp.training.pieces import Pieces
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.scalarizing import OfAll
from mtl_nlp.training.skipping import NotFiniteError
from tests.properties.test_balancing import balanced
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

W = {"intent": 1.0, "ner": 2.0, "topic": 0.5}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    return tiny_recipe(tmp_path_factory.mktemp("balancing"), training__batch_size=32)


@pytest.fixture(scope="module")
def prepared(recipe: Recipe) -> Prepared:
    return prepare(recipe)


def under(prepared: Prepared, method: str, **options: Any) -> Prepared:
    spec = BalancingSpec(method=method, options=options)
    recipe = prepared.recipe.model_copy(update={"balancing": spec})
    return Prepared(**{**vars(prepared), "recipe": recipe})


def pieces_of(loop: TrainingLoop, model: MultiTaskModel, step: int = 0) -> Pieces:
    plan: StepPlan = loop.mixture.plan(step)
    batches, objective = loop.cutting.batches(plan), loop.learning.optimizer_step.objective
    counts = count_items(model.tasks, batches)
    return Pieces(model, objective, loop.accelerator, plan, batches, counts, seed=1)


def gradients(
    prepared: Prepared, folder: Path, cut: int = 5
) -> tuple[float, dict[str, Tensor], TrainingLoop]:
    """Loss and gradient of the first step, cut in pieces."""
    model = tiny_model(prepared)
    loop = tiny_loop(prepared, model, folder, micro_batch_size=cut, max_steps=1)
    loss, _ = loop.learning.balancing.backward(pieces_of(loop, model))
    return loss, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, loop


def whole_step(prepared: Prepared, folder: Path) -> tuple[MultiTaskModel, Tensor]:
    """The model, and the tasks' weighted means with their graph, of the first step in one batch."""
    model = tiny_model(prepared)
    loop = tiny_loop(prepared, model, folder, micro_batch_size=32, max_steps=1)
    loop.cutting.forward_cost = 10**12
    pieces = pieces_of(loop, model)
    (sums,) = pieces.sums()
    tasks = model.tasks
    return model, torch.stack([tasks[n].weight * sums[n] / pieces.counts[n] for n in tasks])


def assert_alike(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        torch.testing.assert_close(gradient, other[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "scalarizer"),
    [
        ("sum", {}, scalarization.Sum()),
        ("mean", {}, scalarization.Mean()),
        ("constant", {"weights": W}, scalarization.Constant(torch.tensor([1.0, 2.0, 0.5]))),
        ("geometric_mean", {}, scalarization.GeometricMean()),
        ("stch", {"mu": 0.1}, scalarization.STCH(0.1)),
        ("pbi", {"theta": 5, "weights": W}, scalarization.PBI(5.0, torch.tensor([1.0, 2.0, 0.5]))),
        ("cosmos", {"lambda_": 1, "weights": [1, 1, 1]}, scalarization.COSMOS(1.0, torch.ones(3))),
        ("uw", {}, scalarization.UW(3)),
        ("imtll", {}, scalarization.IMTLL(3)),
        ("dwa", {}, scalarization.DWA()),
        ("famo", {}, scalarization.FAMO(3)),
    ],
)
def test_a_scalarizer_gives_the_gradient_of_what_it_makes_of_the_means(
    prepared: Prepared, tmp_path: Path, name: str, options: dict[str, Any], scalarizer: Any
) -> None:
    loss, found, loop = gradients(under(prepared, name, **options), tmp_path / "cut")
    model, means = whole_step(prepared, tmp_path / "whole")
    expected = scalarizer(means)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert_alike(found, {n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    learned = [p.grad.item() for p in loop.learning.balancing.parameters()]
    if name in ("uw", "imtll"):
        (own,) = scalarizer.parameters()
        assert learned == pytest.approx(own.grad.tolist(), rel=1e-5)
        assert (
            loop.learning.optimizer.param_groups[-1]["params"]
            == loop.learning.balancing.parameters()
        )
    else:
        assert learned == []


@pytest.mark.parametrize(
    ("name", "options", "aggregator"),
    [
        ("mgda", {}, aggregation.MGDA()),
        ("imtlg", {}, aggregation.IMTLG()),
        ("aligned_mtl", {"pref_vector": W}, aggregation.AlignedMTL(torch.tensor([1.0, 2.0, 0.5]))),
        ("con_fig", {}, aggregation.ConFIG()),
        ("trimmed_mean", {"trim_number": 1}, aggregation.TrimmedMean(1)),
    ],
)
def test_an_aggregator_sees_the_tasks_gradients_of_the_whole_step(
    prepared: Prepared, tmp_path: Path, name: str, options: dict[str, Any], aggregator: Any
) -> None:
    _, found, _ = gradients(under(prepared, name, **options), tmp_path / "cut")
    model, means = whole_step(prepared, tmp_path / "whole")
    encoder = {
        name: parameter
        for name, parameter in model.encoder.named_parameters()
        if not name.startswith("pooler")  # heads have their own: it is not used
    }
    rows = [torch.autograd.grad(m, list(encoder.values()), retain_graph=True) for m in means]
    joined = aggregator(torch.stack([torch.cat([g.flatten() for g in row]) for row in rows]))
    parts = joined.split([p.numel() for p in encoder.values()])
    means.sum().backward()  # for the heads, each of which has its own loss alone
    expected = {n: p.grad for n, p in model.named_parameters() if not n.startswith("encoder.")}
    for (key, parameter), part in zip(encoder.items(), parts, strict=True):
        expected[f"encoder.{key}"] = part.view_as(parameter)
    assert_alike(found, expected)


def test_a_sum_is_equal_where_every_row_is_for_every_task(tmp_path: Path) -> None:
    one = tiny_recipe(tmp_path, tasks__ner__dataset="chat")
    tasks = {name: one.tasks[name].model_dump() for name in ("intent", "ner")}
    content = {**one.model_dump(), "tasks": tasks, "datasets": {"chat": one.datasets["chat"]}}
    content["training"].pop("max_steps")
    logs = []
    for name in ("equal", "sum"):
        prepared = prepare(Recipe(**{**content, "balancing": {"method": name}}))
        tiny_loop(prepared, tiny_model(prepared), tmp_path / name, max_steps=4).run()
        logs.append(steps_of(tmp_path / name))
    for equal, summed in zip(*logs, strict=True):
        for key in ("loss", "losses", "grad_norm"):
            assert equal[key] == pytest.approx(summed[key], rel=1e-6)


def test_both_forwards_go_through_the_same_network(prepared: Prepared, tmp_path: Path) -> None:
    model = MultiTaskModel.from_encoder(prepared.recipe.encoder, {}, dropout=0.3)
    for task in prepared.tasks.values():
        model.set_head(task)
    loop = tiny_loop(prepared, model, tmp_path, micro_batch_size=5, max_steps=1)
    pieces = pieces_of(loop, model)
    first = pieces.forward()
    assert first == pieces.backward(dict.fromkeys(model.tasks, 0.1)) == pieces.forward()
    model.eval()  # or nothing was dropped
    totals = pieces.nothing()
    for batch in pieces.batches:
        found = model(**batch).sums
        totals = pieces.added(totals, {name: one.total for name, one in found.items()})
    assert first != pieces.means(totals)


@pytest.mark.parametrize("name", ["uw", "imtll", "dwa", "famo", "stch", "pc_grad", "random"])
def test_a_step_without_a_task_leaves_it_alone(recipe: Recipe, tmp_path: Path, name: str) -> None:
    by_step = recipe.model_copy(
        update={"sampling": recipe.sampling.model_copy(update={"mix": "step"})}
    )
    prepared = balanced(prepare(by_step), name)
    model = tiny_model(prepared)
    loop = tiny_loop(prepared, model, tmp_path, max_steps=8)
    learned = [p.item() for p in loop.learning.balancing.parameters()]
    loop.run()
    records = steps_of(tmp_path)
    assert {frozenset(r["losses"]) for r in records} == {
        frozenset({"intent", "ner"}),
        frozenset({"ner", "topic"}),
    }
    assert all(record["grad_norm"] > 0 for record in records)
    assert all(
        p.item() != before
        for p, before in zip(loop.learning.balancing.parameters(), learned, strict=True)
    )


def test_what_is_learned_for_a_task_rests_without_it(prepared: Prepared, tmp_path: Path) -> None:
    prepared = under(prepared, "uw")
    model = tiny_model(prepared)
    loop = tiny_loop(prepared, model, tmp_path, max_steps=1)
    pieces = pieces_of(loop, model)
    for batch in pieces.batches:
        batch.targets.pop("topic", None)
    pieces.counts = count_items(model.tasks, pieces.batches)
    loop.learning.balancing.backward(pieces)
    assert [p.grad is None for p in loop.learning.balancing.parameters()] == [False, False, True]


def test_a_task_not_there_keeps_its_loss(prepared: Prepared, tmp_path: Path) -> None:
    loop = tiny_loop(under(prepared, "dwa"), tiny_model(prepared), tmp_path, max_steps=1)
    scalarizer = loop.learning.balancing.scalarizer  # type: ignore[attr-defined]
    assert isinstance(scalarizer, OfAll)
    value = {n: torch.tensor(v, dtype=torch.float64) for n, v in W.items()}
    scalarizer({"intent": value["intent"], "ner": value["ner"]})
    assert scalarizer.made._loss_sum.tolist() == [1.0, 2.0, 1.5]  # as yet the others' mean
    scalarizer({"ner": value["ner"], "topic": value["topic"]})
    assert scalarizer.made._loss_sum.tolist() == [2.0, 4.0, 2.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balancing": {"method": "fammo"}}, "no method `fammo`; did you mean `famo`"),
        ({"balancing": {"options": {"mu": 1}}}, r"balancing\.options: `equal` has none"),
        (
            {"balancing": {"method": "grad_vac"}, "sampling": {"mix": "step"}},
            r"grad_vac needs every task in every step, but with sampling\.mix=step a step of 'news'"
            " has no rows of task 'intent'",
        ),
        (
            {"balancing": {"method": "pcd"}, "training": {"batch_size": 2}},
            r"pcd needs every task in every step, but of task 'topic' a step may have only",
        ),
        (
            {"balancing": {"method": "uw"}, "training": {"precision": "fp16"}},
            r"training\.precision: fp16 scales gradients by a factor that uw would take for",
        ),
        (
            {"balancing": {"method": "mgda"}, "training": {"precision": "fp16"}},
            r"training\.precision: fp16 scales gradients by a factor that mgda would take for",
        ),
    ],
)
def test_it_is_refused_where_it_would_not_be_right(
    recipe: Recipe, prepared: Prepared, changes: dict[str, Any], message: str
) -> None:
    content = recipe.model_dump()
    for key, part in changes.items():
        content[key] = {**content[key], **part}
    content["training"].pop("max_steps")
    asked = Recipe(**content)
    mixture = Prepared(**{**vars(prepared), "recipe": asked}).mixture()
    with pytest.raises(RecipeError, match=message):
        check_balancing(asked, prepared.datasets_of_tasks(), mixture)


@pytest.mark.parametrize("name", ["grad_vac", "pcd", "excess_mtl"])
def test_an_aggregator_does_not_see_what_is_not_finite(
    prepared: Prepared, tmp_path: Path, name: str
) -> None:
    model = tiny_model(prepared)
    loop = tiny_loop(under(prepared, name), model, tmp_path, max_steps=1)
    before = loop.learning.balancing.state()
    model.encoder.get_input_embeddings().weight.register_hook(lambda g: g * float("inf"))
    with pytest.raises(NotFiniteError, match="the gradient of a task is not finite"):
        loop.learning.balancing.backward(pieces_of(loop, model))
    assert loop.learning.balancing.state() == before


def test_a_model_in_parts_is_refused() -> None:
    check_not_sharded(BalancingSpec(), DistributedType.FSDP)
    check_not_sharded(BalancingSpec(method="uw"), DistributedType.MULTI_GPU)
    with pytest.raises(RecipeError, match="uw needs the whole model on each device, but FSDP"):
        check_not_sharded(BalancingSpec(method="uw"), DistributedType.FSDP)
