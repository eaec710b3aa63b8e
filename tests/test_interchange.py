# SPDX-License-Identifier: BSD-3-Clause
"""Weights from and to PyTorch, Keras and safetensors files: equal outputs; nothing written where anything is wrong."""

import numpy as np
import pytest
from compare import same_bits

from fastconv import interchange, layers, models


def mixed(layout="NHWC", seed=1):
    """What is turned in the transfer: filters, groups, single channels, rows behind Flatten, layers within others."""
    return models.Sequential(
        [
            layers.Conv2D(4, (3, 2), groups=2, activation="relu"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding=1),
            layers.Residual([layers.Conv2D(8, 3, padding=1, bias=False)]),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(5, "tanh"),
            layers.Dense(3),
        ],
        input_shape=(6, 5, 2) if layout == "NHWC" else (2, 6, 5),
        layout=layout,
        seed=seed,
    )


def images(shape=(6, 5, 2), count=3):
    return np.random.default_rng(0).normal(size=(count, *shape)).astype(np.float32)


def in_layout(x, layout):
    return x if layout == "NHWC" else x.transpose(0, 3, 1, 2)


def torch_twin(torch):
    """The modules of ``mixed``, and their forward pass on NCHW."""
    nn = torch.nn
    modules = nn.ModuleDict(
        {
            "first": nn.Conv2d(2, 4, (3, 2), groups=2),
            "depthwise": nn.Conv2d(4, 8, 3, padding=1, groups=4),
            "inner": nn.Conv2d(8, 8, 3, padding=1, bias=False),
            "fc1": nn.Linear(8 * 4 * 4, 5),
            "fc2": nn.Linear(5, 3),
        }
    )

    def forward(x):
        x = modules["depthwise"](torch.relu(modules["first"](x)))
        x = (x + modules["inner"](x)).flatten(1)
        return modules["fc2"](torch.tanh(modules["fc1"](x)))

    return modules, forward


def outputs(torch, forward, x):
    with torch.no_grad():
        return forward(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()


def test_weights_of_pytorch_give_its_outputs(layout):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    modules, forward = torch_twin(torch)
    model, x = mixed(layout), images()
    interchange.from_torch(model, modules.state_dict())
    np.testing.assert_allclose(model.predict(in_layout(x, layout)), outputs(torch, forward, x), rtol=1e-5, atol=1e-6)


def test_weights_for_pytorch_give_our_outputs(layout):
    torch = pytest.importorskip("torch")
    modules, forward = torch_twin(torch)
    model, x = mixed(layout), images()
    names = interchange.names_in_order(model, modules.state_dict())
    assert names["residual/conv2d"] == "inner"
    arrays = interchange.to_torch(model, names)
    modules.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    np.testing.assert_allclose(model.predict(in_layout(x, layout)), outputs(torch, forward, x), rtol=1e-5, atol=1e-6)


def test_every_kind_of_filter_has_pytorch_axes(layout):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    cases = [
        (layers.Conv1D(5, 3), nn.Conv1d(4, 5, 3), (9, 4)),
        (layers.Conv2DTranspose(6, (3, 2), 2, groups=2), nn.ConvTranspose2d(4, 6, (3, 2), 2, groups=2), (7, 5, 4)),
        (layers.Conv3D(5, (3, 2, 1)), nn.Conv3d(4, 5, (3, 2, 1)), (5, 4, 3, 4)),
    ]
    for layer, module, shape in cases:
        x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
        first = np.ascontiguousarray(np.moveaxis(x, -1, 1))
        ours = x if layout == "NHWC" else first
        model = models.Sequential([layer], input_shape=ours.shape[1:], layout=layout)
        interchange.from_torch(model, {f"m.{name}": value for name, value in module.state_dict().items()})
        with torch.no_grad():
            expected = module(torch.from_numpy(first)).numpy()
        y = model.predict(ours)
        np.testing.assert_allclose(y if layout == "NCHW" else np.moveaxis(y, -1, 1), expected, rtol=1e-5, atol=1e-5)


def test_separable_filters_go_to_keras_and_back():
    model, other = (
        models.Sequential(
            [layers.SeparableConv2D(5, (3, 2), depth_multiplier=2)], input_shape=shape, layout=layout, seed=seed
        )
        for seed, layout, shape in ((0, "NHWC", (6, 5, 3)), (1, "NCHW", (3, 6, 5)))
    )
    weights = interchange.to_keras(model)
    assert [array.shape for array in weights] == [(3, 2, 3, 2), (1, 1, 6, 5), (5,)]
    interchange.from_keras(other, weights)
    x = images((6, 5, 3))
    y = other.predict(in_layout(x, "NCHW")).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(y, model.predict(x), rtol=1e-5, atol=1e-6)


def torch_lenet5(nn):
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
        *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )


def torch_resnet18(torch):
    """torchvision's network, with its names."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, channels, width, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(width)
            if stride > 1:
                conv = nn.Conv2d(channels, width, 1, stride, bias=False)
                self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(64)
            self.layer1 = nn.Sequential(Block(64, 64, 1), Block(64, 64, 1))
            self.layer2 = nn.Sequential(Block(64, 128, 2), Block(128, 128, 1))
            self.layer3 = nn.Sequential(Block(128, 256, 2), Block(256, 256, 1))
            self.layer4 = nn.Sequential(Block(256, 512, 2), Block(512, 512, 1))
            self.fc = nn.Linear(512, 1000)

        def forward(self, x):
            x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
                x = stage(x)
            return self.fc(x.mean((2, 3)))

    return ResNet()


def test_lenet5_with_the_weights_of_pytorch(layout):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    module, model = torch_lenet5(torch.nn), models.lenet5(layout=layout)
    interchange.from_torch(model, module.state_dict())
    x = images((32, 32, 1), 4)
    np.testing.assert_allclose(model.predict(in_layout(x, layout)), outputs(torch, module, x), rtol=1e-5, atol=1e-5)


def test_resnet18_with_the_weights_of_pytorch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(2)
    module, model = torch_resnet18(torch), models.resnet18((64, 64, 3))
    with torch.no_grad():
        module.train()(torch.randn(8, 3, 64, 64))  # running statistics of some images
    module.eval()
    names = interchange.names_in_order(model, module.state_dict())
    assert names["residual_2/conv2d_2"] == "layer2.0.downsample.0" and names["dense"] == "fc"
    interchange.from_torch(model, module.state_dict())
    x = images((64, 64, 3), 2)
    expected = outputs(torch, module, x)
    assert abs(model.predict(x) - expected).max() <= 1e-5 * abs(expected).max()
    back = interchange.to_torch(model, names)
    state = module.state_dict()
    assert back.keys() == {name for name in state if "num_batches" not in name}
    assert all(np.array_equal(array, state[name].numpy()) for name, array in back.items())


# ---- Keras, whose axes are those of NHWC


def test_keras_weights_are_the_arrays_as_they_lie_in_nhwc():
    model, other = mixed(), mixed("NCHW", seed=2)
    weights = interchange.to_keras(model)
    assert [array.shape for array in weights[:4]] == [(3, 2, 1, 4), (4,), (3, 3, 4, 2), (8,)]
    assert same_bits(weights[0], model.parameters["conv2d/weight"])
    interchange.from_keras(other, weights)
    x = images()
    np.testing.assert_allclose(other.predict(in_layout(x, "NCHW")), model.predict(x), rtol=1e-4, atol=1e-6)
    assert all(same_bits(*pair) for pair in zip(weights, interchange.to_keras(other), strict=True))


def test_keras_weights_by_name():
    model, other = mixed(), mixed(seed=2)
    by_name, pieces = {"flatten": []}, iter(interchange.to_keras(model))
    for name, count in (("a", 2), ("b", 2), ("c", 1), ("d", 2), ("e", 2)):
        by_name[name] = [next(pieces) for _ in range(count)]
    names = dict(zip(["conv2d", "depthwise_conv2d", "residual/conv2d", "dense", "dense_1"], "abcde", strict=True))
    interchange.from_keras(other, dict(reversed(by_name.items())), names)
    assert same_bits(other.predict(images()), model.predict(images()))


# ---- safetensors


def test_safetensors_files_come_back(tmp_path, layout):
    numpy = pytest.importorskip("safetensors.numpy")
    model, other, x = mixed(layout), mixed(layout, seed=2), in_layout(images(), layout)
    interchange.save_safetensors(model, tmp_path / "model.safetensors")
    interchange.load_safetensors(other, tmp_path / "model.safetensors")
    assert same_bits(other.predict(x), model.predict(x))
    stored = numpy.load_file(tmp_path / "model.safetensors")
    assert stored["residual.conv2d.weight"].shape == (8, 8, 3, 3) and stored["dense.weight"].shape == (5, 128)
    names = {name: f"module.{index}" for index, name in enumerate(interchange.dotted(model))}
    interchange.save_safetensors(other, tmp_path / "model.safetensors", names)
    with pytest.raises(ValueError, match="conv2d"):
        interchange.load_safetensors(other, tmp_path / "model.safetensors")
    interchange.load_safetensors(other, tmp_path / "model.safetensors", names)
    assert same_bits(other.predict(x), model.predict(x))


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 100, (2**60).to_bytes(8, "little") + b"{}", b"\x02" + bytes(7) + b"[]"]
)
def test_damaged_safetensors_files_are_refused(tmp_path, content):
    pytest.importorskip("safetensors")
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(ValueError, match="not a usable"):
        interchange.load_safetensors(mixed(), tmp_path / "model")


def test_without_the_package_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "safetensors", None)
    monkeypatch.setitem(__import__("sys").modules, "safetensors.numpy", None)
    with pytest.raises(ImportError, match=r"fastconv\[safetensors\]"):
        interchange.save_safetensors(mixed(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


# ---- what is refused


def without(arrays, name):
    return {key: value for key, value in arrays.items() if key != name}


def changed(arrays, name, value):
    return arrays | {name: value}


WRONG = {
    "module missing": (
        lambda a: without(a, "dense_1.weight") and without(without(a, "dense_1.weight"), "dense_1.bias"),
        "4 modules",
    ),
    "module more": (lambda a: a | {"more.weight": np.zeros(3)}, "6 modules"),
    "bias missing": (lambda a: without(a, "dense.bias"), "'dense' holds weight, bias"),
    "bias more": (lambda a: a | {"residual.conv2d.bias": np.zeros(8)}, "residual/conv2d"),
    "other axes": (
        lambda a: changed(a, "conv2d.weight", np.zeros((3, 2, 1, 4))),
        r"\(4, 1, 3, 2\), got \(3, 2, 1, 4\)",
    ),
    "other size": (
        lambda a: changed(a, "dense_1.bias", np.zeros(4)),
        r"dense_1/bias needs an array of the shape \(3,\)",
    ),
    "text": (lambda a: changed(a, "dense_1.bias", np.array(["a"] * 3)), "real numbers"),
    "objects": (lambda a: changed(a, "dense_1.bias", [None] * 3), "real numbers"),
    "complex": (lambda a: changed(a, "dense_1.bias", np.zeros(3, complex)), "real numbers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_written_where_anything_is_wrong(case):
    change, text = WRONG[case]
    model = mixed()
    before = {name: array.copy() for name, array in model.parameters.items()}
    with pytest.raises((ValueError, TypeError), match=text):
        interchange.from_torch(model, change(interchange.to_torch(mixed(seed=2))))
    for name, array in model.parameters.items():
        assert same_bits(array, before[name])


def test_errors_of_names_and_lists():
    model, arrays = mixed(), interchange.to_torch(mixed())
    names = interchange.dotted(model)
    with pytest.raises(ValueError, match="'dense_1'"):
        interchange.from_torch(model, arrays, without(names, "dense_1"))
    with pytest.raises(ValueError, match="no 'other', for layer 'dense_1'"):
        interchange.from_torch(model, arrays, names | {"dense_1": "other"})
    with pytest.raises(ValueError, match="no layer of the model takes"):
        interchange.from_torch(model, arrays | {"other.weight": np.zeros(3)}, names)
    weights = interchange.to_keras(model)
    with pytest.raises(ValueError, match="9 arrays, but 8"):
        interchange.from_keras(model, weights[:-1])
    with pytest.raises(ValueError, match="2 arrays|but 1 arrays"):
        interchange.from_keras(model, {name: weights[:1] for name in names})
    with model.frozen(), pytest.raises(RuntimeError, match="frozen"):
        interchange.from_keras(model, weights)
