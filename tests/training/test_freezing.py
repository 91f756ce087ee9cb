from pathlib import Path
from typing import Any

import pytest
from accelerate.utils import DistributedType

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import Recipe
from mtl_nlp.recipe_training import TrainingSpec
from mtl_nlp.training.freezing import Unfreezing, let_learn
from mtl_nlp.training.whole import check_whole
from tests.tiny import tiny_encoder

TASKS = ("topic", "intent")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {n: tiny_encoder(tmp_path_factory.mktemp(n), n) for n in ("roberta", "albert")}


@pytest.fixture
def model(folders: dict[str, Path]) -> MultiTaskModel:
    return fresh(folders["roberta"])


def fresh(encoder: Path) -> MultiTaskModel:
    task = {"type": "text_classification", "labels": ["a", "b"]}
    return MultiTaskModel.from_encoder(encoder, dict.fromkeys(TASKS, task))


def recipe(method: str = "equal", **training: Any) -> Recipe:
    return Recipe(
        encoder="org/encoder",
        datasets={"d": {"path": "org/d", "text": "text"}},
        tasks={
            name: {"type": "text_classification", "dataset": "d", "label": name} for name in TASKS
        },
        balancing={"method": method},
        training=training,
    )


def learning(model: MultiTaskModel) -> set[str]:
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_what_a_pattern_meets_is_frozen_and_nothing_else(model: MultiTaskModel) -> None:
    names = learning(model)
    assert let_learn(model, recipe(frozen=["heads.topic", "*.LayerNorm"]), 5) is None
    assert names - learning(model) == {
        name for name in names if name.startswith("heads.topic.") or ".LayerNorm." in name
    }


@pytest.mark.parametrize("every", ["epoch", 3])
def test_heads_learn_first_then_a_layer_more_every_so_often(
    model: MultiTaskModel, every: str | int
) -> None:
    names = learning(model)
    unfreezing = let_learn(model, recipe(unfreeze=every, frozen=["*.bias"]), 3)
    assert unfreezing is not None
    heads = {name for name in names if name.startswith("heads.")}
    top = {n for n in names if n.startswith(("encoder.encoder.layer.1.", "encoder.pooler."))}
    low = {n for n in names if n.startswith("encoder.encoder.layer.0.")}
    expected = [heads, heads | top, heads | top | low, names]
    for step in (0, 11, 4, 2, 3, 8, 30, 5, 6, 9):  # in any order
        unfreezing.begin(step)
        found = {name for name in expected[min(step // 3, 3)] if not name.endswith(".bias")}
        assert learning(model) == found, step


def test_a_training_that_is_too_short_for_all_layers_is_told(model: MultiTaskModel) -> None:
    for every in (1, 4, 7):
        unfreezing = Unfreezing(model, every)
        assert unfreezing.notes(3 * every + 1) == []
        (note,) = unfreezing.notes(3 * every)
        assert "only 2 of the encoder's 2 layers ever learn, and no embeddings" in note
    (note,) = Unfreezing(model, 50).notes(100)
    assert "in 100 steps, with a layer more every 50, only 1 of" in note
    assert "unfreeze every 33 steps" in note
    assert Unfreezing(model, 33).notes(100) == []


@pytest.mark.parametrize(
    ("method", "training", "message"),
    [
        ("equal", {"frozen": ["head"]}, r"training\.frozen: .* met by 'head'; the nearest are h"),
        ("equal", {"frozen": ["heads", "enc*"]}, r"meet all parameters .*, so that nothing learns"),
        ("equal", {"frozen": ["encoder"], "unfreeze": 3}, "freezes the whole encoder, so that"),
        ("equal", {"frozen": ["heads"], "unfreeze": 3}, "heads learn first, but training.frozen"),
        ("pc_grad", {"frozen": ["encoder"]}, r"balancing\.method: pc_grad makes one gradient of"),
    ],
)
def test_what_cannot_work_is_refused(
    model: MultiTaskModel, method: str, training: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        let_learn(model, recipe(method, **training), 5)


def test_heads_alone_may_learn_under_a_method_of_losses(model: MultiTaskModel) -> None:
    assert let_learn(model, recipe("uw", frozen=["encoder"]), 5) is None


def test_shared_layers_cannot_be_unfrozen_one_by_one(folders: dict[str, Path]) -> None:
    with pytest.raises(RecipeError, match=r"training\.unfreeze: AlbertModel does not run .* own; "):
        let_learn(fresh(folders["albert"]), recipe(unfreeze="epoch"), 5)


@pytest.mark.parametrize("key", ["ema", "unfreeze", "regularization"])
def test_what_needs_the_whole_model_is_refused_where_it_is_shared_out(key: str) -> None:
    spec = TrainingSpec(**{key: {"ema": 0.9, "unfreeze": 5}.get(key, {"method": "r_drop"})})
    check_whole(spec, DistributedType.MULTI_GPU)
    check_whole(TrainingSpec(), DistributedType.FSDP)
    with pytest.raises(RecipeError, match=rf"training\.{key}: it needs the whole model .* FSDP sh"):
        check_whole(spec, DistributedType.FSDP)
