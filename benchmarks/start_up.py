"""How long ``ldm-eval --help`` takes, beside a bare interpreter and its heaviest imports; interleaved, medians.

Run: ``python benchmarks/start_up.py [rounds]``
"""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np

COMMANDS = {
    "ldm-eval --help": ["-m", "ldm_eval", "--help"],
    "python -c pass": ["-c", "pass"],
    "import typer": ["-c", "import typer"],
    "import torch": ["-c", "import torch"],
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        print(f"{name:16s} median {np.median(values):.2f} s, lowest {min(values):.2f} s")


if __name__ == "__main__":
    main()
