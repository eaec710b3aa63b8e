# SPDX-License-Identifier: BSD-3-Clause
"""Builds the C library and its Cython bridge as one extension module, `fastconv._core`."""

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# No -march=native: instruction sets are chosen at run time. No -ffast-math: NaN, infinities and the order of additions
# are promises. -ffp-contract=off: a multiply-add is fused where the source says so, the same on every compiler.
C_FLAGS = ["-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fno-math-errno", "-Wall", "-Wextra"]
# Python's own flags often ask for debugging information: twice the time to compile, ten times the file.
# FASTCONV_CFLAGS=-g has it back.
C_FLAGS += ["-g0"]
# What NumPy and Cython generate is not ours to mend.
C_FLAGS += ["-Wno-unused-parameter", "-Wno-unused-function", "-Wno-cpp"]

OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


class BuildExtension(build_ext):
    """Adds OpenMP if the compiler has it; without it the library is serial, and says so. Uses every processor."""

    def build_extensions(self):
        extra = os.environ.get("FASTCONV_CFLAGS", "").split()  # sanitizers and the like
        for extension in self.extensions:
            extension.extra_compile_args += extra
            extension.extra_link_args += extra
        if os.environ.get("FASTCONV_NO_OPENMP") or not self.has_openmp():
            print("fastconv: building without OpenMP; calls will use one thread", file=sys.stderr)
        else:
            for extension in self.extensions:
                extension.extra_compile_args.append("-fopenmp")
                extension.extra_link_args.append("-fopenmp")
        self.compiler.compile = in_parallel(self.compiler.compile)
        super().build_extensions()

    def has_openmp(self):
        with tempfile.TemporaryDirectory() as folder:
            source, program = os.path.join(folder, "probe.c"), os.path.join(folder, "probe")
            with open(source, "w") as file:
                file.write(OPENMP_PROBE)
            command = [*self.compiler.compiler, "-fopenmp", source, "-o", program]
            return subprocess.run(command, capture_output=True).returncode == 0


def in_parallel(compile):
    """A compiler's method that takes a list of sources, as one that takes them one by one on every processor."""

    def compile_all(sources, **options):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = pool.map(lambda source: compile([source], **options), sources)
        return [name for names in objects for name in names]

    return compile_all


class BuildPython(build_py):
    """Ships the C library inside the package, to be compiled into programs without Python: `fastconv.get_include()`."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for folder in ("include", "base", "isa", "kernels", "ops"):
                target = os.path.join(self.build_lib, "fastconv", "src_c", folder)
                shutil.rmtree(target, ignore_errors=True)  # with files of an earlier build that are no more
                shutil.copytree(os.path.join("src_c", folder), target)


C_SOURCES = sorted(file for folder in ("base", "isa", "ops") for file in glob(f"src_c/{folder}/*.c"))
C_HEADERS = [file for kind in ("h", "inc") for file in glob(f"src_c/**/*.{kind}", recursive=True)]

core = Extension(
    "fastconv._core",
    sources=["fastconv/_core.pyx", *C_SOURCES],
    depends=[*glob("fastconv/_cython/*.pxi"), *C_HEADERS],
    include_dirs=["src_c/include", "src_c", numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    extra_compile_args=C_FLAGS,
    extra_link_args=["-Wl,-z,relro,-z,now"] if sys.platform == "linux" else [],
)

# What Cython writes depends on the NumPy it sees: a tree that builds for several of them keeps them apart.
setup(
    ext_modules=cythonize([core], build_dir=f"build/cython-numpy-{numpy.__version__}"),
    cmdclass={"build_ext": BuildExtension, "build_py": BuildPython},
)
