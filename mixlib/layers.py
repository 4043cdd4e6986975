"""The base class of most layers of mixlib."""

import inspect

import keras


class Layer(keras.layers.Layer):
    """A layer that keeps the shape of its input, and whose arguments are its configuration.

    A subclass must keep each argument of its ``__init__`` as an attribute of the same name. Its
    own subclasses name only their new arguments, and pass the others on as ``**kwargs``.
    """

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        kinds = [kind for kind in type(self).__mro__ if issubclass(kind, Layer)]
        inits = [vars(kind)["__init__"] for kind in kinds if "__init__" in vars(kind)]
        found = [one for init in inits for one in inspect.signature(init).parameters.values()]
        passed_on = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
        names = {one.name for one in found if one.kind not in passed_on} - {"self"}
        own = {name: getattr(self, name) for name in sorted(names)}
        return {**super().get_config(), **keras.saving.serialize_keras_object(own)}
