"""Profiles: one switch for how much a notebook runs."""

import dataclasses
import os

from mixlib import data


@dataclasses.dataclass(frozen=True)
class Profile:
    """How much is run: which images, how many, for how long.

    Parameters
    ----------
    name : str
    dataset : str
        Name of a data set of `mixlib.data.load`.
    train_size, test_size : int or None
        Numbers of images; None for all.
    epochs : int or None
        None for what the recipe says.
    """

    name: str
    dataset: str
    train_size: int | None
    test_size: int | None
    epochs: int | None

    def load(self, seed=0):
        """Load this profile's images, a `mixlib.data.Dataset`."""
        return data.load(self.dataset, self.train_size, self.test_size, seed)

    def __str__(self):
        size = f"{self.train_size or 'all'} training images of {self.dataset}"
        epochs = "the recipe's epochs" if self.epochs is None else f"epochs: {self.epochs}"
        return f"Profile {self.name}: {size}, {epochs}."


PROFILES = {
    "smoke": Profile("smoke", "shapes", 500, 200, 1),
    "quick": Profile("quick", "cifar100", 5_000, 1_000, 2),
    "full": Profile("full", "cifar100", None, None, None),
}


def get(name=None) -> Profile:
    """Return a profile.

    Parameters
    ----------
    name : {"smoke", "quick", "full"}, optional
        Default: the environment variable ``MIXLIB_PROFILE``, else ``"quick"``.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    name = name or os.environ.get("MIXLIB_PROFILE") or "quick"
    if name not in PROFILES:
        raise ValueError(f"Unknown profile {name!r}. Expected one of: {', '.join(PROFILES)}.")
    return PROFILES[name]
