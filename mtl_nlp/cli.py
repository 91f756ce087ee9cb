"""The command line: commands are run and results printed here, everything else is done elsewhere.

What a command needs is imported when it runs, so that `mtl-nlp --help` answers at once.
"""

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtl_nlp.command_words import (
    Parser,
    card_words,
    evaluate_words,
    export_words,
    predict_words,
    push_words,
    recipe_words,
    tasks_words,
    train_words,
)
from mtl_nlp.errors import RecipeError, UserError
from mtl_nlp.program import is_main_process, program, quiet_libraries
from mtl_nlp.suggest import did_you_mean

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mtl_nlp.recipe import Recipe
    from mtl_nlp.training.folder import Run


@dataclass(frozen=True)
class _Command:
    """A command: what it does, the words it takes, and how it is done."""

    summary: str
    words: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        words: What stands behind ``mtl-nlp``; by default this process's own.

    Returns:
        The exit status: 0 done, 2 the user can mend it, 130 or 143 stopped by a signal, else 1.
    """
    words = list(sys.argv[1:] if words is None else words)
    try:
        with program(debug="--debug" in words):
            _run(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _run(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
    elif words[0] == "--version":
        from mtl_nlp import __version__

        print(f"mtl-nlp {__version__}")
    else:
        name = words[0]
        if name not in _COMMANDS:
            hint = did_you_mean(name, _COMMANDS)
            raise UserError(f"expected a command, found {name!r}; {hint}")
        command = _COMMANDS[name]
        parser = Parser(prog=f"mtl-nlp {name}", description=command.summary, allow_abbrev=False)
        command.words(parser)
        parser.add_argument("--json", action="store_true", help="print JSON on stdout")
        parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
        # Intermixed, so that options may stand between key=value words or texts.
        command.run(parser.parse_intermixed_args(words[1:]))


def _overview() -> str:
    width = max(map(len, _COMMANDS))
    commands = "\n".join(f"  {name:<{width}}  {c.summary}" for name, c in _COMMANDS.items())
    return (
        "usage: mtl-nlp COMMAND …\n\nOne pretrained encoder shared by many NLP tasks.\n\n"
        f"commands:\n{commands}\n\n`mtl-nlp COMMAND --help` tells its words. Every command takes"
        " --json and --debug.\nMODEL is a folder or a Hub id (org/name, org/name@revision), RECIPE"
        " a YAML file;\nkey=value words override it by dotted path: training.max_steps=100"
    )


def _check(args: argparse.Namespace) -> None:
    recipe = _read_recipe(args)
    quiet_libraries()
    from mtl_nlp.run import check

    report = check(recipe)
    if args.json:
        _print_json(report)
    else:
        from mtl_nlp.reports import plan

        _print(*plan(report, recipe))


def _train(args: argparse.Namespace) -> None:
    recipe = _read_recipe(args)
    quiet_libraries()
    from mtl_nlp.run import train
    from mtl_nlp.training.publication import UnpublishedError

    try:
        run = train(recipe, resume=args.resume, overwrite=args.overwrite)
    except UnpublishedError as error:  # the run is whole, and its scores come before the error
        _print_run(args, recipe, error.run)
        sys.stdout.flush()
        raise
    if is_main_process():
        _print_run(args, recipe, run)


def _print_run(args: argparse.Namespace, recipe: "Recipe", run: "Run") -> None:
    if args.json:
        _print_json({"path": str(run.path), "metrics": run.metrics})
    else:
        from mtl_nlp.reports import trained
        from mtl_nlp.tables import metrics_table

        _print(metrics_table(run.metrics), *trained(run.path, recipe))


def _evaluate(args: argparse.Namespace) -> None:
    recipe = _read_recipe(args)
    quiet_libraries()
    from mtl_nlp.run import evaluate

    metrics = evaluate(args.model, recipe, split=args.split)
    if args.json:
        _print_json(metrics)
    else:
        from mtl_nlp.tables import metrics_table

        _print(metrics_table(metrics))


def _predict(args: argparse.Namespace) -> None:
    from mtl_nlp.inference.input_files import PlacedRow, RowFile, check_input, text_rows
    from mtl_nlp.inference.output_files import check_output

    if args.texts and args.input:
        raise UserError(
            f"expected texts or --input, found both ({args.texts[0]!r} and {args.input}); give one"
        )
    if not args.texts and args.input is None:
        raise UserError("nothing to predict; give texts, --input FILE, or --input - for stdin")
    if args.input is not None:
        check_input(args.input)
    if args.output is not None:
        check_output(args.output, args.input)
    rows: Iterable[PlacedRow] = text_rows(args.texts)
    quiet_libraries()
    from mtl_nlp.inference.file_prediction import predicted_rows
    from mtl_nlp.inference.pipeline import pipeline

    pipe = pipeline(args.model, batch_size=args.batch_size)
    with contextlib.ExitStack() as stack:
        if args.input is not None:
            from mtl_nlp.prediction_reports import reading

            to_screen = args.output is None and sys.stdout.isatty()
            rows = stack.enter_context(reading(RowFile(args.input), quiet=to_screen))
        predicted = predicted_rows(pipe.predictor, rows, args.tasks, warn=_warn)
        _print_predictions(args, predicted)


def _print_predictions(args: argparse.Namespace, rows: Iterable[Mapping[str, Any]]) -> None:
    from mtl_nlp.inference.output_files import json_line, write_rows

    if args.output is not None:
        written = write_rows(rows, Path(args.output))
        if args.json:
            _print_json({"path": args.output, "rows": written})
        else:
            print(f"{written:,} rows with predictions: {args.output}")
    elif args.texts and not args.json:
        from mtl_nlp.prediction_reports import prediction

        for row in rows:
            _print(*prediction(row["text"], row["predictions"]))
    else:
        for row in rows:
            print(json_line(row))


def _export(args: argparse.Namespace) -> None:
    quiet_libraries()
    from mtl_nlp.inference.export import export_transformers
    from mtl_nlp.model.loading import load_model, load_tokenizer

    model = load_model(args.model)
    names = list(model.tasks)
    if args.task is None and len(names) != 1:
        raise UserError(f"--task: name the one to export; the model has {', '.join(names)}")
    task = args.task or names[0]
    folder = export_transformers(model, task, Path(args.output), load_tokenizer(args.model))
    if args.json:
        _print_json({"path": str(folder), "format": args.format, "task": task})
    else:
        print(f"task {task} as a stock {args.format} model: {folder}")


def _push(args: argparse.Namespace) -> None:
    quiet_libraries()
    from huggingface_hub import get_token

    from mtl_nlp.hub.publish import MESSAGE, push_folder
    from mtl_nlp.hub.publish_model import refresh_card

    if get_token() is not None:  # else the push is refused, and leaves nothing
        refresh_card(Path(args.model), args.repo_id)
    pushed = push_folder(
        Path(args.model),
        args.repo_id,
        private=args.private,
        message=args.message or MESSAGE,
        revision=args.revision,
    )
    if args.json:
        _print_json({"url": pushed.url, "commit": pushed.commit})
    else:
        print(f"published: {pushed.url}")


def _card(args: argparse.Namespace) -> None:
    from mtl_nlp.hub.card import write_card

    card = write_card(Path(args.model))
    for problem in card.problems:
        print(f"model card: {problem}", file=sys.stderr)
    if args.json:
        _print_json({"path": str(card.path), "problems": list(card.problems)})
    else:
        print(f"model card: {card.path}")


def _tasks(args: argparse.Namespace) -> None:
    from mtl_nlp.tasks import TASK_TYPES
    from mtl_nlp.type_reports import describe_type, task_types

    names = list(TASK_TYPES) if args.type is None else [args.type]
    if unknown := [name for name in names if name not in TASK_TYPES]:
        raise UserError(f"no task type {unknown[0]!r}; {did_you_mean(unknown[0], TASK_TYPES)}")
    types = {name: describe_type(TASK_TYPES[name]) for name in names}
    if args.json:
        _print_json(types)
    else:
        _print(*task_types(types))


def _read_recipe(args: argparse.Namespace) -> "Recipe":
    from mtl_nlp.recipe import Recipe

    if Path(args.recipe).suffix == ".py":
        words = " ".join(["python", args.recipe, *args.overrides])
        raise RecipeError(f"{args.recipe}: a recipe in Python is a script; run it with `{words}`")
    return Recipe.from_yaml(args.recipe, args.overrides)


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def _print_json(document: Mapping[str, Any]) -> None:
    print(json.dumps(document, ensure_ascii=False))


def _print(*parts: "RenderableType") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    for part in parts:
        console.print(part)


_COMMANDS = {
    "check": _Command("check a recipe and its data, and print the plan", recipe_words, _check),
    "train": _Command("train, evaluate, and leave the run folder", train_words, _train),
    "evaluate": _Command("the recipe's metrics of a model", evaluate_words, _evaluate),
    "predict": _Command("all tasks on texts or a file", predict_words, _predict),
    "export": _Command("one task as a stock transformers model", export_words, _export),
    "push": _Command("publish a model folder on the Hub", push_words, _push),
    "card": _Command("write the model card anew", card_words, _card),
    "tasks": _Command("task types, their columns, metrics and options", tasks_words, _tasks),
}
