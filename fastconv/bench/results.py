# SPDX-License-Identifier: BSD-3-Clause
"""What was measured: one `Result` for each case, and the JSON file that keeps them.

The file is one object: ``schema``, ``created``, ``machine`` (see `fastconv.bench.machine`), ``bandwidth`` (bytes per
second of a large copy, by number of threads) and ``records``, one for each case. A record holds the fields of `Result`;
besides them, for readers without this code, the rates and ratios that follow from them.
"""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime

from fastconv.atomic import replacing

SCHEMA = 1
KEY = ("network", "layer", "op", "layout", "dtype", "precision", "isa", "batch", "threads")


@dataclass
class Result:
    """One case. ``seconds``: {"best", "median"} per call of "fastconv", of the limits "fma" and "copy", of rivals."""

    network: str
    layer: str
    op: str
    layout: str
    dtype: str
    precision: str
    isa: str
    batch: int
    threads: int
    problem: str  # the layer in words
    sizes: dict
    flops: int
    bytes: int | None
    limit: str  # "fma" or "copy"
    error: float  # relative L2 error against float64, of the sample
    rounds: int
    settled: bool  # False: even added rounds did not meet the best ones again
    seconds: dict
    ratio_median: dict  # rival to the median over the rounds of its time over fastconv's
    rival_error: dict = field(default_factory=dict)
    absent: dict = field(default_factory=dict)  # rival to the reason why it has no time

    @property
    def key(self):
        return tuple(getattr(self, name) for name in KEY)

    @property
    def best(self):
        """Seconds of fastconv's best round."""
        return self.seconds["fastconv"]["best"]

    @property
    def rivals(self):
        return [name for name in self.seconds if name not in ("fastconv", "fma", "copy")]

    @property
    def gflops(self):
        return self.flops / self.best / 1e9

    @property
    def peak_gflops(self):
        """The multiply-add peak in the same rounds."""
        return self.flops / self.seconds["fma"]["best"] / 1e9

    def share_of(self, limit):
        """Part of a limit's speed that fastconv reaches; None where that limit was not measured."""
        return self.seconds[limit]["best"] / self.best if limit in self.seconds else None

    @property
    def share(self):
        """Part that fastconv reaches of the limit that bounds the case."""
        return self.share_of(self.limit)

    def ratio(self, rival):
        """How many times longer the rival takes, from the best round of each."""
        return self.seconds[rival]["best"] / self.best

    @property
    def best_rival(self):
        """Name of the fastest; None without rivals."""
        return min(self.rivals, key=self.ratio, default=None)

    def record(self):
        """A dict for JSON: the fields, and what follows from them."""
        derived = {
            "gflops": self.gflops,
            "gbytes": self.bytes / self.best / 1e9 if self.bytes else None,
            "peak_gflops": self.peak_gflops,
            "share_of_peak": self.share_of("fma"),
            "share_of_limit": self.share,
            "ratio_best": {name: self.ratio(name) for name in self.rivals},
        }
        return asdict(self) | derived

    @classmethod
    def of_record(cls, record):
        try:
            return cls(**{entry.name: record[entry.name] for entry in fields(cls)})
        except (KeyError, TypeError) as error:
            raise ValueError(f"a record without {error}") from error


@dataclass
class Results:
    """All results of a run, and what they were measured on."""

    machine: dict
    results: list
    bandwidth: dict = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def save(self, path):
        content = {
            "schema": SCHEMA,
            "created": self.created,
            "machine": self.machine,
            "bandwidth": {str(threads): rate for threads, rate in self.bandwidth.items()},
            "records": [result.record() for result in self.results],
        }
        with replacing(path) as file:
            file.write(json.dumps(content, indent=1).encode())


def load(path):
    """The results of a JSON file; ValueError for other files."""
    name = os.fspath(path)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except ValueError as error:
        raise ValueError(f"{name} is no JSON file: {error}") from error
    if not isinstance(content, dict) or "records" not in content:
        raise ValueError(f"{name} holds no results of fastconv bench")
    if content.get("schema") != SCHEMA:
        raise ValueError(f"{name} has schema {content.get('schema')!r}, this version reads {SCHEMA}")
    try:
        results = [Result.of_record(record) for record in content["records"]]
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    bandwidth = {int(threads): rate for threads, rate in content["bandwidth"].items()}
    return Results(content["machine"], results, bandwidth, content["created"])


def load_all(paths):
    """Several files as one: of a case in several of them, the last counts."""
    files = [load(path) for path in paths]
    merged = {result.key: result for results in files for result in results.results}
    bandwidth = {threads: rate for results in files for threads, rate in results.bandwidth.items()}
    return Results(files[-1].machine, list(merged.values()), bandwidth, files[-1].created)
