import pytest
from accelerate import Accelerator

from mtl_nlp.inference.predictor import Predictor
from mtl_nlp.training.evaluation import evaluate_rows
from mtl_nlp.training.judging import judge
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.selection import Select
from mtl_nlp.training.training_data import TrainingData
from tests.runs import tiny_model, tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("judging")))


@pytest.mark.parametrize(
    ("select", "weights"),
    [("mean", (1, 1, 1)), ({"ner": 1.0, "topic": 3.0}, (0, 1, 3)), ("topic.accuracy", (0, 0, 1))],
)
def test_it_scores_the_model_and_selects_as_the_recipe_says(
    prepared: Prepared, select: Select, weights: tuple[int, ...]
) -> None:
    predictor = Predictor(tiny_model(prepared), prepared.encoder)
    rows = prepared.labelled("validation")
    data = TrainingData(prepared.train, prepared.datasets_of_tasks(), rows)
    found = judge(predictor, data, select, Accelerator(cpu=True))
    assert found.scores == evaluate_rows(predictor, rows)
    assert found.primary == {"intent": "accuracy", "ner": "f1", "topic": "accuracy"}
    values = [found.tasks[name][metric] for name, metric in found.primary.items()]
    assert found.mean == pytest.approx(sum(values) / 3)
    expected = sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)
    assert found.selected == pytest.approx(expected)
