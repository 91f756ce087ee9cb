import logging
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.numpy import load_file

from mtl_nlp.errors import HubError, ModelError
from mtl_nlp.hub.publish import push_folder
from tests.hub_server import READER, STRANGER, WRITER, HubServer
from tests.pushes import CARD, COMMIT, REPO, SENT, assert_tells_how_to_push_again, push

pytestmark = pytest.mark.usefixtures("waits")


def test_a_push_is_one_commit_of_what_belongs_to_the_model(hub: HubServer, folder: Path) -> None:
    result = push_folder(folder, REPO, token=WRITER, message="Sentiment and entities")
    initial, made = hub.commits(REPO)
    assert (made.oid, made.title, made.parent) == (
        result.commit,
        "Sentiment and entities",
        initial.oid,
    )
    assert result.url == f"{hub.endpoint}/{REPO}"
    assert set(hub.files(REPO)) == set(made.changed) == SENT
    assert len(hub.asked(COMMIT)) == 1
    assert len(hub.asked("PUT /lfs/")) == 1


def test_what_comes_back_is_what_went(hub: HubServer, folder: Path, tmp_path: Path) -> None:
    commit = push(folder)
    loaded = Path(snapshot_download(REPO, cache_dir=tmp_path / "cache", token=WRITER))
    assert loaded.name == commit
    came = {path.relative_to(loaded).as_posix() for path in loaded.rglob("*") if path.is_file()}
    assert came == SENT | {".gitattributes"}
    for place in SENT:
        assert (loaded / place).read_bytes() == (folder / place).read_bytes()
    weight = load_file(loaded / "model.safetensors")["weight"]
    np.testing.assert_array_equal(weight, np.arange(6.0).reshape(2, 3))


def test_a_second_push_of_the_same_makes_no_commit(hub: HubServer, folder: Path) -> None:
    assert push(folder) == push(folder)
    assert len(hub.commits(REPO)) == 2
    assert len(hub.asked(COMMIT)) == len(hub.asked("PUT /lfs/")) == 1


def test_only_what_has_changed_is_committed(hub: HubServer, folder: Path) -> None:
    push(folder)
    (folder / "metrics.json").write_text("{}")
    push(folder)
    assert hub.commits(REPO)[-1].changed == ("metrics.json",)
    assert set(hub.files(REPO)) == SENT


@pytest.mark.parametrize("private", [True, False])
def test_a_private_model_is_hidden_from_all_but_its_owner(
    hub: HubServer, folder: Path, private: bool
) -> None:
    push(folder, private=private)
    assert HfApi(token=WRITER).model_info(REPO).private is private
    for token in (False, STRANGER):
        if private:
            with pytest.raises(RepositoryNotFoundError, match="Repository Not Found"):
                hf_hub_download(REPO, "config.json", token=token)
        else:
            assert Path(hf_hub_download(REPO, "config.json", token=token)).is_file()


def test_a_revision_is_a_branch_of_its_own(hub: HubServer, folder: Path) -> None:
    first = push(folder)
    (folder / "metrics.json").write_text("{}")
    result = push_folder(folder, REPO, token=WRITER, revision="try/2")
    assert push(folder, revision="try/2") == result.commit
    assert result.url == f"{hub.endpoint}/{REPO}/tree/try/2"
    assert hub.commits(REPO)[-1].oid == first
    assert [commit.oid for commit in hub.commits(REPO, "try/2")][1:] == [first, result.commit]
    found = hf_hub_download(REPO, "metrics.json", revision="try/2", token=WRITER)
    assert Path(found).read_text() == "{}"
    with pytest.raises(RevisionNotFoundError, match="Revision Not Found"):
        hf_hub_download(REPO, "metrics.json", revision="nowhere", token=WRITER)


def test_a_bare_name_goes_to_the_tokens_owner(
    hub: HubServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", WRITER)
    assert push_folder(folder, "model").url == f"{hub.endpoint}/{REPO}"
    assert hub.files(REPO)["config.json"] == b'{"model_type": "mtl"}'


def test_a_fresh_process_needs_the_environment_alone(hub: HubServer, folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mtl_nlp.hub.publish import push_folder\n"
        f"print(push_folder(Path(sys.argv[1]), {REPO!r}, token={WRITER!r}).commit)"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.stdout.strip() == hub.commits(REPO)[-1].oid, done.stderr


@pytest.mark.parametrize(
    ("token", "repo_id", "mend"),
    [
        (READER, REPO, "may not write to tester/model"),
        (WRITER, "stranger/model", "may not write to stranger/model"),
        ("hf_unknown", REPO, "does not take the token.*hf auth login"),
    ],
)
def test_a_token_without_the_right_is_refused(
    hub: HubServer, folder: Path, token: str, repo_id: str, mend: str
) -> None:
    with pytest.raises(HubError, match=mend) as failure:
        push(folder, repo_id, token)
    assert token not in str(failure.value)
    assert not hub.repositories


@pytest.mark.parametrize("token", [None, "", "hf_two words", "hf_line\n", "hf_ü"])
def test_a_missing_or_malformed_token_is_told_before_anything_is_sent(
    hub: HubServer, folder: Path, token: str | None
) -> None:
    with pytest.raises(HubError, match=r"token.*`hf auth login`, or set HF_TOKEN") as failure:
        push(folder, token=token)
    assert not token or token not in str(failure.value)
    assert not hub.requests


@pytest.mark.parametrize(
    "repo_id", ["a/b/c", "tester/my model", "-x/y", "tester/a..b", "", "x" * 97]
)
def test_an_invalid_repository_id_is_told_before_anything_is_sent(
    hub: HubServer, folder: Path, repo_id: str
) -> None:
    with pytest.raises(HubError, match="a repository id is owner/name"):
        push(folder, repo_id)
    assert not hub.requests


def test_a_folder_without_a_model_is_refused(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no model folder: config\.json was expected"):
        push(tmp_path)
    assert not hub.requests


def test_a_card_that_the_hub_does_not_take_stops_before_any_upload(
    hub: HubServer, folder: Path
) -> None:
    (folder / "README.md").write_text("---\nlicense: [1]\n---\n")
    with pytest.raises(HubError, match=r'README\.md.*"license" must be a string') as failure:
        push(folder)
    assert_tells_how_to_push_again(str(failure.value), folder)
    assert not hub.asked("PUT /lfs/")
    assert len(hub.commits(REPO)) == 1


def test_a_public_push_is_repeated_as_a_public_one(hub: HubServer, folder: Path) -> None:
    hub.answer(403, COMMIT)
    again = re.escape(f"mtl-nlp push {folder} {REPO} --message 'One more' --revision try/2") + "$"
    with pytest.raises(HubError, match=again):
        push(folder, private=False, message="One more", revision="try/2")


def test_the_token_appears_nowhere(
    hub: HubServer, folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    hub.answer(503, COMMIT)
    hub.answer(400, COMMIT, message=f"not with Authorization: Bearer {WRITER}")
    with pytest.raises(HubError, match=r"Bearer \*\*\*") as failure:
        push(folder)
    shown = [str(failure.value), repr(failure.value.__cause__), caplog.text, *capfd.readouterr()]
    assert failure.value.__suppress_context__
    assert WRITER not in "".join(shown)
    assert "try 2 of 5" in caplog.text
    for content in hub.objects.values():
        assert WRITER.encode() not in content


# The server itself, as the client sees it


def test_the_server_answers_the_client_as_the_hub_does(hub: HubServer, folder: Path) -> None:
    api = HfApi(token=WRITER)
    assert api.whoami()["name"] == "tester"
    commit = push(folder)
    assert api.list_repo_commits(REPO)[0].commit_id == commit
    assert [branch.name for branch in api.list_repo_refs(REPO).branches] == ["main"]
    tree = {entry.path: entry for entry in api.list_repo_tree(REPO)}
    assert set(tree) == {path.split("/")[0] for path in SENT} | {".gitattributes"}
    assert tree["model.safetensors"].lfs.size == (folder / "model.safetensors").stat().st_size
    assert [entry.path for entry in api.list_repo_tree(REPO, "plots")] == ["plots/loss.png"]
    assert set(api.list_repo_files(REPO)) == SENT | {".gitattributes"}
    assert [entry.path for entry in api.get_paths_info(REPO, ["README.md", "no"])] == ["README.md"]
    assert api.get_hf_file_metadata(
        url=f"{hub.endpoint}/{REPO}/resolve/main/README.md"
    ).size == len(CARD)
    with pytest.raises(EntryNotFoundError, match="Entry Not Found"):
        hf_hub_download(REPO, "missing.json", token=WRITER)
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token="hf_unknown").whoami()
    assert not api.repo_exists("tester/other")
    assert api.repo_exists(REPO)


def test_the_token_stays_on_the_hub_when_the_weights_lie_elsewhere(
    hub: HubServer, folder: Path, tmp_path: Path
) -> None:
    push(folder)
    hf_hub_download(REPO, "model.safetensors", token=WRITER, cache_dir=tmp_path)
    assert [request.token for request in hub.asked("GET /cdn/")] == [None]
