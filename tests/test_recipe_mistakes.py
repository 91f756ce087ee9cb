from mtl_nlp.recipe_mistakes import broken_references, differences, together, unequal_joins


def test_one_mistake_is_told_alone_and_several_on_lines_of_their_own() -> None:
    assert together(["a: wrong"]) == "a: wrong"
    assert together(["a: wrong", "b: worse"]) == "2 mistakes:\n  a: wrong\n  b: worse"


def test_whole_references_break_nothing() -> None:
    tasks = {"ner": ["wnut"], "mood": ["sst2", "imdb"]}
    for select in ("mean", "worst", "ner.f1", {"ner": 2.0, "mood": 1.0}):
        assert not list(broken_references(["wnut", "sst2", "imdb"], tasks, select))


def test_every_broken_reference_is_told() -> None:
    told = list(broken_references(["wnut"], {"ner": ["wnt"]}, {"nre": 1.0}))
    assert [line.partition(":")[0] for line in told] == ["tasks.ner.dataset", "evaluation.select"]
    told = list(broken_references(["wnut", "spare"], {"ner": ["wnut"]}, "worst"))
    assert [line.partition(":")[0] for line in told] == ["datasets.spare"]


def test_every_other_join_is_told_with_the_first() -> None:
    assert not list(unequal_joins({}))
    assert not list(unequal_joins({"a": "", "b": ""}))
    told = list(unequal_joins({"a": " ", "b": "", "c": " ", "d": "_"}))
    assert [line.partition(";")[0] for line in told] == [
        'datasets.b.join: should be " " as in `datasets.a`, found ""',
        'datasets.d.join: should be " " as in `datasets.a`, found "_"',
    ]


def test_differences_name_the_place_and_both_values() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": None, "e": "ü"}
    after = {"a": {"b": 2, "c": [1, 2]}, "d": None, "f": {"g": 1}}
    assert list(differences("", before, after)) == [
        "a.b: 1 -> 2",
        "a.c: [1] -> [1, 2]",
        'e: "ü" -> absent',
        'f: absent -> {"g": 1}',
    ]
    assert not list(differences("", before, before))
