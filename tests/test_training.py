# SPDX-License-Identifier: BSD-3-Clause
"""Training as a whole: known losses on known data, the same bits for any number of threads."""

import numpy as np
import pytest

import fastconv as fc
from fastconv import cli, datasets, layers, losses, models, optimizers

OPTIMIZERS = {
    "sgd": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    "adam": lambda: optimizers.Adam(optimizers.CosineDecay(5e-3, 40)),
}

# Loss of three epochs over 300 digits. The two dtypes draw different dropouts.
GOLDEN = {
    ("sgd", "float64"): [2.2755063478856505, 2.153120138480224, 1.9109299658131875],
    ("sgd", "float32"): [2.28677038, 2.14331477, 1.92295562],
    ("adam", "float64"): [2.2188035182645773, 1.982770691506378, 1.7586641719955962],
    ("adam", "float32"): [2.22820655, 1.97527975, 1.78349158],
}
TOLERANCE = {"float64": 1e-9, "float32": 1e-5}  # instruction sets round differently


def digits(count, layout="NHWC"):
    (x, y), _ = datasets.load_digits()
    return (x[:count] if layout == "NHWC" else x[:count].transpose(0, 3, 1, 2)), y[:count]


def network(layout="NHWC", dtype=np.float64, seed=11):
    """A network in which every layer that learns or passes gradients takes part."""
    return models.Sequential(
        [
            layers.Rescaling(1 / 16, -0.25),
            layers.Conv2D(16, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.DepthwiseConv2D(3, padding=1, activation="leaky_relu"),
            layers.Conv2D(24, 3, 1, ((0, 1), (1, 0)), bias=False),
            layers.ReLU(),
            layers.AveragePooling2D(2, stride=1),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(32, activation="tanh"),
            layers.Dense(10, activation="softmax"),
        ],
        input_shape=(8, 8, 1) if layout == "NHWC" else (1, 8, 8),
        layout=layout,
        dtype=dtype,
        seed=seed,
    )


def losses_of_three_epochs(name, dtype, layout="NHWC"):
    model = network(layout, dtype)
    model.compile(OPTIMIZERS[name](), losses.CrossEntropy(label_smoothing=0.05))
    x, y = digits(300, layout)
    return model.fit(x, y, epochs=3, verbose=0).history["loss"]


@pytest.mark.parametrize("name, dtype", GOLDEN)
def test_golden_losses(name, dtype, layout, isa):
    with fc.threads(1):
        actual = losses_of_three_epochs(name, dtype, layout)
    np.testing.assert_allclose(actual, GOLDEN[name, dtype], rtol=TOLERANCE[dtype])


def trained(layout, seed=0):
    """The bits of everything that a short training with every source of randomness leaves."""
    model = network(layout, np.float32, seed)
    model.compile(optimizers.Adam(5e-3), "cross_entropy", metrics=["accuracy"])
    x, y = digits(400, layout)
    history = model.fit(x, y, batch_size=64, epochs=2, validation_split=0.2, verbose=0)
    arrays = [*model.parameters.values(), *model.gradients.values(), model.predict(x)]
    return repr(history.history), *(array.tobytes() for array in arrays)


def test_a_training_is_the_same_bits_for_any_number_of_threads(layout):
    bits = []
    for count in (1, 2, 3):
        with fc.threads(count):
            bits.append(trained(layout))
    assert bits[0] == bits[1] == bits[2]


def test_a_training_is_settled_by_the_seed():
    assert trained("NHWC") == trained("NHWC")
    assert trained("NHWC")[0] != trained("NHWC", seed=1)[0]


def test_the_main_job_learns():
    (x, y), (x_test, y_test) = datasets.load_digits()
    with fc.threads(1):
        model = cli.train_on_digits(x, y, epochs=8, seed=4, verbose=0)
    assert np.mean(model.predict(x_test).argmax(axis=1) == y_test) > 0.95
