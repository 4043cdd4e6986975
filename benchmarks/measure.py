"""Interleaved timing, and what is written down about it."""

import argparse
import json
import pathlib
import random
import statistics
import time

from mixlib import runs

RESULTS = pathlib.Path(__file__).parent / "results"  # what the book shows
OUT = pathlib.Path("_build", "benchmarks")


def interleave(variants, rounds):
    """Time variants in turns, A B, B A, …, after a call of each that does not count.

    Machines are shared and noisy. A slow minute meets every variant alike, so the ratio of two
    times of one round says more than either time. Each round has an order of its own, the same ones
    in every measurement, so that no variant always follows the same other.

    Parameters
    ----------
    variants : dict of str to callable
        Each does its work and returns the seconds that count. The first is the yardstick.
    rounds : int
        2 or more.

    Returns
    -------
    dict of str to dict
        For every variant: ``seconds`` (median over the rounds) between ``seconds_low`` and
        ``seconds_high`` (quartiles), and ``speedup``, the yardstick's time of a round over this
        one's, in the same way.
    """
    seconds = {name: [] for name in variants}
    drawn = random.Random(0)
    for round_ in range(-1, rounds):
        for name in drawn.sample(list(variants), len(variants)):
            value = variants[name]()
            if round_ >= 0:
                seconds[name].append(value)
    yardstick = next(iter(seconds.values()))
    return {
        name: {
            **quartiles("seconds", values),
            **quartiles("speedup", [a / b for a, b in zip(yardstick, values, strict=True)]),
        }
        for name, values in seconds.items()
    }


def timed(run):
    """The same function, returning the seconds that a call takes."""

    def seconds():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return seconds


def arguments(doc, rounds):
    """A parser of the arguments that all benchmarks have: --rounds and --out."""
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--rounds", type=int, default=rounds, help=f"default: {rounds}")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help=f"default: {OUT}")
    return parser


def write(path, rows, **more):
    """Write rows, a list of dicts, as JSON with what they were measured on; and print them."""
    machine = runs.circumstances() | {"instructions": instructions()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, **more, "rows": rows}, indent=1) + "\n")
    for row in rows:
        print("  ".join(_cell(key, value) for key, value in row.items()))
    print("->", path)


def instructions(cpuinfo=pathlib.Path("/proc/cpuinfo")):
    """The vector instructions of an x86 processor that matter here, as Linux names them."""
    flags = cpuinfo.read_text().split() if cpuinfo.is_file() else []
    return [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]


def quartiles(name, values):
    """The median under a name, and the quartiles as ``<name>_low`` and ``<name>_high``."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return {name: median, f"{name}_low": low, f"{name}_high": high}


def _cell(key, value):
    return f"{key} {value:.4g}" if isinstance(value, float) else f"{value!s:20}"
