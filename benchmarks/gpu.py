"""Which share of a GPU's arithmetic training uses: this package against a bare loop.

python benchmarks/gpu.py --peak 989    # the GPU's dense bf16 TFLOP/s by its maker: H100 SXM 989
python benchmarks/gpu.py --encoders tiny --lengths 16 --steps 4    # tries it, also on a CPU

Encoders of BERT-base's and ModernBERT-base's size have random weights, made by configuration, so
that nothing is downloaded. Every row is as long as the length says, so that padding flatters none.
This package trains two tasks on two datasets, mixed in every step, and its seconds are those of its
log; the bare loop runs the same encoder with two linear heads over batches that lie on the device:
forward, backward, clip, fused AdamW. Of both it is the median step after the first quarter.

Floating-point operations are counted as 6 for each parameter of the encoder's layers and token, and
12 times layers, width and length for each token's attention (Chowdhery et al., 2022,
arXiv:2204.02311, appendix B). ModernBERT's local layers count as if they were global, so its shares
compare with each other alone.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import machine, versions, write_result
from torch import nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModel, PreTrainedModel

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mtl_nlp import Recipe, train  # noqa: E402
from tests.tiny import WORDS, tiny_tokenizer  # noqa: E402

ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base": ("bert", {}),
    "modernbert-base": ("modernbert", {"cls_token_id": 2, "sep_token_id": 3}),
    "tiny": ("bert", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}),
}
FILLERS = [word for word in WORDS if not word.startswith("##")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peak", type=float, help="TFLOP/s; without it no share is told")
    parser.add_argument("--encoders", nargs="+", default=["bert-base", "modernbert-base"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[128, 512])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--precision", default="bf16", choices=["bf16", "fp32"])
    settings = parser.parse_args()
    surroundings = {"machine": machine(), "versions": versions(), "device": device_name()}
    runs = []
    for name in settings.encoders:
        for length in settings.lengths:
            runs.append({"encoder": name, "length": length, **compare(name, length, settings)})
            print(runs[-1], flush=True)
    result = {"settings": vars(settings), "runs": runs, **surroundings}
    if torch.accelerator.is_available():
        print(f"written to {write_result('gpu', result)}")


def compare(name: str, length: int, settings: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        architecture, sizes = ENCODERS[name]
        config = AutoConfig.for_model(architecture, **sizes, pad_token_id=0)
        encoder = AutoModel.from_config(config)
        encoder.save_pretrained(folder / "encoder")
        tiny_tokenizer(segments=architecture == "bert").save_pretrained(folder / "encoder")
        ours = ours_seconds(folder, length, settings)
    bare = bare_seconds(encoder, length, settings)
    operations = operations_of_a_step(encoder, length, settings.batch_size)
    found: dict[str, Any] = {"bare_to_ours": round(bare / ours, 3)}
    for who, seconds in (("ours", ours), ("bare", bare)):
        found[f"{who}_seconds"] = round(seconds, 5)
        found[f"{who}_tokens_per_second"] = round(settings.batch_size * length / seconds)
        if settings.peak:
            found[f"{who}_share"] = round(operations / seconds / settings.peak / 1e12, 4)
    return found


def operations_of_a_step(encoder: PreTrainedModel, length: int, rows: int) -> float:
    layers = encoder.config.num_hidden_layers
    embeddings = sum(p.numel() for p in encoder.embeddings.parameters())
    rest = sum(p.numel() for p in encoder.parameters()) - embeddings
    of_token = 6 * rest + 12 * layers * encoder.config.hidden_size * length
    return float(of_token) * rows * length


def ours_seconds(folder: Path, length: int, settings: argparse.Namespace) -> float:
    words = [FILLERS[i % len(FILLERS)] for i in range(length - 2)]  # [CLS] and [SEP] beside them
    rows = {
        "texts": {"text": " ".join(words), "label": "a"},
        "tags": {"tokens": words, "tags": ["B-x", "O"] * (len(words) // 2)},
    }
    for name, row in rows.items():
        other = {**row, "label": "b"} if name == "texts" else row
        half = json.dumps(row) + "\n" + json.dumps(other) + "\n"
        (folder / f"{name}.jsonl").write_text(half * settings.batch_size)
        (folder / f"{name}-dev.jsonl").write_text(half)
    recipe = Recipe(
        encoder=str(folder / "encoder"),
        output=str(folder / "run"),
        max_length=length,
        datasets={
            name: {
                "path": "json",
                "data_files": {
                    "train": str(folder / f"{name}.jsonl"),
                    "validation": str(folder / f"{name}-dev.jsonl"),
                },
                ("tokens" if name == "tags" else "text"): "tokens" if name == "tags" else "text",
            }
            for name in rows
        },
        tasks={
            "topic": {"type": "text_classification", "dataset": "texts", "label": "label"},
            "ner": {"type": "token_classification", "dataset": "tags", "tags": "tags"},
        },
        training={
            "max_steps": settings.steps,
            "batch_size": settings.batch_size,
            "micro_batch_size": settings.batch_size,
            "precision": settings.precision,
        },
        evaluation={"every": settings.steps},
    )
    run = train(recipe)
    log = map(json.loads, (run.path / "log.jsonl").read_text().splitlines())
    return typical([record["seconds"] for record in log if "seconds" in record])


def bare_seconds(encoder: PreTrainedModel, length: int, settings: argparse.Namespace) -> float:
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    hidden, half = encoder.config.hidden_size, settings.batch_size // 2
    model = nn.ModuleDict(
        {"body": encoder, "topic": nn.Linear(hidden, 2), "ner": nn.Linear(hidden, 3)}
    )
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    input_ids = torch.randint(5, 100, (settings.batch_size, length), device=device)
    mask, seconds = torch.ones_like(input_ids), []
    topics = torch.zeros(half, dtype=torch.long, device=device)
    tags = torch.zeros((settings.batch_size - half) * length, dtype=torch.long, device=device)
    for _ in range(settings.steps):
        began = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=settings.precision == "bf16"):
            states = model["body"](input_ids=input_ids, attention_mask=mask).last_hidden_state
            text_logits, tag_logits = model["topic"](states[:half, 0]), model["ner"](states[half:])
        loss = F.cross_entropy(text_logits.float(), topics)
        loss = loss + F.cross_entropy(tag_logits.float().flatten(0, 1), tags)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()  # which waits for the device, as the package's log does
        seconds.append(time.perf_counter() - began)
    return typical(seconds)


def typical(seconds: list[float]) -> float:
    """The median step after the first quarter, in which kernels are chosen and memory is taken."""
    return statistics.median(seconds[len(seconds) // 4 :])


def device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return str(torch.accelerator.current_accelerator() or "cpu")


if __name__ == "__main__":
    main()
