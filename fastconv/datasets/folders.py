# SPDX-License-Identifier: BSD-3-Clause
"""Images in folders, one folder for each class. Needs Pillow."""

import os
from pathlib import Path

import numpy as np

from fastconv.arguments import integer_pair, one_of

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MODES = {"rgb": "RGB", "grey": "L"}


def load_image_folder(folder, size, *, color="rgb"):
    """(x, y, names): the images in the folders within ``folder``, one folder for each class.

    ``size``: H and W, to which images are scaled; ``color``: "rgb" or "grey". x is (N, H, W, 3) or (N, H, W, 1) uint8,
    y (N,) int64 the index of the image's folder in ``names``, which are sorted, as are the images of a folder.
    ValueError where a file cannot be read as an image; Pillow refuses images of implausible size.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise ImportError('image folders need Pillow: pip install "fastconv[images]"') from error
    height, width = integer_pair(size, "size")
    mode = MODES[one_of(tuple(MODES), color, "color")]
    names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    paths = [
        (path, label)
        for label, name in enumerate(names)
        for path in sorted(Path(folder, name).iterdir())
        if path.suffix.lower() in ENDINGS
    ]
    if not paths:
        raise ValueError(f"there are no images in folders within {os.fspath(folder)!r}")
    x = np.empty((len(paths), height, width, 3 if mode == "RGB" else 1), np.uint8)
    for image, (path, _) in zip(x, paths, strict=True):
        try:
            with Image.open(path) as file:
                image[...] = np.asarray(file.convert(mode).resize((width, height))).reshape(image.shape)
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
            raise ValueError(f"{path} cannot be read as an image: {error}") from error
    return x, np.array([label for _, label in paths], np.int64), names
