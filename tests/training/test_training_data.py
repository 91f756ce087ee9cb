from collections.abc import Callable
from zlib import crc32

import numpy as np
import pytest

from mtl_nlp.errors import UserError
from mtl_nlp.training.preparation import Prepared, prepare
from mtl_nlp.training.training_data import TrainingData
from tests.runs import tiny_recipe


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tiny_recipe(tmp_path_factory.mktemp("training_data")))


@pytest.fixture
def data(prepared: Prepared) -> TrainingData:
    return TrainingData(prepared.train, prepared.datasets_of_tasks(), [])


def test_it_tells_rows_sub_words_and_encoder_rows_by_dataset(
    prepared: Prepared, data: TrainingData
) -> None:
    assert data.sizes == {"chat": 60, "news": 40}
    assert data.datasets == {"intent": ["chat"], "ner": ["chat", "news"], "topic": ["news"]}
    for name, split in prepared.train.items():
        assert data.lengths[name].tolist() == split.lengths.tolist()
        assert data.encoder_rows[name].tolist() == split.encoder_rows.tolist()
        assert data.fingerprints[name] == crc32(split.lengths.astype(np.int64).tobytes())


def test_the_same_rows_are_gone_on_with(data: TrainingData) -> None:
    data.check_same(data.fingerprints)
    data.check_same({})  # an older checkpoint does not know


@pytest.mark.parametrize(
    "change",
    [lambda rows: rows[::-1], lambda rows: rows[:-1], lambda rows: rows + 1],
    ids=["order", "number", "lengths"],
)
def test_other_rows_are_not(data: TrainingData, change: Callable[[np.ndarray], np.ndarray]) -> None:
    lengths = change(data.lengths["news"])
    before = {**data.fingerprints, "news": crc32(lengths.tobytes())}
    with pytest.raises(UserError, match=r"rows of dataset 'news' are not those .* --overwrite"):
        data.check_same(before)
    with pytest.raises(UserError, match=r"rows of dataset 'news' are not those"):
        data.check_same({"chat": data.fingerprints["chat"]})
