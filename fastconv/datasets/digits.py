# SPDX-License-Identifier: BSD-3-Clause
"""The bundled handwritten digits."""

from importlib import resources

import numpy as np

SIDE, INK = 8, 16  # pixels along each axis, and the value of a black one
TRAINING_IMAGES = 1437  # the images after these are from writers who wrote none of them


def load_digits():
    """((x_train, y_train), (x_test, y_test)): 1437 and 360 handwritten digits of different writers.

    x is (N, 8, 8, 1) uint8, 0 (paper) to 16 (ink); y is (N,) int64, 0 to 9. The images are the test
    part of "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, UCI Machine
    Learning Repository, CC BY 4.0), ordered by writer.
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    x, y = images[..., np.newaxis], labels.astype(np.int64)
    return (x[:TRAINING_IMAGES], y[:TRAINING_IMAGES]), (x[TRAINING_IMAGES:], y[TRAINING_IMAGES:])
