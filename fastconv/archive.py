# SPDX-License-Identifier: BSD-3-Clause
"""The container of model files: an uncompressed ZIP of one text, ``config.json``, and of arrays in
``.npy`` members. ``numpy.load`` reads it too.

Writing leaves no choice, so that equal contents give equal bytes. Reading accepts what writing
gives and nothing else: the caller says which arrays there must be, and their headers are compared
with those that ``write`` would make, not interpreted, before memory for any of them is taken.
"""

import contextlib
import math
import os
import struct
import zipfile

import numpy as np

TEXT = "config.json"
MAX_TEXT = 2**20  # bytes
MAX_DIRECTORY = 2**22  # bytes of the ZIP directory, enough for 25,000 arrays
MAX_BYTES = 2**31 - 2**24  # no member and no offset needs ZIP64
CHUNK = 2**20  # bytes read at a time
END_RECORD = struct.Struct("<4s4H2LH")


class ArchiveError(ValueError):
    """The file is not what ``write`` makes of the expected arrays."""


def write(file, text, arrays):
    """Write ``text`` (bytes) and ``arrays`` (name to array) into the open binary ``file``."""
    if len(text) > MAX_TEXT or sum(array.nbytes for array in arrays.values()) > MAX_BYTES:
        raise ValueError("the model is too large for a model file, which stays below 2 GiB")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open(member_info(TEXT), "w") as member:
            member.write(text)
        for name, array in arrays.items():
            array = np.ascontiguousarray(array, stored_dtype(array.dtype))
            with archive.open(member_info(f"{name}.npy"), "w") as member:
                member.write(npy_header(array.dtype, array.shape))
                member.write(array.reshape(-1).view(np.uint8).data)


def member_info(name):
    info = zipfile.ZipInfo(name)  # dated 1980, so that the bytes do not depend on the clock
    info.create_system = 3  # nor on the operating system
    return info


def stored_dtype(dtype):
    return np.dtype(dtype).newbyteorder("<")


def npy_header(dtype, shape):
    """Header of a ``.npy`` file (version 1.0) that holds an array in C order."""
    shape = tuple(map(int, shape))
    text = f"{{'descr': '{stored_dtype(dtype).str}', 'fortran_order': False, 'shape': {shape}, }}"
    size = -(-(10 + len(text) + 1) // 64) * 64 - 10
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", size) + text.ljust(size - 1).encode() + b"\n"


class Reader:
    """The contents of the open binary ``file``; its structure is checked at once."""

    def __init__(self, file):
        start, length, count = directory_place(file)
        try:
            self._archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
            raise ArchiveError(f"damaged directory ({error})") from error
        self._members = checked_members(self._archive.infolist(), start, length, count)

    def text(self):
        """The bytes of the text."""
        if TEXT not in self._members:
            raise ArchiveError(f"no {TEXT}")
        size = self._members[TEXT].file_size
        if size > MAX_TEXT:
            raise ArchiveError(f"{TEXT} has {size} bytes")
        return b"".join(self._chunks(TEXT))

    def check(self, dtype, shapes):
        """Raise unless the file holds the text and then arrays of ``dtype`` of these ``shapes``
        (name to shape), in this order."""
        expected = [TEXT, *(f"{name}.npy" for name in shapes)]
        if list(self._members) != expected:
            different = sorted(set(self._members) ^ set(expected)) or ["the order"]
            raise ArchiveError(f"missing or unexpected: {', '.join(different[:5])}")
        for name, shape in shapes.items():
            member, header = self._members[f"{name}.npy"], npy_header(dtype, shape)
            nbytes = math.prod(shape) * np.dtype(dtype).itemsize
            fits = member.file_size == len(header) + nbytes
            if not fits or self._start(member, len(header)) != header:
                raise ArchiveError(f"array {name!r} is not {dtype} of shape {tuple(shape)}")

    def read(self, name, array):
        """Fill ``array``, which ``check`` has found to fit."""
        chunks = self._chunks(f"{name}.npy", len(npy_header(array.dtype, array.shape)))
        flat, done = array.reshape(-1), 0
        for chunk in chunks:
            values = np.frombuffer(chunk, stored_dtype(array.dtype))
            flat[done : done + values.size] = values
            done += values.size
        if done != flat.size:
            raise ArchiveError(f"array {name!r} is cut off")

    def _start(self, member, size):
        with self._opened(member) as file:
            return file.read(size)

    def _chunks(self, name, skip=0):
        """The member's bytes after the first ``skip``; its checksum is verified at the end."""
        with self._opened(self._members[name]) as file:
            file.read(skip)
            while chunk := file.read(CHUNK):
                yield chunk

    @contextlib.contextmanager
    def _opened(self, member):
        try:
            with self._archive.open(member) as file:
                yield file
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise ArchiveError(f"damaged member {member.filename!r} ({error})") from error


def directory_place(file):
    """Offset and bytes of the ZIP directory and its number of entries, from the end record, which
    must close the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(size - END_RECORD.size - 20, 0))
    tail = file.read()
    if len(tail) < END_RECORD.size or tail.startswith(b"PK\x06\x07"):
        raise ArchiveError("no ZIP file")  # the latter is ZIP64's, and would lead to another directory
    fields = END_RECORD.unpack(tail[-END_RECORD.size :])
    signature, disk, first_disk, here, count, length, start, comment = fields
    if signature != b"PK\x05\x06" or disk or first_disk or comment or here != count:
        raise ArchiveError("no ZIP file, or something follows it")
    if length > MAX_DIRECTORY:
        raise ArchiveError(f"a directory of {length} bytes")
    return start, length, count


def checked_members(infos, start, length, count):
    """Name to ZipInfo of members that are stored plainly, once each, and fill the file."""
    members, offset, directory = {}, 0, 0
    for info in infos:
        name = info.filename
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if not stored or info.flag_bits or info.extra or info.comment:
            raise ArchiveError(f"member {name!r} is not plainly stored")
        if info.header_offset != offset:
            raise ArchiveError(f"member {name!r} does not follow the one before")
        offset += zipfile.sizeFileHeader + len(name) + info.file_size
        directory += zipfile.sizeCentralDir + len(name)
        members[name] = info
    if (offset, directory, len(members)) != (start, length, count):
        raise ArchiveError("the members do not fill the file, or one stands twice")
    return members
