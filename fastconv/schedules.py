# SPDX-License-Identifier: BSD-3-Clause
"""Learning rates that change with the number of updates: ``Adam(CosineDecay(1e-3, steps=2000))``.

``schedule(step)`` is the rate of the update with that number, from 0; after its last step a schedule stays where it
is. Numbers of updates are ``epochs * len(batches)``.
"""

import bisect
import math

from fastconv.arguments import number, positive_integer


class Schedule:
    """What schedules share: ``config_names`` are the constructor arguments that a model file stores."""

    config_names = ("lr",)

    def __init__(self, lr):
        self.lr = number(lr, "lr", 0)

    def __call__(self, step):
        raise NotImplementedError

    def config(self):
        """Name of the class and constructor arguments, as plain values."""
        return {"schedule": type(self).__name__, **{name: getattr(self, name) for name in self.config_names}}


class CosineDecay(Schedule):
    """Falls from ``lr`` to zero over ``steps`` updates along half a cosine (Loshchilov and Hutter, 2017)."""

    config_names = ("lr", "steps")

    def __init__(self, lr, steps):
        super().__init__(lr)
        self.steps = positive_integer(steps, "steps")

    def __call__(self, step):
        return self.lr * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1)))


class StepDecay(Schedule):
    """``lr``, multiplied with ``factor`` after every ``steps`` updates; or, where ``steps`` is a list, once after each
    of these numbers of updates (PyTorch's StepLR and MultiStepLR)."""

    config_names = ("lr", "steps", "factor")

    def __init__(self, lr, steps, factor=0.1):
        super().__init__(lr)
        self.factor = number(factor, "factor", 0)
        if isinstance(steps, (list, tuple)):
            self.steps = [positive_integer(step, "steps") for step in steps]
            if sorted(set(self.steps)) != self.steps:
                raise ValueError(f"steps must increase, got {steps}")
        else:
            self.steps = positive_integer(steps, "steps")

    def __call__(self, step):
        times = bisect.bisect_right(self.steps, step) if isinstance(self.steps, list) else step // self.steps
        return self.lr * self.factor**times


class OneCycle(Schedule):
    """One rise and one long fall, for training in few epochs with a high rate (Smith and Topin, 2018).

    Along half a cosine each: from ``lr / first`` up to ``lr`` over the share ``rise`` of the ``steps`` updates, then
    down to ``lr / first / last``. Formula and defaults of PyTorch's OneCycleLR; momentum is left alone.
    """

    config_names = ("lr", "steps", "rise", "first", "last")

    def __init__(self, lr, steps, rise=0.3, first=25.0, last=1e4):
        super().__init__(lr)
        self.steps = positive_integer(steps, "steps")
        self.rise = number(rise, "rise", 0, 1)
        self.first, self.last = number(first, "first", 1), number(last, "last", 1)

    def __call__(self, step):
        lowest = self.lr / self.first
        top, end = self.rise * self.steps - 1, self.steps - 1
        if step <= top:
            return between(lowest, self.lr, step / top if top > 0 else 1)
        return between(self.lr, lowest / self.last, min((step - top) / (end - top), 1))


def between(start, end, share):
    """From ``start`` at 0 to ``end`` at 1 along half a cosine."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


SCHEDULES = {schedule.__name__: schedule for schedule in (CosineDecay, OneCycle, StepDecay)}


def from_config(config):
    """The schedule that ``config()`` describes; ValueError where it describes none."""
    arguments = dict(config)
    name = arguments.pop("schedule", None)
    if not isinstance(name, str) or name not in SCHEDULES:
        raise ValueError(f"lr: unknown schedule {name!r}")
    if set(arguments) != set(SCHEDULES[name].config_names):
        raise ValueError(f"lr: {name} is not described by {', '.join(SCHEDULES[name].config_names)}")
    return SCHEDULES[name](**arguments)
