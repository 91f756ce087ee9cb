"""One encoder with a head per task: its output, its heads, how it is made of an encoder."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from mtl_nlp.errors import ModelError, RecipeError
from mtl_nlp.heads.linear import TokenHead
from mtl_nlp.heads.stock import StockHead, probe
from mtl_nlp.model.batch import Targets
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.model.modeling import MultiTaskModel
from tests.tiny import tiny_config, tiny_encoder

TOPIC = {"type": "text_classification", "labels": ["a", "b"], "weight": 0.5}
NER = {"type": "token_classification", "labels": ["person"], "scheme": "bio"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture
def model(folder: Path) -> MultiTaskModel:
    torch.manual_seed(0)
    tasks = {"topic": TOPIC, "ner": NER}
    return MultiTaskModel.from_encoder(folder, tasks=tasks).eval()


def _targets() -> dict[str, Targets]:
    tags = torch.tensor([[-100, 0, 1, -100, 2, -100, -100, -100]])
    return {
        "topic": Targets(torch.tensor([0, 1]), torch.tensor([1, -100])),
        "ner": Targets(torch.tensor([1]), tags),
    }


def test_losses_are_means_over_labelled_items_and_the_loss_their_weighted_sum(
    model: MultiTaskModel,
) -> None:
    out = model(**probe(model.encoder), targets=_targets())
    assert {name: int(s.count) for name, s in out.sums.items()} == {"topic": 1, "ner": 3}
    torch.testing.assert_close(out.losses["topic"], -out.logits["topic"].log_softmax(dim=-1)[0, 1])
    torch.testing.assert_close(out.losses["ner"] * 3, out.sums["ner"].total)
    torch.testing.assert_close(out.loss, 0.5 * out.losses["topic"] + out.losses["ner"])


def test_a_task_without_labelled_items_costs_nothing(model: MultiTaskModel) -> None:
    nothing = Targets(torch.tensor([0]), torch.tensor([-100]))
    out = model(**probe(model.encoder), targets={"topic": nothing})
    assert out.loss is not None
    assert out.loss.item() == 0.0


def test_only_the_named_heads_run(model: MultiTaskModel) -> None:
    batch = probe(model.encoder)
    assert list(model(**batch).logits) == ["topic", "ner"]
    assert list(model(**batch, tasks=["ner"]).logits) == ["ner"]
    assert list(model(**batch, targets={"ner": _targets()["ner"]}).logits) == ["ner"]
    assert model(**batch).loss is None


def test_a_task_it_does_not_have_is_refused(model: MultiTaskModel) -> None:
    with pytest.raises(ValueError, match="no task 'nre'; the model has topic, ner"):
        model(**probe(model.encoder), tasks=["nre"])
    with pytest.raises(ValueError, match="no task 'nre'; the model has topic, ner"):
        model.remove_task("nre")


def test_a_task_is_added_and_removed(model: MultiTaskModel) -> None:
    with pytest.raises(ValueError, match="has a task 'ner' already"):
        model.add_task("ner", NER)
    model.remove_task("ner")
    assert list(model.tasks) == list(model.heads) == list(model.config.build_tasks()) == ["topic"]
    model.add_task("ner", NER)
    assert list(model.tasks) == list(model.heads) == list(model.config.build_tasks())
    assert isinstance(model.heads["ner"], StockHead)
    assert not model.heads["ner"].training


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"type": "ner", "labels": ["x"]}, "tasks.new: 'ner' is no task type; the types are"),
        ({"labels": ["x"]}, "tasks.new: '' is no task type"),
        ({**NER, "shceme": "bio"}, "tasks.new.shceme: unknown key; did you mean 'scheme'"),
        ({**NER, "scheme": "iob"}, "tasks.new.scheme: .*found 'iob'"),
        ({**NER, "labels": ["O", "B-x"]}, "tasks.new: .*span types such as person, found the tag"),
        ({**TOPIC, "labels": ["a"]}, "tasks.new: .*at least 2 labels, found a alone"),
        ({"type": "text_classification"}, "tasks.new.labels: missing; .*name all labels of a text"),
        ({"type": "token_classification"}, "tasks.new.labels: missing; .*name all labels of a tok"),
        (
            {"type": "relation_classification", "labels": ["made"]},
            "tasks.new: a head of relations needs .* give the task labels and span_labels",
        ),
    ],
)
def test_a_badly_described_task_is_refused(
    model: MultiTaskModel, task: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        model.add_task("new", task)
    assert "new" not in model.tasks


@pytest.mark.parametrize("name", ["mean", "worst", "a.b", ""])
def test_a_name_that_a_recipe_cannot_give_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=r"^tasks\..*(English letters|take another name)"):
        MultiTaskModel.from_encoder(folder, tasks={name: TOPIC})


def test_a_number_needs_no_labels(model: MultiTaskModel) -> None:
    model.add_task("rating", {"type": "regression"})
    assert model(**probe(model.encoder)).logits["rating"].shape[1] == 1


def test_rows_longer_than_the_encoder_reads_are_refused(folder: Path) -> None:
    assert MultiTaskModel.from_encoder(folder, {}, max_length=514).config.max_seq_length == 514
    with pytest.raises(RecipeError, match=r"max_length: 515 tokens, .* use at most 514"):
        MultiTaskModel.from_encoder(folder, {}, max_length=515)


def test_a_head_that_cannot_be_lifted_is_our_own() -> None:
    model = MultiTaskModel(MultiTaskConfig(tiny_config("bart")))
    model.add_task("ner", NER)
    assert isinstance(model.heads["ner"], TokenHead)
    assert model.tasks["ner"].stock is False
    assert model.config.build_tasks()["ner"].stock is False
    with pytest.raises(ModelError, match="transformers has no AutoModelForTokenClassification"):
        model.lifted_head(MultiTaskConfig(tasks=[{"name": "ner", **NER}]).build_tasks()["ner"])


def test_dropout_is_set_in_encoder_and_heads(folder: Path) -> None:
    model = MultiTaskModel.from_encoder(folder, tasks={"topic": TOPIC, "ner": NER}, dropout=0.0)
    dropouts = [m.p for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert len(dropouts) > 2
    assert set(dropouts) == {0.0}


def test_a_fresh_model_starts_from_the_encoder(folder: Path, model: MultiTaskModel) -> None:
    pretrained = AutoModel.from_pretrained(folder).state_dict()
    assert all(torch.equal(pretrained[k], v) for k, v in model.encoder.state_dict().items())
    assert model.config.encoder_config._name_or_path == ""
    assert str(folder) not in json.dumps(model.config.to_dict())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_fresh_model_attends_as_a_loaded_one(
    folder: Path, tmp_path: Path, attention: str
) -> None:
    fresh = MultiTaskModel.from_encoder(folder, tasks={"topic": TOPIC})
    fresh.set_attn_implementation(attention)
    fresh.save_pretrained(tmp_path)
    loaded = MultiTaskModel.from_pretrained(tmp_path, attn_implementation=attention)
    assert fresh.encoder.config._attn_implementation == attention
    assert loaded.encoder.config._attn_implementation == attention
