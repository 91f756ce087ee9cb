"""Masked language modelling: what stock transformers computes, on words that are drawn."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForMaskedLM, FillMaskPipeline, PreTrainedModel

from mtl_nlp.data.collator import Collator
from mtl_nlp.data.drawing import asked_for, drawn_for_evaluation, row_places
from mtl_nlp.data.encoding import EncodedRows, RowEncoder
from mtl_nlp.errors import DataError, ModelError, RecipeError
from mtl_nlp.heads.stock import probe
from mtl_nlp.inference.export import export_transformers
from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.model.loading import load_model
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.ragged import Ragged
from mtl_nlp.run import evaluate, train
from mtl_nlp.tasks import build_task
from mtl_nlp.tasks.masked_language_modeling import MaskedView
from mtl_nlp.tasks.masking import draw_key
from mtl_nlp.training.preparation import prepare
from tests.runs import FILLERS, steps_of, tiny_loop, tiny_model, tiny_recipe
from tests.tiny import LIFTABLE, NOT_LIFTABLE, tiny_config, tiny_encoder, tiny_tokenizer

TYPE = "masked_language_modeling"
MLM = build_task("mlm", TYPE, {}, where="mlm")
TOPIC = {"type": "text_classification", "labels": ["a", "b"]}
TEXTS = ["the film was very good", "she works", "he hated this awful company , but lives in it"]


@torch.no_grad()
def disturbed(model: MultiTaskModel) -> MultiTaskModel:
    """The model with every number off where it started."""
    torch.manual_seed(3)
    for parameter in model.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def model(folder: Path) -> MultiTaskModel:
    tasks = {"mlm": {"type": TYPE}, "topic": TOPIC}
    return disturbed(MultiTaskModel.from_encoder(folder, tasks=tasks))


@pytest.fixture(scope="module")
def stock(model: MultiTaskModel) -> PreTrainedModel:
    return model.heads["mlm"].with_encoder(model.encoder)  # type: ignore[operator]


def evaluated(texts: list[str], encoder: RowEncoder | None = None) -> EncodedRows:
    encoder = encoder or RowEncoder(tiny_tokenizer())
    rows = [encoder.row({"text": text}) for text in texts]
    return drawn_for_evaluation(encoder.encode(rows, MLM.view), MLM.view)


def decoded(model: MultiTaskModel, encoded: EncodedRows, size: int = 32) -> list[Any]:
    predictor = Predictor(model, RowEncoder(tiny_tokenizer()), size)
    wanted = {"mlm": np.arange(len(encoded.rows))}
    return [one.value for one in predictor.decode({MLM.view: encoded}, wanted)["mlm"]]


SENTENCES = st.lists(
    st.lists(st.sampled_from([*FILLERS, "unbelievable", "co-op"]), min_size=1, max_size=12).map(
        " ".join
    ),
    min_size=1,
    max_size=6,
)


@settings(deadline=None, max_examples=30)
@given(texts=SENTENCES)
def test_the_likelihood_is_that_of_the_stock_model(
    model: MultiTaskModel, stock: PreTrainedModel, texts: list[str]
) -> None:
    encoded = evaluated(texts)
    columns = encoded.encoder_rows.columns
    total, count = 0.0, 0
    for ids, words, right, (found, number) in zip(
        *(columns[name].lists() for name in ("input_ids", "words", "originals")),
        decoded(model, encoded, size=2),
        strict=True,
    ):
        labels = torch.tensor(np.where(words >= 0, right, -100))[None]
        with torch.no_grad():
            loss = stock(input_ids=torch.tensor(ids)[None], labels=labels).loss
        assert number == (words >= 0).sum() >= 1
        assert found == pytest.approx(loss.item() * number, rel=1e-5)
        total, count = total + found, count + number
    values = decoded(model, encoded)
    scores = MLM.metrics(values, [True] * len(texts))
    assert scores["perplexity"] == pytest.approx(math.exp(total / count), rel=1e-5)


def test_without_a_hidden_sub_word_the_perplexity_is_0() -> None:
    assert MLM.metrics([(0.0, 0)], [True]) == {"perplexity": 0.0}


def test_evaluation_hides_the_same_words_in_any_company() -> None:
    together = evaluated(TEXTS).encodings()
    for text, encoding in zip(TEXTS, together, strict=True):
        (alone,) = evaluated([text]).encodings()
        assert alone.token_words.tolist() == encoding.token_words.tolist()


def training_batch(folder: Path, seed: int = 0, **changes: Any) -> tuple[MultiTaskModel, Any]:
    mlm = {"type": TYPE, "dataset": "news"}
    prepared = prepare(tiny_recipe(folder, tasks__mlm=mlm, **changes))
    tasks = tiny_model(prepared).eval()
    vocabulary = evaluated(TEXTS).vocabulary
    tables = [prepared.train[name].take(np.arange(6)) for name in ("chat", "news")]
    places = [row_places(name, np.arange(6)) for name in ("chat", "news")]
    return tasks, Collator(tasks.tasks, 0, vocabulary).batch(tables, draw_key(seed, 5), places)


def test_the_loss_is_that_of_the_stock_model_and_others_see_no_mask(tmp_path: Path) -> None:
    ours, batch = training_batch(tmp_path)
    rows, labels = batch.targets["mlm"].rows, batch.targets["mlm"].labels
    assert rows.tolist() == list(range(12, 18))  # behind the six rows of either dataset
    plain = [target.rows.max() for name, target in batch.targets.items() if name != "mlm"]
    assert max(plain) < 12
    assert not (batch.input_ids[:12] == 4).any()
    asked = torch.where(batch.words[rows] >= 0, 1, -100)
    asked[asked == 1] = labels[labels >= 0]
    originals = batch.input_ids[6:12].clone()
    shown = torch.where(asked >= 0, asked, batch.input_ids[rows])
    assert torch.equal(shown, originals)
    with torch.no_grad():
        out = ours(**batch)
        stock = ours.heads["mlm"].with_encoder(ours.encoder)
        theirs = stock(
            input_ids=batch.input_ids[rows], attention_mask=batch.attention_mask[rows], labels=asked
        ).loss
    assert out.sums["mlm"].count == (labels >= 0).sum()
    torch.testing.assert_close(out.losses["mlm"], theirs, rtol=1e-5, atol=0)
    assert out.logits["mlm"].shape == (*labels.shape, 194)


def test_each_step_hides_other_words(tmp_path: Path) -> None:
    words = [training_batch(tmp_path, seed)[1].words[12:] for seed in (0, 0, 1)]
    assert torch.equal(words[0], words[1])
    assert words[0].shape != words[2].shape or not torch.equal(words[0], words[2])


def test_labels_of_no_hidden_sub_word_have_no_loss() -> None:
    labels = torch.from_numpy(MLM.collate(Ragged.from_lists([[], []]), 7))
    logits = torch.zeros(2, 0, 9, requires_grad=True)
    loss = MLM.loss(logits, labels)
    loss.total.backward()
    assert labels.shape == (2, 0)
    assert (loss.total.item(), loss.count.item()) == (0.0, 0)


def test_long_texts_are_hidden_window_by_window(model: MultiTaskModel) -> None:
    text = " ".join(FILLERS * 3)
    encoder = RowEncoder(tiny_tokenizer(), 24, long_text="windows", stride=6)
    encoded = evaluated([text, "good day"], encoder)
    assert encoded.encoder_rows.counts.tolist()[1] == 1
    assert encoded.encoder_rows.counts[0] > 3
    (long, short) = encoded.encodings()
    whole = tiny_tokenizer()(text)["input_ids"]
    assert long.input_ids is not None
    assert [one for one in long.input_ids.tolist() if one > 4] == whole[1:-1]
    hidden = np.flatnonzero(long.token_words >= 0)
    assert len(hidden) >= encoded.encoder_rows.counts[0]
    assert asked_for(encoded.encoder_rows).lengths.tolist() == [
        len(hidden),
        (short.token_words >= 0).sum(),
    ]
    columns = encoded.encoder_rows.columns
    predictor = Predictor(model, encoder)
    found = predictor.decode({MLM.view: encoded}, {"mlm": np.arange(2)})["mlm"][0].value
    total = 0.0
    stock = model.heads["mlm"].with_encoder(model.encoder)
    for ids, words, right in list(
        zip(*(columns[n].lists() for n in ("input_ids", "words", "originals")), strict=True)
    )[:-1]:
        labels = torch.tensor(np.where(words >= 0, right, -100))[None]
        with torch.no_grad():
            loss = stock(input_ids=torch.tensor(ids)[None], labels=labels).loss
        total += loss.item() * int((words >= 0).sum()) if (words >= 0).any() else 0.0
    assert found == (pytest.approx(total, rel=1e-5), len(hidden))


@pytest.mark.parametrize(
    "text", ["the [MASK] was good", "[MASK] film was [MASK] good", "a [MASK][MASK]"]
)
def test_guesses_are_those_of_the_fill_mask_pipeline(
    model: MultiTaskModel, stock: PreTrainedModel, text: str
) -> None:
    theirs = FillMaskPipeline(model=stock, tokenizer=tiny_tokenizer(), device="cpu")(text)
    (ours,) = predictor_of(model).predict([{"text": text}], ["mlm"])
    assert numbers_apart(ours["mlm"]) == numbers_apart(theirs)
    assert json.loads(json.dumps(ours["mlm"])) == ours["mlm"]


def predictor_of(model: MultiTaskModel) -> Predictor:
    return Predictor(model, RowEncoder(tiny_tokenizer()))


def numbers_apart(guesses: Any) -> Any:
    """The guesses with scores that may differ in their last digits."""
    if isinstance(guesses, list):
        return [numbers_apart(one) for one in guesses]
    return {**guesses, "score": pytest.approx(guesses["score"], rel=1e-4)}


def test_a_text_that_hides_nothing_is_left_out_and_the_head_not_run(
    model: MultiTaskModel,
) -> None:
    runs: list[int] = []
    handle = model.heads["mlm"].register_forward_hook(lambda *_: runs.append(1))
    predictor = predictor_of(model)
    rows: list[Mapping[str, Any]] = [{"text": "good day"}, {"tokens": ["good", "[MASK]"]}]
    assert [list(one) for one in predictor.predict(rows[:1])] == [["topic"]]
    assert runs == []
    assert [list(one) for one in predictor.predict(rows)] == [["topic"], ["mlm", "topic"]]
    assert runs == [1]
    with pytest.raises(DataError, match=r"row 0: task 'mlm' needs a text with \[MASK\] in it"):
        predictor.predict(rows, ["mlm"])
    handle.remove()


def test_a_tokenizer_without_a_mask_token_is_refused_before_training(tmp_path: Path) -> None:
    recipe = tiny_recipe(tmp_path, tasks__mlm={"type": TYPE, "dataset": "news"})
    tokenizer = tmp_path / "encoder" / "tokenizer_config.json"
    settings = json.loads(tokenizer.read_text())
    del settings["mask_token"]
    tokenizer.write_text(json.dumps(settings))
    with pytest.raises(ModelError, match=r"tokenizer has no mask token.* use an encoder that"):
        prepare(recipe)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probability": 1.5}, r"tasks\.mlm\.probability: should be less than 1, found 1\.5"),
        ({"probability": 0}, r"tasks\.mlm\.probability: should be greater than 0, found 0"),
        ({"label": "topic"}, r"tasks\.mlm\.label: unknown key"),
    ],
)
def test_what_it_does_not_take_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    recipe = tiny_recipe(tmp_path, tasks__mlm={"type": TYPE, "dataset": "news", **change})
    with pytest.raises(RecipeError, match=message):
        prepare(recipe)


def test_label_names_are_refused(tmp_path: Path) -> None:
    mlm = {"type": TYPE, "dataset": "news", "labels": ["a"]}
    with pytest.raises(DataError, match="labels: what is hidden is what is right; leave them out"):
        prepare(tiny_recipe(tmp_path, tasks__mlm=mlm))


@torch.no_grad()
def logits(model: MultiTaskModel) -> Tensor:
    found: Tensor = model(**probe(model.encoder), tasks=["mlm"]).logits["mlm"]
    return found


@pytest.mark.parametrize("architecture", LIFTABLE)
def test_every_liftable_architecture_is_exported_and_taken_in_exactly(
    architecture: str, tmp_path: Path
) -> None:
    tiny_encoder(tmp_path / "encoder", architecture)
    tasks = {"mlm": {"type": TYPE}, "topic": TOPIC}
    ours = disturbed(MultiTaskModel.from_encoder(tmp_path / "encoder", tasks=tasks))
    export_transformers(ours, "mlm", tmp_path / "stock")
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path / "stock").eval()
    assert theirs.get_output_embeddings().weight is theirs.get_input_embeddings().weight
    assert torch.equal(theirs(**probe(ours.encoder)).logits, logits(ours))
    back = MultiTaskModel.from_transformers(tmp_path / "stock", name="mlm")
    assert torch.equal(logits(back), logits(ours))
    assert back.tasks["mlm"] == ours.tasks["mlm"]


@pytest.mark.parametrize("architecture", NOT_LIFTABLE)
def test_other_architectures_have_a_head_of_their_own(architecture: str, tmp_path: Path) -> None:
    folder = tiny_encoder(tmp_path / "encoder", architecture)
    ours = MultiTaskModel.from_encoder(folder, tasks={"mlm": {"type": TYPE}})
    assert not ours.tasks["mlm"].stock
    assert logits(ours.eval()).shape == (2, 8, ours.encoder.config.vocab_size)
    with pytest.raises(ModelError, match="so it is not exported"):
        export_transformers(ours, "mlm", tmp_path / "stock")


def saved_names(folder: Path) -> list[str]:
    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        return list(weights.keys())


def test_the_embeddings_are_one_parameter_saved_once(model: MultiTaskModel, tmp_path: Path) -> None:
    embeddings = model.encoder.get_input_embeddings().weight
    assert [p.shape for p in model.parameters()].count(embeddings.shape) == 1
    model.save_pretrained(tmp_path / "one")
    assert not [name for name in saved_names(tmp_path / "one") if "decoder" in name]
    loaded = load_model(tmp_path / "one")
    assert torch.equal(logits(loaded), logits(model))
    with torch.no_grad():  # a step of the encoder is one of the head
        loaded.encoder.get_input_embeddings().weight.mul_(2.0)
    assert not torch.equal(logits(loaded), logits(model))
    loaded = load_model(tmp_path / "one")
    loaded.remove_task("mlm")
    loaded.add_task("mlm", {"type": TYPE})
    loaded.heads["mlm"].load_state_dict(model.heads["mlm"].state_dict())
    assert torch.equal(logits(loaded), logits(model))
    loaded.save_pretrained(tmp_path / "two")
    assert sorted(saved_names(tmp_path / "two")) == sorted(saved_names(tmp_path / "one"))


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_it_starts_from_the_checkpoints_own_head(
    architecture: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(1)
    pretrained = AutoModelForMaskedLM.from_config(tiny_config(architecture)).eval()
    with torch.no_grad():
        for parameter in pretrained.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    pretrained.save_pretrained(tmp_path / "pretrained")
    ours = MultiTaskModel.from_encoder(tmp_path / "pretrained", tasks={"mlm": {"type": TYPE}})
    assert torch.equal(logits(ours.eval()), pretrained(**probe(ours.encoder)).logits)
    ours.encoder.save_pretrained(tmp_path / "bare")
    capfd.readouterr()
    fresh = MultiTaskModel.from_encoder(tmp_path / "bare", tasks={"mlm": {"type": TYPE}})
    assert "corrupted" not in capfd.readouterr().err
    assert not torch.equal(logits(fresh.eval()), logits(ours))


def test_it_learns_stays_out_of_the_mean_and_the_code_in_its_card_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tiny_recipe(
        tmp_path,
        tasks__mlm={"type": TYPE, "dataset": ["chat", "news"]},
        training__max_steps=24,
        training__learning_rate=1e-2,
        evaluation__every=12,
    )
    run = train(recipe)
    scores = run.metrics["validation"]
    others = [scores[name][metric] for name, metric in PRIMARY.items()]
    assert scores["mean"] == pytest.approx(sum(others) / 3)
    assert 1 < scores["mlm"]["perplexity"] < 120  # of 194 sub-words, 41 of which occur
    losses = [step["losses"]["mlm"] for step in steps_of(run.path)]
    assert sum(losses[-5:]) < sum(losses[:5]) - 2
    assert evaluate(run.path, recipe, split="test") == {"test": run.metrics["test"]}
    card = (run.path / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = re.sub(r'pipeline\(".*?"\)', f'pipeline("{run.path}")', code)
    exec(compile(code, "card", "exec"), {})
    assert capsys.readouterr().out.splitlines()[-1].startswith("[{'score': ")


PRIMARY = {"intent": "accuracy", "ner": "f1", "topic": "accuracy"}


def test_alone_it_is_selected_by_its_perplexity(tmp_path: Path) -> None:
    recipe = tiny_recipe(
        tmp_path,
        tasks={"mlm": {"type": TYPE, "dataset": ["chat", "news"]}},
        evaluation={"select": "mlm.perplexity", "every": 1},
    )
    prepared = prepare(recipe)
    loop = tiny_loop(prepared, tiny_model(prepared), tmp_path / "run", max_steps=4)
    selection = loop.run()
    assert selection.score is not None
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    found = [
        record["evaluation"]["validation"]["mlm"]["perplexity"]
        for record in records
        if "evaluation" in record
    ]
    assert selection.score == -min(found)


def test_equal_options_share_a_view_and_others_do_not() -> None:
    assert MLM.view == replace(MLM, name="other").view == MaskedView(0.15)
    assert MLM.view != replace(MLM, probability=0.3).view
    assert MLM.view.stored == build_task("topic", "text_classification", {}, where="topic").view
