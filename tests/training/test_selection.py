import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtl_nlp.errors import RecipeError
from mtl_nlp.tasks import build_task
from mtl_nlp.training.selection import (
    Selection,
    check_evaluated,
    check_selection,
    mean_score,
    selection_score,
)

SCORES = {"mood": {"accuracy": 0.75, "mcc": 0.25}, "ner": {"f1": 0.25, "precision": 0.5}}
PRIMARY = {"mood": "accuracy", "ner": "f1"}
TASKS = {
    "mood": build_task("mood", "text_classification", {"labels": ("a", "b")}, where="mood"),
    "ner": build_task("ner", "token_classification", {"labels": ("a",)}, where="ner"),
}


@pytest.mark.parametrize(
    ("select", "score"),
    [
        ("mean", 0.5),
        ("worst", 0.25),
        ({"mood": 3.0, "ner": 1.0}, 0.625),
        ({"ner": 2.0}, 0.25),
        ("ner.precision", 0.5),
        ("mood.mcc", 0.25),
    ],
)
def test_the_score_is_what_the_recipe_says(select: str | dict[str, float], score: float) -> None:
    assert selection_score(select, SCORES, PRIMARY) == pytest.approx(score)


def test_without_a_primary_metric_the_mean_is_0() -> None:
    assert mean_score(SCORES, {}) == 0.0
    assert mean_score({}, PRIMARY) == 0.0


@given(st.lists(st.floats(-1, 1), min_size=1))
def test_the_first_of_the_best_is_selected(scores: list[float]) -> None:
    selection = Selection()
    for step, score in enumerate(scores, start=1):
        selection = selection.after(score, step)
    best = max(scores)
    assert selection == Selection(best, scores.index(best) + 1, len(scores) - selection.step)


def test_a_score_that_is_no_number_is_beaten_by_any() -> None:
    undefined = Selection().after(math.nan, 1)
    assert undefined.step == 1
    assert undefined.after(math.nan, 2).since == 1
    assert undefined.after(-0.5, 2) == Selection(-0.5, 2)
    assert Selection(0.5, 1).after(math.nan, 2) == Selection(0.5, 1, since=1)


@pytest.mark.parametrize("select", ["mean", "worst", "ner.f1", "ner.recall", {"mood": 1.0}])
def test_what_the_tasks_have_may_select(select: str | dict[str, float]) -> None:
    check_selection(select, TASKS)
    check_evaluated(select, {"mood", "ner"}, TASKS)


@pytest.mark.parametrize("metric", ["accuracy", "per_type", "F1"])
def test_a_metric_that_its_task_has_not_is_refused(metric: str) -> None:
    message = rf"evaluation\.select: task 'ner' has no metric '{metric}'; it has f1, precision"
    with pytest.raises(RecipeError, match=message):
        check_selection(f"ner.{metric}", TASKS)


@pytest.mark.parametrize("select", ["ner.f1", {"mood": 1.0, "ner": 1.0}])
def test_a_task_without_labelled_rows_cannot_select(select: str | dict[str, float]) -> None:
    with pytest.raises(RecipeError, match="task 'ner' has no labelled row in validation"):
        check_evaluated(select, {"mood"}, TASKS)
    check_evaluated("mean", {"mood"}, TASKS)


def test_something_must_be_labelled_in_validation() -> None:
    with pytest.raises(RecipeError, match="no task has a labelled row in validation"):
        check_evaluated("mean", set(), TASKS)


MLM = build_task("mlm", "masked_language_modeling", {}, where="mlm")


def test_where_lower_is_better_the_lowest_is_selected() -> None:
    few, many = ({"mlm": {"perplexity": value}, **SCORES} for value in (8.0, 30.0))
    check_selection("mlm.perplexity", {**TASKS, "mlm": MLM})
    assert selection_score("mlm.perplexity", few, PRIMARY) > selection_score(
        "mlm.perplexity", many, PRIMARY
    )


@pytest.mark.parametrize("select", ["mean", "worst"])
def test_what_is_no_fraction_stays_out(select: str) -> None:
    tasks, scores = {**TASKS, "mlm": MLM}, {**SCORES, "mlm": {"perplexity": 30.0}}
    check_selection(select, tasks)
    assert selection_score(select, scores, PRIMARY) == selection_score(select, SCORES, PRIMARY)
    with pytest.raises(RecipeError, match=rf"no task .* counts in {select}; .* mlm\.perplexity"):
        check_selection(select, {"mlm": MLM})
    with pytest.raises(RecipeError, match="no task has a labelled row in validation to select by"):
        check_evaluated(select, {"mlm"}, tasks)


def test_what_is_no_fraction_is_not_weighed_with_others() -> None:
    with pytest.raises(RecipeError, match=r"'mlm' is no score to be weighed .*: mlm\.perplexity"):
        check_selection({"mood": 1.0, "mlm": 0.1}, {**TASKS, "mlm": MLM})
