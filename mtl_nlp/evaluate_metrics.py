"""The package's scores as `evaluate.Metric` classes that download nothing, and metrics of the Hub.

A file of its own because importing evaluate takes seconds, and because a Metric writes what it is
given to Arrow files before it scores: the package itself calls the functions in `metrics`. Unlike
those, the classes need at least one item, as evaluate tells names from ids by looking at the first.
"""

from collections.abc import Sequence
from typing import ClassVar

import evaluate
from datasets import Features, List, Value

from mtl_nlp.errors import HubError
from mtl_nlp.metrics import SpanScores, classification_scores, span_scores

_Labels = Sequence[str] | Sequence[int]
_LABELS = [
    Features({"predictions": Value(dtype), "references": Value(dtype)})
    for dtype in ("string", "int64")
]
_TAGS = Features({"predictions": List(Value("string")), "references": List(Value("string"))})

_SKLEARN = """@article{scikit-learn,
  title={Scikit-learn: Machine Learning in {P}ython},
  author={Pedregosa, F. and Varoquaux, G. and Gramfort, A. and others},
  journal={Journal of Machine Learning Research}, volume={12}, pages={2825--2830}, year={2011}}"""
_SEQEVAL = """@misc{seqeval,
  title={{seqeval}: A Python framework for sequence labeling evaluation},
  author={Hiroki Nakayama}, url={https://github.com/chakki-works/seqeval}, year={2018}}"""


class _LabelMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate has no types
    """Some of the `classification_scores`, those of ``keys``."""

    keys: ClassVar[tuple[str, ...]]

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation=_SKLEARN,
            inputs_description="predictions, references: one label per item, names or integer ids.",
            features=_LABELS,
        )

    def _compute(self, *, predictions: _Labels, references: _Labels) -> dict[str, float]:
        scores = classification_scores(references, predictions)
        return {key: scores[key] for key in self.keys}


class Accuracy(_LabelMetric):
    """Share of labels that are right: ``{"accuracy": float}``."""

    keys = ("accuracy",)


class F1(_LabelMetric):
    """Macro and weighted F1 over the labels that occur: ``{"macro_f1", "weighted_f1": float}``."""

    keys = ("macro_f1", "weighted_f1")


class MatthewsCorrelation(_LabelMetric):
    """Matthews correlation of any number of labels: ``{"mcc": float}`` in [-1, 1]."""

    keys = ("mcc",)


class SpanF1(evaluate.Metric):  # type: ignore[misc]
    """Precision, recall and F1 of whole spans from BIO tags, over all (micro) and ``per_type``."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation=_SEQEVAL,
            inputs_description="predictions, references: a list of BIO or BIOES tags per sentence.",
            features=_TAGS,
        )

    def _compute(
        self, *, predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]
    ) -> SpanScores:
        return span_scores(references, predictions)


def load_metric(name: str) -> evaluate.EvaluationModule:
    """A metric by its name on the Hub, or from a folder with its script (`evaluate.load`).

    What is loaded is a program by its author, and is executed here. What it is given to score is
    kept in memory, and what it draws at random is the same every time.

    Args:
        name: ``"rouge"``, ``"org/name"``, or the path of a folder with a script of the same name.

    Raises:
        HubError: If it cannot be fetched, something that it imports is not installed, or its
            program fails.
    """
    try:
        return evaluate.load(name, keep_in_memory=True, seed=0)
    except ImportError as error:
        raise HubError(f"metric {name!r} needs a package that is not installed: {error}") from error
    except OSError as error:  # evaluate answers FileNotFoundError also where there is no network
        raise HubError(
            f"expected metric {name!r} on the Hub or in a folder, but it was not found or the "
            "Hub could not be reached; check the name and the network, or give the path of a "
            f"folder that holds its script ({error})"
        ) from error
    except Exception as error:  # a stranger's program may raise anything
        raise HubError(
            f"metric {name!r} could not be loaded: its program fails with {type(error).__name__}:"
            f" {error}; mend the script, or leave the metric out"
        ) from error
