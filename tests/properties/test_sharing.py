"""Invariants 2 to 5 with adapters: cuts, ranks and resuming change nothing, idle ones stay."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mtl_nlp.errors import RecipeError
from mtl_nlp.inference.pipeline import pipeline
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import Recipe
from mtl_nlp.run import check, evaluate, train
from mtl_nlp.training.preparation import Prepared, prepare
from tests.hub_server import HubServer
from tests.properties.test_balancing import assert_same_bits, resumed
from tests.ranks import Ranks, told
from tests.runs import steps_of, tiny_loop, tiny_model, tiny_recipe

WAYS: dict[str, dict[str, Any]] = {
    "shared": {"method": "lora", "rank": 4},
    "per task": {"method": "lora", "rank": 4, "per_task": True, "layer_norms": True},
    "ia3": {"method": "ia3", "per_task": True, "targets": "all-linear"},
}
NAMED = {"intent": {"sharing": "texts"}, "ner": {}, "topic": {"sharing": "texts"}}
"""Two tasks of different datasets share an adapter, and two of one dataset do not."""


def shared_recipe(folder: Path, way: str, **changes: Any) -> Recipe:
    recipe = tiny_recipe(folder, sharing=WAYS[way], **changes).model_dump(exclude_unset=True)
    if WAYS[way].get("per_task"):
        recipe["tasks"] = {name: {**task, **NAMED[name]} for name, task in recipe["tasks"].items()}
    return Recipe(**recipe)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sharing")


def prepared_as(folder: Path, way: str) -> Prepared:
    return prepare(shared_recipe(folder, way, training__batch_size=32))


def shared_model(prepared: Prepared) -> MultiTaskModel:
    """A model whose adapters already do something."""
    model, recipe = tiny_model(prepared), prepared.recipe
    model.share(recipe.sharing, {name: task.sharing for name, task in recipe.tasks.items()})
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if weights.requires_grad and name.startswith("encoder."):
                weights += 0.05 * torch.randn_like(weights)
    return model


@pytest.mark.parametrize("way", WAYS)
def test_a_step_is_the_same_however_it_is_cut(folder: Path, tmp_path: Path, way: str) -> None:
    prepared, found = prepared_as(folder, way), []
    for cut in (96, 5):
        model = shared_model(prepared)
        frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
        place = tmp_path / str(cut)
        tiny_loop(prepared, model, place, micro_batch_size=cut, max_steps=3).run()
        found.append(steps_of(place))
        after = dict(model.named_parameters())
        assert frozen
        assert all(torch.equal(after[name], before) for name, before in frozen.items())
    assert found[0][0]["losses"] != found[0][-1]["losses"], "nothing was learned"
    for one, other in zip(*found, strict=True):
        assert one["losses"] == pytest.approx(other["losses"], rel=1e-4)
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-4)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_training_ends_with_the_same_bits(folder: Path, tmp_path: Path, way: str) -> None:
    prepared = prepared_as(folder, way)
    training = {"checkpoint_every": 3, "schedule": "constant", "warmup": 0.0}
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    tiny_loop(prepared, shared_model(prepared), straight, **training, max_steps=6).run()
    tiny_loop(prepared, shared_model(prepared), broken, **training, max_steps=3).run()
    resumed(prepared, broken, **training, max_steps=6).run()
    assert steps_of(broken) == steps_of(straight)
    for file in ("model.safetensors", "optimizer.pt"):
        read = load_file if file.endswith("safetensors") else torch.load
        ends = [one / "checkpoints" / "step-000006" / file for one in (straight, broken)]
        assert_same_bits(*(read(end) for end in ends))


def test_adapters_of_tasks_without_a_label_in_the_step_stay_as_they_are(
    folder: Path, tmp_path: Path
) -> None:
    recipe = shared_recipe(folder, "shared").with_overrides(
        ["sharing.per_task=true", "sampling.mix=step", "sampling.strategy=round_robin"]
    )
    prepared = prepare(recipe)
    model = shared_model(prepared)
    before = {name: weights.clone() for name, weights in model.named_parameters()}
    changed = []
    for step in (1, 2):
        tiny_loop(prepared, model, tmp_path / str(step), max_steps=1, warmup=0.0).run()
        after = dict(model.named_parameters())
        changed.append({n.split("-.")[0] for n in after if not torch.equal(after[n], before[n])})
    adapters = {name.rpartition(".")[2] for name in changed[0] if ".lora_" in name}
    assert adapters == {"intent", "ner"}, "chat comes first, which has no topics"


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    size = {"training__max_steps": 4, "training__batch_size": 15, "training__micro_batch_size": 9}
    recipe = shared_recipe(tmp_path, "per task", **size)
    ranks = Ranks(recipe.with_overrides([f"output={tmp_path / 'two'}"]))
    one = train(recipe)
    assert ranks.join() == [0, 0], told(ranks.folder)
    for whole, halves in zip(steps_of(one.path), steps_of(ranks.folder), strict=True):
        assert whole["losses"] == pytest.approx(halves["losses"], rel=1e-4)
        assert whole["grad_norm"] == pytest.approx(halves["grad_norm"], rel=1e-3)


def test_only_what_was_trained_is_kept_of_a_run(hub: HubServer, tmp_path: Path) -> None:
    recipe = shared_recipe(tmp_path, "per task", training__max_steps=2)
    hub.create("org/encoder")
    files = {p.name: p.read_bytes() for p in (tmp_path / "encoder").iterdir()}
    commit = hub.commit("org/encoder", files, "Add the encoder")
    local = recipe.with_overrides(["sharing.save=trained"])
    for act in (check, train):
        with pytest.raises(RecipeError, match=r"sharing\.save: .*encoder is no repository there"):
            act(local)
    recipe = local.with_overrides(["encoder=org/encoder"])
    parameters = check(recipe)["parameters"]
    assert parameters["adapters"].keys() == {"ner", "texts"}
    run = train(recipe)
    files = [run.path / "model.safetensors", *run.path.glob("adapters/*/*.safetensors")]
    saved = [weights for file in files for weights in load_file(file).values()]
    assert len(files) == 3
    assert sum(weights.numel() for weights in saved) == parameters["learning"]
    assert evaluate(run.path, recipe) == {"test": run.metrics["test"]}
    assert pipeline(run.path)("good film").keys() == {"intent", "ner", "topic"}
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert commit.oid in card
    assert train(recipe.with_overrides(["training.keep_checkpoints=3"]), resume=True) == run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"balancing": {"method": "pc_grad"}}, r"balancing\.method: .* they have 2 adapters"),
        ({"tasks__topic__after": "ner"}, r"tasks\.topic\.after: .* found `texts` and `ner`"),
        ({"sharing": {}}, r"tasks\.intent\.sharing: `texts` names an adapter, but the whole"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    recipe = shared_recipe(folder, "per task").model_dump(exclude_unset=True)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = recipe
        for parent in parents:
            place = place[parent]
        place[last] = value
    with pytest.raises(RecipeError, match=message):
        prepare(Recipe(**recipe))
