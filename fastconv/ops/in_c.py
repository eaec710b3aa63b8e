# SPDX-License-Identifier: BSD-3-Clause
"""Operations whose Python side is written in C."""

from fastconv import _core


def in_c(described):
    """The function of this name in the extension module, with this documentation. A Python function before it would
    cost as much as the rest of a small call; a test compares the signatures."""
    function = getattr(_core, described.__name__)
    function.__doc__ = described.__doc__
    function.__module__ = described.__module__
    return function
