# SPDX-License-Identifier: BSD-3-Clause
"""A compiler that does not compile the same thing twice: ``compiler.py FOLDER COMMAND...``.

An object file is kept in FOLDER under a digest of the preprocessed source and of all options, and copied when both come
again. run.py builds dozens of trees that differ in a line; what that line does not reach is compiled once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile


def compile_once(folder, command):
    """Run ``command``, or copy what it gave before; returns its exit status."""
    if "-c" not in command or "-o" not in command:  # linking
        return subprocess.call(command)
    at = command.index("-o")
    target, options = command[at + 1], [*command[:at], *command[at + 2 :]]
    preprocess = [option for option in options if option != "-c"] + ["-E", "-P"]
    source = subprocess.run(preprocess, stdout=subprocess.PIPE)
    if source.returncode:
        return source.returncode
    digest = hashlib.sha256("\0".join(options).encode() + b"\0" + source.stdout).hexdigest()
    kept = os.path.join(folder, digest)
    if not os.path.exists(kept):
        status = subprocess.call(command)
        if status:
            return status
        keep(target, kept)
        return 0
    shutil.copyfile(kept, target)
    return 0


def keep(target, kept):
    """Copy in one step: compilers beside this one may be looking."""
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(kept), delete=False) as file:
        shutil.copyfile(target, file.name)
    os.replace(file.name, kept)


if __name__ == "__main__":
    sys.exit(compile_once(sys.argv[1], sys.argv[2:]))
