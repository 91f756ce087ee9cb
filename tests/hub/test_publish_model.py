import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from mtl_nlp import MultiTaskModel, pipeline
from mtl_nlp.errors import HubError, ModelError
from mtl_nlp.hub.card import MARKER
from tests.hub_server import READER, WRITER, HubServer
from tests.tiny import tiny_encoder, tiny_tokenizer

REPO = "tester/b"
TASKS = {"mood": {"type": "text_classification", "labels": ["bad", "good"]}}


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return tiny_encoder(tmp_path / "encoder")


@pytest.fixture
def saved(encoder: Path, tmp_path: Path) -> Path:
    MultiTaskModel.from_encoder(encoder, TASKS).save_pretrained(tmp_path / "saved")
    tiny_tokenizer().save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def assert_whole(hub: HubServer, local: MultiTaskModel) -> None:
    """The repository loads, predicts, and has a card of ours that names it."""
    assert len(hub.commits(REPO)) == 2
    loaded = pipeline(REPO, token=WRITER, device="cpu")
    assert loaded("A text.")["mood"]["label"] in ("bad", "good")
    weights = loaded.predictor.model.state_dict()
    assert all(weights[name].equal(one) for name, one in local.state_dict().items())
    card = hub.files(REPO)["README.md"].decode()
    assert MARKER in card
    assert f'pipeline("{REPO}")' in card


def test_a_model_with_fresh_heads_takes_its_encoders_tokenizer_along(
    hub: HubServer, encoder: Path
) -> None:
    model = MultiTaskModel.from_encoder(encoder, TASKS)
    assert model.push_to_hub(REPO, token=WRITER) == f"{hub.endpoint}/{REPO}"
    assert_whole(hub, model)


def test_a_loaded_model_takes_its_tokenizer_along(hub: HubServer, saved: Path) -> None:
    model = MultiTaskModel.from_pretrained(saved)
    model.push_to_hub(REPO, token=WRITER, private=True, commit_message="Mine")
    assert hub.commits(REPO)[-1].title == "Mine"
    assert_whole(hub, model)


def test_a_model_of_the_auto_class_is_published_by_us_whatever_was_imported(
    hub: HubServer, saved: Path
) -> None:
    code = (
        "import sys; from transformers import AutoModel; from mtl_nlp import MultiTaskModel\n"
        "assert not any(name.startswith('mtl_nlp.hub') for name in sys.modules)\n"
        f"AutoModel.from_pretrained(sys.argv[1]).push_to_hub({REPO!r}, token={WRITER!r})"
    )
    ended = subprocess.run([sys.executable, "-c", code, saved], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert_whole(hub, MultiTaskModel.from_pretrained(saved))


def test_a_pipelines_model_goes_from_repository_to_repository(hub: HubServer, saved: Path) -> None:
    MultiTaskModel.from_pretrained(saved).push_to_hub("tester/a", token=WRITER, revision="v1")
    model = pipeline("tester/a@v1", token=WRITER).predictor.model
    model.push_to_hub(REPO, token=WRITER)
    assert_whole(hub, model)


def test_a_model_without_a_source_needs_a_tokenizer(hub: HubServer, encoder: Path) -> None:
    model = MultiTaskModel(MultiTaskModel.from_encoder(encoder, TASKS).config)
    with pytest.raises(ModelError, match=r"does not know its tokenizer; pass it .* as tokenizer="):
        model.push_to_hub(REPO, token=WRITER)
    assert not hub.requests
    tokenizer: PreTrainedTokenizerBase = tiny_tokenizer()
    model.push_to_hub(REPO, token=WRITER, tokenizer=tokenizer)
    assert_whole(hub, model)


def test_a_source_without_a_tokenizer_is_told(hub: HubServer, saved: Path) -> None:
    for file in saved.glob("tokenizer*"):
        file.unlink()
    model = MultiTaskModel.from_pretrained(saved)
    with pytest.raises(ModelError, match=r"tokenizer was not found: .*; pass it .* as tokenizer="):
        model.push_to_hub(REPO, token=WRITER)
    assert not hub.repositories


def test_a_persons_card_in_the_repository_stays(hub: HubServer, saved: Path) -> None:
    model = MultiTaskModel.from_pretrained(saved)
    model.push_to_hub(REPO, token=WRITER)
    hub.commit(REPO, {"README.md": b"# My own words\n"}, "Words")
    model.remove_task("mood")
    model.add_task("topic", TASKS["mood"])
    model.push_to_hub(REPO, token=WRITER)
    assert hub.files(REPO)["README.md"] == b"# My own words\n"
    assert b"topic" in hub.files(REPO)["config.json"]


class Asked:
    """Tells how it was asked to push."""

    def push_to_hub(self, *words: Any, **options: Any) -> Any:
        return words, options


def test_a_refused_push_names_no_folder_that_is_gone(hub: HubServer, saved: Path) -> None:
    model = MultiTaskModel.from_pretrained(saved)
    with pytest.raises(HubError, match=r"may not write.*call push_to_hub again") as failure:
        model.push_to_hub(REPO, token=READER)
    assert str(failure.value).startswith("the model was not pushed to tester/b")
    assert "mtl-nlp push" not in str(failure.value)
    assert str(failure.value).endswith(" again: model.push_to_hub('tester/b', token=token)")
    options = {"commit_message": "It's mine", "private": False, "revision": "try/2"}
    with pytest.raises(HubError, match="may not write") as failure:
        model.push_to_hub(REPO, tokenizer=tiny_tokenizer(), token=READER, **options)
    again = str(failure.value).partition(" again: ")[2]
    asked = eval(again, {"model": Asked(), "tokenizer": 1, "token": 2})
    assert asked == ((REPO,), {"tokenizer": 1, "token": 2, **options})
    assert READER not in str(failure.value)


def test_a_card_that_cannot_be_looked_at_is_not_written_over(hub: HubServer, saved: Path) -> None:
    model = MultiTaskModel.from_pretrained(saved)
    model.push_to_hub(REPO, token=WRITER)
    hub.commit(REPO, {"README.md": b"# My own words\n"}, "Words")
    hub.answer(403, ".*README.md", times=9)
    with pytest.raises(HubError, match="did not tell whether a card is there"):
        model.push_to_hub(REPO, token=WRITER)
    assert hub.files(REPO)["README.md"] == b"# My own words\n"


@pytest.mark.parametrize(("repo_id", "mend"), [("a/b/c", "owner/name"), ("b", "tester/b")])
def test_a_bare_name_goes_to_the_tokens_owner_and_a_wrong_one_is_told(
    hub: HubServer, saved: Path, repo_id: str, mend: str
) -> None:
    model = MultiTaskModel.from_pretrained(saved)
    if repo_id == "b":
        assert model.push_to_hub(repo_id, token=WRITER).endswith(mend)
    else:
        with pytest.raises(HubError, match=mend):
            model.push_to_hub(repo_id, token=WRITER)
