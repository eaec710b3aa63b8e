# SPDX-License-Identifier: BSD-3-Clause
"""Layouts and data, by a short name."""

from fastconv.bench.arrays import LAYOUTS, NCHW, NHWC, Source

__all__ = ["LAYOUTS", "NCHW", "NHWC", "Source"]
