"""One set of weights gives one set of logits, whatever computes them."""

import keras
import numpy as np
import pytest
from oracles import make_logits

import mixlib


@pytest.mark.parametrize("name", make_logits.MODELS)
def test_logits_are_those_of_tensorflow(name):
    with np.load(make_logits.FILE) as golden:
        expected = golden[name]
    logits = make_logits.logits(name)
    assert expected.std() > 0.1
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", ["mixer_tiny", "fnet_tiny", "gmlp_tiny"])
def test_trains_in_mixed_precision(name, policy):
    """Without overflow: FNet's transform reaches hundreds, float16 ends at 65,504."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        model = mixlib.create(name, num_blocks=1)
        dataset = mixlib.data.load("shapes", 200, 100)
        history = mixlib.run_experiment(model, dataset, "baseline", epochs=2, verbose=0).history
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite([*history["loss"], *history["val_loss"]]).all()
    assert history["loss"][1] < history["loss"][0] < 5
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    assert all(np.isfinite(weight).all() for weight in weights)
