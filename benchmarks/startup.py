"""Seconds that `import mtl_nlp` and `mtl-nlp --help` take, as whole processes.

python benchmarks/startup.py --repeats 15

Interleaved with a Python that does nothing, whose time is in both.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import machine, versions, write_result

COMMANDS = {
    "python": ["-c", "pass"],
    "import mtl_nlp": ["-c", "import mtl_nlp"],
    "mtl-nlp --help": ["-m", "mtl_nlp", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    surroundings = {"machine": machine(), "versions": versions()}
    for command in COMMANDS.values():
        seconds_of(command)  # compiles the modules and fills the disk cache
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(repeats):
        for name, command in COMMANDS.items():
            seconds[name].append(seconds_of(command))
    bare = statistics.median(seconds["python"])
    summary = {
        name: {
            "seconds": round(statistics.median(of_name), 4),
            "fastest": round(min(of_name), 4),
            "above_python": round(statistics.median(of_name) - bare, 4),
        }
        for name, of_name in seconds.items()
    }
    for name, line in summary.items():
        print(f"{name:<16} {line['seconds']:.3f} s  (fastest {line['fastest']:.3f} s)")
    result = {"settings": {"repeats": repeats}, "summary": summary, **surroundings}
    print(f"written to {write_result('startup', result)}")


def seconds_of(words: list[str]) -> float:
    root = Path(__file__).resolve().parents[1]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH", "")]))
    start = time.perf_counter()
    finished = subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if finished.returncode:
        raise SystemExit(f"error: python {' '.join(words)} failed:\n{finished.stderr[-2000:]}")
    return seconds


if __name__ == "__main__":
    main()
