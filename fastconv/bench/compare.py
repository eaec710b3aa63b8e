# SPDX-License-Identifier: BSD-3-Clause
"""Two result files: has anything become slower?

What is compared is the share of the limit that was measured in turns with the case, not the time: the clock of the
machine differs from run to run by more than most changes to the code.
"""

from statistics import geometric_mean

from fastconv.bench import tables
from fastconv.bench.options import THRESHOLD
from fastconv.bench.results import KEY


class Comparison:
    """``pairs``: (old, new) of the cases that are in both files."""

    def __init__(self, old, new, threshold=THRESHOLD):
        before = {result.key: result for result in old.results}
        self.old, self.new, self.threshold = old, new, threshold
        self.pairs = [(before[result.key], result) for result in new.results if result.key in before]
        if not self.pairs:
            raise ValueError(f"the two files have no case in common; a case is the same in {', '.join(KEY)}")

    @property
    def slower(self):
        """The pairs whose share fell by more than the threshold, worst first."""
        pairs = [pair for pair in self.pairs if change(*pair) < 1 - self.threshold / 100]
        return sorted(pairs, key=lambda pair: change(*pair))

    def lines(self):
        """Geometric mean per operation, then every case that became slower."""
        yield from self._differences()
        yield "New speed over old, as shares of the limit measured beside each (above 1: faster)"
        rows = [["operation", "batch", "threads", "cases", "geomean", "least", "in", "most", "in"]]
        rows += [_summary(group) for group in tables.by(lambda pair: tables.setting_key(pair[1]), self.pairs)]
        yield from tables.aligned(rows, "<>>>>><><")
        slower = self.slower
        yield ""
        if not slower:
            yield f"No case is slower by more than {self.threshold:g} %."
            return
        yield f"Slower by more than {self.threshold:g} % (~: rounds kept differing)"
        rows = [["layer", "operation", "", "batch", "threads", "", "old", "new", "change"]]
        yield from tables.aligned(rows + [_row(*pair) for pair in slower], "<<<>><>>>")

    def _differences(self):
        for what, mine, other in (("old", self.old, self.new), ("new", self.new, self.old)):
            alone = {result.key for result in mine.results} - {result.key for result in other.results}
            if alone:
                yield f"only in the {what} file: {tables.count(len(alone), 'case')}"
        if self.old.machine.get("cpu") != self.new.machine.get("cpu"):
            yield f"different machines: {self.old.machine.get('cpu')}; {self.new.machine.get('cpu')}"


def change(old, new):
    """New share of the limit over the old one."""
    return new.share / old.share


def _summary(pairs):
    changes = sorted((change(*pair), tables.label(pair[1], [new for _, new in pairs])) for pair in pairs)
    first, (least, where), (most, there) = pairs[0][1], changes[0], changes[-1]
    mean = geometric_mean(value for value, _ in changes)
    cells = [first.op, str(first.batch), str(first.threads), str(len(pairs)), f"{mean:.3f}"]
    return [*cells, f"{least:.2f}", where, f"{most:.2f}", there]


def _row(old, new):
    name = f"{new.network} {new.layer}" + ("" if old.settled and new.settled else "~")
    setting = f"{new.layout} {new.dtype} {new.precision} {new.isa}"
    shares = [tables.percent(old.share), tables.percent(new.share), f"{change(old, new) - 1:+.0%}"]
    return [name, new.op, new.problem, str(new.batch), str(new.threads), setting, *shares]
