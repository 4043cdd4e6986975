"""Training steps beside timm's, eager and compiled; needs a Python that has timm.

    TIMM_PYTHON=/path/to/python python -m benchmarks.against_timm

timm has the advantage: its images come normalised and resized, and it has no dropout. A step of
mixlib's includes the whole published pipeline. The programs take turns, each in its own process.
"""

import contextlib
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np

from benchmarks import measure
from benchmarks.training import BATCH, ours, steps

MODELS = ("keras_mixer", "keras_gmlp")  # timm has no FNet
WORKER = pathlib.Path(__file__).with_name("timm_steps.py")
VERSIONS = "from importlib.metadata import version as v; print(v('torch'), v('timm'))"


class Worker:
    """A process that trains a step, or some, whenever it is called, and waits in between."""

    def __init__(self, *command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self):
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            print(file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}.")
        return float(answer)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def main(arguments=None):
    """Measure the models that timm has too, and write ``timm-<backend>.json``."""
    parser = measure.arguments(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--steps", type=int, default=6, help="counted steps a round")
    options = parser.parse_args(arguments)
    python = os.environ.get("TIMM_PYTHON")
    if not python:
        print("Nothing is measured against timm: TIMM_PYTHON names no Python that has it.")
        return
    torch, timm = subprocess.check_output([python, "-c", VERSIONS], text=True).split()
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH * (options.steps + 1), 32, 32, 3), dtype="uint8")
    labels = random.integers(0, 100, len(images))
    rows = []
    for name in options.models:
        workers = {
            f"timm, {mode}": Worker(python, str(WORKER), name, mode, str(options.steps))
            for mode in ("eager", "compiled")
        }
        timers = {**workers, "mixlib": steps(ours(name), images, labels)}
        for variant, figures in measure.interleave(timers, options.rounds).items():
            row = {"model": name, "variant": variant}
            rows.append(row | figures | {"images_per_second": BATCH / figures["seconds"]})
        for worker in workers.values():
            worker.close()
    path = options.out / f"timm-{keras.backend.backend()}.json"
    measure.write(path, rows, batch=BATCH, torch=torch, timm=timm, rounds=options.rounds)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1:])
