"""Settings of every test, the notebooks' kernels included: they are child processes."""

import os

os.environ.setdefault("MIXLIB_PROFILE", "smoke")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
