# SPDX-License-Identifier: BSD-3-Clause
"""Networks: ``Sequential``, and reading the files that it saves."""

from fastconv.models.sequential import Sequential, load

__all__ = ["Sequential", "load"]
