# SPDX-License-Identifier: BSD-3-Clause
"""fastconv's convolution inside the `autograd` package, which differentiates any formula written in NumPy.

One learns: what it takes to give a function to an automatic differentiation library: its gradients, registered once.
Then a filter is found by gradient descent: the one that turns a photograph into its edges. It needs the package:
`pip install autograd`.
"""

from pathlib import Path

import autograd.numpy as np
from autograd import grad
from autograd.extend import defvjp, primitive
from matplotlib.figure import Figure
from matplotlib.image import imread

import fastconv as fc

conv2d = primitive(fc.conv2d)
defvjp(
    conv2d,
    lambda y, x, weight, **geometry: lambda g: fc.conv2d_backward_input(g, weight, x.shape, **geometry),
    lambda y, x, weight, **geometry: lambda g: fc.conv2d_backward_weight(g, x, weight.shape, **geometry),
    argnums=(0, 1),
)

photograph = imread(Path(__file__).parent / "data" / "cat.png")[::2, ::2, :3].mean(axis=2).astype(np.float64)
image = photograph[None, :, :, None]
edges = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).reshape(3, 3, 1, 1) / 4
target = np.tanh(3 * fc.conv2d(image, edges, padding="same"))


def loss(weight):
    """How far the filter's answer is from the edges; everything around conv2d is autograd's own NumPy."""
    return np.mean((np.tanh(3 * conv2d(image, weight, padding="same")) - target) ** 2)


gradient = grad(loss)

# Is the gradient right? Compare it with differences, in float64.
weight = np.random.default_rng(0).standard_normal((3, 3, 1, 1)) / 3
step = np.zeros_like(weight)
step[0, 1] = 1e-6
difference = (loss(weight + step) - loss(weight - step)) / 2e-6
print(f"gradient of one weight: {gradient(weight)[0, 1, 0, 0]:.9f} by autograd, {difference:.9f} by differences")

first = weight.copy()
losses = []
velocity = np.zeros_like(weight)
for _ in range(1000):
    losses.append(float(loss(weight)))
    velocity = 0.9 * velocity + gradient(weight)
    weight = weight - 0.03 * velocity
print(f"loss {losses[0]:.5f} -> {losses[-1]:.7f}")
print(f"largest error of the filter that was found: {np.abs(weight - edges).max():.4f}")

figure = Figure(figsize=(10, 2.9), layout="constrained")
for axis, title, filter_ in zip(
    figure.subplots(1, 5), ("at first", "found", "looked for", "", ""), (first, weight, edges, None, None), strict=True
):
    axis.set_title(title, fontsize=10)
    axis.set_axis_off()
    if filter_ is not None:
        axis.imshow(filter_[:, :, 0, 0], cmap="RdBu_r", vmin=-0.6, vmax=0.6)
        for row in range(3):
            for column in range(3):
                axis.text(column, row, f"{filter_[row, column, 0, 0]:.2f}", ha="center", va="center", fontsize=9)
figure.axes[3].imshow(photograph, cmap="gray")
figure.axes[3].set_title("the photograph", fontsize=10)
figure.axes[4].imshow(np.tanh(3 * fc.conv2d(image, weight, padding="same"))[0, :, :, 0], cmap="gray")
figure.axes[4].set_title("edges, by the filter found", fontsize=10)
figure.suptitle("A filter found by gradient descent through autograd and fastconv", fontsize=11)
figure.savefig("example-embed_autograd.png", dpi=80)
