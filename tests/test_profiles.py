"""Profiles: how much is run."""

import pytest

from mixlib import profiles


def test_the_environment_chooses(monkeypatch):
    monkeypatch.setenv("MIXLIB_PROFILE", "full")
    assert profiles.get().name == "full"
    assert profiles.get("smoke").name == "smoke"


@pytest.mark.parametrize("value", [None, ""])
def test_quick_when_nothing_is_set(monkeypatch, value):
    monkeypatch.delenv("MIXLIB_PROFILE", raising=False)
    if value is not None:
        monkeypatch.setenv("MIXLIB_PROFILE", value)
    assert profiles.get().name == "quick"


def test_smoke_needs_no_network_and_one_epoch():
    smoke = profiles.get("smoke")
    dataset = smoke.load()
    assert dataset.name == "shapes" and len(dataset.x_train) == smoke.train_size
    assert smoke.epochs == 1


def test_says_what_it_is():
    assert str(profiles.get("smoke")) == (
        "Profile smoke: 500 training images of shapes, epochs: 1."
    )
    assert str(profiles.get("full")) == (
        "Profile full: all training images of cifar100, the recipe's epochs."
    )


def test_unknown():
    with pytest.raises(ValueError, match="'fast'. Expected one of: smoke, quick, full"):
        profiles.get("fast")


def test_hands_its_seed_on():
    smoke = profiles.get("smoke")
    assert smoke.load(1).checksum() != smoke.load(0).checksum()


def test_quick_is_a_part_of_cifar100():
    quick = profiles.get("quick")
    sizes = quick.train_size, quick.test_size, quick.epochs
    assert (quick.dataset, *sizes) == ("cifar100", 5_000, 1_000, 2)


def test_full_is_all_of_cifar100():
    full = profiles.get("full")
    assert (full.dataset, full.train_size, full.test_size) == ("cifar100", None, None)
