# SPDX-License-Identifier: BSD-3-Clause
"""Writing a file so that its name always stands for the whole old content or the whole new one."""

import contextlib
import os
import shutil

try:
    from fcntl import LOCK_EX, flock
except ImportError:  # Windows, where a file that is open for writing cannot be removed or replaced
    flock = None


@contextlib.contextmanager
def replacing(path):
    """Open a binary file for writing; on success it takes the place of ``path`` in one step.

    Until then, and if the block raises or the process is killed, the file at ``path`` stays as it
    was. What a killed writer leaves behind, ``.NAME.tmp`` in the same directory, goes with the next
    write to the same path. A symbolic link is followed, an existing file's mode is kept.
    """
    directory, name = os.path.split(os.path.realpath(path))
    path, temporary = os.path.join(directory, name), os.path.join(directory, f".{name}.tmp")
    with locked(directory) as directory_descriptor:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileNotFoundError):
                shutil.copymode(path, temporary)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        if directory_descriptor is not None:
            os.fsync(directory_descriptor)


@contextlib.contextmanager
def locked(directory):
    """Keep other writers out of a directory; the lock ends with the process at the latest."""
    if flock is None:
        yield None
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            flock(descriptor, LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)
