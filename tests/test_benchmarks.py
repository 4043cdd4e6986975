"""The benchmarks: fair pairs, honest sums, and results that say what they were measured on."""

import functools
import itertools
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import mixlib
from benchmarks import (
    against_timm,
    gpu,
    growth,
    inference,
    loop,
    measure,
    stock,
    training,
    waiting,
    yardsticks,
)

PARTS = {  # mixlib's layer, and Keras' own
    "augmentation": (mixlib.augment.ResizeFlipZoom, keras.layers.RandomZoom),
    "dropout": (mixlib.blocks.ByteDropout, keras.layers.Dropout),
    "norm": (mixlib.blocks.LayerNorm, keras.layers.LayerNormalization),
    "GELU": (mixlib.blocks.GELU, None),
}
TIMES = {"old": iter([9.0, 4.0, 6.0, 8.0]), "new": iter([9.0, 2.0, 2.0, 2.0])}


def test_interleave_takes_turns_and_compares_within_a_round():
    calls = []

    def variant(name):
        return lambda: calls.append(name) or next(TIMES[name])

    summary = measure.interleave({name: variant(name) for name in TIMES}, rounds=3)
    rounds = [tuple(calls[i : i + 2]) for i in range(0, 8, 2)]
    assert set(rounds) == {("old", "new"), ("new", "old")}  # no order of all rounds
    assert (summary["old"]["seconds"], summary["new"]["seconds"]) == (6.0, 2.0)
    assert (summary["new"]["seconds_low"], summary["old"]["seconds_high"]) == (2.0, 7.0)
    assert summary["old"]["speedup"] == 1.0 and summary["new"]["speedup"] == 3.0


@pytest.mark.parametrize("name", training.MODELS)
def test_the_yardstick_is_the_same_model(name):
    ours, theirs = mixlib.create(name), stock.classifier(name)

    def by_kind(model):  # layers come in another order, those of a kind do not
        return sorted(
            model.trainable_weights, key=lambda weight: (weight.name, tuple(weight.shape))
        )

    random = np.random.default_rng(0)
    for weight, twin in zip(by_kind(ours), by_kind(theirs), strict=True):
        value = 0.1 * random.standard_normal(weight.shape)
        weight.assign(value)
        twin.assign(value)
    images = random.integers(0, 256, (3, 32, 32, 3)).astype("float32")
    expected = theirs.predict(images, verbose=0)
    difference = np.abs(ours.predict(images, verbose=0) - expected).max()
    assert difference <= 1e-5 * np.abs(expected).max()


def test_compiled_otherwise_keeps_the_optimiser():
    model = training.ours("keras_mixer")
    rate, decay = float(model.optimizer.learning_rate), model.optimizer.weight_decay
    training.compiled(model, jit_compile=False)
    assert float(model.optimizer.learning_rate) == pytest.approx(rate)
    assert model.optimizer.weight_decay == decay
    assert isinstance(model.optimizer, keras.optimizers.AdamW)


@pytest.fixture
def called(monkeypatch):
    """Which of the layers in `PARTS` are called."""
    called = set()

    def recorded(layer, call):
        return functools.wraps(call)(
            lambda *args, **kwargs: called.add(layer) or call(*args, **kwargs)
        )

    for layer in filter(None, itertools.chain(*PARTS.values())):
        monkeypatch.setattr(layer, "call", recorded(layer, layer.call))
    return called


@pytest.mark.parametrize("variant", training.variants("keras_mixer"))
def test_every_variant_trains_with_the_parts_it_is_named_for(monkeypatch, called, variant):
    ours = functools.partial(training.ours, num_blocks=1, hidden_dim=16)
    monkeypatch.setattr(training, "ours", ours)
    monkeypatch.setattr(stock, "BLOCKS", 1)
    monkeypatch.setattr(stock, "WIDTH", 16)
    model = training.variants("keras_mixer")[variant]()
    called.clear()
    model.fit(np.zeros((6, 32, 32, 3), "uint8"), np.zeros(6), 2, verbose=0)
    for part, (own, of_keras) in PARTS.items():
        swapped = variant == "the published pipeline" or part in variant.partition("stock")[2]
        assert (own in called) != swapped, part
        assert not swapped or of_keras in (None, *called), part
    layers = list(model._flatten_layers())
    rates = {layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)}
    assert rates == {0.0 if variant.endswith("no dropout") else 0.2}
    assert any(layer.compute_dtype == "bfloat16" for layer in layers) == ("bfloat16" in variant)
    assert model.steps_per_execution == (3 if "three steps" in variant else 1)
    assert model.jit_compile or not variant.endswith("XLA")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it needs TensorFlow")
def test_traffic_of_one_layer():
    """Two images of three numbers, of four bytes: written and read, forwards and backwards."""
    from benchmarks import limits

    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)])
    assert limits.activation_bytes(model, np.zeros((2, 5), "float32")) == 2 * 3 * 4 * 4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="it needs TensorFlow")
def test_rates_of_a_machine_that_takes_a_second(monkeypatch):
    """A matrix product adds what it multiplies; a copy reads what it writes."""
    from benchmarks import limits

    monkeypatch.setattr(limits, "_fastest", lambda run, rounds: 1.0)
    assert limits.matrix_rate(1, size=8) == 2 * 8**3
    assert limits.copy_rate(1, megabytes=1) == 2 * 2**20


def test_the_clock_counts_steps_and_not_calls():
    clock = training.StepClock()
    clock.ends = [(2, 1.0), (5, 4.0), (8, 7.0)]  # after every three steps
    assert clock.seconds() == 1.0


def test_training_rows(tmp_path, monkeypatch):
    small = {"one": lambda: training.ours("keras_mixer", num_blocks=1)}
    monkeypatch.setattr(training, "variants", lambda name: {**small, "two": small["one"]})
    training.main("--models keras_mixer --steps 3 --rounds 2 --out".split() + [str(tmp_path)])
    written = json.loads((tmp_path / f"training-{keras.backend.backend()}.json").read_text())
    assert [row["variant"] for row in written["rows"]] == ["one", "two"]
    assert all(row["images_per_second"] > 0 for row in written["rows"])
    assert written["rows"][0]["speedup"] == 1
    assert {"device", "instructions", "versions", "date", "commit"} <= set(written["machine"])


on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="measured on JAX only")


@on_jax
def test_loop_rows(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(loop, "WAYS", (("Keras", 1), ("Keras", 3), ("mixlib", 4)))
    loop.main("--models keras_mixer --steps 20 --rounds 2 --out".split() + [str(tmp_path)])
    rows = json.loads((tmp_path / "loop-jax.json").read_text())["rows"]
    assert [row["steps_a_call"] for row in rows] == [1, 3, 4]
    assert all(row["seconds"] > 0 for row in rows) and rows[0]["speedup"] == 1
    shown = capfd.readouterr().out  # all steps, as a training shows them: Keras' and calls of 4
    assert "20/20" in shown and "5/5" in shown


@on_jax
def test_gpu_rows(tmp_path, monkeypatch):
    recipe = mixlib.Recipe("r", batch_size=4)
    monkeypatch.setattr(gpu, "MODELS", {"keras_mixer": (recipe, "float32")})
    monkeypatch.setattr(gpu, "kernel_seconds", lambda folder: {"sums": 0.8})
    gpu.main("--images 150 --rounds 2 --out".split() + [str(tmp_path)])
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert [(row["way"], row["steps_a_call"]) for row in written["rows"]] == [
        ("Keras", 1),
        ("mixlib", 8),
    ]
    assert all(row["seconds"] > 0 and row["train_images"] == 135 for row in written["rows"])
    assert written["kernels"] == {"keras_mixer": {"sums": 0.05}}


@on_jax
def test_a_profile_without_a_gpu_is_empty(tmp_path):
    import jax

    with jax.profiler.trace(str(tmp_path)):
        keras.ops.sum(keras.ops.ones(3)).block_until_ready()
    assert list(tmp_path.glob("**/*.xplane.pb")) and gpu.kernel_seconds(tmp_path) == {}


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("nvjet_sm90_tss_128x128_64x6_1x2_h_bz_NTT", "matrix products"),
        ("gemm_fusion_dot_52", "matrix products"),
        ("void vector_fft<256u, EPT<16u>, 1u, 32u>", "Fourier transforms"),
        ("MemcpyH2D", "copies"),
        ("input_transpose_fusion_23", "transposes"),
        ("input_add_reduce_fusion", "sums"),
        ("loop_convert_multiply_fusion_22", "the rest"),
    ],
)
def test_kind_of_a_kernel(kernel, kind):
    assert gpu.kind(kernel) == kind


def test_measuring_again_leaves_the_books_figures_alone():
    out = measure.arguments("", rounds=5).parse_args([]).out
    assert out.resolve() not in (measure.RESULTS, *measure.RESULTS.parents)


def test_instructions_are_those_of_the_processor(tmp_path):
    (tmp_path / "cpuinfo").write_text("flags : fpu sse4_2 avx2 avx512f\n")
    assert measure.instructions(tmp_path / "cpuinfo") == ["avx2", "avx512f"]
    assert measure.instructions(tmp_path / "none") == []


def test_inference_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(inference, "BATCHES", (1, 3))
    inference.main(["--rounds", "2", "--models", "keras_mixer", "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "inference.json").read_text())["rows"]
    ways = [row["variant"] for row in rows if row["batch"] == 1]
    assert ways[:3] == ["model(images)", "predict_on_batch", "predict_on_batch, XLA"]
    assert [row["batch"] for row in rows] == [1] * len(ways) + [3] * len(ways)
    assert all(row["difference"] <= 1e-5 for row in rows)
    for row in rows:
        assert row["images_per_second"] == pytest.approx(row["batch"] / row["seconds"])


def test_a_worker_answers_when_asked_and_says_when_it_ended():
    code = "import sys\nfor line in sys.stdin:\n  print(0.25, flush=True)\n  if {once}: sys.exit(3)"
    worker = against_timm.Worker(sys.executable, "-c", code.format(once=False))
    assert [worker(), worker()] == [0.25, 0.25]
    worker.close()
    worker = against_timm.Worker(sys.executable, "-c", code.format(once=True))
    worker()
    with pytest.raises(RuntimeError, match="ended with 3"):
        worker()


def test_without_timm_nothing_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TIMM_PYTHON", raising=False)
    against_timm.main(["--out", str(tmp_path)])
    assert "TIMM_PYTHON" in capsys.readouterr().out and not list(tmp_path.iterdir())


@pytest.mark.parametrize("block", growth.BLOCKS)
def test_every_block_takes_a_step(block):
    before = growth.step(block, 16)
    assert np.isfinite(before()).all()


def test_exponent_of_a_power():
    rows = [{"tokens": tokens, "seconds": 3 * tokens**2} for tokens in (10, 30)]
    assert growth.exponent(*rows) == pytest.approx(2)


def test_waiting_counts_the_process_and_stops_at_an_error():
    assert waiting.process(sys.executable, "-c", "import time; time.sleep(0.2)")() >= 0.2
    with pytest.raises(subprocess.CalledProcessError):
        waiting.process(sys.executable, "-c", "raise SystemExit(1)")()


def test_stored_results_say_what_they_were_measured_on():
    paths = sorted(measure.RESULTS.glob("*.json"))
    assert paths
    for path in paths:
        written = json.loads(path.read_text())
        assert written["rows"], path
        assert {"device", "versions", "date", "mixlib_sha256"} <= set(written["machine"]), path


@pytest.mark.parametrize("name", yardsticks.MODELS)
def test_yardsticks_are_of_the_size_of_what_they_measure(name):
    model = yardsticks.create(name, num_classes=100)
    ours = [mixlib.costs.count_parameters(mixlib.create(f"{family}_tiny"))
            for family in ("mixer", "fnet", "gmlp")]  # fmt: skip
    assert 0.98 * min(ours) < mixlib.costs.count_parameters(model) < 1.02 * max(ours)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype("uint8")
    logits = keras.ops.convert_to_numpy(model(images))
    assert logits.shape == (2, 100) and np.isfinite(logits).all()
    experiment = mixlib.run_experiment(
        model, mixlib.data.load("shapes", 100, 50), "fair", epochs=1, verbose=0
    )
    assert np.isfinite(experiment.metrics["test_loss"])


def test_the_bag_of_patches_knows_places_by_its_positions_only():
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    moved = np.roll(images, 16, axis=2)  # another order of the same patches
    for positional_encoding in (False, True):
        model = yardsticks.create(
            "bag_tiny", num_blocks=2, positional_encoding=positional_encoding,
            preprocessing={"image_size": None},
        )  # fmt: skip
        features = keras.Model(model.input, model.get_layer("pool").output)
        one, other = (keras.ops.convert_to_numpy(features(x)) for x in (images, moved))
        assert np.allclose(one, other, atol=1e-4) != positional_encoding


@pytest.mark.parametrize("block", [yardsticks.PerceptronBlock, yardsticks.TransformerBlock])
def test_the_blocks_of_yardsticks_carry_their_input(block):
    block = block(mlp_dim=16, **({"num_heads": 2} if block is yardsticks.TransformerBlock else {}))
    x = np.random.default_rng(0).normal(size=(2, 6, 8)).astype("float32")
    block.build(x.shape)
    for weight in block.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(block(x)), x)


def test_the_convolutional_yardstick_carries_what_its_first_layer_sees():
    model = yardsticks.create("cnn_tiny", width=4)
    _, *later = [layer for layer in model.layers if getattr(layer, "kernel_size", 0) == (3, 3)]
    assert len(later) == 12
    for layer in later:
        layer.kernel.assign(np.zeros(layer.kernel.shape))
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    one, other = keras.ops.convert_to_numpy(model(images))
    assert np.abs(one - other).max() > 1e-4


def test_an_unknown_yardstick():
    with pytest.raises(ValueError, match="'resnet50'. Expected one of: vit_tiny, cnn_tiny"):
        yardsticks.create("resnet50")
