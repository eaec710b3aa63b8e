# SPDX-License-Identifier: BSD-3-Clause
"""Plant each fault of this folder in a copy of the project and see whether the tests notice: see README.md."""

import argparse
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
NO_TESTS = 5  # pytest's exit status where it collects none
TIMEOUT = 300  # seconds for one build or one run of tests
HEADER = re.compile(r"# (?P<what>.+)\n(?P<kind>tests|guards|make): (?P<arguments>.+)\n", re.MULTILINE)
EXTENSION_SOURCES = ("src_c/", ".pyx", ".pxi", ".pxd")


class Unusable(Exception):
    """The fault, or the project without it, is not fit to be judged."""


@dataclass(frozen=True)
class Fault:
    """A patch and the part of the suite that it must turn red."""

    path: Path
    kind: str  # "tests", "guards" or "make"
    arguments: str
    changed: tuple[str, ...]  # files of the project

    @property
    def name(self):
        return self.path.stem

    @property
    def test(self):
        return self.kind, self.arguments

    @property
    def needs_extension(self):
        touched = any(mark in file for file in self.changed for mark in EXTENSION_SOURCES)
        return self.kind != "make" and touched


def read_fault(path):
    text = path.read_text()
    header = HEADER.match(text)
    if header is None:
        raise Unusable(f"{path.name} does not begin with '# what is broken' and 'tests: ', 'guards: ' or 'make: '")
    changed = re.findall(r"^\+\+\+ b/(.+)$", text, re.MULTILINE)
    return Fault(path, header["kind"], header["arguments"].strip(), tuple(changed))


# ---- trees --------------------------------------------------------------------


def run(command, folder, what, **environment):
    """Run a step that has to succeed."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=TIMEOUT
    )
    if done.returncode:
        raise Unusable(f"{what} ended with status {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def copy_project(folder):
    """The files that git tracks, and those that it does not know but does not ignore either."""
    names = run(["git", "ls-files", "-coz", "--exclude-standard"], PROJECT, "git ls-files").split("\0")
    for name in filter(None, names):
        if (PROJECT / name).is_file():  # one that was removed is still listed
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)


class Builder:
    """Builds trees quickly: little optimisation, and no source compiled twice."""

    def __init__(self, objects):
        compiler = shlex.split(os.environ.get("CC", "gcc"))
        wrapper = [sys.executable, "-I", "-S", str(HERE / "compiler.py"), str(objects)]
        self.compiler = shlex.join([*wrapper, *compiler])

    def extension(self, tree):
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        run(command, tree, "building the extension", CC=self.compiler, FASTCONV_CFLAGS="-O1")

    def program(self, tree, name):
        path = tree / "build" / "c" / name
        command = ["make", "-s", f"CC={self.compiler}", "CFLAGS=-O1", f"BUILD={path.parent}", str(path)]
        run(command, tree / "src_c", f"building {name}")
        return path

    def prepare(self, tree, faults):
        """What the tests of these faults run on."""
        if any(fault.kind != "make" for fault in faults):
            self.extension(tree)
            where = run(
                [sys.executable, "-c", "import fastconv; print(fastconv.__file__)"], tree, "import", **environment(tree)
            )
            if not Path(where.strip()).is_relative_to(tree):
                raise Unusable(f"the tests would import {where.strip()}")
        for program in {shlex.split(fault.arguments)[0] for fault in faults if fault.kind == "make"}:
            self.program(tree, program)


# ---- tests --------------------------------------------------------------------


def environment(tree):
    """Tests, and programs that they start elsewhere, import the package of this tree."""
    return {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def run_test(builder, tree, kind, arguments):
    """Returns exit status and output of the named part of the suite, of which something must have run."""
    words = shlex.split(arguments)
    if kind == "make":
        command = [str(builder.program(tree, words[0])), *words[1:]]
    else:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *words]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=os.environ | environment(tree),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise Unusable(f"the tests took more than {TIMEOUT} seconds") from error
    if kind != "make" and none_ran(done.returncode, done.stdout):
        raise Unusable(f"no test of this selection ran, so it shows nothing: {arguments}\n{done.stdout[-2000:]}")
    return done.returncode, done.stdout


def none_ran(status, output):
    """Whether pytest found no test, or skipped all that it found."""
    counts = re.search(r"^(?:=+ )?(\d+ \w+(?:, \d+ \w+)*) in [\d.]+s", output, re.MULTILINE)
    words = set(re.findall(r"[a-z]+", counts[1])) if counts else set()
    return status == NO_TESTS or (status == 0 and not words & {"passed", "xfailed", "xpassed"})


def caught_by(output):
    """The first test that failed: by pytest's summary, a crash's traceback, or a line of the C tests."""
    for pattern in (r"^(?:FAILED|ERROR) (\S.*?)(?: - .*)?$", r"line \d+ in (test_\w+)", r"^(\S+\.c:\d+: .+)$"):
        found = re.search(pattern, output, re.MULTILINE)
        if found:
            return found[1]
    return "?"


def is_red(fault, status):
    """Whether the tests ran and failed. Where pages are guarded, the process may not survive the failure."""
    return status == 1 or (fault.kind == "guards" and status == -signal.SIGSEGV)


def try_fault(builder, clean, folder, fault):
    """Returns whether the suite turned red, and by which test."""
    tree = folder / fault.name
    shutil.copytree(clean, tree)
    try:
        run(["git", "apply", str(fault.path)], tree, "git apply", GIT_CEILING_DIRECTORIES=str(folder))
        if fault.needs_extension:
            builder.extension(tree)
        status, output = run_test(builder, tree, *fault.test)
    finally:
        shutil.rmtree(tree)
    if is_red(fault, status):
        return True, caught_by(output)
    if status == 0:
        return False, f"not noticed by {fault.arguments}"
    raise Unusable(f"the tests ended with status {status}:\n{output[-2000:]}")


def check_clean(builder, clean, test):
    """The tests have to be green where nothing is broken."""
    status, output = run_test(builder, clean, *test)
    if status:
        raise Unusable(f"status {status} without any fault: {': '.join(test)}\n{output[-2000:]}")


# ---- program ------------------------------------------------------------------


def in_parallel(jobs, function, items):
    """Yields (item, seconds, result or Unusable) as they come."""

    def timed(item):
        start = time.perf_counter()
        try:
            result = function(item)
        except Unusable as error:
            result = error
        return item, time.perf_counter() - start, result

    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(timed, item) for item in items]):
            yield future.result()


def judge(faults, folder, jobs):
    """Prints one line for each fault; returns how many turned the suite red."""
    clean, objects = folder / "clean", folder / "objects"
    clean.mkdir()
    objects.mkdir()
    copy_project(clean)
    builder = Builder(objects)
    builder.prepare(clean, faults)
    tests = sorted({fault.test for fault in faults})
    start = time.perf_counter()
    checks = in_parallel(jobs, lambda test: check_clean(builder, clean, test), tests)
    sick = {test: result for test, _, result in checks if result is not None}
    seconds = time.perf_counter() - start
    print(
        f"{len(tests) - len(sick)} of {len(tests)} selections of tests are green without faults ({seconds:.0f} s)",
        flush=True,
    )

    def attempt(fault):
        if fault.test in sick:
            raise sick[fault.test]
        return try_fault(builder, clean, folder, fault)

    red = 0
    width = max(len(fault.name) for fault in faults)
    for fault, seconds, result in in_parallel(jobs, attempt, faults):
        if isinstance(result, Unusable):
            colour, text = "ERROR", str(result)
        else:
            colour, text = ("red" if result[0] else "GREEN"), result[1]
        red += colour == "red"
        print(f"{fault.name:{width}}  {colour:5}  {seconds:5.1f} s  {text}", flush=True)
    return red


def select(names):
    """The faults of this folder, or those named."""
    paths = {path.stem: path for path in sorted(HERE.glob("*.patch"))}
    unknown = [name for name in names if name not in paths]
    if unknown:
        raise Unusable(f"no such fault: {', '.join(unknown)}")
    return [read_fault(paths[name]) for name in names or paths]


def share(faults, every):
    """One of every so many faults; with each commit others."""
    commits = int(run(["git", "rev-list", "--count", "HEAD"], PROJECT, "git rev-list"))
    return faults[commits % every :: every]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="try these faults only")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="try one of N, with each commit others")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trees at a time (default: %(default)s)")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))).resolve()
        try:
            faults = select(arguments.only)
            for fault in faults:
                run(["git", "apply", "--check", str(fault.path)], PROJECT, f"{fault.name}: git apply --check")
            faults = share(faults, arguments.every)
            red = judge(faults, folder, arguments.jobs)
        except Unusable as error:
            print(error, file=sys.stderr)
            return 1
    print(f"{red} passed, {len(faults) - red} failed")
    return red != len(faults)


if __name__ == "__main__":
    sys.exit(main())
