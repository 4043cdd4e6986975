"""FNet's Fourier transform and block."""

import keras
import numpy as np
import pytest

import mixlib

to_numpy = keras.ops.convert_to_numpy
both_ways = pytest.mark.parametrize("implementation", ["fft", "dft"])


def tokens(shape=(3, 16, 12), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@both_ways
@pytest.mark.parametrize("norm", ["backward", "ortho"])
@pytest.mark.parametrize("shape", [(3, 16, 12), (2, 64, 256), (1, 7, 5), (2, 1, 8), (1, 196, 768)])
def test_equals_numpy(implementation, norm, shape):
    x = tokens(shape)
    expected = np.fft.fft2(x, norm=norm).real
    output = to_numpy(mixlib.FourierTransform(implementation, norm)(x))
    assert np.abs(output - expected).max() <= 1e-5 * np.abs(expected).max()


@both_ways
def test_is_linear(implementation):
    transform = mixlib.FourierTransform(implementation)
    one, two = tokens(seed=1), tokens(seed=2)
    combined = to_numpy(transform(2 * one - 3 * two))
    parts = 2 * to_numpy(transform(one)) - 3 * to_numpy(transform(two))
    assert np.abs(combined - parts).max() <= 1e-5 * np.abs(combined).max()


@both_ways
def test_gradient_is_the_transform_itself(implementation):
    """The matrix of Re(F x F) is symmetric, so the gradient of <y, T(x)> with respect to x is T(y).

    One step of plain gradient descent shows it: the bias added before the transform moves by it.
    """
    y = tokens((1, 16, 12), seed=3)

    class Probe(keras.layers.Layer):
        def build(self, shape):
            self.x = self.add_weight(shape=(1, 16, 12), initializer="zeros")
            self.transform = mixlib.FourierTransform(implementation)

        def call(self, weights):
            return keras.ops.sum(weights * self.transform(self.x), axis=(1, 2))

    probe = Probe()
    model = keras.Sequential([keras.Input((16, 12)), probe])
    model.compile(keras.optimizers.SGD(1.0), lambda _, value: value)
    model.train_on_batch(y, np.zeros(1))
    expected = -np.fft.fft2(y).real
    assert np.abs(to_numpy(probe.x) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_scale_grows_with_the_square_root_of_the_size():
    x = tokens((4, 64, 256))
    ratio = np.std(to_numpy(mixlib.FourierTransform()(x))) / np.std(x)
    assert ratio == pytest.approx(np.sqrt(64 * 256 / 2), rel=0.02)


@both_ways
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision(implementation, dtype):
    x = keras.ops.cast(tokens(), dtype)
    output = mixlib.FourierTransform(implementation, dtype=dtype)(x)
    assert keras.backend.standardize_dtype(output.dtype) == dtype
    expected = np.fft.fft2(to_numpy(keras.ops.cast(x, "float32"))).real
    off = np.abs(to_numpy(keras.ops.cast(output, "float32")) - expected).max()
    # fft rounds once, at the end; dft rounds its matrices and its two products.
    allowed = {"bfloat16": 2**-8, "float16": 2**-11}[dtype] * (1 if implementation == "fft" else 4)
    assert off <= allowed * np.abs(expected).max()


def test_unknown_implementation():
    with pytest.raises(ValueError, match='"fft" or "dft"; got \'slow\''):
        mixlib.FourierTransform(implementation="slow")


def test_unknown_norm():
    with pytest.raises(ValueError, match='"backward" or "ortho"; got \'forward\''):
        mixlib.FourierTransform(norm="forward")


@both_ways
def test_an_orthonormal_transform_leaves_the_residual_its_part(implementation):
    """The paper's transform has ``SC / 2`` times the variance of what it is added to, this half."""
    x = tokens((4, 64, 48))
    sizes = {}
    for norm in ("backward", "ortho"):
        block = mixlib.FNetBlock(96, implementation=implementation, fourier_norm=norm)
        block.build(x.shape)
        again = mixlib.FNetBlock.from_config(block.get_config())
        again.build(x.shape)
        for one in (block, again):
            sizes.setdefault(norm, []).append(np.var(to_numpy(one.fourier(x))) / np.var(x))
    assert sizes["backward"] == pytest.approx([64 * 48 / 2] * 2, rel=0.05)
    assert sizes["ortho"] == pytest.approx([0.5] * 2, rel=0.05)


def test_block_equals_its_equations():
    block = mixlib.FNetBlock(20)
    x = tokens()
    block.build(x.shape)
    random = np.random.default_rng(5)
    block.set_weights([random.normal(0.2, 0.3, weight.shape) for weight in block.weights])
    z = block.mixing_norm(x + np.fft.fft2(x).real.astype("float32"))
    expected = to_numpy(block.output_norm(z + block.feed_forward(z)))
    assert np.abs(to_numpy(block(x)) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_block_is_as_in_the_official_code():
    block = mixlib.FNetBlock(400)
    block.build((None, 16, 100))
    assert block.mixing_norm.epsilon == block.output_norm.epsilon == 1e-12
    assert np.std(to_numpy(block.feed_forward.widen.kernel)) == pytest.approx(0.02, rel=0.05)
    assert block.count_params() == 2 * 2 * 100 + 2 * 100 * 400 + 400 + 100
    assert block.gelu == "tanh"


def test_block_starts_from_kernels_of_another_size():
    block = mixlib.FNetBlock(400, kernel_initializer="lecun_normal")
    block.build((None, 16, 100))
    for dense in (block.feed_forward.widen, block.feed_forward.narrow):
        kernel = to_numpy(dense.kernel)
        assert np.std(kernel) == pytest.approx(len(kernel) ** -0.5, rel=0.05)
    copy = mixlib.FNetBlock.from_config(block.get_config())
    assert copy.get_config() == block.get_config()


def test_block_takes_any_number_of_tokens():
    block = mixlib.FNetBlock(20)
    block(tokens())
    assert block(tokens((2, 9, 12))).shape == (2, 9, 12)
