import inspect
from typing import Any

import pytest
import torch
from torchjd import aggregation, scalarization

from mtl_nlp.errors import RecipeError
from mtl_nlp.recipe import BalancingSpec
from mtl_nlp.training.balancing_methods import (
    KNOWN_BEFORE,
    LEARNED,
    Method,
    find_method,
    method_names,
)

TASKS = ("mood", "ner", "topic")


def method(name: str, **options: Any) -> Method:
    return find_method(BalancingSpec(method=name, options=options), TASKS)


def test_every_class_of_torchjd_has_its_name() -> None:
    names = set(method_names())
    assert {"uw", "dwa", "famo", "geometric_mean", "stch", "up_grad", "pc_grad", "ca_grad"} <= names
    assert {"mgda", "nash_mtl", "aligned_mtl", "imtlg", "imtll", "con_fig", "cosmos"} <= names
    classes = {
        name
        for module in (scalarization, aggregation)
        for name, kind in vars(module).items()
        if inspect.isclass(kind) and not inspect.isabstract(kind) and "Weighting" not in name
    }
    assert len(names) == len(classes - {"WeightedAggregator", "GramianWeightedAggregator"})
    assert set(KNOWN_BEFORE) | set(LEARNED) <= names


@pytest.mark.parametrize("name", ["mean", "sum", "random"])
def test_a_name_of_both_means_the_scalarizer(name: str) -> None:
    assert not method(name).aggregates


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("upgrad", {}, r"balancing\.method: no method `upgrad`; did you mean `up_grad`\?"),
        ("stch", {}, r"balancing\.options: stch needs mu, a number; give `options: \{mu: …\}`"),
        ("stch", {"wights": [1]}, r"no option `wights`; did you mean `weights`\?"),
        ("mean", {"mu": 1}, r"mean has no option `mu`; it has none"),
        ("uw", {"shape": 3}, r"uw has no option `shape`; it has none"),
        ("grad_drop", {"f": "abs"}, r"grad_drop has no option `f`; known is `leak`"),
        ("stch", {"mu": "much"}, r"options\.mu: should be a number, found \"much\""),
        ("stch", {"mu": True}, r"options\.mu: should be a number, found true"),
        ("stch", {"mu": -1}, r"stch does not work for 3 tasks with these options: .*positive"),
        ("constant", {}, r"constant needs weights, a number for each task \(mood, ner, topic\)"),
        ("constant", {"weights": [1, 2]}, r"weights: should be a number for each task"),
        ("constant", {"weights": {"mod": 1}}, r"no task `mod`; did you mean `mood`"),
        ("constant", {"weights": {"mood": 1, "ner": 2}}, r"no number for task `topic`"),
        ("krum", {"n_byzantine": 0.5}, r"n_byzantine: should be a whole number, found 0\.5"),
        ("krum", {"n_byzantine": 1}, r"krum does not work for 3 tasks .*at least 4 rows"),
        ("trimmed_mean", {"trim_number": 2}, r"trimmed_mean does not work for 3 tasks"),
        ("aligned_mtl", {"scale_mode": "max"}, r"scale_mode: should be min or median or rmse"),
        ("pcd", {"tau": 2.0}, r"pcd does not work for 3 tasks .*must be in \[0, 1\]"),
        ("pcd", {"tau": {"mood": 0.1}}, r"options\.tau: no task `mood`"),
    ],
)
def test_what_a_recipe_gets_wrong_is_told(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        method(name, **options)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = "torchjd._mixins.find_spec"
    monkeypatch.setattr(find_spec, lambda name: None)
    told = r"balancing\.method: up_grad: .*requires .*quadprog.* pip install \"torchjd\[quadprog_"
    with pytest.raises(RecipeError, match=told):
        method("up_grad")


def test_numbers_of_tasks_may_be_named_or_in_their_order() -> None:
    by_name = method("constant", weights={"topic": 3.0, "mood": 1, "ner": 2})
    in_order = method("constant", weights=[1, 2, 3])
    for one in (by_name, in_order):
        assert one.by_task["weights"].tolist() == [1.0, 2.0, 3.0]
        made, values = one.make(3), torch.tensor([1.0, 1.0], dtype=torch.float64)
        one.narrow(made, ["mood", "topic"], values)
        assert made(values).item() == 4.0
    assert method("pcd", tau={"ner": 0.1, "topic": 0.2}).make(3).tau.tolist() == [0.1, 0.2]
