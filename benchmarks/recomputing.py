"""Peak memory and seconds of a training step with and without gradient_checkpointing, on a CPU.

python benchmarks/recomputing.py --rounds 3

An encoder of all-MiniLM-L6-v2's size with random weights and a head that tags words: forward and
backward of one piece of 32 rows, in fp32. Each contestant of each round is a fresh process; its
memory is the most that was resident, less what was resident before the first forward.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import machine, versions, write_result

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ROWS, STEPS = 32, 3
CONTESTANTS = [f"{length} {way}" for length in (128, 512) for way in ("kept", "recomputed")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=CONTESTANTS, help="one, in this process")
    settings = parser.parse_args()
    if settings.measure:
        print(json.dumps(measure(*settings.measure.split())))
        return
    surroundings = {"machine": machine(), "versions": versions()}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(settings.rounds):
        for name in CONTESTANTS:
            words = [sys.executable, __file__, "--measure", name]
            told = subprocess.run(words, check=True, capture_output=True, text=True).stdout
            found[name].append(json.loads(told.splitlines()[-1]))
            print(name, found[name][-1], file=sys.stderr, flush=True)
    medians = {
        name: {key: statistics.median(one[key] for one in runs) for key in runs[0]}
        for name, runs in found.items()
    }
    result = {"settings": {"rows": ROWS, "rounds": settings.rounds}, "medians": medians}
    print(f"written to {write_result('recomputing', {**result, 'runs': found, **surroundings})}")


def measure(length: str, way: str) -> dict[str, float]:
    import torch
    from transformers import BertConfig, BertModel

    from mtl_nlp.model.configuration import MultiTaskConfig
    from mtl_nlp.model.modeling import MultiTaskModel
    from mtl_nlp.model.recomputing import recompute

    torch.manual_seed(0)
    sizes: dict[str, Any] = {"num_hidden_layers": 6, "num_attention_heads": 12}
    config = BertConfig(hidden_size=384, intermediate_size=1536, **sizes)
    encoder = BertModel(config)
    model = MultiTaskModel(MultiTaskConfig(encoder_config=config), encoder=encoder)
    model.add_task("ner", {"type": "token_classification", "labels": ["a", "b"], "scheme": "bio"})
    assert model.skip_padding()
    if way == "recomputed":
        recompute(model.encoder)
    model.train()
    input_ids = torch.randint(1000, 30000, (ROWS, int(length)))
    words = torch.arange(int(length)).expand_as(input_ids)
    before, seconds = resident(), []
    for _ in range(STEPS):
        began = time.perf_counter()
        logits = model(input_ids, torch.ones_like(input_ids), words=words).logits["ner"]
        logits.float().square().mean().backward()
        seconds.append(time.perf_counter() - began)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"mebibytes": round((most - before) / 2**20), "seconds": round(min(seconds), 2)}


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
