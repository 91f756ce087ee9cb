"""Metrics in local folders, as `evaluate.load` takes them: programs of a few lines."""

from pathlib import Path

_SCRIPT = """
{imports}
import datasets
import evaluate


class Script(evaluate.Metric):
    def _info(self):
        kind = datasets.{kind}
        features = datasets.Features({{name: kind for name in {inputs}}})
        return evaluate.MetricInfo(
            description="", citation="", inputs_description="", features=features
        )

    def _compute(self, predictions, references):
        {compute}
"""

IDS = 'Value("int64")'
TAGS = 'List(datasets.Value("string"))'
WRONG = 'return {"wrong": sum(p != r for p, r in zip(predictions, references))}'


def metric_folder(
    path: Path,
    name: str,
    *,
    kind: str = IDS,
    imports: str = "",
    compute: str = WRONG,
    inputs: tuple[str, ...] = ("predictions", "references"),
) -> str:
    """Write a metric's folder into a folder, and give its path.

    Args:
        path: Where the folder is made.
        name: Of the metric.
        kind: What it takes for a row, in the words of `datasets`.
        imports: Lines at the script's head.
        compute: The statement that scores ``predictions`` and ``references``.
        inputs: The names of what it takes.
    """
    folder = path / name
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(
        metric_script(kind=kind, imports=imports, compute=compute, inputs=inputs)
    )
    return str(folder)


def metric_script(
    *,
    kind: str = IDS,
    imports: str = "",
    compute: str = WRONG,
    inputs: tuple[str, ...] = ("predictions", "references"),
) -> str:
    """The text of a metric's script."""
    return _SCRIPT.format(kind=kind, imports=imports, compute=compute, inputs=inputs)
