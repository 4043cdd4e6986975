"""What a user waits for, each in a fresh process: an import, a first answer, a notebook."""

import os
import pathlib
import subprocess
import sys

from benchmarks import measure

ROOT = pathlib.Path(__file__).resolve().parents[1]
FIRST = "import numpy as np, mixlib; m = mixlib.create('keras_mixer'); "
PYTHON = {
    "import keras": "import keras",
    "import mixlib": "import mixlib",
    "first prediction": FIRST + "m.predict(np.zeros((1, 32, 32, 3)), verbose=0)",
}
COMMANDS = {
    "a notebook, smoke profile": [
        *(sys.executable, "-m", "pytest", "--nbval-lax", "-q"),
        "notebooks/06_mlp_mixer.ipynb",
    ],
}
# The book is built anew: Sphinx leaves pages alone that have not changed.
LONG = {
    "make test": ["make", "test"],
    "make book": ["sh", "-c", "rm -rf _build/html _build/.doctrees && make book"],
}


def process(*command):
    """A function that runs a command in the project's folder and returns its seconds."""
    return measure.timed(
        lambda: subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    )


def main(arguments=None):
    """Measure every wait, and write ``waiting.json``."""
    parser = measure.arguments(__doc__, rounds=5)
    parser.add_argument("--long", action="store_true", help="make test and make book too, once")
    options = parser.parse_args(arguments)
    snippets = {name: process(sys.executable, "-c", code) for name, code in PYTHON.items()}
    waits = measure.interleave(snippets, options.rounds)
    waits = {name: figures["seconds"] for name, figures in waits.items()}
    waits |= {name: process(*command)() for name, command in COMMANDS.items()}
    if options.long:
        waits |= {name: process(*command)() for name, command in LONG.items()}
    rows = [{"wait": name, "seconds": seconds} for name, seconds in waits.items()]
    measure.write(options.out / "waiting.json", rows)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("MIXLIB_PROFILE", "smoke")
    main()
