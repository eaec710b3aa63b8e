# SPDX-License-Identifier: BSD-3-Clause
"""ResNet-18 for images of 64 x 64 x 3 and ten classes: the same weights for every side, under PyTorch's names."""

import math

import numpy as np

IMAGE, CLASSES = (64, 64, 3), 10


def convolutions():
    """(name, filters, channels, size, pixels of the result) of each, in the order of PyTorch's modules."""
    found, channels, length = [("conv1", 64, 3, 7, 32 * 32)], 64, 16
    for stage in range(4):
        for block in range(2):
            width, stride = 64 << stage, 2 if stage and not block else 1
            length, name = length // stride, f"layer{stage + 1}.{block}"
            found.append((f"{name}.conv1", width, channels, 3, length * length))
            found.append((f"{name}.conv2", width, width, 3, length * length))
            if stride > 1:
                found.append((f"{name}.downsample.0", width, channels, 1, length * length))
            channels = width
    return found


def weights():
    """Name to array: a state_dict."""
    rng, arrays = np.random.default_rng(0), {}
    for name, filters, channels, size, _ in convolutions():
        fan_out = filters * size * size
        arrays[f"{name}.weight"] = rng.normal(0, math.sqrt(2 / fan_out), (filters, channels, size, size))
        norm = name.replace("conv", "bn") if "conv" in name else name[:-1] + "1"
        arrays |= {f"{norm}.weight": np.ones(filters), f"{norm}.bias": np.zeros(filters)}
        arrays |= {f"{norm}.running_mean": np.zeros(filters), f"{norm}.running_var": np.ones(filters)}
    arrays["fc.weight"] = rng.uniform(-1, 1, (CLASSES, 512)) / math.sqrt(512)
    arrays["fc.bias"] = np.zeros(CLASSES)
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def flops(batch):
    """Three products per layer, forward and two gradients; without the gradient of the image."""
    products = [pixels * filters * channels * size * size for _, filters, channels, size, pixels in convolutions()]
    return 2 * batch * (3 * (sum(products) + 512 * CLASSES) - products[0])


def fastconv_model():
    from fastconv import interchange, models

    model = models.resnet18(IMAGE, CLASSES)
    interchange.from_torch(model, weights())
    return model


def torch_module():
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self, channels, width, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
            self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
            conv = nn.Conv2d(channels, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(width)) if stride > 1 else nn.Identity()
            self.relu = nn.ReLU(inplace=True)  # as in torchvision

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            y += self.downsample(x)
            return self.relu(y)

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
            self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
            for stage in range(4):
                width = 64 << stage
                first = Block(width // 2, width, 2) if stage else Block(64, 64, 1)
                setattr(self, f"layer{stage + 1}", nn.Sequential(first, Block(width, width, 1)))
            self.mean, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(512, CLASSES)

        def forward(self, x):
            x = self.pool(self.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(torch.flatten(self.mean(x), 1))

    module = ResNet()
    module.load_state_dict({name: torch.from_numpy(array) for name, array in weights().items()}, strict=False)
    return module
