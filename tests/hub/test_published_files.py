from pathlib import Path

import pytest
import yaml

from mtl_nlp.errors import HubError
from tests.hub_server import HubServer
from tests.pushes import REPO, push

pytestmark = pytest.mark.usefixtures("waits")


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
