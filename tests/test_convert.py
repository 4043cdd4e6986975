"""With the weights of other implementations, the models give the numbers of these implementations.

Their answers are in oracles/golden, the weights are drawn anew from names and shapes.
"""

import contextlib
import json
import pathlib

import keras
import numpy as np
import pytest
from oracles import mixer_numpy, weights

import mixlib
from mixlib import convert

GOLDEN = pathlib.Path(__file__).parent / "oracles" / "golden"
ABOUT = json.loads((GOLDEN / "models.json").read_text())["models"]
TIMM = [name for name in ABOUT if ABOUT[name]["library"] == "timm"]
FNET = [name for name in ABOUT if ABOUT[name]["library"] == "transformers"]
OFFICIAL = {
    "mixer_s32": (32, 512, 8, 256, 2048),
    "mixer_s16": (16, 512, 8, 256, 2048),
}
# Ten times what float32 costs, a tenth of what the other form of the GELU changes (1.4e-4, Mixer).
TOLERANCE = 1e-5


def off(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


def golden(name):
    """Outputs of an oracle, and its weights."""
    with np.load(GOLDEN / f"{name}.npz") as archive:
        outputs = dict(archive)
    return outputs, weights.draw_all(json.loads(outputs.pop("state").item()))


def preset(timm_name):
    return timm_name.removesuffix("_224")


def logits_and_pooled(model, images):
    both = keras.Model(model.input, [model.output, model.get_layer("pool").output])
    return [keras.ops.convert_to_numpy(output) for output in both(images)]


def first_block(timm_name):
    """A model with one block, and the timm weights for it."""
    _, state = golden(timm_name)
    state = {n: a for n, a in state.items() if not n.startswith("blocks.") or ".0." in n[:9]}
    return mixlib.create(preset(timm_name), num_blocks=1), state


def tiny_official(num_classes=100):
    """Official weights for mixer_tiny with one block."""
    shapes = mixer_numpy.official_shapes(4, 128, 1, 64, 512, image_size=32, num_classes=num_classes)
    return weights.draw_all(shapes)


def encoder(name, **options):
    """The blocks of an FNet encoder, from tokens to tokens."""
    config = ABOUT[name]["config"]
    x = inputs = keras.Input(ABOUT[name]["input"][1:])
    for _ in range(config["num_hidden_layers"]):
        x = mixlib.FNetBlock(config["intermediate_size"], **options)(x)
    return keras.Model(inputs, x)


@contextlib.contextmanager
def unchanged(model):
    """Context in which a model's weights must stay as they are."""
    before = model.get_weights()
    yield
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("name", TIMM)
def test_logits_and_features_are_timms(name):
    expected, state = golden(name)
    model = mixlib.create(preset(name), gelu="exact")
    assert convert.from_timm(model, state) is model
    logits, pooled = logits_and_pooled(model, weights.images())
    assert off(logits, expected["logits"]) < TOLERANCE
    assert off(pooled, expected["pooled"]) < TOLERANCE
    assert model.count_params() == ABOUT[name]["parameters"]


def test_the_tolerance_tells_the_forms_of_the_gelu_apart():
    expected, state = golden("mixer_s32_224")
    model = convert.from_timm(mixlib.create("mixer_s32", gelu="tanh"), state)
    logits, pooled = logits_and_pooled(model, weights.images())
    assert off(logits, expected["logits"]) > 10 * TOLERANCE
    assert off(pooled, expected["pooled"]) > 10 * TOLERANCE


@pytest.mark.parametrize("name", OFFICIAL)
def test_logits_and_features_are_those_of_the_official_mixer(name, tmp_path):
    official = weights.draw_all(mixer_numpy.official_shapes(*OFFICIAL[name]))
    np.savez(tmp_path / "official.npz", **official)
    model = convert.from_google(mixlib.create(name), tmp_path / "official.npz")
    outputs = logits_and_pooled(model, weights.images())
    for output, expected in zip(
        outputs, mixer_numpy.forward(official, weights.images()), strict=True
    ):
        assert off(output, expected) < TOLERANCE


def test_official_mappings_give_what_official_files_give(tmp_path):
    official = tiny_official()
    np.savez(tmp_path / "official.npz", **official)
    models = [
        convert.from_google(mixlib.create("mixer_tiny", num_blocks=1), source)
        for source in (official, str(tmp_path / "official.npz"))
    ]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("implementation", ["dft", "fft"])
@pytest.mark.parametrize("name", FNET)
def test_tokens_are_those_of_transformers(name, implementation):
    expected, state = golden(name)
    model = convert.from_transformers(encoder(name, implementation=implementation), state)
    tokens = keras.ops.convert_to_numpy(model(weights.tokens(*ABOUT[name]["input"])))
    assert off(tokens[:, :: ABOUT[name]["keep"]], expected["tokens"]) < TOLERANCE
    assert off(tokens.mean(1), expected["pooled"]) < TOLERANCE


@pytest.mark.parametrize("prefix", ["encoder.", "fnet.encoder."])
def test_the_encoder_is_read_out_of_a_whole_text_model(prefix):
    _, state = golden("fnet_small")
    whole = {prefix + name: array for name, array in state.items()}
    whole["embeddings.word_embeddings.weight"] = np.zeros((10, 32))
    models = [convert.from_transformers(encoder("fnet_small"), w) for w in (state, whole)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_fnet_classifier_keeps_what_is_not_an_encoder_block():
    model = mixlib.create("fnet_tiny", num_blocks=2, hidden_dim=32, mlp_dim=64)
    kept = [layer for layer in model.layers if not isinstance(layer, mixlib.FNetBlock)]
    before = [array for layer in kept for array in layer.get_weights()]
    _, state = golden("fnet_small")
    convert.from_transformers(model, state)
    after = [array for layer in kept for array in layer.get_weights()]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
    loaded, _ = model.get_layer("block_1").output_norm.get_weights()
    np.testing.assert_array_equal(loaded, state["layer.1.output.LayerNorm.weight"])


def small_cases():
    """For each source: its converter, a small model, weights that fit, and a kernel's name."""
    yield convert.from_timm, *first_block("mixer_s32_224"), "blocks.0.mlp_tokens.fc1.weight"
    yield convert.from_timm, *first_block("gmlp_ti16_224"), "blocks.0.mlp_channels.gate.proj.weight"
    tiny = mixlib.create("mixer_tiny", num_blocks=1)
    yield convert.from_google, tiny, tiny_official(), "MixerBlock_0/token_mixing/Dense_0/kernel"
    _, state = golden("fnet_small")
    yield convert.from_transformers, encoder("fnet_small"), state, "layer.1.output.dense.weight"


@pytest.mark.parametrize(
    "case", range(4), ids=["timm-mixer", "timm-gmlp", "google", "transformers"]
)
def test_what_does_not_fit_is_listed_and_changes_nothing(case):
    load, model, fitting, kernel = list(small_cases())[case]
    shape = fitting[kernel].shape
    bias = kernel.replace("weight", "bias").replace("kernel", "bias")
    wrong = dict(fitting)
    del wrong[bias]
    wrong["something.else"] = np.zeros(3)
    wrong[kernel] = np.zeros((*shape, 1))
    with unchanged(model), pytest.raises(ValueError, match="left as it was") as error:
        load(model, wrong)
    lines = str(error.value).splitlines()
    assert lines[1] == f"Missing: {bias}."
    assert lines[2] == "Unexpected: something.else."
    assert lines[3] == f"Of another shape: {kernel} (expected {shape}, got {(*shape, 1)})."
    # What fails only when it is converted must not leave half of a checkpoint either.
    wrong = fitting | {kernel: np.full(shape, "no number")}
    with unchanged(model), pytest.raises(ValueError):
        load(model, wrong)
    load(model, fitting)  # and it does fit


def test_every_weight_of_a_classifier_is_replaced():
    for load, model, fitting, _ in small_cases():
        before = [variable.numpy() for variable in model.trainable_variables]
        load(model, fitting)
        for old, variable in zip(before, model.trainable_variables, strict=True):
            assert not np.array_equal(old, variable.numpy()), variable.path


@pytest.mark.parametrize("source", ["timm", "google"])
def test_another_head_is_refused_and_can_be_skipped(source):
    if source == "timm":
        _, state = first_block("mixer_s32_224")
        model, load = mixlib.create("mixer_s32", num_classes=10, num_blocks=1), convert.from_timm
        gain = state["norm.weight"]
    else:
        state = tiny_official(num_classes=1000)
        model = mixlib.create("mixer_tiny", num_classes=10, num_blocks=1)
        load, gain = convert.from_google, state["pre_head_layer_norm/scale"]
    with unchanged(model), pytest.raises(ValueError) as error:
        load(model, state)
    assert "has 1000 classes, the model's 10" in str(error.value)
    assert 'head="skip"' in str(error.value)
    head = model.get_layer("head").get_weights()
    load(model, state, head="skip")
    for before, after in zip(head, model.get_layer("head").get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)
    norm, _ = model.get_layer("head_norm").get_weights()
    np.testing.assert_array_equal(norm, gain)


def test_head_skip_takes_a_checkpoint_without_a_head():
    model, state = first_block("gmlp_ti16_224")
    state = {name: array for name, array in state.items() if not name.startswith("head.")}
    with unchanged(model), pytest.raises(ValueError, match=r"Missing: head.weight, head.bias"):
        convert.from_timm(model, state)
    convert.from_timm(model, state, head="skip")


def test_head_is_load_or_skip():
    model, state = first_block("gmlp_ti16_224")
    with unchanged(model), pytest.raises(ValueError, match='"load" or "skip"'):
        convert.from_timm(model, state, head="drop")


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (convert.from_timm, "fnet_tiny"),
        (convert.from_timm, "keras_mixer"),
        (convert.from_google, "gmlp_tiny"),
        (convert.from_transformers, "mixer_tiny"),
    ],
)
def test_another_kind_of_model_is_refused(load, name):
    with pytest.raises(ValueError, match=f"'{name}' has none"):
        load(mixlib.create(name, num_blocks=1), {})
