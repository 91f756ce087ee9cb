"""How a model is used, in its card: code and commands that run as they stand there."""

import json
import shlex
from typing import Any

from mtl_nlp.hub.markdown import block, code
from mtl_nlp.hub.run_folder import RunFolder, known
from mtl_nlp.tasks.base import Task
from mtl_nlp.tasks.views import DrawnView

_SAMPLES: dict[str, Any] = {
    "text": "A text of your own.",
    "text_pair": "The text that goes with it.",
    "choices": ["One choice.", "Another choice."],
}


def usage(source: RunFolder, address: str) -> str:
    """Code that loads the model and predicts."""
    lines = ["from mtl_nlp import pipeline", "", f"pipe = pipeline({_literal(address)})"]
    for columns, names in _by_input(source).items():
        example = {one: _SAMPLES[one] for one in columns}
        argument = example if len(example) > 1 else example["text"]
        lines.append(f"predictions = pipe({_literal(argument)})")
        lines += [f"print(predictions[{_literal(name)}])" for name in names]
    if fillers := [name for name, task in _tasks(source).items() if _fills(task)]:
        lines.append("mask = pipe.predictor.encoder.tokenizer.mask_token")
        lines += [f'print(pipe(f"A text of {{mask}} own.")[{_literal(name)}])' for name in fillers]
    return block("python", lines)


def commands(source: RunFolder, address: str) -> str:
    """The command that predicts, for a file of each kind of input that the tasks have."""
    parts = []
    for columns in _by_input(source):
        plain = columns == ("text",)
        example = _literal({one: _SAMPLES[one] for one in columns})
        told = "a text on each line" if plain else f"lines such as {code(example)}"
        file, output = ("texts.txt", "out.jsonl") if plain else ("rows.jsonl", "answers.jsonl")
        command = ["mtl-nlp", "predict", address, "--input", file, "--output", output]
        parts += [f"For a file with {told}:", block("bash", [shlex.join(command)])]
    return "\n\n".join(parts)


def export(source: RunFolder, address: str) -> str:
    """Which heads can become stock models, and the command for the first."""
    stock = {name: task for name, task in source.tasks.items() if task.stock and task.auto_class}
    if not stock:
        return (
            "None of the heads is one that stock transformers has for this encoder, so none can be"
            " exported as a stock model."
        )
    name = next(iter(stock))
    listed = ", ".join(f"{code(one)} (`{task.auto_class}`)" for one, task in stock.items())
    command = ["mtl-nlp", "export", address, "--format", "transformers", "--task", name]
    told = f"One head with the encoder, as a model for stock transformers: {listed}."
    return f"{told}\n\n" + block("bash", [shlex.join([*command, "--output", f"{name}_model"])])


def _by_input(source: RunFolder) -> dict[tuple[str, ...], list[str]]:
    """The tasks by the columns that a call must give for them to answer."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, task in _tasks(source).items():
        if _fills(task):
            continue
        # A task that was trained on lists of words reads plain text as well.
        extra = [one for one in task.inputs if one in _SAMPLES and one != "text"]
        groups.setdefault(("text", *extra), []).append(name)
    return groups or {("text",): []}


def _tasks(source: RunFolder) -> dict[str, Task]:
    return known(lambda: source.tasks) or {}


def _fills(task: Task) -> bool:
    """Whether it answers only where a text leaves something out."""
    return isinstance(task.view, DrawnView)


def _literal(value: Any) -> str:
    """Texts, lists and mappings of texts as Python writes them."""
    return json.dumps(value, ensure_ascii=False)
