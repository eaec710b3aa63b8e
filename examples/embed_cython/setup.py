# SPDX-License-Identifier: BSD-3-Clause
"""Builds the module in this folder: python setup.py build_ext --inplace"""

from Cython.Build import cythonize
from setuptools import Extension, setup

import fastconv

setup(name="edges", ext_modules=cythonize([Extension("edges", ["edges.pyx"], include_dirs=[fastconv.get_include()])]))
