import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import HfApi, hf_hub_download, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors.numpy import load_file, save_file

from mtl_nlp.errors import HubError, ModelError
from mtl_nlp.hub.publish import push_folder
from tests.hub_server import READER, STRANGER, WRITER, HubServer

REPO = "tester/model"
CARD = b"---\nlicense: apache-2.0\n---\n# A model\n"
SENT = {
    "README.md",
    "config.json",
    "metrics.json",
    "model.safetensors",
    "plots/loss.png",
    "recipe.yaml",
    "tokenizer.json",
}
COMMIT = "POST .*/commit/"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with everything that publishing must send, and everything that it must not."""
    folder = tmp_path / "run"
    contents = {
        "README.md": CARD,
        "config.json": b'{"model_type": "mtl"}',
        "metrics.json": b'{"test": {"mean": 0.5}}',
        "plots/loss.png": bytes(range(256)),
        "tokenizer.json": '{"word": "naïve"}'.encode(),
        "recipe.yaml": b"encoder: org/encoder\n",
        "log.jsonl": b"{}\n",
        "checkpoints/step-000002/config.json": b"{}",
        "checkpoints/step-000002/optimizer.pt": b"pickle",
        ".git/config": b"",
        ".cache/x": b"",
        "plots/.hidden": b"",
        "model.safetensors.tmp": b"",
        "notes.txt~": b"",
        "training_args.bin": b"pickle",
        "plots/figure.PKL": b"pickle",
        "rng.pth": b"pickle",
    }
    for place, content in contents.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)
    save_file({"weight": np.arange(6.0).reshape(2, 3)}, folder / "model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between tries, by the client or by us; no test really waits."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def push(folder: Path, repo_id: str = REPO, token: str | None = WRITER, **options) -> str:
    return push_folder(folder, repo_id, token=token, **options).commit


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


def test_a_checkpoint_goes_without_what_only_resuming_needs(hub: HubServer, tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000200"
    checkpoint.mkdir(parents=True)
    names = ["config.json", "model.safetensors", "tokenizer.json", "optimizer.pt", "state.json"]
    for name in names:
        (checkpoint / name).write_text("{}")
    push(checkpoint)
    assert set(hub.files(REPO)) == set(names[:3])


def test_local_paths_in_the_recipe_become_file_names(hub: HubServer, folder: Path) -> None:
    home = str(folder.parent)
    recipe = {
        "encoder": f"{home}/encoders/mini",
        "output": f"{home}/run",
        "learning": 1e-4,
        "datasets": {
            "labels": {"path": f"{home}/mine", "text": "text", "revision": None},
            "files": {
                "path": "json",
                "data_files": {
                    "train": [f"{home}/a/one.jsonl", "sub/two.jsonl"],
                    "test": f"zip://test.jsonl::{home}/all.zip",
                    "validation": "C:\\Users\\anna\\dev.jsonl",
                },
            },
            "more": {"path": "org/name", "data_dir": "~/secret", "data_files": f"file://{home}/x"},
        },
        "tasks": {
            "ner": {
                "type": "token_classification",
                "labels": ["/", "/b", "naïve"],
                "metrics": ["seqeval", "org/wer", f"{home}/metrics/mine"],
            }
        },
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True))
    before = (folder / "recipe.yaml").read_bytes()
    push(folder)
    sent = hub.files(REPO)["recipe.yaml"]
    assert (folder / "recipe.yaml").read_bytes() == before
    assert home.encode() not in sent
    assert yaml.safe_load(sent) == {
        "encoder": "mini",
        "output": "run",
        "learning": 1e-4,
        "datasets": {
            "labels": {"path": "mine", "text": "text", "revision": None},
            "files": {
                "path": "json",
                "data_files": {
                    "train": ["one.jsonl", "sub/two.jsonl"],
                    "test": "zip://test.jsonl::all.zip",
                    "validation": "dev.jsonl",
                },
            },
            "more": {"path": "org/name", "data_dir": "secret", "data_files": "x"},
        },
        "tasks": {
            "ner": {
                "type": "token_classification",
                "labels": ["/", "/b", "naïve"],
                "metrics": ["seqeval", "org/wer", "mine"],
            }
        },
    }


@pytest.mark.parametrize(("content", "found"), [("a: [", "not readable as YAML"), ("- a", "list")])
def test_a_recipe_whose_paths_cannot_be_found_is_not_sent(
    hub: HubServer, folder: Path, content: str, found: str
) -> None:
    (folder / "recipe.yaml").write_text(content)
    with pytest.raises(HubError, match=rf"recipe\.yaml is .*{found}.* mend it or delete it"):
        push(folder)
    assert not hub.requests


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


# Faults that pass


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("request_line", ["POST /api/repos/create", COMMIT])
def test_a_fault_that_passes_is_tried_again(
    hub: HubServer, folder: Path, waits: list[float], request_line: str, status: int
) -> None:
    hub.answer(status, request_line, times=4)
    push(folder, delay=0.5)
    assert len(hub.commits(REPO)) == 2
    assert len(hub.asked(request_line)) == 5
    assert waits == [0.5, 1.0, 2.0, 4.0]


EVERY_REQUEST = [
    "POST /api/repos/create",
    "POST .*/branch/",
    "GET /api/models/",
    "POST /api/validate-yaml",
    "POST .*/preupload/",
    "POST .*/info/lfs/objects/batch",
    "PUT /lfs/",
    "POST /lfs/verify",
    COMMIT,
]


@pytest.mark.parametrize("fault", ["answer", "drop", "lose"])
@pytest.mark.parametrize("request_line", EVERY_REQUEST)
def test_no_single_fault_anywhere_costs_a_push_or_doubles_a_commit(
    hub: HubServer, folder: Path, request_line: str, fault: str
) -> None:
    order = {
        "answer": lambda: hub.answer(503, request_line),
        "drop": lambda: hub.drop(request_line),
        "lose": lambda: hub.lose(request_line),
    }
    order[fault]()
    commit = push(folder, revision="next")
    assert any(request.status in (None, 503) for request in hub.asked(request_line))
    assert [made.oid for made in hub.commits(REPO, "next")][1:] == [commit]
    assert set(hub.files(REPO, "next")) == SENT


def test_a_commit_whose_answer_is_always_lost_is_made_once(hub: HubServer, folder: Path) -> None:
    hub.lose(COMMIT, times=9)
    commit = push(folder)
    assert [made.oid for made in hub.commits(REPO)][1:] == [commit]
    assert len(hub.asked(COMMIT)) == 1


def test_a_commit_that_lands_late_is_not_made_twice(hub: HubServer, folder: Path) -> None:
    """A proxy gives up, the Hub still works: the commit appears while the next try is under way."""
    hub.answer(504, COMMIT)
    late = {path: (folder / path).read_bytes() for path in SENT}
    hub.meddle(COMMIT, lambda: hub.commit(REPO, late, "Upload model"))
    commit = push(folder)
    assert [made.oid for made in hub.commits(REPO)][1:] == [commit]
    assert [request.status for request in hub.asked(COMMIT)] == [504, 412]


def test_somebody_elses_commit_is_neither_lost_nor_taken_for_ours(
    hub: HubServer, folder: Path
) -> None:
    hub.meddle(COMMIT, lambda: hub.commit(REPO, {"theirs.txt": b"1"}, "Upload model"))
    commit = push(folder)
    assert [made.changed for made in hub.commits(REPO)][1] == ("theirs.txt",)
    assert hub.commits(REPO)[2].oid == commit
    assert set(hub.files(REPO)) == SENT | {"theirs.txt"}


def test_the_hubs_own_wait_is_kept(hub: HubServer, folder: Path, waits: list[float]) -> None:
    hub.answer(429, COMMIT, headers={"Retry-After": "40"})
    hub.answer(429, COMMIT, headers={"Retry-After": "86400"})
    push(folder)
    assert waits == [40.0, 300.0]


# Faults that stay


@pytest.mark.parametrize("request_line", EVERY_REQUEST)
def test_a_fault_that_stays_ends_with_the_mend(
    hub: HubServer, folder: Path, request_line: str
) -> None:
    hub.answer(503, request_line, times=99)
    with pytest.raises(HubError, match=r"wait a little|look at the network") as failure:
        push(folder, revision="next")
    assert_tells_how_to_push_again(str(failure.value), folder)
    assert 4 < len(hub.asked(request_line)) < 7
    commits = hub.commits(REPO) if hub.repositories else []
    assert len(commits) < 2


@pytest.mark.parametrize("request_line", [COMMIT, "PUT /lfs/"])
def test_a_connection_that_always_breaks_ends_with_the_mend(
    hub: HubServer, folder: Path, request_line: str
) -> None:
    hub.drop(request_line, times=99)
    with pytest.raises(HubError, match="look at the network, HF_ENDPOINT and proxies") as failure:
        push(folder)
    assert_tells_how_to_push_again(str(failure.value), folder)


def assert_tells_how_to_push_again(message: str, folder: Path) -> None:
    assert message.startswith(f"{folder} was not pushed to {REPO}: ")
    again = f"mtl-nlp push {folder} {REPO} --private"
    assert message.endswith(f"The model is safe in {folder}; push it again with: {again}")
    assert "\n" not in message
    assert WRITER not in message


@pytest.mark.parametrize(
    ("status", "request_line", "mend"),
    [
        (401, "POST /api/repos/create", "hf auth login.*HF_TOKEN"),
        (402, "POST .*/info/lfs/objects/batch", "quota.*free some space"),
        (403, COMMIT, "storage is full.*hf auth login"),
        (404, "POST .*/preupload/", "spelling of tester/model"),
        (412, COMMIT, "others keep committing"),
        (413, COMMIT, "quota"),
    ],
)
def test_a_refusal_tells_the_mend_and_what_the_hub_said(
    hub: HubServer, folder: Path, status: int, request_line: str, mend: str
) -> None:
    hub.answer(status, request_line, times=9, message="No, thank you")
    with pytest.raises(HubError, match=mend) as failure:
        push(folder)
    assert "No, thank you" in str(failure.value)
    assert_tells_how_to_push_again(str(failure.value), folder)
    assert len(hub.asked(request_line)) == (5 if status == 412 else 1)


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


def test_a_hub_without_xet_storage_tells_the_mend(hub: HubServer, folder: Path) -> None:
    pytest.importorskip("hf_xet")
    code = (
        "import sys; from pathlib import Path; from mtl_nlp.hub.publish import push_folder\n"
        f"push_folder(Path(sys.argv[1]), {REPO!r}, token={WRITER!r})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_DISABLE_XET": "0"},
    )
    assert "HubError" in done.stderr
    assert "this Hub has no Xet storage: set HF_HUB_DISABLE_XET=1. The model is safe" in done.stderr
    assert len(hub.commits(REPO)) == 1


def test_a_public_push_is_repeated_as_a_public_one(hub: HubServer, folder: Path) -> None:
    hub.answer(403, COMMIT)
    again = re.escape(f"mtl-nlp push {folder} {REPO} --message 'One more'") + "$"
    with pytest.raises(HubError, match=again):
        push(folder, private=False, message="One more")


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
