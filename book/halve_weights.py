"""Store the kernels of trained models in half precision, which halves the files.

    python book/halve_weights.py RUN …        names of runs in book/runs that have weights

Biases, norms and the statistics of the images are few, and stay as they are. Keras reads both
precisions. A rounded weight is off by a two-thousandth at most, unless it is tiny. That changes a
few predictions in 10,000; predictions.npz and the figures of a run are those of the weights before.
"""

import pathlib
import sys

import h5py

import mixlib


def main(names):
    for name in names:
        path = mixlib.load_run(name).path / "model.weights.h5"
        before = path.stat().st_size
        halve(path)
        print(f"{name}: {before / 2**20:.1f} MB before, {path.stat().st_size / 2**20:.1f} now")


def halve(path):
    """Rewrite a file of weights with every kernel, of two or more axes, in float16."""
    unfinished = pathlib.Path(f"{path}.unfinished")
    compact = ("v110", "v110")  # the format of HDF5 1.10, which takes less for each array
    with h5py.File(path) as full, h5py.File(unfinished, "w", libver=compact) as half:

        def copy(name, part):
            if isinstance(part, h5py.Group):
                target = half.require_group(name)
            else:
                kernel = part.ndim >= 2 and part.dtype in ("float16", "float32")
                how = {"dtype": "float16", "compression": "gzip"} if kernel else {}
                target = half.create_dataset(name, data=part[()], **how)
            target.attrs.update(part.attrs)

        half.attrs.update(full.attrs)
        full.visititems(copy)
    unfinished.replace(path)


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
