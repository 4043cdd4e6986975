"""Golden answers of implementations that are not ours: timm's Mixer and gMLP, transformers' FNet.

    pip install torch timm transformers
    python tests/oracles/make_golden.py           # writes golden/
    python tests/oracles/make_golden.py --check   # runs them again, compares with golden/

Weights and inputs are drawn by `weights.py` from names and shapes, so that a test can draw the very
same ones. ``golden/<model>.npz`` holds the outputs, and ``state``: JSON of the names and shapes of
the weights, in the oracle's order. ``golden/models.json`` holds configurations and versions.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import timm
import torch
import transformers
import weights
from transformers.models.fnet.modeling_fnet import FNetEncoder

GOLDEN = pathlib.Path(__file__).parent / "golden"
TIMM = (
    "mixer_s32_224",
    "mixer_s16_224",
    "mixer_b32_224",
    "mixer_b16_224",
    "gmlp_ti16_224",
    "gmlp_s16_224",
    "gmlp_b16_224",
)
# Tokens of the base encoder are kept every `keep`-th: all of them would be a megabyte.
FNET = {
    "fnet_small": {
        "input": (2, 16, 32),
        "keep": 1,
        "config": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2},
    },
    "fnet_base": {
        "input": (2, 196, 768),
        "keep": 28,
        "config": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12},
    },
}


def load_drawn_weights(model):
    """Replace all weights of a torch module; return their names and shapes."""
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    drawn = weights.draw_all(shapes)
    model.load_state_dict({name: torch.from_numpy(drawn[name]) for name in drawn}, strict=True)
    model.eval()
    return shapes


def run_timm(name):
    """Logits and pooled features of a timm model, what is known of it, and its weights' shapes."""
    model = timm.create_model(name, pretrained=False)
    shapes = load_drawn_weights(model)
    # (batch, height, width, 3) -> (batch, 3, height, width)
    images = torch.from_numpy(weights.images()).permute(0, 3, 1, 2)
    with torch.no_grad():
        features = model.forward_features(images)  # after the last norm
        outputs = {
            "logits": model.forward_head(features),
            "pooled": model.forward_head(features, pre_logits=True),
        }
        torch.testing.assert_close(outputs["logits"], model(images))
    norms = {m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)}
    about = {
        "library": "timm",
        "parameters": sum(value.numel() for value in model.parameters()),
        "layer_norm_epsilons": sorted(norms),
        "gelu": "exact",
        "mean": list(model.default_cfg["mean"]),
        "std": list(model.default_cfg["std"]),
    }
    return outputs, about, shapes


def run_fnet(name):
    """The same for an encoder of transformers: some of its tokens, and the mean over all."""
    case = FNET[name]
    config = transformers.FNetConfig(**case["config"])
    model = FNetEncoder(config)
    shapes = load_drawn_weights(model)
    with torch.no_grad():
        output = model(torch.from_numpy(weights.tokens(*case["input"]))).last_hidden_state
    outputs = {"tokens": output[:, :: case["keep"]], "pooled": output.mean(1)}
    about = {
        "library": "transformers",
        "parameters": sum(value.numel() for value in model.parameters()),
        "layer_norm_epsilons": [config.layer_norm_eps],
        "gelu": "tanh" if config.hidden_act == "gelu_new" else config.hidden_act,
        **case,
    }
    return outputs, about, shapes


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with golden/, write nothing")
    check = parser.parse_args().check
    models, worst = {}, 0.0
    for name in (*TIMM, *FNET):
        outputs, models[name], shapes = (run_timm if name in TIMM else run_fnet)(name)
        outputs = {key: value.numpy().astype("float32") for key, value in outputs.items()}
        state = json.dumps(shapes)
        path = GOLDEN / f"{name}.npz"
        if not check:
            np.savez_compressed(path, state=np.array(state), **outputs)
            print(f"{path.name}: {path.stat().st_size / 1024:.0f} KiB")
            continue
        with np.load(path) as golden:
            if golden["state"].item() != state:
                sys.exit(f"{name}: the names or shapes of the weights have changed")
            errors = {
                key: float(np.abs(value - golden[key]).max() / np.abs(golden[key]).max())
                for key, value in outputs.items()
            }
        worst = max(worst, *errors.values())
        print(name, ", ".join(f"{key} off by {error:.1e}" for key, error in errors.items()))
    if worst > 1e-5:
        sys.exit(f"off by up to {worst:.1e}, more than 1e-5")
    if not check:
        versions = {module.__name__: module.__version__ for module in (timm, torch, transformers)}
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(models[name])}" for name in models)
        text = f'{{\n "versions": {json.dumps(versions)},\n "models": {{\n{rows}\n }}\n}}\n'
        (GOLDEN / "models.json").write_text(text)


if __name__ == "__main__":
    main()
