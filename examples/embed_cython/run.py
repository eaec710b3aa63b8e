# SPDX-License-Identifier: BSD-3-Clause
"""Uses the module that setup.py has built, and compares it with fastconv itself."""

import edges
import numpy as np

import fastconv as fc

images = np.zeros((1, 6, 8, 1), np.float32)
images[0, 1:5, 3:6] = 1  # a bright square on dark ground
found = edges.vertical_edges(images)
print(found[0, :, :, 0].astype(int))

weight = np.float32([[-1, 0, 1]] * 3).reshape(3, 3, 1, 1)
assert np.array_equal(found, fc.conv2d(images, weight, padding="same", activation="relu"))
print("equal to fastconv.conv2d")
