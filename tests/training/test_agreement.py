"""What two processes agree on is in tests/properties/test_ranks.py; here is what one says."""

import pytest
from accelerate import Accelerator

from mtl_nlp.data.collator import Collator
from mtl_nlp.training.agreement import agree
from mtl_nlp.training.preparation import prepare
from tests.runs import tiny_recipe


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_what_is_agreed_on_does_not_depend_on_the_cuts(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    prepared = prepare(tiny_recipe(tmp_path_factory.mktemp("agreement")))
    chat, collator = prepared.train["chat"], Collator(prepared.tasks, 0)
    rows = range(len(chat))
    batches = [collator.batch([chat.take(list(rows[i : i + cut]))]) for i in rows[::cut]]
    agreed = agree(prepared.tasks, batches, 15, Accelerator(cpu=True))
    records = prepared.splits["chat"]["train"].to_list()
    assert agreed.counts == {
        "intent": sum(record["intent"] is not None for record in records),
        "ner": sum(len(record["tags"] or ()) for record in records),
        "topic": 0,
    }
    assert agreed.tokens == chat.lengths.sum()
    assert agreed.signum == 15
