"""Settings of every test, the notebooks' kernels included: they are child processes.

What the environment sets is kept, as in `KERAS_BACKEND=jax pytest`; a user's keras.json is not.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MIXLIB_PROFILE", "smoke")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
