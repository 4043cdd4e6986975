"""Training steps of timm's models at the published widths, in a Python of their own.

Run by `benchmarks.against_timm`: prints the seconds of a step for every line that it reads. It
imports nothing of this project, since timm and its PyTorch live in another environment.
"""

import sys
import time

import timm.layers
import timm.models.mlp_mixer as mlp_mixer
import torch

BATCH, CLASSES = 128, 100
WIDTHS = {
    "keras_mixer": {"mlp_ratio": (0.25, 0.25)},
    "keras_gmlp": {
        "mlp_ratio": 2,
        "block_layer": mlp_mixer.SpatialGatingBlock,
        "mlp_layer": timm.layers.GatedMlp,
    },
}


def main(name, mode, steps):
    """Answer each line of the standard input with the seconds of a step, after one to warm up."""
    torch.manual_seed(0)
    model = mlp_mixer.MlpMixer(
        CLASSES, img_size=64, patch_size=8, num_blocks=4, embed_dim=256, **WIDTHS[name]
    )
    called = torch.compile(model) if mode == "compiled" else model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    images = torch.randn(BATCH, 3, 64, 64)
    labels = torch.randint(CLASSES, (BATCH,))

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(called(images), labels).backward()
        optimizer.step()

    step()
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        print((time.perf_counter() - start) / steps, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
