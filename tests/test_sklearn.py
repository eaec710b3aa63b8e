# SPDX-License-Identifier: BSD-3-Clause
"""The scikit-learn estimator: scikit-learn's own checks, and images."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", minversion="1.6")
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastconv import callbacks, datasets, layers, optimizers
from fastconv.sklearn import CNNClassifier


@parametrize_with_checks([CNNClassifier()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def digits(count=300):
    (x, y), (x_test, y_test) = datasets.load_digits()
    return x[:count] / 16, y[:count], x_test / 16, y_test


def test_it_learns_digits_in_each_shape_and_by_the_seed():
    x, y, x_test, y_test = digits()
    names = np.array([f"digit {label}" for label in range(10)])
    results = []
    for images, arguments in (
        (lambda a: a, {}),
        (lambda a: a[..., 0], {}),
        (lambda a: a.reshape(len(a), 64), {"image_shape": (8, 8)}),
    ):
        model = CNNClassifier(epochs=6, random_state=0, **arguments).fit(images(x), names[y])
        assert model.score(images(x_test), names[y_test]) > 0.75
        results.append(model.predict_proba(images(x_test)))
        again = pickle.loads(pickle.dumps(model))
        assert np.array_equal(again.predict(images(x_test)), model.predict(images(x_test)))
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])
    np.testing.assert_allclose(results[0].sum(axis=1), 1, rtol=1e-12)
    assert list(model.classes_) == list(names) and len(model.history_["loss"]) == 6
    other = CNNClassifier(epochs=1, random_state=1).fit(x, y).predict_proba(x_test)
    assert not np.array_equal(CNNClassifier(epochs=1, random_state=2).fit(x, y).predict_proba(x_test), other)


def small(input_shape, classes):
    return [layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(classes, "softmax")]


def test_architectures():
    x, y, x_test, _ = digits(100)
    listed = [layers.Conv2D(4, 3, activation="relu")]
    for architecture in (small, listed):
        model = CNNClassifier(architecture, epochs=2, optimizer=optimizers.SGD(0.1), random_state=0)
        first = model.fit(x, y).predict_proba(x_test)
        assert np.array_equal(clone(model).fit(x, y).predict_proba(x_test), first)
        assert np.array_equal(model.fit(x, y).predict_proba(x_test), first), "the first fit left something behind"
        np.testing.assert_allclose(first.sum(axis=1), 1, rtol=1e-6)
        assert [type(layer).__name__ for layer in model.model_.layers] == ["Conv2D", "Flatten", "Dense"]
    assert listed[0].owner is None and model.optimizer.iterations == 0
    stop = callbacks.EarlyStopping("loss", min_delta=9)
    assert len(CNNClassifier(small, callbacks=[stop]).fit(x, y).history_["loss"]) == 2


def test_in_a_pipeline_and_a_search():
    x, y, x_test, y_test = digits(120)
    flat, flat_test = (16 * images.reshape(len(images), -1) for images in (x, x_test))
    quick = optimizers.Adam(0.01)
    search = GridSearchCV(
        make_pipeline(MinMaxScaler(), CNNClassifier(small, image_shape=(8, 8), optimizer=quick, random_state=0)),
        {"cnnclassifier__epochs": [1, 8]},
        cv=2,
    ).fit(flat, y)
    assert search.best_params_ == {"cnnclassifier__epochs": 8} and search.score(flat_test, y_test) > 0.5


WRONG = {
    "image shape": ({"image_shape": (8, 9)}, (20, 64), "image_shape"),
    "five axes": ({}, (20, 2, 2, 2, 2), "images"),
    "outputs": ({"layers": lambda shape, classes: [layers.Flatten(), layers.Dense(7)]}, (20, 8, 8), "7"),
    "epochs": ({"epochs": 0}, (20, 64), "epochs"),
    "optimizer": ({"optimizer": "sdg"}, (20, 64), "sdg"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments(case):
    arguments, shape, text = WRONG[case]
    with pytest.raises(ValueError, match=text):
        CNNClassifier(**arguments).fit(np.zeros(shape), np.arange(20) % 3)


def test_other_images_than_those_of_the_training():
    model = CNNClassifier(epochs=1).fit(np.zeros((9, 8, 8)), np.arange(9) % 3)
    with pytest.raises(ValueError, match=r"8, 9"):
        model.predict(np.zeros((9, 8, 9)))


def test_without_scikit_learn_the_message_says_what_to_install():
    program = 'import sys; sys.modules["sklearn"] = None\nimport fastconv.sklearn'
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parent)
    assert "fastconv[sklearn]" in done.stderr.splitlines()[-1]
