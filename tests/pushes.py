"""A run folder to publish, and how the tests publish it."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mtl_nlp.hub.publish import push_folder
from tests.hub_server import WRITER

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


def fill_run(folder: Path) -> Path:
    """A run folder with everything that publishing must send, and everything that it must not."""
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


def push(folder: Path, repo_id: str = REPO, token: str | None = WRITER, **options) -> str:
    return push_folder(folder, repo_id, token=token, **options).commit


def assert_tells_how_to_push_again(message: str, folder: Path, more: str = "") -> None:
    assert message.startswith(f"{folder} was not pushed to {REPO}: ")
    again = f"mtl-nlp push {folder} {REPO} --private{more}"
    assert message.endswith(f"The model is safe in {folder}; push it again with: {again}")
    assert "\n" not in message
    assert WRITER not in message
