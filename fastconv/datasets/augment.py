# SPDX-License-Identifier: BSD-3-Clause
"""New training images from old ones: small random rotations, zooms and shifts."""

import math

import numpy as np

from fastconv.arguments import number, positive_integer
from fastconv.batches import ArrayBatches


def random_affine(images, rng, *, rotation=0.0, zoom=0.0, shift=0.0):
    """Each image rotated, zoomed and shifted at random about its middle; float32, zero outside.

    ``images`` (N, H, W, C); ``rng`` a NumPy Generator. The angle is uniform in +-``rotation``
    (radians), the shift along each axis in +-``shift`` (pixels), the zoom log-uniform between
    1 / (1 + ``zoom``) and 1 + ``zoom``. Pixels are interpolated linearly.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"images must be (N, H, W, C), got the shape {images.shape}")
    rotation, zoom = number(rotation, "rotation", 0), number(zoom, "zoom", 0)
    shift = number(shift, "shift", 0)
    count, height, width, _ = images.shape
    angle = rng.uniform(-rotation, rotation, (count, 1, 1))
    scale = np.exp(rng.uniform(-math.log1p(zoom), math.log1p(zoom), (count, 1, 1)))
    shift_y, shift_x = rng.uniform(-shift, shift, (2, count, 1, 1))
    y = np.arange(height)[:, np.newaxis] - (height - 1) / 2
    x = np.arange(width) - (width - 1) / 2
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    source_y = cosine * y - sine * x + (height - 1) / 2 + shift_y
    source_x = sine * y + cosine * x + (width - 1) / 2 + shift_x
    return sample_linear(images, source_y, source_x)


def sample_linear(images, y, x):
    """Values of ``images`` (N, H, W, C) at the positions y, x (N, P, Q), interpolated linearly and
    zero outside: (N, P, Q, C) float32."""
    count, height, width, channels = images.shape
    padded = np.zeros((count, height + 3, width + 3, channels), np.float32)
    padded[:, 1:-2, 1:-2] = images
    y, x = np.clip(y + 1, 0, height + 1), np.clip(x + 1, 0, width + 1)
    top, left = y.astype(np.intp), x.astype(np.intp)
    below = (y - top).astype(np.float32)[..., np.newaxis]
    right = (x - left).astype(np.float32)[..., np.newaxis]
    row = width + 3
    corner = np.arange(count)[:, np.newaxis, np.newaxis] * ((height + 3) * row) + top * row + left
    pixels = padded.reshape(-1, channels)
    upper = pixels[corner] * (1 - right) + pixels[corner + 1] * right
    lower = pixels[corner + row] * (1 - right) + pixels[corner + row + 1] * right
    return upper * (1 - below) + lower * below


class AffineBatches:
    """Batches for ``Sequential.fit`` in which every epoch sees the images anew, each changed by
    ``random_affine``, in a new order. Arguments as there; ``seed`` settles everything random."""

    def __init__(self, x, y, batch_size=32, *, rotation=0.0, zoom=0.0, shift=0.0, seed=None):
        self.x, self.y = np.asarray(x), np.asarray(y)
        if self.x.ndim != 4 or len(self.x) != len(self.y):
            raise ValueError(f"x must be (N, H, W, C) and y as long, got {self.x.shape} and {self.y.shape}")
        self.batch_size = positive_integer(batch_size, "batch_size")
        self.ranges = {"rotation": rotation, "zoom": zoom, "shift": shift}
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __iter__(self):
        changed = random_affine(self.x, self.rng, **self.ranges)
        return iter(ArrayBatches(changed, self.y, self.batch_size, self.rng))
