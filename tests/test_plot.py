# SPDX-License-Identifier: BSD-3-Clause
"""Pictures: the numbers that they show are the network's, and drawing leaves nothing behind."""

import csv
import itertools
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fastconv import cli, datasets, layers, models, plot
from fastconv.plot import confusion, weights

needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="matplotlib is not installed")


def small_model(layout="NHWC"):
    shape = (9, 10, 4) if layout == "NHWC" else (4, 9, 10)
    stack = [
        layers.Conv2D(6, 3, stride=2, padding=((2, 0), (1, 1)), activation="relu", groups=2),
        layers.DepthwiseConv2D((2, 3), padding="same", dilation=2, depth_multiplier=2, bias=False),
        layers.MaxPooling2D(2),
        layers.Conv2D(5, (1, 2), activation="tanh"),
        layers.Flatten(),
        layers.Dense(3),
    ]
    model = models.Sequential(stack, input_shape=shape, layout=layout, seed=1)
    model.build()
    for array in model.parameters.values():  # biases begin as zero
        array += np.random.default_rng(2).uniform(-0.1, 0.1, array.shape)
    return model


def image_for(model):
    return np.random.default_rng(3).standard_normal(model.input_shape).astype(np.float32)


@pytest.fixture(scope="module")
def digits_model():
    model = models.Sequential(
        [
            layers.Rescaling(1 / 16),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ],
        input_shape=(8, 8, 1),
        seed=0,
    )
    model.build()
    return model


# ---- the numbers behind the pictures ----------------------------------------


def test_sum_of_output_is_what_the_layer_computes(layout):
    model = small_model(layout)
    image = image_for(model)
    x = image[None]
    for layer in model.layers[:4]:
        y = layer.forward(x)
        last = np.moveaxis(y[0], 0, -1) if layout == "NCHW" else y[0]
        for row, column, channel in itertools.product(*map(range, last.shape)) if layer.parameters else ():
            story = plot.sum_of_output(model, image, layer, (row, column), channel)
            assert story.output == last[row, column, channel]
            assert np.isclose(np.sum(story.patch * story.weight), story.total, rtol=0, atol=1e-12)
            value = story.total + story.bias
            expected = {"relu": max(value, 0), "tanh": np.tanh(value), None: value}[story.activation]
            assert np.isclose(story.output, expected, rtol=0, atol=1e-5)
        x = y


def seen(count, place, windows):
    """Pixels along one axis, by going back through (kernel, stride, padding before, dilation); those outside drop."""
    places = {place}
    for (kernel, stride, before, dilation), size in reversed(list(zip(windows, count, strict=True))):
        places = {p * stride - before + k * dilation for p in places for k in range(kernel)}
        places = {p for p in places if 0 <= p < size}
    return places


def test_pixels_seen(layout):
    model = small_model(layout)
    rows = [(3, 2, 2, 1), (2, 1, 1, 2), (2, 2, 0, 1), (1, 1, 0, 1)], (9, 5, 5, 2)
    columns = [(3, 2, 1, 1), (3, 1, 2, 2), (2, 2, 0, 1), (2, 1, 0, 1)], (10, 5, 5, 2)
    sizes = [(5, 5), (5, 5), (2, 2), (2, 1)]
    for index, (height, width) in enumerate(sizes):
        for row, column in itertools.product(range(height), range(width)):
            expected = np.zeros((9, 10), bool)
            ys = seen(rows[1][: index + 1], row, rows[0][: index + 1])
            xs = seen(columns[1][: index + 1], column, columns[0][: index + 1])
            expected[np.ix_(sorted(ys), sorted(xs))] = True
            found = plot.pixels_seen(model, index, (row, column))
            assert np.array_equal(found, expected), (index, row, column)


def test_filters_show_each_weight_in_its_place(layout):
    model = small_model(layout)
    first, depthwise, _, second, _, dense = model.layers
    for layer, count, channels in ((first, 6, 2), (depthwise, 12, 1), (second, 5, 12)):
        bank, weight = weights.filter_bank(layer), layer.parameters["weight"]
        assert bank.shape == (count, *layer.kernel_size, channels)
        for k, c in itertools.product(range(count), range(channels)):
            assert np.array_equal(bank[k, :, :, c], weight[k, c] if layout == "NCHW" else weight[:, :, c, k])
    bank = weights.filter_bank(dense)
    x = np.random.default_rng(0).standard_normal(second.output_shape((2, 2, 12) if layout == "NHWC" else (12, 2, 2)))
    image = np.moveaxis(x, 0, -1) if layout == "NCHW" else x
    assert bank.shape == (3, *image.shape)
    assert np.allclose(np.tensordot(bank, image, 3), x.reshape(-1) @ dense.parameters["weight"])


def test_filters_of_other_kinds_of_layers(layout):
    def bank_and_weight(layer, *pixels):
        layer.layout = layout
        layer.build((2, *pixels) if layout == "NCHW" else (*pixels, 2))
        return weights.filter_bank(layer), next(iter(layer.parameters.values()))

    bank, weight = bank_and_weight(layers.Conv1D(4, 3), 9)
    assert np.array_equal(bank[3, 0, :, 1], weight[3, 1] if layout == "NCHW" else weight[:, 1, 3])
    bank, weight = bank_and_weight(layers.Conv3D(4, (2, 3, 5)), 4, 6, 6)
    assert bank.shape == (4, 3, 11, 2) and np.isnan(bank[:, :, 5]).all()
    assert np.array_equal(bank[3, :, 6:, 1], weight[3, 1, 1] if layout == "NCHW" else weight[1, :, :, 1, 3])
    bank, weight = bank_and_weight(layers.Conv2DTranspose(4, (2, 3)), 5, 5)
    assert np.array_equal(bank[3, :, :, 1], weight[1, 3] if layout == "NCHW" else weight[:, :, 3, 1])
    bank, weight = bank_and_weight(layers.SeparableConv2D(4, (2, 3)), 5, 5)
    assert np.array_equal(bank[1, :, :, 0], weight[1, 0] if layout == "NCHW" else weight[:, :, 0, 1])


def test_count_confusions():
    scores = np.array([[0.9, 0.1, 0], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5], [0, 0.1, 0.9]])
    matrix, wrong = confusion.count_confusions(scores, np.array([0, 0, 1, 0]))
    assert matrix.tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 0]]
    assert wrong.tolist() == [3, 1, 2]  # the surest mistake first


def test_wrong_requests_are_explained(digits_model):
    image = np.zeros((8, 8))
    for error, text, request in (
        (ValueError, "no layer 'conv'", lambda: plot.pixels_seen(digits_model, "conv", (0, 0))),
        (ValueError, "6 layers", lambda: plot.pixels_seen(digits_model, 6, (0, 0))),
        (ValueError, "outside the result of 'max_pooling2d'", lambda: plot.pixels_seen(digits_model, 2, (4, 0))),
        (ValueError, "no pixels", lambda: plot.pixels_seen(digits_model, "dense", (0, 0))),
        (TypeError, "integers", lambda: plot.pixels_seen(digits_model, 1, (0.5, 0))),
        (ValueError, r"\(7, 8\)", lambda: plot.sum_of_output(digits_model, image[1:], 1, (0, 0))),
        (ValueError, "no 2-D convolution", lambda: plot.sum_of_output(digits_model, image, 2, (0, 0))),
        (ValueError, "outside", lambda: plot.sum_of_output(digits_model, image, 1, (0, 0), 8)),
        (ValueError, "'max_pooling2d' has no weights", lambda: plot.filters(digits_model.layers[2])),
        (ValueError, "not been built", lambda: plot.filters(layers.Conv2D(1, 1))),
        (ValueError, "three channels", lambda: plot.filters(digits_model.layers[1], rgb=True)),
        (ValueError, "no values", lambda: plot.curves({})),
        (ValueError, "between 0 and 9", lambda: plot.confusion_matrix(digits_model, image[None, ..., None], [10])),
        (TypeError, "real numbers", lambda: plot.feature_maps(digits_model, image + 1j)),
    ):
        with pytest.raises(error, match=text):
            request()


# ---- figures ------------------------------------------------------------------


def figures(model, draw):
    """One call of each function on a model of digits; ``draw`` gets the function and its arguments."""
    _, (x, y) = datasets.load_digits()
    conv, dense = model.layers[1], model.layers[-1]
    yield draw(plot.filters, conv)
    yield draw(plot.filters, model.layers[3])
    yield draw(plot.filters, dense)
    yield draw(plot.feature_maps, model, x[0])
    yield draw(plot.curves, {"loss": [3, 2], "val_loss": [4, 3]})
    yield draw(plot.confusion_matrix, model, x[:40], y[:40])
    yield draw(plot.receptive_field, model, x[0])
    yield draw(plot.receptive_field, model, x[0], "conv2d_1", (1, 0))
    yield draw(plot.one_output, model, x[0], "conv2d_1")


@needs_matplotlib
def test_every_function_draws_into_a_figure_of_its_own_or_a_given_one(digits_model, tmp_path):
    from matplotlib import image
    from matplotlib.figure import Figure

    for figure in figures(digits_model, lambda function, *arguments: function(*arguments)):
        assert type(figure) is Figure
        figure.savefig(tmp_path / "figure.png")
        assert len(np.unique(image.imread(tmp_path / "figure.png")[..., 0])) > 20
    given = Figure(layout="constrained").subfigures(1, 2)[0]
    for figure in figures(digits_model, lambda function, *arguments: function(*arguments, figure=given)):
        assert figure is given


@needs_matplotlib
@pytest.mark.parametrize(("layer", "shape"), [(layers.Conv1D(4, 3), (9, 2)), (layers.Conv3D(4, 3), (5, 8, 8, 1))])
def test_sequences_and_volumes_are_drawn(layer, shape):
    model = models.Sequential([layer, layers.Flatten(), layers.Dense(3)], input_shape=shape, seed=0)
    model.build()
    image = np.random.default_rng(0).random(shape)
    drawn = plot.feature_maps(model, image).axes[1].images[0].get_array()
    result = model.layers[0].forward(image[None])[0]
    expected = result[:, 2] if len(shape) == 2 else result[1, :, :, 2]
    assert np.allclose(drawn[2] if len(shape) == 2 else drawn[:6, 14:20], expected, atol=1e-6)
    assert plot.filters(layer).axes[0].images
    with pytest.raises(ValueError, match="no images"):
        plot.pixels_seen(model, 0, (0, 0))


@needs_matplotlib
def test_drawing_leaves_matplotlib_as_it_was(tmp_path):
    program = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
import test_plot
model = test_plot.small_model()
test_plot.plot.filters(model.layers[0]).savefig(sys.argv[1])
test_plot.plot.feature_maps(model, test_plot.image_for(model)).savefig(sys.argv[1])
assert matplotlib.rcParams.copy() == before and "matplotlib.pyplot" not in sys.modules
"""
    command = [sys.executable, "-c", program, tmp_path / "figure.png"]
    done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@needs_matplotlib
def test_what_is_drawn(digits_model):
    """Numbers and words in the figures are those of the data."""
    _, (x, y) = datasets.load_digits()
    axis = plot.curves({"loss": [3.0, 2.0], "val_loss": [4.0, 3.5]}).axes[0]
    assert [line.get_ydata().tolist() for line in axis.lines] == [[3, 2], [4, 3.5]]
    assert axis.lines[0].get_xdata().tolist() == [1, 2]
    right = int(np.sum(digits_model.predict(x).argmax(axis=1) == y))
    figure = plot.confusion_matrix(digits_model, x, y, limit=5)
    titles = [axis.get_title() for axis in figure.subfigs[0].axes + figure.subfigs[1].axes]
    assert f"{right} of 360 right ({right / 360:.1%})" in titles
    assert sum("taken for" in title for title in titles) == 5
    first = plot.filters(digits_model.layers[1], limit=5)
    assert "shown: 5 of 8 filters" in first.get_suptitle() and "8 filters of 3 × 3 on 1 channel" in first.get_suptitle()
    drawn = np.asarray(first.axes[0].images[0].get_array())
    assert np.array_equal(drawn[:3, 4:7], digits_model.layers[1].parameters["weight"][:, :, 0, 1])
    title = plot.receptive_field(digits_model, x[0], "conv2d_1", (0, 0)).get_suptitle()
    assert title.endswith("sees 7 × 7 pixels (77%)")


def test_without_matplotlib(digits_model, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plot.filters(digits_model.layers[1])
    digits_model.save(tmp_path / "model.npz")
    assert cli.main(["show", str(tmp_path / "model.npz")]) == 1
    assert capsys.readouterr().err == (
        "fastconv: error: pictures need matplotlib, which is not installed: pip install matplotlib\n"
    )


# ---- fastconv show ------------------------------------------------------------


@pytest.fixture
def folder(digits_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, (x, y) = datasets.load_digits()
    digits_model.save("model.npz")
    np.save("one.npy", x[0, :, :, 0])
    np.save("many.npy", x[:20])
    np.save("labels.npy", y[:20])
    with open("model.csv", "w", newline="") as file:
        csv.writer(file).writerows([["epoch", "loss"], [0, 2.5], [1, 1.5]])
    return tmp_path


@needs_matplotlib
@pytest.mark.parametrize(
    ("options", "file"),
    [
        ([], "model-filters.png"),
        (["--layer", "dense"], "model-filters.png"),
        (["--image", "one.npy"], "model-maps.png"),
        (["--what", "maps", "--layer", "conv2d_1", "--save", "maps.png"], "maps.png"),
        (["--what", "curve"], "model-curve.png"),
        (["--what", "mistakes"], "model-mistakes.png"),
        (["--what", "mistakes", "--image", "many.npy", "--labels", "labels.npy"], "model-mistakes.png"),
        (["--what", "field", "--layer", "conv2d", "--position", "1", "2"], "model-field.png"),
        (["--what", "sum", "--channel", "3"], "model-sum.png"),
    ],
)
def test_show(folder, capsys, options, file):
    assert cli.main(["show", "model.npz", *options]) == 0
    assert capsys.readouterr().out == f"wrote {folder / file}\n"
    assert (folder / file).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--layer", "conv"], "no layer 'conv'"),
        (["--what", "curve", "--history", "none.csv"], "none.csv"),
        (["--what", "curve", "--history", "one.npy"], "one.npy"),
        (["--what", "mistakes", "--image", "many.npy"], "--labels"),
        (["--what", "sum", "--channel", "8"], "outside"),
        (["--what", "field", "--layer", "dense"], "no pixels"),
        (["--image", "labels.npy"], "(20,)"),
    ],
)
def test_show_explains_errors(folder, capsys, options, text):
    assert cli.main(["show", "model.npz", *options]) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1 and text in shown.err
