"""One training on many devices: who they are, and which part of a batch each process feeds."""

import contextlib
import dataclasses

import keras


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each batch that this process feeds.

    Parameters
    ----------
    devices : int
        Number of devices of all processes together.
    processes : int
    process : int
        Index of this process, from 0.
    """

    devices: int = 1
    processes: int = 1
    process: int = 0

    def rows(self, batch):
        """This process's part of a batch whose length the number of devices divides."""
        size = len(batch) // self.processes
        return batch[self.process * size : (self.process + 1) * size]


@contextlib.contextmanager
def scope(name=None):
    """Distribute what is created and trained inside.

    Parameters
    ----------
    name : {None, "data_parallel"}
        None: on one device, as always. "data_parallel": `keras.distribution.DataParallel` over all
        devices of all processes.

    Yields
    ------
    Share

    Raises
    ------
    ValueError
        For an unknown name, or a backend other than JAX.
    """
    if name is None:
        yield Share()
        return
    if name != "data_parallel":
        raise ValueError(f'distribution must be None or "data_parallel"; got {name!r}.')
    if keras.backend.backend() != "jax":
        raise ValueError(
            "Keras distributes a training on the JAX backend only, but this is "
            f"{keras.backend.backend()}. Set KERAS_BACKEND=jax before Keras is imported."
        )
    import jax  # Keras does not say which process this is

    data_parallel = keras.distribution.DataParallel(auto_shard_dataset=False)  # each feeds its own
    with data_parallel.scope():
        devices = len(keras.distribution.list_devices())
        yield Share(devices, jax.process_count(), jax.process_index())
