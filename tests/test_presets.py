"""Every named model: its exact size, and what can be asked of it."""

import keras
import numpy as np
import pytest

import mixlib
from mixlib.presets import PRESETS

# Of the published example, of the papers' and timm's tables; the small ones counted by hand.
PARAMETERS = {
    "keras_mixer": 242_788,
    "keras_fnet": 621_924,
    "keras_gmlp": 885_348,
    "mixer_tiny": 1_143_780,
    "fnet_tiny": 1_101_924,
    "gmlp_tiny": 1_094_180,
    "mixer": 6_556_772,
    "fnet": 6_440_036,
    "gmlp": 5_450_148,
    "mixer_s32": 19_104_624,
    "mixer_s16": 18_528_264,
    "mixer_b32": 60_293_428,
    "mixer_b16": 59_880_472,
    "mixer_l32": 206_939_264,
    "mixer_l16": 208_196_168,
    "mixer_h14": 432_350_952,
    "gmlp_ti16": 5_867_328,
    "gmlp_s16": 19_422_656,
    "gmlp_b16": 73_075_392,
    "fnet_base16": 58_808_296,
    "fnet_large16": 204_612_584,
}
SMALL = ["keras_mixer", "keras_fnet", "keras_gmlp", "mixer_tiny", "fnet_tiny", "gmlp_tiny"]


def images(batch=2):
    return np.random.default_rng(0).integers(0, 256, (batch, 32, 32, 3)).astype("uint8")


def test_every_preset_has_an_asserted_count():
    assert set(PARAMETERS) == set(PRESETS)


@pytest.fixture(scope="module")
def table():
    return mixlib.list_presets()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name, table):
    assert table.loc[name, "parameters"] == PARAMETERS[name]


def test_the_small_models_of_the_papers_are_of_one_size():
    sizes = [PARAMETERS[name] for name in ("mixer_tiny", "fnet_tiny", "gmlp_tiny")]
    assert min(sizes) >= 1e6 and max(sizes) <= 1.5e6
    assert max(sizes) <= 1.05 * min(sizes)


@pytest.mark.parametrize("name", ["mixer", "fnet", "gmlp"])
def test_later_blocks_are_skipped_more_often(name):
    blocks = [layer for layer in mixlib.create(name, num_blocks=3).layers if "block_" in layer.name]
    last = {"mixer": 0.1, "fnet": 0.05, "gmlp": 0.1}[name]
    assert [block.stochastic_depth_rate for block in blocks] == [0, last / 2, last]
    none = mixlib.create(name, num_blocks=1, stochastic_depth_rate=0.0).get_layer("block_0")
    assert none.stochastic_depth_rate == 0


@pytest.mark.parametrize(
    "name, initializer, deviation",
    [
        ("fnet_tiny", None, 0.02),
        ("fnet_tiny", "lecun_normal", 128**-0.5),
        ("fnet", "lecun_normal", 256**-0.5),
    ],
)
def test_an_fnets_kernels_start_alike(name, initializer, deviation):
    assert PRESETS[name].block["kernel_initializer"] == (
        None if name == "fnet_tiny" else initializer
    )
    model = mixlib.create(name, num_blocks=1, kernel_initializer=initializer)
    block = model.get_layer("block_0").feed_forward
    for dense in (model.get_layer("embedding_projection"), block.widen):
        kernel = keras.ops.convert_to_numpy(dense.kernel)
        assert kernel.std() == pytest.approx(deviation, rel=0.05)


def test_positions_can_be_added_or_left_out():
    for name in ("mixer_tiny", "fnet_tiny"):
        tables = []
        for positions in (False, True):
            model = mixlib.create(name, num_blocks=0, positional_encoding=positions)
            tables.append([layer for layer in model.layers if layer.name == "positions"])
        assert [len(found) for found in tables] == [0, 1]
    assert (
        PRESETS["fnet_tiny"].positional_encoding and not PRESETS["mixer_tiny"].positional_encoding
    )


def test_the_published_models_know_no_stochastic_depth():
    with pytest.raises(ValueError, match="keras_mixer has no stochastic_depth_rate"):
        mixlib.create("keras_mixer", stochastic_depth_rate=0.1)


@pytest.mark.parametrize("name", SMALL)
def test_takes_raw_images_and_gives_logits(name):
    model = mixlib.create(name)
    assert model.name == name
    assert model(images()).shape == (2, 100)
    assert model.count_params() == PARAMETERS[name] + 7  # mean and variance by channel, a count


@pytest.mark.parametrize("name", SMALL)
def test_reloads_with_the_same_outputs(name, tmp_path):
    model = mixlib.create(name)
    random = np.random.default_rng(0)
    model.get_layer("head").kernel.assign(random.normal(size=model.get_layer("head").kernel.shape))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    expected = keras.ops.convert_to_numpy(model(images()))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(images())), expected)


@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_training_reaches_every_weight(name):
    model = mixlib.create(name, dropout_rate=0.0)
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0.1, 0.1, weight.shape))
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.train_on_batch(images(4), np.arange(4))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert not np.array_equal(keras.ops.convert_to_numpy(weight), old), weight.path


@pytest.mark.parametrize("name", ["keras_mixer", "mixer_tiny"])
def test_normalises_with_the_statistics_of_cifar100_unless_adapted(name):
    layer = mixlib.create(name).get_layer("preprocessing").get_layer("normalization")
    mean = keras.ops.convert_to_numpy(layer.mean).ravel()
    np.testing.assert_allclose(mean, mixlib.augment.CIFAR100_MEAN, rtol=1e-6)


def test_the_published_preprocessing_is_inside():
    model = mixlib.create("keras_gmlp")
    assert model.get_layer("preprocessing").output.shape == (None, 64, 64, 3)
    assert model.get_layer("patches").output.shape == (None, 64, 192)
    assert model.get_layer("dropout").rate == 0.2


def test_large_presets_take_normalised_images():
    model = mixlib.create("gmlp_ti16", num_blocks=1, num_classes=3)
    assert "preprocessing" not in [layer.name for layer in model.layers]
    assert model.input_shape == (None, 224, 224, 3) and model.output_shape == (None, 3)


def test_preprocessing_of_the_callers_choice():
    model = mixlib.create("mixer_tiny", preprocessing=keras.layers.Rescaling(1 / 255), num_blocks=1)
    assert "rescaling" in model.layers[1].name
    whole = mixlib.create("keras_mixer", preprocessing={"image_size": None}, patch_size=4)
    assert whole.get_layer("preprocessing").output.shape == (None, 32, 32, 3)
    bare = mixlib.create("keras_mixer", preprocessing=False)
    assert bare.get_layer("patches").output.shape == (None, 16, 192)


def test_overrides():
    model = mixlib.create(
        "gmlp_tiny", image_size=64, patch_size=8, num_blocks=2, hidden_dim=32, mlp_dim=64,
        gelu="tanh", dropout_rate=0.3, num_classes=10,
    )  # fmt: skip
    blocks = [layer for layer in model.layers if isinstance(layer, mixlib.GMLPBlock)]
    assert [block.mlp_dim for block in blocks] == [64, 64]
    assert {block.gelu for block in blocks} == {"tanh"}
    assert {block.dropout_rate for block in blocks} == {0.3} == {model.get_layer("dropout").rate}
    assert model.output_shape == (None, 10) and model.input_shape == (None, 64, 64, 3)


def test_gelu_is_that_of_the_source():
    assert {PRESETS[name].block["gelu"] for name in PRESETS if "mixer_" in name[:6]} == {"tanh"}
    assert {PRESETS[name].block["gelu"] for name in PRESETS if name.startswith("gmlp")} == {"exact"}


def test_zero_is_not_the_default():
    with pytest.raises(ValueError, match="num_classes must be .* got 0"):
        mixlib.create("mixer_tiny", num_classes=0)
    with pytest.raises(ValueError):
        mixlib.create("mixer_tiny", image_size=0)


def test_names_that_do_not_exist():
    with pytest.raises(ValueError, match="Unknown preset 'mixer_xl'. Expected one of: keras_mixer"):
        mixlib.create("mixer_xl")
    with pytest.raises(ValueError, match="mixer_tiny has no mlp_dim. What can be overridden: chan"):
        mixlib.create("mixer_tiny", mlp_dim=3)


def test_values_that_cannot_be_used():
    with pytest.raises(ValueError, match="num_blocks must be a whole number, 0 or more; got -1"):
        mixlib.create("mixer_tiny", num_blocks=-1)
    with pytest.raises(ValueError, match="preprocessing must be a layer, .* got 'flip'"):
        mixlib.create("mixer_tiny", preprocessing="flip")


def test_table_of_presets(table):
    assert list(table.index) == list(PRESETS)
    assert table.loc["mixer_b16", "hidden_dim"] == 768
    assert table.loc["mixer_b16", "GFLOPs"] == pytest.approx(25.2, rel=1e-2)
    assert table["source"].str.len().min() > 10


@pytest.mark.parametrize("name", ["keras_mixer", "keras_fnet", "keras_gmlp"])
def test_published_models_drop_and_start_as_published(name):
    model = mixlib.create(name, num_blocks=1)
    parts = model._flatten_layers(include_self=False)
    assert {part.rate for part in parts if isinstance(part, keras.layers.Dropout)} == {0.2}
    for layer in (model.get_layer("stem"), model.get_layer("head")):
        assert type(layer.kernel_initializer).__name__ == "GlorotUniform"


@pytest.mark.parametrize("name", ["mixer_tiny", "fnet_tiny", "gmlp"])
def test_the_papers_models_prefer_no_class_at_first(name):
    model = mixlib.create(name, num_blocks=1)
    assert not keras.ops.convert_to_numpy(model.get_layer("head").kernel).any()
    assert type(model.get_layer("stem").kernel_initializer).__name__ == "LecunNormal"


@pytest.mark.parametrize("name", ["mixer", "fnet", "gmlp"])
def test_models_of_the_strong_recipe_only_normalise(name):
    layers = mixlib.create(name, num_blocks=1).get_layer("preprocessing").layers
    assert [layer.name for layer in layers] == ["normalization"]


def test_fnets_norm_of_the_embedding_has_the_papers_epsilon():
    layer = mixlib.create("fnet_tiny", num_blocks=0).get_layer("embedding_norm")
    assert layer.epsilon == 1e-12


@pytest.mark.parametrize("name", SMALL)
def test_images_are_mirrored_and_zoomed_as_in_the_example(name):
    layer = (
        mixlib.create(name, num_blocks=0).get_layer("preprocessing").get_layer("resize_flip_zoom")
    )
    assert (layer.horizontal_flip, layer.zoom) == (True, 0.2)


@pytest.mark.parametrize(
    "name, norm", [("fnet", "ortho"), ("fnet_tiny", "backward"), ("fnet_base16", "backward")]
)
def test_one_fnet_keeps_the_scale_of_what_it_transforms(name, norm):
    model = mixlib.create(name, num_blocks=1, hidden_dim=8, mlp_dim=8)
    assert model.get_layer("block_0").fourier_norm == norm
