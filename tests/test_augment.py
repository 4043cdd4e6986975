"""The published preprocessing, and its parts."""

import tracemalloc

import keras
import numpy as np
import pytest

import mixlib
from mixlib import augment

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype("uint8")


def test_default_statistics_are_applied(images):
    mean, variance = np.array(augment.CIFAR100_MEAN), np.array(augment.CIFAR100_VARIANCE)
    output = to_numpy(augment.normalization()(images))
    np.testing.assert_allclose(output, (images - mean) / np.sqrt(variance), atol=1e-5)


def test_adapt_reaches_layers_inside_a_model(images):
    model = mixlib.create("keras_mixer")
    assert augment.adapt(model, images) == 1
    normalised = to_numpy(model.get_layer("preprocessing").get_layer("normalization")(images))
    np.testing.assert_allclose(normalised.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(normalised.std(axis=(0, 1, 2)), 1, atol=1e-3)


@pytest.mark.parametrize("axis", [-1, None, (1, 2, 3)])
def test_statistics_are_those_of_keras(axis):
    images = np.random.default_rng(0).integers(0, 256, (2_001, 4, 5, 3)).astype("uint8")
    ours, theirs = (keras.layers.Normalization(axis) for _ in range(2))
    augment.adapt(ours, images)
    theirs.adapt(images)
    for one, other in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), rtol=1e-6)
    np.testing.assert_allclose(to_numpy(ours(images)), to_numpy(theirs(images)), atol=1e-5)


@pytest.mark.parametrize("options", [{"axis": 1}, {"axis": None}, {"invert": True}, {"mean": 1.0}])
def test_what_our_normalisation_leaves_to_keras(options):
    if "mean" in options:
        options = options | {"variance": 1.0}
    with pytest.raises(ValueError, match="keras.layers.Normalization has them"):
        augment.Normalization(**options)


def test_statistics_take_little_memory():
    images = np.zeros((20_000, 32, 32, 3), "uint8")
    tracemalloc.start()
    augment.adapt(augment.normalization(), images)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * images.nbytes  # as float64 they take eight times as much


def test_a_frozen_normalisation_stays_as_it_is(images):
    model = mixlib.create("mixer_tiny", num_blocks=0)
    model.trainable = False
    before = to_numpy(model.get_layer("preprocessing").layers[0].adapt_mean)
    assert augment.adapt(model, images) == 0
    after = to_numpy(model.get_layer("preprocessing").layers[0].adapt_mean)
    np.testing.assert_array_equal(before, after)


def test_adapted_statistics_are_saved(images, tmp_path):
    model = mixlib.create("mixer_tiny", num_blocks=1)
    augment.adapt(model, images[:, :16])
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(128, 100)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(again(images)), to_numpy(model(images)))


def test_given_statistics_stay(images):
    given = keras.layers.Normalization(mean=[0.5] * 3, variance=[0.06] * 3)
    scaled = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), given])
    before = to_numpy(scaled(images))
    assert augment.adapt(scaled, images) == 0
    np.testing.assert_array_equal(to_numpy(scaled(images)), before)


def test_what_comes_after_another_layer_is_not_fitted_to_images(images):
    layers = [keras.Input((32, 32, 3)), keras.layers.Rescaling(1 / 255), augment.normalization()]
    with pytest.raises(ValueError, match="'normalization' comes after another layer.*Put it first"):
        augment.adapt(keras.Sequential(layers), images)


def test_nothing_to_adapt(images):
    assert augment.adapt(mixlib.create("keras_mixer", preprocessing=False), images) == 0


def test_inference_is_normalise_and_resize_alone(images):
    layer = augment.preprocessing()
    output = to_numpy(layer(images))
    assert output.shape == (64, 64, 64, 3)
    np.testing.assert_array_equal(output, to_numpy(layer(images, training=False)))
    resized = keras.ops.image.resize(augment.normalization()(images), (64, 64))
    np.testing.assert_allclose(output, to_numpy(resized), atol=1e-5)


def test_calling_a_model_does_not_augment(images):
    model = mixlib.build_classifier(
        [],
        preprocessing=augment.preprocessing(image_size=None),
        head_initializer="glorot_uniform",
    )
    first, second = (to_numpy(model(images)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, model.predict(images, verbose=0), rtol=1e-4, atol=1e-4)


def test_flip_mirrors_about_half_of_the_images_left_to_right(images):
    layer = augment.preprocessing(image_size=None, zoom=0.0, seed=1)
    still, drawn = to_numpy(layer(images)), to_numpy(layer(images, training=True))
    kept = np.isclose(drawn, still, atol=1e-5).all(axis=(1, 2, 3))
    mirrored = np.isclose(drawn, still[:, :, ::-1], atol=1e-5).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_zoom_scales_height_and_width_by_up_to_a_fifth():
    """The width of a white bar in the middle tells the factor."""
    bar = np.zeros((200, 40, 40, 1), "float32")
    bar[:, :, 10:30] = 1.0
    layer = augment.preprocessing(
        image_size=None, horizontal_flip=False, mean=[0.0], variance=[1.0], seed=2
    )
    widths = to_numpy(layer(bar, training=True))[:, 20, :, 0].sum(axis=1)
    assert 20 / 1.2 - 0.5 <= widths.min() < 18 and 22 < widths.max() <= 20 / 0.8 + 0.5


def test_parts_can_be_left_out():
    names = [layer.name for layer in augment.preprocessing().layers]
    assert names == ["normalization", "resize_flip_zoom"]
    few = augment.preprocessing(image_size=None, horizontal_flip=False, zoom=0)
    assert [layer.name for layer in few.layers] == ["normalization"]


@pytest.mark.parametrize(
    "shape, size", [((32, 32), 64), ((32, 32), None), ((20, 28), 36), ((40, 24), 16)]
)
def test_one_interpolation_equals_the_three_layers_of_keras(shape, size):
    x = np.random.default_rng(1).normal(size=(24, *shape, 3)).astype("float32")
    layer = augment.ResizeFlipZoom(size, seed=1)
    flip, zoom_height, zoom_width = drawn = layer.draw(24)
    layer.draw = lambda batch: drawn
    output = to_numpy(layer(x, training=True))

    height, width = (size, size) if size else shape
    expected = keras.ops.image.resize(x, (height, width))
    flip = keras.ops.reshape(flip, (-1, 1, 1, 1))
    expected = keras.ops.where(flip, keras.ops.flip(expected, axis=2), expected)
    zero = keras.ops.zeros_like(zoom_height)
    matrix = [zoom_width, zero, (width - 1) / 2 * (1 - zoom_width)]
    matrix += [zero, zoom_height, (height - 1) / 2 * (1 - zoom_height), zero, zero]
    matrix = keras.ops.concatenate(matrix, axis=1)
    # Keras on PyTorch reflects without the edge pixel: there, compare the images' middle.
    part = slice(6, -6) if keras.backend.backend() == "torch" else slice(None)
    expected = keras.ops.image.affine_transform(
        expected, matrix, interpolation="bilinear", fill_mode="reflect"
    )
    expected, output = to_numpy(expected)[:, part, part], output[:, part, part]
    assert np.abs(output - expected).max() <= 1e-5 * np.abs(expected).max()


def test_half_are_mirrored_and_factors_fill_their_range():
    flip, *factors = (
        to_numpy(drawn) for drawn in augment.ResizeFlipZoom(zoom=0.2, seed=0).draw(999)
    )
    assert 0.45 < flip.mean() < 0.55
    for factor in factors:
        assert 0.8 <= factor.min() < 0.81 and 1.19 < factor.max() <= 1.2
    assert abs(np.corrcoef(factors[0][:, 0], factors[1][:, 0])[0, 1]) < 0.1
    assert not to_numpy(augment.ResizeFlipZoom(horizontal_flip=False).draw(9)[0]).any()


@pytest.mark.parametrize("options", [{"image_size": 0}, {"zoom": 1.0}, {"zoom": -0.1}])
def test_impossible_options(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be"):
        augment.ResizeFlipZoom(**options)


def test_images_of_unknown_size():
    with pytest.raises(ValueError, match="height, width and channels known"):
        augment.ResizeFlipZoom()(keras.Input((None, None, 3)))


def warp(images, **options):
    """What `RandomAffine` makes of images, with the matrices that it drew."""
    layer = augment.RandomAffine(seed=1, **options)
    batch, height, width, _ = images.shape
    matrices = to_numpy(augment.RandomAffine(seed=1, **options).draw(batch, height, width))
    return to_numpy(layer(images, training=True)), matrices


def test_a_flip_is_exact(images):
    flipped, matrices = warp(images, horizontal_flip=True)
    mirrored = matrices[:, 0] < 0
    assert 10 < mirrored.sum() < 54
    expected = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    np.testing.assert_allclose(flipped, expected, atol=1e-3)


def test_a_shift_is_by_whole_pixels_and_reflects(images):
    shifted, matrices = warp(images, horizontal_flip=False, shift=0.125)
    right, down = matrices[:, 2], matrices[:, 5]
    assert set(right) <= set(range(-4, 5)) and len(set(right)) > 5
    reflected = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="symmetric")
    for image, x, y, given in zip(shifted, right, down, reflected, strict=True):
        x, y = int(x) + 4, int(y) + 4
        np.testing.assert_allclose(image, given[y : y + 32, x : x + 32], atol=1e-3)


def test_a_rotation_keeps_the_middle_and_its_angle():
    matrices = warp(np.zeros((500, 9, 9, 1)), horizontal_flip=False, rotation=30.0)[1]
    angles = np.degrees(np.arctan2(matrices[:, 3], matrices[:, 0]))
    assert -30 <= angles.min() < -27 and 27 < angles.max() <= 30
    middle = matrices[:, :3] @ [4, 4, 1], matrices[:, 3:6] @ [4, 4, 1]
    np.testing.assert_allclose(middle, 4, atol=1e-5)
    determinants = matrices[:, 0] * matrices[:, 4] - matrices[:, 1] * matrices[:, 3]
    np.testing.assert_allclose(determinants, 1, atol=1e-5)


def test_scale_and_shear_are_within_their_bounds():
    matrices = warp(np.zeros((500, 9, 9, 1)), horizontal_flip=False, scale=0.2, shear=0.1)[1]
    assert 0.8 <= matrices[:, 0].min() < 0.83 and 1.17 < matrices[:, 4].max() <= 1.2
    slant = matrices[:, 1] / matrices[:, 4]
    assert -0.1 <= slant.min() < -0.09 and 0.09 < slant.max() <= 0.1


def test_a_warp_is_of_training_only(images):
    layer = augment.RandomAffine(shift=0.2, rotation=20.0)
    np.testing.assert_array_equal(to_numpy(layer(images)), images)
    with pytest.raises(ValueError, match="shift must be from 0 to below 1; got 4"):
        augment.RandomAffine(shift=4)


def test_augmentation_keeps_the_range_of_pixels_and_changes_every_image(images):
    layers = augment.augmentation(colour=0.4, erasing=0.5, shift=0.125, rotation=10.0, seed=0)
    output = to_numpy(layers(images, training=True))
    assert output.dtype == "float32" and 0 <= output.min() and output.max() <= 255
    assert output.mean() == pytest.approx(images.mean(), rel=0.1)
    assert (np.abs(output - images).mean(axis=(1, 2, 3)) > 1).all()
    np.testing.assert_allclose(to_numpy(layers(images, training=False)), images, atol=1e-3)


def test_augmentation_waits_to_be_told_of_a_training(images):
    layers = augment.augmentation(colour=0.4, erasing=1.0, rotation=10.0, seed=0)
    inputs = keras.Input((32, 32, 3))
    for used in (layers, keras.Model(inputs, layers(inputs))):
        copy = type(used).from_config(used.get_config())
        for one in (used, copy):
            np.testing.assert_allclose(to_numpy(one(images)), images, atol=1e-3)
            changed = to_numpy(one(images, training=True))
            assert (np.abs(changed - images).mean(axis=(1, 2, 3)) > 1).all()


def test_about_the_asked_share_of_images_loses_a_box(images):
    layers = augment.augmentation(erasing=0.25, horizontal_flip=False, seed=0)
    output = to_numpy(layers(np.concatenate([images] * 8), training=True))
    erased = (output == 128).mean(axis=(1, 2, 3)) > 0.015
    assert abs(erased.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 512)


def test_a_warp_is_rotation_times_shear_times_scale_about_the_middle():
    layer = augment.RandomAffine(False, 0.2, 25.0, 0.3, 0.4, seed=1)
    drawn = keras.ops.convert_to_numpy(layer.draw(400, 20, 60)).astype("float64")  # wide images
    a, b, c, d = drawn[:, 0], drawn[:, 1], drawn[:, 3], drawn[:, 4]
    angle, across = np.degrees(np.arctan2(c, a)), np.hypot(a, c)
    down = (a * d - b * c) / across
    shear = (a * b + c * d) / (across * down)
    for values, low, high in (
        (angle, -25, 25),
        (across, 0.6, 1.4),
        (down, 0.6, 1.4),
        (shear, -0.3, 0.3),
    ):
        near = 0.05 * (high - low)
        assert low - 1e-4 <= values.min() < low + near
        assert high - near < values.max() <= high + 1e-4
    assert abs(np.corrcoef(across, down)[0, 1]) < 0.2  # each by its own factor
    middle = [29.5, 9.5, 1]
    right, below = drawn[:, :3] @ middle - 29.5, drawn[:, 3:6] @ middle - 9.5
    np.testing.assert_allclose(right, right.round(), atol=1e-4)
    assert -12.001 <= right.min() < -10 and 10 < right.max() <= 12.001
    assert -4.001 <= below.min() < -3 and 3 < below.max() <= 4.001


@pytest.mark.filterwarnings("ignore:Model doesn't support `jit_compile=True`")
def test_a_model_with_a_warp_is_compiled_where_it_can_be(images):
    """Left to itself, Keras compiles as here where TensorFlow finds a GPU."""
    jit_compile = "auto" if keras.backend.backend() == "torch" else True
    layers = [keras.Input((32, 32, 3)), augment.RandomAffine(rotation=9.0), keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=jit_compile)
    history = model.fit(images / 255, np.zeros((64, 1)), verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_a_warp_mirrors_half_of_the_images():
    drawn = keras.ops.convert_to_numpy(augment.RandomAffine(True, seed=1).draw(2_000, 9, 9))
    assert abs((drawn[:, 0] < 0).mean() - 0.5) < 0.05


def test_augmentation_does_what_is_named_and_no_more(images):
    layers = augment.augmentation(erasing=1e-9, seed=1)
    np.testing.assert_allclose(to_numpy(layers(images, training=True)), images, atol=1e-3)


@pytest.mark.parametrize("options", [{"shift": 1.0}, {"scale": 1.0}, {"scale": -0.1}])
def test_impossible_warps(options):
    with pytest.raises(ValueError, match="must be from 0 to below 1"):
        augment.RandomAffine(**options)


def test_colours_change_by_the_share_asked_for():
    layer = augment.augmentation(colour=0.4, horizontal_flip=False, seed=0).get_layer("colour")
    grey = np.full((500, 4, 4, 3), 0.5, "float32")
    bright = keras.ops.convert_to_numpy(layer.random_brightness(grey, training=True))
    change = bright.mean(axis=(1, 2, 3)) - 0.5
    assert -0.20001 <= change.min() < -0.18 and 0.18 < change.max() <= 0.20001
    assert layer.contrast_factor == 0.4
    assert tuple(layer.saturation_factor) == pytest.approx((0.3, 0.7))


def test_an_erased_box_is_up_to_a_third_of_the_image():
    layers = augment.augmentation(erasing=1.0, horizontal_flip=False, seed=0)
    erased = keras.ops.convert_to_numpy(layers(np.zeros((1_000, 32, 32, 3)), training=True)) == 128
    shares = erased.mean(axis=(1, 2, 3))
    assert shares.min() < 0.05 and 0.25 < shares.max() < 0.4


def test_an_erased_box_keeps_its_grey():
    layers = augment.augmentation(colour=0.4, erasing=1.0, horizontal_flip=False, seed=0)
    images = np.full((50, 16, 16, 3), 200, "float32")
    assert (keras.ops.convert_to_numpy(layers(images, training=True)) == 128).any(axis=(1, 2)).all()


def test_a_channel_of_one_value_stays_finite():
    images, layer = np.zeros((4, 8, 8, 3), "uint8"), augment.normalization()
    augment.adapt(layer, images)
    assert np.isfinite(keras.ops.convert_to_numpy(layer(images))).all()


def test_colours_are_those_of_pixels_whatever_the_data_format(images):
    changed = {}
    for data_format in ("channels_first", "channels_last"):
        keras.config.set_image_data_format(data_format)
        try:
            layers = augment.augmentation(colour=0.4, seed=3)
            changed[data_format] = to_numpy(layers(images, training=True))
        finally:
            keras.config.set_image_data_format("channels_last")
    np.testing.assert_allclose(changed["channels_first"], changed["channels_last"], atol=1e-3)
    assert np.abs(changed["channels_last"] - images).mean() > 5


def test_a_box_is_a_box_whatever_the_data_format():
    keras.config.set_image_data_format("channels_first")
    try:
        layers = augment.augmentation(erasing=1.0, horizontal_flip=False, seed=0)
        model, recipe = mixlib.create("mixer_tiny"), mixlib.Recipe("cut", cutmix=1.0)
        training = mixlib.training.AugmentedTraining(model, recipe)
    finally:
        keras.config.set_image_data_format("channels_last")
    images = np.zeros((50, 32, 32, 3), "float32") + np.arange(50)[:, None, None, None]
    cut = training({"images": images, "labels": np.arange(50)}, training=True)["targets"]
    assert (keras.ops.convert_to_numpy(cut).max(axis=1) < 1).any()
    mixed = training.cut_mix({"images": images, "labels": np.eye(50)}, training=True)["images"]
    for changed in (layers(images, training=True), mixed):
        boxes = keras.ops.convert_to_numpy(changed) != images
        assert boxes.any() and (boxes == boxes[..., :1]).all()  # in every channel
        assert not boxes.any(axis=2)[..., 0].all(axis=1).all()  # and not always from top to bottom


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: augment.augmentation(0.4, 0.5, seed=seed, rotation=10.0),
        lambda seed: augment.preprocessing(seed=seed),
    ],
)
def test_augmentation_follows_its_seed(make):
    images = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 3)).astype("float32")
    one, same, other = (
        keras.ops.convert_to_numpy(make(seed)(images, training=True)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_augmentation_is_in_float32_under_every_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = augment.augmentation(colour=0.4, erasing=0.5)
        pixels = np.full((1, 8, 8, 3), 201.7, "float32")
        output = to_numpy(model(pixels, training=False))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in (model, *model.layers)} == {"float32"}
    np.testing.assert_allclose(output, pixels, rtol=1e-6)


def test_a_clone_with_the_same_weights_gives_the_same_answers(images):
    model = mixlib.create("mixer_tiny", num_blocks=1, image_size=images.shape[1:3])
    augment.adapt(model, images)
    randomly = np.random.default_rng(0)
    model.get_layer("head").kernel.assign(randomly.normal(size=(128, 100)))
    expected = model.predict(images, verbose=0)
    clone = keras.models.clone_model(model)
    clone.predict(images, verbose=0)  # compiled before it has the weights
    clone.set_weights(model.get_weights())
    np.testing.assert_allclose(clone.predict(images, verbose=0), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 4])
def test_statistics_of_other_channels(channels):
    with pytest.raises(ValueError, match=f"3 channels, but images of {channels} came. Make it"):
        mixlib.build_classifier(
            [], channels=channels, preprocessing=augment.preprocessing(image_size=None)
        )
    own = augment.preprocessing(image_size=None, mean=[9.0] * channels, variance=[1.0] * channels)
    assert mixlib.build_classifier([], channels=channels, preprocessing=own).built


def test_parts_of_one_seed_draw_apart():
    """Images that are dark on the left: who is mirrored can be seen, and who lost a grey box."""
    ramp = np.broadcast_to(np.linspace(50, 150, 8)[:, None], (400, 8, 8, 3)).astype("float32")
    layer = augment.augmentation(erasing=0.5, seed=0, horizontal_flip=True)
    changed = keras.ops.convert_to_numpy(layer(ramp, training=True))
    mirrored = np.median(np.diff(changed[..., 0], axis=2), axis=(1, 2)) < 0
    erased = (changed == 128).any(axis=(1, 2, 3))
    assert 0.4 < mirrored.mean() < 0.6 and 0.4 < erased.mean() < 0.6
    assert abs(np.corrcoef(mirrored, erased)[0, 1]) < 0.2
    parts = augment.augmentation(colour=0.4, erasing=0.5, seed=3).layers
    assert [part.seed for part in parts if hasattr(part, "seed")] == [3, 4, 5]


def test_a_warp_needs_a_batch_of_images():
    with pytest.raises(ValueError, match="RandomAffine expects images of shape"):
        augment.RandomAffine()(np.zeros((8, 8, 3), "float32"), training=True)
