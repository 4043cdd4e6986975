"""Time and memory of one training step of one block, as the number of tokens grows."""

import json
import math
import os
import resource
import statistics
import subprocess
import sys

import keras
import numpy as np
from keras import layers

from benchmarks import measure
from mixlib import blocks

BATCH, CHANNELS = 2, 128
TOKENS = (64, 256, 1024, 4096)
# Power of the number of tokens that the block's costliest part grows with.
THEORY = {"MLP-Mixer": 1, "FNet, fft": 1, "FNet, dft": 2, "gMLP": 2, "self-attention": 2}


def attention_block(tokens):
    """A pre-norm Transformer block of Keras layers, with the norm and GELU of the others."""
    x = blocks.LayerNorm(epsilon=1e-6)(tokens)
    x = tokens + layers.MultiHeadAttention(4, CHANNELS // 4)(x, x)
    y = layers.Dense(4 * CHANNELS)(blocks.LayerNorm(epsilon=1e-6)(x))
    return x + layers.Dense(CHANNELS)(blocks.GELU()(y))


BLOCKS = {
    # The hidden width of token mixing is a choice of the model's, not of the image's size.
    "MLP-Mixer": lambda: blocks.MixerBlock(64, 4 * CHANNELS),
    "FNet, fft": lambda: blocks.FNetBlock(4 * CHANNELS, implementation="fft"),
    "FNet, dft": lambda: blocks.FNetBlock(4 * CHANNELS, implementation="dft"),
    "gMLP": lambda: blocks.GMLPBlock(6 * CHANNELS),
    "self-attention": lambda: attention_block,
}


def step(block, tokens):
    """A function that runs one training step of the block on random tokens."""
    random = np.random.default_rng(0)
    x = random.standard_normal((BATCH, tokens, CHANNELS), dtype="float32")
    entrance = keras.Input((tokens, CHANNELS))
    model = keras.Model(entrance, BLOCKS[block]()(entrance))
    model.compile("sgd", "mse", jit_compile=False)
    return lambda: model.train_on_batch(x, x)


def one(block, tokens, rounds):
    """Seconds of a step, and the memory that building and running it takes, in a fresh process.

    The backend's own memory is subtracted: that of a step of the same block on 16 tokens.
    """
    step(block, 16)()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    run = step(block, tokens)
    run()
    seconds = [measure.timed(run)() for _ in range(rounds)]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"seconds": statistics.median(seconds), "megabytes": memory / 1024}


def in_a_process(block, tokens, rounds):
    command = [sys.executable, "-m", "benchmarks.growth", "--one", block, str(tokens)]
    done = subprocess.run(
        [*command, "--rounds", str(rounds)], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def exponent(smaller, larger):
    """Power of the number of tokens that the seconds grew with between two rows."""
    return math.log(larger["seconds"] / smaller["seconds"], larger["tokens"] / smaller["tokens"])


def main(arguments=None):
    """Measure every block at every number of tokens, and write ``growth.json``."""
    parser = measure.arguments(__doc__, rounds=5)
    parser.add_argument("--tokens", type=int, nargs="+", default=TOKENS)
    parser.add_argument("--one", nargs=2, metavar=("BLOCK", "TOKENS"), help="print one measurement")
    options = parser.parse_args(arguments)
    if options.one:
        block, tokens = options.one
        print(json.dumps(one(block, int(tokens), options.rounds)))
        return
    rows = []
    for tokens in options.tokens:
        for block in BLOCKS:
            row = {"block": block, "tokens": tokens}
            row |= in_a_process(block, tokens, options.rounds)
            smaller = [r for r in rows if r["block"] == block]
            row["exponent"] = exponent(smaller[-1], row) if smaller else None
            rows.append(row | {"theory": THEORY[block]})
    measure.write(options.out / "growth.json", rows, batch=BATCH, channels=CHANNELS)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
