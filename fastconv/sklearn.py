# SPDX-License-Identifier: BSD-3-Clause
"""A CNN as a scikit-learn estimator, for pipelines, cross-validation and grid searches. Needs scikit-learn."""

import copy

import numpy as np

from fastconv import layers as layer_library
from fastconv import models
from fastconv.arguments import positive_integer

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError('fastconv.sklearn needs scikit-learn 1.6 or later: pip install "fastconv[sklearn]"') from error

__all__ = ["CNNClassifier"]


class CNNClassifier(ClassifierMixin, BaseEstimator):
    """A convolutional network that classifies images, or rows of features.

    X is (n, h, w, c) or (n, h, w), or rows (n, features): with ``image_shape``, (h, w) or (h, w, c), each row is an
    image, without it a vector. Scale pixels and features to about -1 to 1, as for any network.

    - ``layers``: the network without its last layer, a list of layers, which are copied; behind them come a Flatten
      where it is needed and a Dense with one output for each class. Or a function that returns all layers from the
      shape of one input and the number of classes. None: two convolutions and a dense layer, for vectors two dense
      layers.
    - ``epochs``, ``batch_size``, ``optimizer`` (a name or an object of ``fastconv.optimizers``, which is copied),
      ``callbacks`` and ``verbose`` as in ``Sequential.compile`` and ``fit``. The loss is the cross-entropy.
    - ``random_state``: settles weights, order of batches and dropout.

    After ``fit``: ``classes_``, ``model_`` (a Sequential), ``history_`` (figure to list of values), ``n_features_in_``.
    """

    def __init__(
        self,
        layers=None,
        *,
        image_shape=None,
        epochs=30,
        batch_size=32,
        optimizer="adam",
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.layers = layers
        self.image_shape = image_shape
        self.epochs = epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X, y):
        """Train a new network on X and the labels y (n,), of any type. Returns the estimator."""
        epochs = positive_integer(self.epochs, "epochs")
        batch_size = positive_integer(self.batch_size, "batch_size")
        X, y = validate_data(self, X, y, allow_nd=True)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        images = self._images(X)
        seed = int(check_random_state(self.random_state).randint(2**31))
        self.model_ = models.Sequential(self._network(images.shape[1:]), input_shape=images.shape[1:], seed=seed)
        if self.model_.output_shape != (len(self.classes_),):
            shape = self.model_.output_shape
            raise ValueError(f"layers must end with one output for each of {len(self.classes_)} classes, got {shape}")
        self.model_.compile(copy.deepcopy(self.optimizer), "cross_entropy", metrics=["accuracy"])
        more = copy.deepcopy(self.callbacks)
        history = self.model_.fit(images, labels, batch_size, epochs, self.verbose, more)
        self.history_ = history.history
        return self

    def predict_proba(self, X):
        """Probabilities (n, classes), in the order of ``classes_``."""
        check_is_fitted(self)
        images = self._images(validate_data(self, X, allow_nd=True, reset=False))
        scores = self.model_.predict(images, self.batch_size).astype(np.float64)
        return scores if self._ends_in_softmax() else layer_library.Softmax().forward(scores)

    def predict(self, X):
        """The most probable class of each image."""
        best = self.predict_proba(X).argmax(axis=1)
        return self.classes_[best]

    def _ends_in_softmax(self):
        return getattr(self.model_.layers[-1], "activation", None) == "softmax"

    def _images(self, X):
        """X with one axis for the channels, or as it is where it holds vectors."""
        if X.ndim == 2 and self.image_shape is not None:
            shape = tuple(self.image_shape)
            if len(shape) not in (2, 3) or X.shape[1] != np.prod(shape):
                raise ValueError(f"image_shape={shape} does not suit rows of {X.shape[1]} features")
            X = X.reshape(len(X), *shape)
        if X.ndim not in (2, 3, 4):
            raise ValueError(f"X must be rows (n, features) or images (n, h, w[, c]), got the shape {X.shape}")
        return X[..., np.newaxis] if X.ndim == 3 else X

    def _network(self, input_shape):
        if callable(self.layers):
            return self.layers(input_shape, len(self.classes_))
        body = default_layers(input_shape) if self.layers is None else copy.deepcopy(list(self.layers))
        shape = models.Sequential(copy.deepcopy(body), input_shape=input_shape).output_shape
        flatten = [layer_library.Flatten()] if len(shape) > 1 else []
        return [*body, *flatten, layer_library.Dense(len(self.classes_))]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


def default_layers(input_shape):
    if len(input_shape) == 1:
        return [layer_library.Dense(64, "relu"), layer_library.Dense(32, "relu")]
    pools = [layer_library.MaxPooling2D(2)] if min(input_shape[:2]) > 1 else []
    return [
        layer_library.Conv2D(32, 3, padding="same", activation="relu"),
        layer_library.Conv2D(32, 3, padding="same", activation="relu"),
        *pools,
        layer_library.Flatten(),
        layer_library.Dense(64, "relu"),
    ]
