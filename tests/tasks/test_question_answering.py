"""Answers in a context: learned, read, encoded, lost, tuned, decoded, shown and scored."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtl_nlp import MultiTaskModel, Recipe, check, pipeline, train
from mtl_nlp.data.encoding import RowEncoder
from mtl_nlp.errors import DataError, RecipeError
from mtl_nlp.evaluate_metrics import load_metric
from mtl_nlp.heads.states import EncoderStates
from mtl_nlp.heads.stock import StockHead
from mtl_nlp.model.batch import Targets
from mtl_nlp.model.configuration import MultiTaskConfig
from mtl_nlp.ragged import Ragged
from mtl_nlp.tasks import build_task, saved_form
from mtl_nlp.tasks.answers import Answers
from mtl_nlp.tasks.base import Encoding
from mtl_nlp.tasks.question_answering import QuestionAnswering
from mtl_nlp.words import WORD_PATTERN, Row, split_words
from tests.metric_scripts import metric_folder
from tests.rows import json_dataset
from tests.tiny import LIFTABLE, tiny_config, tiny_encoder, tiny_tokenizer

TASK = QuestionAnswering(name="qa")
OPEN = QuestionAnswering(name="qa", null_threshold=0.0)
QUESTION, CONTEXT = "what was good?", "the movie of 1990 was good, not bad"
ROW = Row(split_words(QUESTION), split_words(CONTEXT))
(ENCODING,) = RowEncoder(tiny_tokenizer(), 64).encode([ROW]).encodings()
_IN_WINDOWS = RowEncoder(tiny_tokenizer(), 16, long_text="windows", stride=3)
(WINDOWED,) = _IN_WINDOWS.encode([ROW]).encodings()
LENGTH = len(ENCODING.token_words)
NONE: dict[str, list[Any]] = {"text": [], "answer_start": []}


def one(text: str, context: str = CONTEXT) -> dict[str, list[Any]]:
    return {"text": [text], "answer_start": [context.index(text)]}


def logits_for(labels: list[int]) -> np.ndarray:
    """Logits that are sure of an answer's ends, (1, length, 2)."""
    logits = np.zeros((1, labels[2], 2), dtype=np.float32)
    logits[0, labels[0], 0] = logits[0, labels[1], 1] = 9.0
    return logits


def test_train_tells_whether_some_questions_have_no_answer() -> None:
    answered = [{"answers": one("1990")}, {"answers": None}]
    assert TASK.learn(answered, None).null_threshold is None
    assert TASK.learn([*answered, {"answers": NONE}], None).null_threshold == 0.0


@pytest.mark.parametrize(
    ("fields", "rows", "message"),
    [
        ({}, [None], "expected some answers in train, found none; check the column"),
        ({}, [NONE, None], "expected some answers in train, found none"),
        ({}, ["1990"], "expected answers as"),
        ({"labels": ("a",)}, [NONE], "labels: an answer has no label names; leave them out"),
    ],
)
def test_what_cannot_be_learned_from_is_told(
    fields: Mapping[str, Any], rows: list[Any], message: str
) -> None:
    task = QuestionAnswering(name="qa", **fields)
    with pytest.raises(ValueError, match=message):
        task.learn([{"answers": answers} for answers in rows], None)


def test_a_single_text_is_told() -> None:
    with pytest.raises(ValueError, match="found a single text; the context is text_pair"):
        TASK.read({"answers": NONE}, Row(split_words(QUESTION)))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([ENCODING, WINDOWED]))
def test_what_is_encoded_is_decoded_to_the_whole_words(
    data: st.DataObject, encoding: Encoding
) -> None:
    start = data.draw(st.integers(0, len(CONTEXT) - 1))
    text = CONTEXT[start : data.draw(st.integers(start + 1, len(CONTEXT)))]
    if not text.strip():
        return
    value = TASK.read({"answers": {"text": [text], "answer_start": [start]}}, ROW)
    labels = TASK.encode(value, encoding)
    assert 0 < labels[0] <= labels[1] < len(encoding.token_words) == labels[2]
    (decoded,) = TASK.decode(logits_for(labels), [encoding])
    shown = TASK.present(decoded, ROW)
    words = [match.span() for match in re.finditer(WORD_PATTERN, CONTEXT)]
    touched = [word for word in words if word[0] < start + len(text) and start < word[1]]
    assert (shown["start"], shown["end"]) == (touched[0][0], touched[-1][1])
    assert shown["answer"] == CONTEXT[shown["start"] : shown["end"]]
    assert shown["score"] > 0.9


def test_a_question_without_an_answer_begins_and_ends_at_place_0() -> None:
    labels = OPEN.encode(OPEN.read({"answers": NONE}, ROW), ENCODING)
    assert labels == [0, 0, LENGTH]
    (decoded,) = OPEN.decode(logits_for(labels), [ENCODING])
    shown = OPEN.present(decoded, ROW)
    assert shown.pop("score") > 0.9
    assert shown == {"answer": "", "start": 0, "end": 0}
    (decoded,) = TASK.decode(logits_for(labels), [ENCODING])  # train had only answers
    assert decoded.value.texts != ()
    assert decoded.scores < 0.1


def test_only_words_of_the_context_answer_and_no_more_than_allowed() -> None:
    logits = logits_for(TASK.encode(Answers((CONTEXT,), (0,)), ENCODING))
    logits[0, 1:8] = 99.0  # the question
    logits[0, 11, 1] = 1.0  # "of"
    task = QuestionAnswering(name="qa", max_answer=3)
    found = [t.decode(logits, [ENCODING])[0].value.texts[0] for t in (TASK, task)]
    assert found[0] == CONTEXT
    assert found[1] == "the movie of"


def test_an_answer_that_is_cut_off_is_no_label_but_counts_in_scoring() -> None:
    (short,) = RowEncoder(tiny_tokenizer(), 17).encode([ROW]).encodings()  # up to 1990
    for text, places in (
        ("bad", [-100, -100]),
        ("movie of 1990 was", [-100, -100]),
        ("the", [9, 9]),
    ):
        value = OPEN.read({"answers": one(text)}, ROW)
        assert value is not None
        assert OPEN.encode(value, short) == [*places, 17]
    both = OPEN.read({"answers": {"text": ["bad", "the"], "answer_start": [32, 0]}}, ROW)
    assert OPEN.encode(both, short) == [9, 9, 17]
    labels = torch.from_numpy(
        OPEN.collate(Ragged.from_lists([[-100, -100, 17], [9, 9, 17], [0, 0, 17]]), 17)
    )
    assert OPEN.count(labels) == 2
    logits = torch.randn(3, 17, 2, requires_grad=True)
    OPEN.loss(logits, labels).total.backward()
    assert not logits.grad[0].any()
    assert logits.grad[1:].any(dim=1).all()


def test_a_context_of_which_nothing_is_seen_gives_no_answer() -> None:
    (short,) = (
        RowEncoder(tiny_tokenizer(), 4)
        .encode([Row(split_words("good"), split_words("° ° ° °"))])
        .encodings()
    )
    blind = Encoding(short.row, np.array([-1, 0, -1, -1]))
    (decoded,) = TASK.decode(np.zeros((1, 4, 2), dtype=np.float32), [blind])
    assert TASK.present(decoded, blind.row) == {"answer": "", "score": 1.0, "start": 0, "end": 0}
    tuned = OPEN.tune(np.zeros((1, 4, 2), dtype=np.float32), [blind], [Answers()])
    assert tuned.null_threshold == 0.0


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert"])
def test_loss_and_gradients_are_those_of_the_stock_model(architecture: str) -> None:
    torch.manual_seed(0)
    model = MultiTaskModel(MultiTaskConfig(tiny_config(architecture))).eval()  # no dropout
    model.add_task("qa", {"type": "question_answering"})
    head = model.heads["qa"]
    assert isinstance(head, StockHead)
    stock = head.with_encoder(model.encoder)
    ids, lengths = torch.randint(5, 90, (3, 12)), torch.tensor([12, 7, 9])
    mask = (torch.arange(12) < lengths[:, None]).long()
    labels = torch.tensor([[3, 5, 12], [0, 0, 7], [8, 8, 9]])
    out = model(
        input_ids=ids, attention_mask=mask, targets={"qa": Targets(torch.arange(3), labels)}
    )
    out.loss.backward()
    # Each row by itself: their softmax goes over the padding too.
    theirs = [
        stock(
            input_ids=ids[row : row + 1, :length],
            start_positions=labels[row, :1],
            end_positions=labels[row, 1:2],
        ).loss
        for row, length in enumerate(lengths.tolist())
    ]
    mean = torch.stack(theirs).mean()
    mean.backward()
    torch.testing.assert_close(out.loss, mean, rtol=1e-5, atol=0)
    ours = {f"{head.prefix}.{n}": p.grad for n, p in model.encoder.named_parameters()}
    ours |= {n: p.grad for n, p in head.stock.named_parameters()}
    for name, parameter in stock.named_parameters():
        torch.testing.assert_close(ours[name], parameter.grad, rtol=1e-3, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 9))
def test_padding_changes_no_loss(seed: int, more: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 8, 2, generator=generator)
    labels = torch.tensor([[2, 3, 8], [0, 0, 5]])
    padded = torch.cat([logits, 1e4 * torch.ones(2, more, 2)], dim=1)
    one, other = TASK.loss(padded, labels), TASK.loss(logits, labels)
    torch.testing.assert_close(one.total, other.total)
    assert one.count == other.count == 2
    half = TASK.loss(logits.bfloat16(), labels)
    assert half.total.dtype == torch.float32


@pytest.mark.parametrize("stock", [True, False])
@pytest.mark.parametrize("architecture", LIFTABLE)
def test_the_head_gives_two_logits_a_sub_word(architecture: str, stock: bool) -> None:
    config = tiny_config(architecture)
    states = EncoderStates(torch.randn(2, 5, config.hidden_size), torch.ones(2, 5))
    head = QuestionAnswering(name="qa", stock=stock).build_head(config)
    assert head(states).shape == (2, 5, 2)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 8))
def test_a_tuned_threshold_scores_no_worse_and_is_saved(seed: int, rows: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, LENGTH, 2)).astype(np.float32)
    logits[:, 0] += 2.0
    texts = random.choice(["1990", "movie of", "bad", ""], rows)
    references = [Answers((str(t),), (CONTEXT.index(t),)) if t else Answers() for t in texts]
    encodings = [ENCODING] * rows
    tuned = OPEN.tune(logits, encodings, references)
    assert tuned.tune(logits, encodings, references) == tuned
    assert TASK.tune(logits, encodings, references) is TASK
    with_none = [*references, Answers()]  # so that all are scored as in SQuAD 2.0
    logits = np.concatenate([logits, logits[:1]])
    for other in (-1e9, -1.0, 0.0, 1.0, 1e9):
        tasks = (tuned, QuestionAnswering(name="qa", null_threshold=other))
        scores = [
            task.metrics([d.value for d in task.decode(logits, [*encodings, ENCODING])], with_none)
            for task in tasks
        ]
        first, second = (len(with_none) * score["f1"] for score in scores)
        assert first >= second - 1 - 1e-9  # the last question is not one of those tuned on
    saved = json.loads(json.dumps(saved_form(tuned)))
    assert build_task(saved.pop("name"), saved.pop("type"), saved, where="x") == tuned


def test_metrics_are_those_it_names_the_primary_first() -> None:
    predictions = [Answers(("the movie",), (0,)), Answers(), Answers(("bad",), (32,))]
    right = [Answers(("movie", "movie of"), (4, 4)), Answers(), Answers()]
    scores = TASK.metrics(predictions, right)
    assert tuple(scores) == TASK.metric_names
    assert scores == {"f1": pytest.approx(2 / 3), "exact_match": pytest.approx(2 / 3)}


@pytest.mark.parametrize("task", [TASK, OPEN])
def test_metrics_of_the_hub_take_the_values(task: QuestionAnswering, tmp_path: Path) -> None:
    more = '"no_answer_probability": datasets.Value("float32")' * (task is OPEN)
    text = 'datasets.Value("string")'
    answers = f'datasets.Features({{"text": [{text}], "answer_start": [datasets.Value("int32")]}})'
    prediction = f'{{"id": {text}, "prediction_text": {text}, {more}}}'
    script = metric_folder(
        tmp_path,
        "squad",
        kind='Value("string")',
        compute='return {"n": sum(p["id"] == r["id"] for p, r in zip(predictions, references))}',
    )
    path = Path(script) / "squad.py"
    kinds = f'{{"predictions": {prediction}, "references": {{"id": {text}, "answers": {answers}}}}}'
    code = path.read_text()
    line = next(line for line in code.splitlines() if "features = datasets.Features" in line)
    path.write_text(code.replace(line, f"        features = datasets.Features({kinds})"))
    values = task.hub_values([Answers(("the",), (0,)), Answers()], [Answers(), Answers()])
    result = load_metric(script).compute(predictions=values[0], references=values[1])
    assert result == {"n": 2}


def rows_of(number: int, *, some_without: bool) -> list[dict[str, Any]]:
    """Whose company it is: the word before ``works`` answers ``who``, that after it ``where``."""
    names, places = ["she", "he", "they", "we"], ["city", "company", "film", "book"]
    rows = []
    for i in range(number):
        who, where = names[i % 4], places[(i // 4) % 4]
        context = f"that day {who} works in the {where} , not at it ."
        answer = who if i % 3 else where
        row = {
            "question": "who works ?" if i % 3 else "where at work ?",
            "context": context,
            "answers": {"text": [answer], "answer_start": [context.index(f" {answer} ") + 1]},
        }
        if some_without and i % 5 == 0:
            row |= {"question": "never ?", "answers": NONE}
        rows.append(row)
    return rows


def recipe_of(folder: Path, *, some_without: bool = True, **settings: Any) -> Recipe:
    rows = rows_of(96, some_without=some_without)
    data = json_dataset(folder, "squad", train=rows, validation=rows_of(40, some_without=True))
    return Recipe(
        encoder=str(tiny_encoder(folder / "encoder")),
        output=str(folder / "run"),
        max_length=16,  # the contexts have more words
        long_text="windows",
        stride=4,
        dropout=0.0,
        datasets={"squad": {**data, "text": "question", "text_pair": "context"}},
        tasks={"qa": {"type": "question_answering", "dataset": "squad", "answers": "answers"}},
        **settings,
    )


def test_trained_saved_and_loaded_it_answers(tmp_path: Path) -> None:
    training = {"max_steps": 120, "batch_size": 16, "learning_rate": 5e-3, "precision": "fp32"}
    run = train(recipe_of(tmp_path, training=training, evaluation={"every": 60}))
    assert run.metrics["validation"]["qa"]["f1"] > 0.9
    pipe = pipeline(run.path)
    assert pipe.predictor.model.tasks["qa"].null_threshold is not None
    context = "that day they works in the book , not at it ."
    answers = pipe(
        [{"text": question, "text_pair": context} for question in ("who works ?", "never ?")]
    )
    shown = answers[0]["qa"]
    assert set(shown) == {"answer", "score", "start", "end"}
    assert (shown["answer"], shown["start"], shown["end"]) == ("they", 9, 13)
    assert answers[1]["qa"]["answer"] == ""
    assert json.loads(json.dumps(answers)) == answers


def test_check_tells_of_answers_that_cannot_be_given(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, some_without=False)
    row = rows_of(1, some_without=False)[0]
    long = {**row, "answers": one(row["context"], row["context"])}
    inside = {**row, "answers": one("it", row["context"])}
    data = json_dataset(tmp_path, "squad", train=[row, long, inside])
    task = {"type": "question_answering", "dataset": "squad", "answers": "answers", "max_answer": 5}
    recipe = Recipe(
        encoder=recipe.encoder,
        datasets={
            "squad": {
                "path": "json",
                "data_files": {
                    **data["data_files"],
                    "validation": str(tmp_path / "squad-validation.jsonl"),
                },
                "text": "question",
                "text_pair": "context",
            }
        },
        tasks={"qa": task},
    )
    warnings = "\n".join(check(recipe)["warnings"])
    train_split = "task 'qa', dataset 'squad', split train:"
    assert f"{train_split} 1 of 3 answers have more words than max_answer, 5" in warnings
    assert "split validation: 8 questions have no answer, but in train all have one" in warnings
    place = "widened to whole words: 1 of 3, the first in row 2: 'it' becomes 'city'"
    assert f"{train_split} answers that begin or end inside a word are {place}" in warnings


def test_a_wrong_row_is_named(tmp_path: Path) -> None:
    rows = [*rows_of(2, some_without=False), {**rows_of(1, some_without=False)[0]}]
    rows[2]["answers"] = {"text": ["city"], "answer_start": [1]}
    data = json_dataset(tmp_path, "bad", train=rows)
    recipe = Recipe(
        encoder=str(tiny_encoder(tmp_path / "encoder")),
        output=str(tmp_path / "run"),
        datasets={"bad": {**data, "text": "question", "text_pair": "context"}},
        tasks={"qa": {"type": "question_answering", "dataset": "bad", "answers": "answers"}},
    )
    place = r"dataset 'bad', split \w+, row \d, column answers: task 'qa': expected the answer 'c"
    with pytest.raises(DataError, match=place):
        check(recipe)


def test_a_dataset_of_single_texts_is_refused(tmp_path: Path) -> None:
    data = json_dataset(tmp_path, "single", train=rows_of(2, some_without=False))
    recipe = Recipe(
        encoder=str(tiny_encoder(tmp_path / "encoder")),
        datasets={"single": {**data, "text": "question"}},
        tasks={"qa": {"type": "question_answering", "dataset": "single", "answers": "answers"}},
    )
    with pytest.raises(RecipeError, match="reads text and text_pair, and the dataset 'single' has"):
        check(recipe)
