"""The words that each command takes, and how they are parsed."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import NoReturn

from mtl_nlp.errors import UserError
from mtl_nlp.suggest import did_you_mean

_SPLITS = ("train", "validation", "test")
_FORMATS = ("transformers",)


class Parser(argparse.ArgumentParser):
    """Wrong words are a UserError like any other mistake."""

    def error(self, message: str) -> NoReturn:
        """Raise it, with the nearest known word where one is unknown."""
        if unknown := re.fullmatch(r"unrecognized arguments: (\S+).*", message, re.DOTALL):
            word = unknown[1].partition("=")[0]
            hint = did_you_mean(word, self._option_string_actions)
            message = f"unknown word {word!r}; {hint}"
        stop = "" if message.endswith("?") else ";"
        raise UserError(f"{message}{stop} `{self.prog} --help` tells more")


def recipe_words(parser: argparse.ArgumentParser) -> None:
    """A recipe and its overrides."""
    parser.add_argument("recipe", metavar="RECIPE", help="a YAML file")
    parser.add_argument(
        "overrides",
        metavar="key=value",
        nargs="*",
        default=[],
        help="overrides the recipe by dotted path, values in YAML: training.max_steps=100",
    )


def train_words(parser: argparse.ArgumentParser) -> None:
    """Those of a recipe, and what becomes of a run that is there."""
    recipe_words(parser)
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--resume", action="store_true", help="go on from the newest checkpoint")
    ways.add_argument("--overwrite", action="store_true", help="replace the run in the folder")


def evaluate_words(parser: argparse.ArgumentParser) -> None:
    """A model, a recipe and a split."""
    _model_word(parser)
    recipe_words(parser)
    parser.add_argument(
        "--split", default="test", type=_one_of(_SPLITS), help=f"{', '.join(_SPLITS)} (test)"
    )


def predict_words(parser: argparse.ArgumentParser) -> None:
    """A model, and texts or a file."""
    _model_word(parser)
    parser.add_argument("texts", metavar="TEXT", nargs="*", default=[])
    parser.add_argument(
        "--input",
        metavar="FILE",
        help=".txt (a text a line), .jsonl, .csv or .parquet, perhaps with .gz behind it; or - for"
        " stdin (a text a line, or JSON lines)",
    )
    parser.add_argument("--output", metavar="FILE", help=".jsonl or .parquet instead of stdout")
    parser.add_argument(
        "--tasks", metavar="a,b", type=_names, help="the tasks wanted (all that fit a row)"
    )
    parser.add_argument(
        "--batch-size", metavar="N", type=_count, default=32, help="rows in one forward (32)"
    )


def export_words(parser: argparse.ArgumentParser) -> None:
    """A model, its task and where it goes."""
    _model_word(parser)
    parser.add_argument("--format", required=True, type=_one_of(_FORMATS), help=", ".join(_FORMATS))
    parser.add_argument("--task", metavar="NAME", help="needed where the model has several")
    parser.add_argument("--output", metavar="DIR", required=True, help="a new folder")


def push_words(parser: argparse.ArgumentParser) -> None:
    """A model folder and where it is published."""
    parser.add_argument("model", metavar="MODEL", help="a model folder")
    parser.add_argument("repo_id", metavar="REPO_ID", help="org/name on the Hub")
    parser.add_argument("--private", action="store_true", help="seen by its owners only")
    parser.add_argument("--message", help="title of the commit")
    parser.add_argument("--revision", help="branch, made if it is missing (main)")


def card_words(parser: argparse.ArgumentParser) -> None:
    """A model folder."""
    parser.add_argument("model", metavar="MODEL", help="a model folder")


def tasks_words(parser: argparse.ArgumentParser) -> None:
    """A task type, if one is asked for."""
    parser.add_argument("type", metavar="TYPE", nargs="?", help="one of them")


def _model_word(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="folder or Hub id (org/name@revision)")


def _one_of(known: Sequence[str]) -> Callable[[str], str]:
    def parse(word: str) -> str:
        if word not in known:
            raise argparse.ArgumentTypeError(f"found {word!r}; {did_you_mean(word, known)}")
        return word

    return parse


def _count(word: str) -> int:
    if not word.isdecimal() or int(word) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {word!r}")
    return int(word)


def _names(word: str) -> list[str]:
    names = [name.strip() for name in word.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"expected names like sentiment,ner, found {word!r}")
    return list(dict.fromkeys(names))
