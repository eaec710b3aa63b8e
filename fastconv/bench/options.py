# SPDX-License-Identifier: BSD-3-Clause
"""The options of ``fastconv bench``."""

import argparse

from fastconv import get_precision, isas
from fastconv.bench.networks import NETWORKS
from fastconv.bench.operations import OPERATIONS
from fastconv.bench.rivals import RIVALS
from fastconv.bench.truth import PROMISED

SHORT = {"forward": "conv2d", "backward_input": "conv2d_backward_input", "backward_weight": "conv2d_backward_weight"}
SECONDS = 0.3
THRESHOLD = 10  # percent

DESCRIPTION = """Times convolution on layers of known networks, beside this machine's peak and every other library
that is installed (PyTorch, ONNX Runtime, JAX), all in turns. Without options: some layers of several networks, in less
than a minute."""


def add_arguments(parser):
    parser.description = DESCRIPTION
    what = parser.add_argument_group("what is timed (several: separated by commas)")
    add = what.add_argument
    add("--network", type=names(NETWORKS), metavar="NAMES", help=f"all, or of {', '.join(NETWORKS)}")
    add("--only", type=texts, default=[], metavar="WHICH", help="kernel sizes or layer names: 3x3,conv5.*")
    add("--sweep", action="store_true", help="growing batch, channels, images instead of a network")
    add("--op", type=operations, default=list(SHORT.values()), metavar="OPS", help=f"all, or of {_op_names()}")
    add("--batch", type=numbers, default=[1], metavar="N", help="images in a call (1)")
    add("--threads", type=numbers, default=[1], metavar="N", help="(1)")
    add("--layout", type=names(["NHWC", "NCHW"]), default=["NHWC"], metavar="L", help="of fastconv's arrays (NHWC)")
    add("--dtype", type=names(["float32", "float64"]), default=["float32"], metavar="D", help="(float32)")
    add("--precision", type=names(PROMISED), default=[get_precision()], metavar="P", help="of float32 (high)")
    add("--isa", type=names(isas()), metavar="I", help=f"instruction sets of {', '.join(isas())} (the first)")
    how = parser.add_argument_group("how")
    add = how.add_argument
    add("--rivals", type=rivals, default=tuple(RIVALS), metavar="R", help=f"all, none, or of {', '.join(RIVALS)}")
    add("--seconds", type=seconds, default=SECONDS, metavar="S", help=f"for each case, about ({SECONDS})")
    results = parser.add_argument_group("results")
    add = results.add_argument
    add("--json", metavar="FILE", help="write all results to FILE")
    add("--report", metavar="DIR", help="write tables and pictures to DIR (needs matplotlib)")
    add("--load", nargs="+", metavar="FILE", help="show the results of these files; nothing is timed")
    add("--compare", nargs=2, metavar=("OLD", "NEW"), help="what became slower? exit status 1 if anything did")
    add("--threshold", type=percentage, default=THRESHOLD, metavar="PERCENT", help="of --compare (10)")
    parser.set_defaults(run=run)


def run(arguments):
    from fastconv.bench import command  # not before it is needed: other commands shall start quickly

    return command.run(arguments)


def _op_names():
    return ", ".join([*SHORT, *(name for name in OPERATIONS if name not in SHORT.values())])


# ---------------------------------------------------------------- types of options


def texts(text):
    return [part.strip() for part in text.split(",")]


def names(known):
    def of_text(text):
        if text == "all":
            return list(known)
        for name in texts(text):
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return texts(text)

    return of_text


def operations(text):
    if text == "all":
        return list(OPERATIONS)
    return names(OPERATIONS)(",".join(SHORT.get(name, name) for name in texts(text)))


def rivals(text):
    return () if text == "none" else tuple(names(RIVALS)(text))


def numbers(text):
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1: {text}")
    return found


def seconds(text):
    value = float(text)
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(f"must be between 0 and 3600: {text}")
    return value


def percentage(text):
    value = float(text)
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 100: {text}")
    return value
