"""What a saved model says of itself."""

import json
from pathlib import Path

import pytest

from mtl_nlp.errors import RecipeError
from mtl_nlp.model.configuration import MultiTaskConfig, set_dropout
from mtl_nlp.tasks import saved_form
from mtl_nlp.tasks.text_classification import TextClassification
from mtl_nlp.tasks.token_classification import TokenClassification
from tests.tiny import LIFTABLE, NOT_LIFTABLE, tiny_config

TOPIC = TextClassification(name="topic", labels=("b", "a"), weight=0.5)
NER = TokenClassification(name="a_ner", labels=("person",), scheme="bioes")


def test_tasks_and_settings_come_back_in_their_order(tmp_path: Path) -> None:
    config = MultiTaskConfig(tiny_config(), max_seq_length=7, word_pattern=r"\w", join="")
    config.set_task(TOPIC)
    config.set_task(NER)
    config.save_pretrained(tmp_path)
    loaded = MultiTaskConfig.from_pretrained(tmp_path)
    assert list(loaded.build_tasks().items()) == [("topic", TOPIC), ("a_ner", NER)]
    assert (loaded.max_seq_length, loaded.word_pattern, loaded.join) == (7, r"\w", "")
    assert loaded.encoder_config.to_dict() == config.encoder_config.to_dict()
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "mtl_nlp"


def test_a_task_of_the_same_name_takes_the_others_place() -> None:
    config = MultiTaskConfig(tiny_config())
    config.set_task(TOPIC)
    config.set_task(TextClassification(name="topic", labels=("x", "y")))
    assert config.build_tasks()["topic"].labels == ("x", "y")
    config.remove_task("topic")
    assert config.build_tasks() == {}


def test_the_vocabulary_is_the_encoders() -> None:
    encoder = tiny_config()
    assert MultiTaskConfig(encoder).get_text_config() is encoder


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_attention_of_a_loaded_encoder_stays(attention: str) -> None:
    encoder = tiny_config()
    encoder._attn_implementation = attention
    assert MultiTaskConfig(encoder).encoder_config._attn_implementation == attention


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"type": "text_clasification"}, "tasks.topic: 'text_clasification' is no task type; did"),
        ({"labls": ["x"]}, "tasks.topic.labls: unknown key"),
        ({"weight": "much"}, "tasks.topic.weight: .*, found 'much'"),
    ],
)
def test_tasks_of_another_version_are_refused(change: dict[str, object], message: str) -> None:
    config = MultiTaskConfig(tiny_config(), tasks=[{**saved_form(TOPIC), **change}])
    with pytest.raises(RecipeError, match=f"config.json: {message}"):
        config.build_tasks()


@pytest.mark.parametrize("architecture", [*LIFTABLE, *NOT_LIFTABLE])
def test_every_dropout_is_set(architecture: str) -> None:
    config = tiny_config(architecture)
    set_dropout(config, 0.0)
    left = {
        name: value
        for name, value in config.to_dict().items()
        if ("dropout" in name or "drop" in name.split("_")) and value
    }
    assert left == {}
