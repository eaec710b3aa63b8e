# SPDX-License-Identifier: BSD-3-Clause
"""New training images from old ones: small random rotations, zooms and shifts, mirror images, windows, noise."""

import math

import numpy as np

from fastconv.arguments import integer, integer_pair, number, positive_integer
from fastconv.batches import ArrayBatches


def random_affine(images, rng, *, rotation=0.0, zoom=0.0, shift=0.0):
    """Each image rotated, zoomed and shifted at random about its middle; float32, zero outside.

    ``images`` (N, H, W, C); ``rng`` a NumPy Generator. The angle is uniform in +-``rotation``
    (radians), the shift along each axis in +-``shift`` (pixels), the zoom log-uniform between
    1 / (1 + ``zoom``) and 1 + ``zoom``. Pixels are interpolated linearly.
    """
    images = checked_images(images)
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


def random_flip(images, rng, share=0.5):
    """Each image (N, H, W, C) mirrored left to right with probability ``share``; a new array of the same type."""
    images = checked_images(images)
    flipped = rng.random(len(images)) < number(share, "share", 0)
    return np.where(flipped[:, np.newaxis, np.newaxis, np.newaxis], images[:, :, ::-1], images)


def random_crop(images, rng, size, *, padding=0):
    """A window of the ``size`` (H, W) from a random place of each image (N, H, W, C), which gets ``padding`` pixels of
    zero on each side before: with 4 and the images' own size the usual augmentation of CIFAR-10."""
    images = checked_images(images)
    padding, size = integer(padding, "padding", 0), integer_pair(size, "size")
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    spare = [have - want for have, want in zip(padded.shape[1:3], size, strict=True)]
    if min(spare) < 0:
        raise ValueError(f"size {size} is larger than the images, {images.shape[1:3]}, with padding={padding}")
    top, left = (rng.integers(room + 1, size=(len(images), 1)) for room in spare)
    rows, columns = top + np.arange(size[0]), left + np.arange(size[1])
    return padded[np.arange(len(images))[:, np.newaxis, np.newaxis], rows[:, :, np.newaxis], columns[:, np.newaxis]]


def random_noise(images, rng, deviation):
    """Images plus normal noise of that standard deviation, in float32."""
    deviation = number(deviation, "deviation", 0)
    noisy = rng.standard_normal(np.shape(images), np.float32)
    noisy *= np.float32(deviation)
    noisy += images
    return noisy


def checked_images(images):
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"images must be (N, H, W, C), got the shape {images.shape}")
    return images


class AugmentedBatches:
    """Batches for ``Sequential.fit`` in which every epoch sees the images anew, each changed at random, in a new order.

    ``x`` (N, H, W, C) and ``y`` (N, ...): arrays of one length. The changes, in this order: ``flip``, the probability
    of being mirrored; ``crop``, pixels of zero around each image of which a random window of its size is taken;
    ``rotation``, ``zoom``, ``shift`` as in ``random_affine``; ``noise``, a standard deviation. ``seed`` settles
    everything random, all of it drawn from ``rng``, so that a checkpoint can store where it stands.
    """

    def __init__(
        self, x, y, batch_size=32, *, flip=0.0, crop=0, rotation=0.0, zoom=0.0, shift=0.0, noise=0.0, seed=None
    ):
        self.x, self.y = np.asarray(x), np.asarray(y)
        if self.x.ndim != 4 or self.y.ndim < 1 or len(self.x) != len(self.y):
            raise ValueError(f"x must be (N, H, W, C) and y as long, got {self.x.shape} and {self.y.shape}")
        self.batch_size = positive_integer(batch_size, "batch_size")
        self.flip, self.crop = number(flip, "flip", 0), integer(crop, "crop", 0)
        self.noise = number(noise, "noise", 0)
        ranges = {"rotation": rotation, "zoom": zoom, "shift": shift}
        self.ranges = {name: number(value, name, 0) for name, value in ranges.items()}
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return -(-len(self.x) // self.batch_size)

    def __iter__(self):
        x = self.x
        if self.flip:
            x = random_flip(x, self.rng, self.flip)
        if self.crop:
            x = random_crop(x, self.rng, x.shape[1:3], padding=self.crop)
        if any(self.ranges.values()):
            x = random_affine(x, self.rng, **self.ranges)
        if self.noise:
            x = random_noise(x, self.rng, self.noise)
        return iter(ArrayBatches(x, self.y, self.batch_size, self.rng))


class AffineBatches(AugmentedBatches):
    """``AugmentedBatches`` of ``random_affine`` alone, by which every image is changed."""

    def __init__(self, x, y, batch_size=32, *, rotation=0.0, zoom=0.0, shift=0.0, seed=None):
        super().__init__(x, y, batch_size, rotation=rotation, zoom=zoom, shift=shift, seed=seed)
