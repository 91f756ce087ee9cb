"""Bad input never becomes a crash nor a silent skip: one error names the place and the mend."""

import gzip
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import PreTrainedTokenizerFast

from mtl_nlp.cli import main
from mtl_nlp.model.modeling import MultiTaskModel
from mtl_nlp.recipe import Recipe
from tests.metric_scripts import metric_script
from tests.tiny import PADDING_COUNTS, tiny_encoder, tiny_tokenizer

TEXTS = [
    {
        "text": "Anna loved the city",
        "mood": "good",
        "spans": [{"start": 0, "end": 4, "label": "person"}],
    },
    {"text": "a bad old phone", "mood": "bad", "spans": []},
    {"text": "the new book was great", "mood": "good", "spans": None},
    {"text": "we visited the company", "mood": "bad", "spans": []},
]
WORDS = [
    {
        "tokens": ["Anna", "works", "in", "this", "city"],
        "tags": ["B-person", "O", "O", "O", "B-place"],
    },
    {"tokens": ["play", "music"], "tags": ["O", "O"]},
]
RECIPE: dict[str, Any] = {
    "encoder": "encoder",
    "output": "run",
    "max_length": 32,
    "datasets": {
        "reviews": {
            "path": "json",
            "data_files": {s: f"{s}.jsonl" for s in ("train", "validation", "test")},
            "text": "text",
        },
        "news": {
            "path": "json",
            "data_files": {"train": "words.jsonl", "validation": "words.jsonl"},
            "tokens": "tokens",
        },
    },
    "tasks": {
        "mood": {"type": "text_classification", "dataset": "reviews", "label": "mood"},
        "spans": {"type": "token_classification", "dataset": "reviews", "entities": "spans"},
        "ner": {"type": "token_classification", "dataset": "news", "tags": "tags"},
    },
    "training": {"max_steps": 2, "batch_size": 4},
}


@dataclass(frozen=True)
class Mistake:
    """Words of the command line in a folder with a few files changed, and what is to be told."""

    words: str
    told: tuple[str, ...]
    files: Mapping[str, str | bytes] = field(default_factory=dict)


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def recipe(**changes: Any) -> dict[str, str]:
    """The recipe's file with keys changed by path, ``training__epochs``; ... takes one out."""
    content = json.loads(json.dumps(RECIPE))
    for path, value in changes.items():
        *above, key = path.split("__")
        target = content
        for name in above:
            target = target[name]
        if value is ...:
            del target[key]
        else:
            target[key] = value
    return {"recipe.yaml": yaml.safe_dump(content, sort_keys=False)}


def reviews(row: Mapping[str, Any], split: str = "train") -> dict[str, str]:
    """The reviews with one more row, number 4."""
    return {f"{split}.jsonl": lines(*TEXTS, {**TEXTS[1], **row})}


def news(row: Mapping[str, Any]) -> dict[str, str]:
    """The news with one more row, number 2."""
    return {"words.jsonl": lines(*WORDS, {**WORDS[1], **row})}


TRAIN = "train recipe.yaml"
CHECK = "check recipe.yaml"
WORDS_OF_COMMANDS = {
    "no such command": Mistake("trian recipe.yaml", ("'trian'", "did you mean `train`")),
    "no such option": Mistake(f"{TRAIN} --overwrit", ("--overwrit", "did you mean `--overwrite`")),
    "options at odds": Mistake(f"{TRAIN} --resume --overwrite", ("--resume", "--overwrite")),
    "no recipe given": Mistake("train", ("required: RECIPE;", "mtl-nlp train --help")),
    "override without value": Mistake(f"{TRAIN} epochs", ("'epochs'", "key=value")),
    "override with an empty key": Mistake(
        f"{TRAIN} training..epochs=1", ("'training..epochs=1'", "key is empty")
    ),
    "override inside a text": Mistake(f"{TRAIN} encoder.name=x", ("`encoder`", "not a mapping")),
    "override that is no YAML": Mistake(f"{TRAIN} 'seed=[1'", ("'seed=[1'", "line 1")),
    "no such split": Mistake(
        "evaluate model recipe.yaml --split tset", ("--split", "'tset'", "`test`")
    ),
    "no batch": Mistake("predict model x --batch-size 0", ("--batch-size", "above 0", "'0'")),
    "nothing to predict": Mistake("predict model", ("nothing to predict", "--input")),
    "texts and a file": Mistake(
        "predict model good --input in.txt", ("'good'", "in.txt", "give one")
    ),
    "empty name of a task": Mistake("predict model good --tasks mood,", ("--tasks", "'mood,'")),
    "no such export": Mistake(
        "export model --format pickle --output out", ("--format", "'pickle'", "transformers")
    ),
    "no such task type": Mistake(
        "tasks text_clasification", ("did you mean `text_classification`",)
    ),
}
RECIPES = {
    "a script as recipe": Mistake(
        "train recipe.py", ("recipe.py", "python recipe.py"), {"recipe.py": ""}
    ),
    "no such recipe": Mistake("train recpie.yaml", ("recpie.yaml", "did you mean `recipe.yaml`")),
    "a folder as recipe": Mistake("train encoder", ("encoder", "cannot be read")),
    "no YAML": Mistake(
        TRAIN, ("recipe.yaml", "line 2"), {"recipe.yaml": "encoder: x\n\ttasks: 1\n"}
    ),
    "no UTF-8": Mistake(
        TRAIN, ("recipe.yaml", "UTF-8"), {"recipe.yaml": "encoder: é".encode("latin-1")}
    ),
    "empty recipe": Mistake(TRAIN, ("recipe.yaml", "empty"), {"recipe.yaml": ""}),
    "key twice": Mistake(
        TRAIN, ("`encoder`", "line 2", "keep one"), {"recipe.yaml": "encoder: a\nencoder: b\n"}
    ),
    "a tag": Mistake(
        TRAIN,
        ("!!python/object", "leave it out"),
        {"recipe.yaml": "encoder: !!python/object:os.system x\n"},
    ),
    "unknown key": Mistake(
        f"{TRAIN} training.learning_rte=1e-3", ("training.learning_rte", "`learning_rate`")
    ),
    "unknown key of a task": Mistake(
        f"{TRAIN} tasks.ner.shceme=bio", ("tasks.ner.shceme", "'scheme'")
    ),
    "no encoder": Mistake(TRAIN, ("encoder: missing", "Hub id"), recipe(encoder=...)),
    "words for a number": Mistake(
        f"{TRAIN} training.epochs=three", ("training.epochs", "whole number", '"three"')
    ),
    "negative rate": Mistake(
        f"{TRAIN} training.learning_rate=-0.1", ("training.learning_rate", "greater than 0")
    ),
    "all dropped out": Mistake(f"{TRAIN} dropout=1.0", ("dropout", "less than 1")),
    "a rate for no part": Mistake(
        f"{TRAIN} 'training.learning_rates={{heads.nre: 1e-3}}'",
        ("training.learning_rates", "'heads.nre'", "heads.ner"),
    ),
    "a rate that is none, of a part": Mistake(
        f"{TRAIN} 'training.learning_rates={{heads.ner: 0}}'",
        ("training.learning_rates.heads.ner", "greater than 0"),
    ),
    "all frozen": Mistake(
        f"{CHECK} 'training.frozen=[heads, encoder]'", ("training.frozen", "nothing learns")
    ),
    "unfrozen every no step": Mistake(
        f"{TRAIN} training.unfreeze=0", ("training.unfreeze", "`epoch` or a number of steps above")
    ),
    "an average of no step": Mistake(f"{TRAIN} training.ema=1.0", ("training.ema", "less than 1")),
    "heads of no model": Mistake(
        f"{TRAIN} warm_start.heads=true", ("warm_start", "`heads: true` goes with `model`")
    ),
    "two lengths": Mistake(
        TRAIN, ("training", "max_steps", "keep one"), recipe(training={"epochs": 1, "max_steps": 1})
    ),
    "no such dataset": Mistake(
        f"{TRAIN} tasks.mood.dataset=revews", ("tasks.mood.dataset", "`revews`", "`reviews`")
    ),
    "unused dataset": Mistake(TRAIN, ("datasets.news", "no task uses it"), recipe(tasks__ner=...)),
    "reserved name": Mistake(
        f"{TRAIN} 'tasks.mean={{type: x, dataset: news}}'", ("tasks.mean", "another name")
    ),
    "two ways to join words": Mistake(
        f"{TRAIN} datasets.reviews.text=null datasets.reviews.tokens=text datasets.news.join=_",
        ("datasets.news.join", "`datasets.reviews`", "the same"),
    ),
    "spans in words and in characters": Mistake(
        f"{TRAIN} tasks.spans.type=span_classification 'tasks.spans.dataset=[reviews, news]'"
        " tasks.spans.entities=null 'tasks.spans.spans={reviews: spans, news: tags}'",
        ("tasks.spans.dataset", "news count words", "characters", "two tasks"),
    ),
    "streaming": Mistake(
        f"{TRAIN} 'datasets.news={{path: json, data_files: news.jsonl, tokens: tokens,"
        " streaming: true, splits: {validation: 0.1}}'",
        ("datasets.news", "`streaming: true`", "splits.validation: 0.1", "of its own"),
    ),
    "two inputs": Mistake(f"{TRAIN} datasets.news.text=text", ("datasets.news", "keep one")),
    "no input": Mistake(
        TRAIN, ("datasets.reviews", "text: COLUMN"), recipe(datasets__reviews__text=...)
    ),
    "unknown task type": Mistake(
        f"{TRAIN} tasks.mood.type=text_clasification", ("tasks.mood.type", "'text_classification'")
    ),
    "unknown scheme": Mistake(
        f"{TRAIN} tasks.ner.scheme=iob", ("tasks.ner.scheme", "'bio'", "'iob'")
    ),
    "no label column": Mistake(
        TRAIN, ("tasks.mood", "label: COLUMN"), recipe(tasks__mood__label=...)
    ),
    "label column of another type": Mistake(
        f"{TRAIN} tasks.ner.entities=tags", ("tasks.ner", "tags: COLUMN")
    ),
    "a number as column": Mistake(
        f"{TRAIN} tasks.mood.label=3", ("tasks.mood.label", "column", "3")
    ),
    "column for another dataset": Mistake(
        f"{TRAIN} 'tasks.mood.label={{news: a}}'", ("tasks.mood.label", "'reviews'", "news")
    ),
    "select by no task": Mistake(
        f"{TRAIN} evaluation.select=mod.accuracy", ("evaluation.select", "`mod`", "`mood`")
    ),
    "select by no metric": Mistake(
        f"{TRAIN} evaluation.select=mood.f1", ("evaluation.select", "'f1'", "macro_f1")
    ),
    "no such metric": Mistake(
        f"{TRAIN} 'tasks.mood.metrics=[nosuchmetric]'",
        ("tasks.mood.metrics", "'nosuchmetric'", "check the name and the network"),
    ),
    "a metric computed anyway": Mistake(
        f"{TRAIN} 'tasks.mood.metrics=[accuracy]'",
        ("tasks.mood.metrics", "'accuracy'", "computed anyway", "leave it out"),
    ),
    "a metric that lacks a package": Mistake(
        f"{TRAIN} 'tasks.ner.metrics=[./needy]'",
        ("tasks.ner.metrics", "needy", "not installed", "package_that_is_not_there"),
        {"needy/needy.py": metric_script(imports="import package_that_is_not_there")},
    ),
    "a metric that fails to load": Mistake(
        "evaluate model recipe.yaml 'tasks.mood.metrics=[failing]'",
        ("tasks.mood.metrics", "failing", "ZeroDivisionError", "leave the metric out"),
        {"failing/failing.py": metric_script(imports="1 / 0")},
    ),
    "no such tracker": Mistake(
        f"{TRAIN} 'training.trackers=[wandbb]'", ("training.trackers", "'wandbb'")
    ),
    "no name for a repository": Mistake(f"{TRAIN} hub.repo_id=a/b/c", ("hub.repo_id", "org/name")),
    "hold out everything": Mistake(
        f"{TRAIN} 'datasets.news.splits={{validation: 1.5}}'",
        ("datasets.news.splits.validation", "between 0 and 1"),
    ),
    "longer than the encoder reads": Mistake(
        f"{TRAIN} max_length=2000", ("max_length", "2000", "at most 514")
    ),
    "labels twice": Mistake(
        f"{TRAIN} 'tasks.mood.labels=[good, good]'", ("tasks.mood.labels", '"good" twice')
    ),
    "an empty label": Mistake(
        f"{TRAIN} 'tasks.mood.labels=[good, \" \"]'", ("tasks.mood.labels", "found an empty one")
    ),
    "a label alone": Mistake(
        f"{TRAIN} 'tasks.mood.labels=[good]'", ("tasks.mood: ", "at least 2 labels", "found good")
    ),
    "tags as span types": Mistake(
        f"{TRAIN} 'tasks.ner.labels=[O, B-person]'", ("tasks.ner: ", "span types", "the tag 'O'")
    ),
    "bf16 where it is not": Mistake(
        f"{TRAIN} training.precision=fp16", ("training.precision", "fp16")
    ),
    "bf16 where it is not, checked": Mistake(
        f"{CHECK} training.precision=fp16", ("training.precision", "fp16")
    ),
}
FILES = {
    "no such file": Mistake(
        f"{TRAIN} datasets.news.data_files.train=word.jsonl",
        ("datasets.news.data_files.train", "word.jsonl", "`words.jsonl`"),
    ),
    "file of another loader": Mistake(
        f"{TRAIN} datasets.news.path=csv", ("datasets.news.data_files.train", "`path: json`")
    ),
    "a folder as data": Mistake(
        f"{TRAIN} datasets.news.data_files.train=encoder",
        ("datasets.news.data_files.train", "is a folder"),
    ),
    "broken JSON": Mistake(
        TRAIN,
        ("dataset 'news'", "words.jsonl"),
        {"words.jsonl": lines(*WORDS) + '{"tokens": ["a"\n'},
    ),
    "broken gzip": Mistake(
        f"{TRAIN} datasets.news.data_files.train=w.jsonl.gz",
        ("dataset 'news'", "whole"),
        {"w.jsonl.gz": gzip.compress(lines(*WORDS).encode())[:-9]},
    ),
    "no gzip": Mistake(
        f"{TRAIN} datasets.news.data_files.train=w.jsonl.gz",
        ("dataset 'news'",),
        {"w.jsonl.gz": lines(*WORDS)},
    ),
    "broken Parquet": Mistake(
        f"{TRAIN} datasets.news.path=parquet 'datasets.news.data_files={{train: w.parquet}}'",
        ("dataset 'news'", "w.parquet"),
        {"w.parquet": b"PAR1 no"},
    ),
    "gzipped Parquet": Mistake(
        f"{TRAIN} datasets.news.path=parquet 'datasets.news.data_files={{train: w.parquet.gz}}'",
        ("datasets.news.data_files.train", "w.parquet.gz", "gunzip"),
        {"w.parquet.gz": gzip.compress(b"PAR1")},
    ),
    "ragged CSV": Mistake(
        f"{TRAIN} datasets.reviews.path=csv 'datasets.reviews.data_files={{train: t.csv}}'",
        ("dataset 'reviews'", "t.csv"),
        {"t.csv": "text,mood,spans\na,b,c\na,b,c,d,e\n"},
    ),
    "CSV without rows": Mistake(
        f"{TRAIN} datasets.reviews.path=csv 'datasets.reviews.data_files={{train: t.csv}}'",
        ("dataset 'reviews', split train", "t.csv", "no rows", "that line alone"),
        {"t.csv": "text,mood,spans\n"},
    ),
    "CSV with a column twice": Mistake(
        f"{TRAIN} datasets.reviews.path=csv 'datasets.reviews.data_files={{train: t.csv}}'",
        ("dataset 'reviews', split train", "t.csv", "'mood' twice", "rename or drop"),
        {"t.csv": "text,mood,mood\na,good,bad\n"},
    ),
    "TSV beside CSV": Mistake(
        f"{TRAIN} datasets.reviews.path=csv 'datasets.reviews.data_files=[a.tsv, b.csv]'",
        ("dataset 'reviews', split train", "a.tsv has tabs", "b.csv has commas"),
        {"a.tsv": "text\tmood\na\tgood\n", "b.csv": "text,mood\na,good\n"},
    ),
    "empty file": Mistake(TRAIN, ("dataset 'news'", "words.jsonl", "no rows"), {"words.jsonl": ""}),
    "no such input column": Mistake(
        f"{TRAIN} datasets.reviews.text=texts", ("dataset 'reviews'", "'texts'", "text, mood")
    ),
    "no such label column": Mistake(
        f"{TRAIN} tasks.mood.label=sentiment", ("tasks.mood.label", "'sentiment'", "text, mood")
    ),
    "no such split": Mistake(
        f"{TRAIN} 'datasets.news.splits={{validation: dev}}'", ("datasets.news", "`dev`")
    ),
    "no train split": Mistake(
        f"{TRAIN} 'datasets.news.data_files={{test: words.jsonl}}'",
        ("dataset 'news'", "'train'", "test"),
    ),
    "no such dataset on the Hub": Mistake(
        f"{TRAIN} datasets.news.path=nobody/nothing datasets.news.data_files=null",
        ("dataset 'news'", "nobody/nothing"),
    ),
}
ROWS = {
    "empty text": Mistake(
        TRAIN,
        ("dataset 'reviews', split train, row 4", "column text", "empty"),
        reviews({"text": " "}),
    ),
    "no text": Mistake(
        TRAIN, ("split train, row 4", "column text", "expected text"), reviews({"text": None})
    ),
    "empty text in test": Mistake(
        TRAIN, ("split test, row 4", "column text", "empty"), reviews({"text": ""}, "test")
    ),
    "a number as text": Mistake(
        f"{TRAIN} datasets.reviews.text=n",
        ("split train, row 0", "expected text, found 1"),
        {
            f"{s}.jsonl": lines(*({**row, "n": 1} for row in TEXTS))
            for s in ("train", "validation", "test")
        },
    ),
    "unequal lengths": Mistake(
        TRAIN, ("dataset 'news', split train, row 2", "2 words but 1 tags"), news({"tags": ["O"]})
    ),
    "text as tokens": Mistake(
        f"{TRAIN} datasets.reviews.text=null datasets.reviews.tokens=text",
        ("split train, row 0", "list of words"),
    ),
    "no tokens": Mistake(
        TRAIN,
        ("split train, row 2", "column tokens", "found none"),
        news({"tokens": [], "tags": []}),
    ),
    "entity outside": Mistake(
        TRAIN,
        ("row 4", "column spans", "15 characters"),
        reviews({"spans": [{"start": 9, "end": 99, "label": "person"}]}),
    ),
    "entities that overlap": Mistake(
        TRAIN,
        ("row 4", "share a word"),
        reviews(
            {
                "spans": [
                    {"start": 0, "end": 5, "label": "person"},
                    {"start": 2, "end": 9, "label": "person"},
                ]
            }
        ),
    ),
    "entity without an end": Mistake(
        TRAIN,
        ("row 4", "column spans", "end"),
        reviews({"spans": [{"start": 0, "label": "person"}]}),
    ),
    "entity with a text as place": Mistake(
        TRAIN,
        ("'spans'", "start"),
        {
            f"{s}.jsonl": lines(
                {**TEXTS[0], "spans": [{"start": "0", "end": "4", "label": "person"}]}, TEXTS[1]
            )
            for s in ("train", "validation", "test")
        },
    ),
    "label not in the list": Mistake(
        f"{TRAIN} 'tasks.mood.labels=[good, fine]'", ("row 1", "'bad'", "tasks.mood.labels")
    ),
    "empty label": Mistake(
        TRAIN, ("split train, row 4, column mood", "found '', an empty one"), reviews({"mood": ""})
    ),
    "blank label in test": Mistake(
        TRAIN, ("split test, row 4, column mood", "an empty one"), reviews({"mood": " "}, "test")
    ),
    "blank label among given ones": Mistake(
        f"{TRAIN} 'tasks.mood.labels=[good, bad]'",
        ("split train, row 4, column mood", "an empty one", "null"),
        reviews({"mood": "  "}),
    ),
    "empty label of a word": Mistake(
        f"{TRAIN} tasks.ner.scheme=none",
        ("split train, row 2, column tags", "an empty one"),
        news({"tags": ["O", ""]}),
    ),
    "empty tag": Mistake(
        TRAIN, ("split train, row 2, column tags", "'' is no tag"), news({"tags": ["O", ""]})
    ),
    "empty label of an entity": Mistake(
        TRAIN,
        ("split train, row 4, column spans", "an empty one"),
        reviews({"spans": [{"start": 0, "end": 1, "label": ""}]}),
    ),
    "index past the list": Mistake(
        f"{TRAIN} 'tasks.mood.labels=[good, bad]'",
        ("split train, row 4", "column mood", "index 7"),
        {
            f"{s}.jsonl": lines(*({**row, "mood": 0} for row in TEXTS), {**TEXTS[0], "mood": 7})
            for s in ("train", "validation", "test")
        },
    ),
    "a list as label": Mistake(
        f"{TRAIN} tasks.mood.label=spans", ("'mood'", "'reviews'", "name or index")
    ),
    "one label only": Mistake(
        f"{TRAIN} tasks.mood.label=text datasets.reviews.max_rows.train=1",
        ("'mood'", "two different labels"),
    ),
    "no labels at all": Mistake(
        TRAIN,
        ("'mood'", "two different labels", "label column"),
        {
            f"{s}.jsonl": lines(*({**row, "mood": None} for row in TEXTS))
            for s in ("train", "validation", "test")
        },
    ),
    "tags that are numbers": Mistake(
        TRAIN,
        ("'ner'", "scheme: none"),
        {"words.jsonl": lines({"tokens": ["a", "b"], "tags": [1, 2]})},
    ),
    "no label in validation": Mistake(
        f"{TRAIN} evaluation.select=mood.accuracy",
        ("evaluation.select", "'mood'", "validation"),
        {"validation.jsonl": lines(*({**row, "mood": None} for row in TEXTS))},
    ),
}
MODELS = {
    "no such encoder": Mistake(f"{TRAIN} encoder=encodr", ("encodr", "neither")),
    "no such package": Mistake(
        f"{TRAIN} encoder=package:no_such_thing", ("no_such_thing", "install")
    ),
    "encoder without a tokenizer": Mistake(
        f"{TRAIN} encoder=bare", ("tokenizer", "bare", "tokenizer.json")
    ),
    "an encoder to start warm from": Mistake(
        f"{TRAIN} warm_start.model=encoder", ("encoder: expected a model of this", "`encoder:`")
    ),
    "a model of other sub-words to start warm from, checked": Mistake(
        f"{CHECK} warm_start.model=model4", ("warm_start.model", "sub-words", "trained from")
    ),
    "a model as encoder": Mistake(
        f"{TRAIN} encoder=model", ("model: expected a bare encoder", "`warm_start.model`")
    ),
    "a model as encoder, checked": Mistake(
        f"{CHECK} encoder=model", ("model: expected a bare encoder", "`warm_start.model`")
    ),
    **{
        f"padding counts, {command} {name}": Mistake(
            f"{command} recipe.yaml encoder={name}", (f"{name}: what", "depends on its padding")
        )
        for command in ("check", "train")
        for name in PADDING_COUNTS
    },
    **{
        f"no padding token, {words}": Mistake(words, ("tokenizer", "no padding token", "pad_token"))
        for words in (f"{CHECK} encoder=unpadded", f"{TRAIN} encoder=unpadded", "predict model3 a")
    },
    **{
        f"more sub-words than rows, {words}": Mistake(words, (told, "rows", "resize_token"))
        for words, told in (
            (f"{CHECK} encoder=grown", "grown: it numbers"),
            (f"{TRAIN} encoder=grown", "grown: it numbers"),
            ("predict model4 a", "model4: it numbers"),
        )
    },
    "no such model": Mistake("predict modle good", ("modle", "neither")),
    "name of no repository": Mistake("predict a/b/c/d good", ("a/b/c/d", "no such folder")),
    "an encoder as model": Mistake("predict encoder good", ("encoder", "model_type", "'bert'")),
    "an empty folder as model": Mistake("predict empty good", ("empty", "config.json")),
    "broken weights": Mistake("predict broken good", ("broken", "safetensors", "again")),
    "broken configuration": Mistake(
        "predict model2 good", ("model2", "JSON", "again"), {"model2/config.json": "{"}
    ),
    "a file as model": Mistake(
        "predict in.txt good", ("in.txt", "found a file"), {"in.txt": "good\n"}
    ),
    "task the model has not": Mistake("predict model good --tasks mod", ("'mod'", "mood")),
    "task of the recipe that the model has not": Mistake(
        "evaluate model recipe.yaml", ("tasks.ner", "mood")
    ),
    "export of no task": Mistake(
        "export model --format transformers --task mod --output out", ("'mod'", "mood")
    ),
    "export without a task": Mistake(
        "export model --format transformers --output out", ("--task", "mood, spans")
    ),
    "export into a folder in use": Mistake(
        "export model --format transformers --task mood --output encoder", ("encoder", "empty")
    ),
    "push of no model": Mistake("push empty org/name", ("empty", "config.json")),
    "push without a token": Mistake("push model org/name", ("model", "hf auth login")),
    "card of no model": Mistake("card empty", ("empty", "config.json")),
    "card of an encoder": Mistake("card encoder", ("encoder", "config.json", "'bert'")),
}
INPUTS = {
    "no such file": Mistake(
        "predict model --input int.txt", ("int.txt", "`in.txt`"), {"in.txt": "good\n"}
    ),
    "unknown ending": Mistake(
        "predict model --input in.tsv", ("in.tsv", ".jsonl", ".parquet"), {"in.tsv": "a"}
    ),
    "a folder": Mistake("predict model --input empty", ("empty", "folder")),
    "empty line": Mistake(
        "predict model --input in.txt --tasks mood",
        ("in.txt, line 2", "empty"),
        {"in.txt": "good\n\nbad\n"},
    ),
    "empty text as a word": Mistake("predict model good ''", ("text 2", "empty")),
    "empty file": Mistake(
        "predict model --input in.jsonl", ("in.jsonl", "expected rows"), {"in.jsonl": ""}
    ),
    "no UTF-8": Mistake(
        "predict model --input in.txt",
        ("in.txt, line 2", "UTF-8"),
        {"in.txt": "good\ncaf\xe9\n".encode("latin-1")},
    ),
    "broken JSON": Mistake(
        "predict model --input in.jsonl",
        ("in.jsonl, line 2", "column 9"),
        {"in.jsonl": '{"text": "a"}\n{"text" "b"}\n'},
    ),
    "a list as row": Mistake(
        "predict model --input in.jsonl", ("in.jsonl, line 1", "object"), {"in.jsonl": '["a"]\n'}
    ),
    "no input column": Mistake(
        "predict model --input in.jsonl",
        ("in.jsonl, line 1", "text or tokens", "review"),
        {"in.jsonl": '{"review": "a"}\n'},
    ),
    "a number as text": Mistake(
        "predict model --input in.jsonl",
        ("in.jsonl, line 1", "column text", "found 3"),
        {"in.jsonl": '{"text": 3}\n'},
    ),
    "half a character": Mistake(
        "predict model --input in.jsonl",
        ("in.jsonl, line 1", "Unicode"),
        {"in.jsonl": '{"text": "\\ud83d"}\n'},
    ),
    "predictions there": Mistake(
        "predict model --input in.jsonl",
        ("in.jsonl, line 1", "'predictions'"),
        {"in.jsonl": '{"text": "a", "predictions": 1}\n'},
    ),
    "ragged CSV": Mistake(
        "predict model --input in.csv",
        ("in.csv, line 3", "2 cells", "found 3"),
        {"in.csv": "text,id\na,1\nb,2,3\n"},
    ),
    "column twice": Mistake(
        "predict model --input in.csv",
        ("in.csv, line 1", "'text' twice"),
        {"in.csv": "text,text\na,b\n"},
    ),
    "open quote": Mistake(
        "predict model --input in.csv", ("in.csv, line 2", "CSV"), {"in.csv": 'text\n"a\n'}
    ),
    "broken Parquet": Mistake(
        "predict model --input in.parquet", ("in.parquet", "Parquet"), {"in.parquet": b"PAR1"}
    ),
    "broken gzip": Mistake(
        "predict model --input in.txt.gz",
        ("in.txt.gz", "gzip"),
        {"in.txt.gz": gzip.compress(b"good\n" * 50)[:-8]},
    ),
    "pair for a task of one text": Mistake(
        "predict model --input in.jsonl --tasks mood",
        ("in.jsonl, line 1", "'mood'", "pair"),
        {"in.jsonl": '{"text": "a", "text_pair": "b"}\n'},
    ),
    "bad row after good ones": Mistake(
        "predict model --input in.txt --output out.jsonl --tasks mood",
        ("in.txt, line 1501", "empty"),
        {"in.txt": "good\n" * 1500 + "\n", "out.jsonl": "before"},
    ),
}
OUTPUTS = {
    "unknown ending": Mistake(
        "predict model good --output out.csv", ("out.csv", ".jsonl", ".parquet")
    ),
    "no such folder": Mistake(
        "predict model good --output there/out.jsonl", ("--output", "there", "make it")
    ),
    "a folder": Mistake(
        "predict model good --output out.jsonl", ("out.jsonl", "folder"), {"out.jsonl/x": ""}
    ),
    "the input": Mistake(
        "predict model --input in.jsonl --output in.jsonl",
        ("in.jsonl", "another file"),
        {"in.jsonl": '{"text": "a"}\n'},
    ),
    "a file as run folder": Mistake(
        f"{TRAIN} output=train.jsonl", ("output", "train.jsonl", "is a file")
    ),
    "a folder below a file": Mistake(
        f"{TRAIN} output=train.jsonl/run", ("output", "train.jsonl", "is a file")
    ),
    "a folder of other things": Mistake(
        f"{TRAIN} output=encoder --overwrite", ("output", "encoder", "holds no run")
    ),
    "a run in the folder": Mistake(f"{TRAIN} output=old", ("old", "--resume", "--overwrite")),
    "another recipe on resuming": Mistake(
        f"{TRAIN} output=old seed=7 --resume", ("--resume", "seed: 13 -> 7", "--overwrite")
    ),
}
TABLE = {
    f"{kind}: {name}": mistake
    for kind, mistakes in {
        "words": WORDS_OF_COMMANDS,
        "recipe": RECIPES,
        "files": FILES,
        "rows": ROWS,
        "models": MODELS,
        "input": INPUTS,
        "output": OUTPUTS,
    }.items()
    for name, mistake in mistakes.items()
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Encoders and models, good and bad, which no mistake may touch."""
    folder = tmp_path_factory.mktemp("made")
    tiny_encoder(folder / "encoder")
    tiny_encoder(folder / "bare")
    for file in (folder / "bare").glob("token*"):
        file.unlink()
    for name in PADDING_COUNTS:
        tiny_encoder(folder / name, name)
    for name, tokenizer in (("unpadded", unpadded()), ("grown", grown())):
        tokenizer.save_pretrained(tiny_encoder(folder / name))
    model = MultiTaskModel.from_encoder(
        folder / "encoder",
        {
            "mood": {"type": "text_classification", "labels": ["bad", "good"]},
            "spans": {"type": "token_classification", "labels": ["person"]},
        },
    )
    for name, tokenizer in {
        "model": tiny_tokenizer(),
        "broken": tiny_tokenizer(),
        "model2": tiny_tokenizer(),
        "model3": unpadded(),
        "model4": grown(),
    }.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    weights = folder / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (folder / "empty").mkdir()
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a good recipe, its data, and the models."""
    (tmp_path / "encoder").symlink_to(made / "encoder")
    for name in (path.name for path in made.iterdir() if path.name != "encoder"):
        (tmp_path / name).mkdir()
        for file in (made / name).iterdir():
            (tmp_path / name / file.name).hardlink_to(file)
    write(tmp_path, recipe())
    write(tmp_path, {f"{s}.jsonl": lines(*TEXTS) for s in ("train", "validation", "test")})
    write(tmp_path, {"words.jsonl": lines(*WORDS)})
    monkeypatch.chdir(tmp_path)
    Recipe.from_yaml("recipe.yaml", ["output=old"]).to_yaml(tmp_path / "old.yaml")
    write(tmp_path, {"old/recipe.yaml": (tmp_path / "old.yaml").read_bytes()})
    return tmp_path


def unpadded() -> PreTrainedTokenizerFast:
    """A tokenizer without a padding token, as GPT-2's is."""
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    return tokenizer


def grown() -> PreTrainedTokenizerFast:
    """A tokenizer with a word for which the encoder has no row."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(["Anna"])
    return tokenizer


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def check_told(stderr: str, told: tuple[str, ...]) -> None:
    assert [line.startswith("error: ") for line in stderr.splitlines()].count(True) == 1
    assert stderr.startswith("error: ")
    assert "\n\n" not in stderr
    assert "Traceback" not in stderr
    for fragment in told:
        assert fragment in stderr


def test_there_are_many_mistakes() -> None:
    assert len(TABLE) >= 100


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake_is_told_once_and_leaves_nothing(
    name: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mistake = TABLE[name]
    write(place, mistake.files)
    before = tree(place)
    status = main(shlex.split(mistake.words))
    output = capfd.readouterr()
    assert status == 2, output.err
    check_told(output.err, mistake.told)
    assert output.out == ""
    assert tree(place) == before


@pytest.mark.parametrize("name", ["words: no such command", "rows: unequal lengths"])
def test_a_process_ends_with_status_2(name: str, place: Path) -> None:
    mistake = TABLE[name]
    write(place, mistake.files)
    before = tree(place)
    words = [sys.executable, "-m", "mtl_nlp", *shlex.split(mistake.words)]
    root = str(Path(__file__).parents[2])
    ended = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    check_told(ended.stderr, mistake.told)
    assert ended.stdout == ""
    assert tree(place) == before
