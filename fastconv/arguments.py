# SPDX-License-Identifier: BSD-3-Clause
"""Checks of constructor arguments, and the spellings that Keras gives to some of them."""

import functools
import inspect
import math
import numbers


def keras_names(**aliases):
    """Let a constructor take Keras's spelling of an argument: ``keras_names(strides="stride")``."""

    def decorate(init):
        signature = inspect.signature(init)

        @functools.wraps(init)
        def wrapper(self, *args, **kwargs):
            given = {aliases[name]: kwargs.pop(name) for name in list(kwargs) if name in aliases}
            for name in given.keys() & signature.bind_partial(self, *args, **kwargs).arguments:
                alias = next(alias for alias in aliases if aliases[alias] == name)
                raise TypeError(f"{type(self).__name__}: {name} and {alias} are the same, give one")
            kwargs.update(given)
            return init(self, *args, **kwargs)

        return wrapper

    return decorate


def integer(value, name, least=-math.inf):
    """``value`` as an int, at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def positive_integer(value, name):
    """``value`` as an int, at least 1."""
    return integer(value, name, 1)


def integer_tuple(value, name, count, least=1):
    """One integer for all ``count`` axes or one for each, at least ``least``, as a tuple."""
    if isinstance(value, (tuple, list)):
        if len(value) != count:
            many = {1: "a sequence of one", 2: "two"}.get(count, count)
            raise ValueError(f"{name} must be an integer or {many}, got {value!r}")
        return tuple(integer(item, name, least) for item in value)
    return (integer(value, name, least),) * count


def integer_pair(value, name):
    """One integer for both axes or two, each at least 1, as a tuple (height, width)."""
    return integer_tuple(value, name, 2)


def boolean(value, name):
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return value


def one_of(names, value, name):
    """``value``, which must be one of the strings ``names``."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if value not in names:
        raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}")
    return value


def number(value, name, least=-math.inf, below=math.inf):
    """``value`` as a finite float with least <= value < below."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    if not (math.isfinite(value) and least <= value < below):
        limits = "finite" if least == -math.inf else f"at least {least}"
        limits += "" if below == math.inf else f" and below {below}"
        raise ValueError(f"{name} must be {limits}, got {value}")
    return float(value)
