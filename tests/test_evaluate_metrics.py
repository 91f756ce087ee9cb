import random

import evaluate
import pytest

from mtl_nlp.errors import HubError
from mtl_nlp.evaluate_metrics import F1, Accuracy, MatthewsCorrelation, SpanF1, load_metric
from mtl_nlp.metrics import classification_scores, span_scores
from tests.metric_scripts import metric_folder, metric_script

CLASSES = [Accuracy, F1, MatthewsCorrelation]


@pytest.fixture
def labels():
    rng = random.Random(0)
    return {side: rng.choices(["a", "b", "c"], k=200) for side in ("predictions", "references")}


@pytest.fixture
def tags():
    rng = random.Random(0)
    return {
        side: [rng.choices(["O", "B-a", "I-a", "B-b"], k=length % 9) for length in range(50)]
        for side in ("predictions", "references")
    }


@pytest.mark.parametrize("metric_class", CLASSES)
def test_label_metrics_give_the_scores_of_the_function(metric_class, labels, tmp_path):
    expected = classification_scores(labels["references"], labels["predictions"])
    scores = metric_class(cache_dir=str(tmp_path)).compute(**labels)
    assert scores == {key: expected[key] for key in metric_class.keys}


def test_together_the_label_metrics_give_all_scores_of_the_function(labels):
    combined = evaluate.combine([metric_class() for metric_class in CLASSES])
    assert combined.compute(**labels) == classification_scores(
        labels["references"], labels["predictions"]
    )


def test_the_span_metric_gives_the_scores_of_the_function(tags):
    assert SpanF1().compute(**tags) == span_scores(tags["references"], tags["predictions"])


def test_label_ids_are_taken_as_well(labels):
    ids = {side: ["abc".index(name) for name in names] for side, names in labels.items()}
    assert F1().compute(**ids) == F1().compute(**labels)


def test_batches_add_up(labels, tags):
    accuracy, spans = Accuracy(), SpanF1()
    for start in range(0, 200, 50):
        accuracy.add_batch(**{side: names[start : start + 50] for side, names in labels.items()})
    for truth, guess in zip(tags["references"], tags["predictions"], strict=True):
        spans.add(reference=truth, prediction=guess)
    assert accuracy.compute() == Accuracy().compute(**labels)
    assert spans.compute() == SpanF1().compute(**tags)


def test_a_metric_is_loaded_from_a_folder(tmp_path):
    metric = load_metric(metric_folder(tmp_path, "wrongness"))
    assert metric.compute(predictions=[1, 2, 3], references=[1, 1, 1]) == {"wrong": 2}


@pytest.mark.parametrize(
    ("name", "space"),
    [("erroneous", "evaluate-metric/erroneous"), ("org/mistaken", "org/mistaken")],
)
def test_a_metric_is_loaded_by_its_name_on_the_hub(hub, name, space):
    hub.create(space, kind="spaces")
    script = {f"{space.partition('/')[2]}.py": metric_script().encode()}
    hub.commit(space, script, "the metric", kind="spaces")
    metric = load_metric(name)
    assert metric.compute(predictions=[1, 2, 3], references=[1, 1, 1]) == {"wrong": 2}
    assert hub.asked(f"GET /spaces/{space}/resolve/main/")


@pytest.mark.parametrize("name", ["nosuchmetric", "nobody/nosuchmetric", "/nowhere/at/all"])
def test_a_metric_that_is_nowhere_is_refused_with_the_mend(name):
    with pytest.raises(HubError, match=f"expected metric '{name}' on the Hub.*the network"):
        load_metric(name)


def test_a_metric_whose_package_is_missing_is_refused_by_its_name(tmp_path):
    folder = metric_folder(tmp_path, "needy", imports="import package_that_is_not_there")
    with pytest.raises(HubError, match=r"not installed: .*package_that_is_not_there"):
        load_metric(folder)


def test_a_metric_whose_script_fails_is_refused_with_its_reason(tmp_path):
    folder = metric_folder(tmp_path, "failing", imports="raise RuntimeError('not today')")
    with pytest.raises(HubError, match=r"its program fails with RuntimeError: not today; mend"):
        load_metric(folder)


def test_a_folder_whose_script_is_no_metric_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "empty.py").write_text("")
    with pytest.raises(HubError, match=r"metric '.*empty' could not be loaded"):
        load_metric(str(tmp_path / "empty"))
