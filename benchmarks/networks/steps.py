# SPDX-License-Identifier: BSD-3-Clause
"""Whole training steps of small networks, forward, loss, backward, update, each side alone in its process.

    python benchmarks/networks/steps.py --networks lenet5,vgg6 --batch 64,1 --threads 2

The sides have turns: while one works the others wait for their input. All start from the same weights, and their first
losses are compared before anything is timed. A side that cannot start (a library or a compiler is missing) is left out.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import networks
import numpy as np
import side

HERE = Path(__file__).resolve().parent
LOSS_ERROR = 1e-3


class Process:
    """A side at work."""

    def __init__(self, name, network, batch, threads):
        command = [sys.executable, str(HERE / "side.py"), name, network, str(batch), str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.losses = np.array([float(word) for word in self.process.stdout.readline().split()])
        self.seconds = []

    def turn(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        self.seconds.append(float(self.process.stdout.readline()))

    def end(self):
        """Close the process; the last line of what it had to say."""
        _, text = self.process.communicate()
        return text.strip().splitlines()[-1:] or [""]


def contest(network, batch, threads, sides, rounds):
    """Seconds of the best round by side."""
    running, first = {}, None
    try:
        for name in sides:
            process = Process(name, network, batch, threads)
            if not process.losses.size:
                print(f"  {name} is left out: {process.end()[0]}", file=sys.stderr)
                continue
            running[name] = process
            first = process.losses if first is None else first
            if not np.allclose(process.losses, first, rtol=LOSS_ERROR):
                raise SystemExit(f"{name}: losses {process.losses}, not {first}")
        for _ in range(rounds):
            for process in running.values():
                process.turn()
    finally:
        for process in running.values():
            process.end()
    return {name: min(process.seconds) for name, process in running.items()}


def words(text):
    return text.split(",")


def numbers(text):
    return [int(word) for word in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known, sides = ", ".join(networks.NETWORKS), ", ".join(side.SIDES)
    parser.add_argument("--networks", type=words, default=list(networks.NETWORKS), help=f"some of: {known}")
    parser.add_argument("--sides", type=words, default=list(side.SIDES), help=f"some of: {sides}")
    parser.add_argument("--batch", type=numbers, default=[64, 1], help="images in a step: 64,1")
    parser.add_argument("--threads", type=numbers, default=[2], help="number of threads: 1,2")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side (%(default)s)")
    arguments = parser.parse_args()
    for network in arguments.networks:
        for batch in arguments.batch:
            for threads in arguments.threads:
                times = contest(network, batch, threads, arguments.sides, arguments.rounds)
                work = networks.flops(networks.NETWORKS[network], batch)
                ours = times.get("fastconv", min(times.values()))
                print(f"{network}, batch {batch}, {threads} threads, {work / 1e9:.3f} GFLOP")
                for name, seconds in sorted(times.items(), key=lambda item: item[1]):
                    speed = work / seconds / 1e9
                    print(
                        f"  {name:15} {1e6 * seconds:10.0f} us {speed:8.1f} GFLOP/s   x{seconds / ours:.2f}", flush=True
                    )


if __name__ == "__main__":
    main()
