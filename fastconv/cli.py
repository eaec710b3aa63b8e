# SPDX-License-Identifier: BSD-3-Clause
"""The command line: ``fastconv train``, ``fastconv predict``, ``fastconv bench``, ``fastconv show``,
``fastconv info``."""

import argparse
import os
import sys

import numpy as np

from fastconv import __version__, runtime
from fastconv.bench import options

SHOWN = ("filters", "maps", "curve", "mistakes", "field", "sum")  # the pictures of plot.command


def main(argv=None):
    """Run one command; returns the exit status."""
    arguments = parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except (OSError, ValueError, TypeError, MemoryError, ImportError) as error:
        print(f"fastconv: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fastconv: interrupted", file=sys.stderr)
        return 130


def parser():
    top = argparse.ArgumentParser(prog="fastconv", description="Fast CNNs on the CPU.")
    top.add_argument("--version", action="version", version=f"fastconv {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a CNN on the bundled handwritten digits")
    train.add_argument("--seed", type=natural, default=0, help="of everything random (default 0)")
    train.add_argument("--epochs", type=positive, default=30, help="passes over the data (30)")
    train.add_argument(
        "--save",
        metavar="PATH",
        default="fastconv-digits.npz",
        help="model file; beside it goes a .csv with each epoch",
    )
    train.add_argument("--threads", type=positive, help="at most so many (default: all CPUs)")
    train.set_defaults(run=run_train)

    predict = commands.add_parser("predict", help="classify images with a saved model")
    predict.add_argument("model", metavar="MODEL", help="file that `fastconv train` saved")
    predict.add_argument(
        "images",
        metavar="IMAGE.npy",
        nargs="+",
        help="array of one image or several, with pixels as in training (digits: 0 to 16)",
    )
    predict.set_defaults(run=run_predict)

    bench = commands.add_parser("bench", help="time layers of known networks, beside other libraries")
    options.add_arguments(bench)

    add_show(commands.add_parser("show", help="draw a saved model: filters, feature maps, training curve, mistakes"))

    info = commands.add_parser("info", help="show version, instruction sets, threads and caches")
    info.set_defaults(run=lambda arguments: runtime.show_config())
    return top


def add_show(show):
    show.description = "Draws one picture of a saved model into a PNG file. Needs matplotlib."
    add = show.add_argument
    add("model", metavar="MODEL", help="file that `fastconv train` or `model.save` wrote")
    add(
        "--what",
        choices=SHOWN,
        help="filters; maps: what each layer makes of an image; curve; mistakes; field: pixels "
        "that an output saw; sum: how one output came about (default: maps with --image, else filters)",
    )
    add(
        "--image",
        metavar="IMAGE.npy",
        help="image, or images for mistakes (default: test digits, for models of digits)",
    )
    add("--labels", metavar="LABELS.npy", help="of the images, for mistakes")
    add("--layer", metavar="NAME", help="which layer (default: the first that fits; for maps and field all)")
    add("--position", type=natural, nargs=2, metavar=("ROW", "COLUMN"), help="of the output, for field and sum")
    add("--channel", type=natural, default=0, metavar="K", help="number of the filter, for sum (0)")
    add("--history", metavar="CSV", help="figures of each epoch, for curve (default: MODEL with .csv as its ending)")
    add("--save", metavar="PATH", help="picture file (default: MODEL-WHAT.png in the current folder)")
    show.set_defaults(run=run_show)


def run_show(arguments):
    from fastconv.plot import command  # not before it is needed: other commands shall start quickly

    return command.run(arguments)


def natural(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative: {text}")
    return value


def positive(text):
    if natural(text) == 0:
        raise argparse.ArgumentTypeError("must be at least 1")
    return int(text)


def run_train(arguments):
    from fastconv import callbacks, datasets

    directory = os.path.dirname(os.path.abspath(arguments.save))
    if not os.access(directory, os.W_OK):  # say so before the work, not after it
        raise OSError(f"cannot write to the directory {directory}")
    if arguments.threads:
        runtime.set_num_threads(arguments.threads)
    (x_train, y_train), (x_test, y_test) = datasets.load_digits()
    figures = callbacks.CSVLogger(f"{os.path.splitext(arguments.save)[0]}.csv")  # for `fastconv show --what curve`
    model = train_on_digits(x_train, y_train, arguments.epochs, arguments.seed, callbacks=[figures])
    model.save(arguments.save)
    correct = int(np.sum(model.predict(x_test).argmax(axis=1) == y_test))
    print(f"saved the model to {os.path.abspath(arguments.save)}")
    print(f"test accuracy {correct / len(y_test):.4f} ({correct}/{len(y_test)})")


def train_on_digits(x, y, epochs, seed, verbose=1, callbacks=()):
    """A small CNN, trained on images (N, 8, 8, 1) of 0 to 16 and labels 0 to 9.

    Network, augmentation and learning rate were chosen by cross-validation over the writers of the
    training images.
    """
    from fastconv import datasets, layers, losses, models, optimizers

    model = models.Sequential(
        [
            layers.Rescaling(1 / 16),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        input_shape=x.shape[1:],
        seed=seed,
    )
    batches = datasets.AffineBatches(x, y, batch_size=64, rotation=0.2, zoom=0.1, shift=0.5, seed=seed)
    model.compile(
        optimizers.Adam(optimizers.CosineDecay(4e-3, steps=epochs * len(batches))),
        losses.CrossEntropy(label_smoothing=0.1),
        metrics=["accuracy"],
    )
    model.fit(batches, epochs=epochs, verbose=verbose, callbacks=callbacks)
    return model


def run_predict(arguments):
    from fastconv import models

    model = models.load(arguments.model)
    for path in arguments.images:
        images = as_batch(read_array(path), model.input_shape, path)
        for index, scores in enumerate(class_probabilities(model, images)):
            place = path if len(images) == 1 else f"{path}[{index}]"
            best = scores.argmax()
            print(f"{place}: {best} (probability {scores[best]:.4f})")


def read_array(path):
    """The array of a ``.npy`` file; a header that promises more than the file holds is refused."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{path} is not a .npy file with one array")
    return array


def as_batch(array, input_shape, path):
    """One image or several as a batch; an axis for a single channel may be missing."""
    accepted = [input_shape]
    accepted += [input_shape[:axis] + input_shape[axis + 1 :] for axis in (0, 2) if input_shape[axis] == 1]
    for shape in accepted:
        if array.shape == shape or array.shape[1:] == shape:
            return array.reshape(-1, *input_shape)
    raise ValueError(f"{path} has shape {array.shape}, the model takes images {input_shape}")


def class_probabilities(model, images):
    """(N, classes); a model that ends in logits gets its softmax here."""
    from fastconv.layers import Softmax
    from fastconv.training import is_softmax

    scores = model.predict(images)
    if scores.ndim != 2:
        raise ValueError(f"the model does not classify: its results have shape {scores.shape[1:]}")
    return scores if is_softmax(model.layers[-1]) else Softmax().forward(scores)
