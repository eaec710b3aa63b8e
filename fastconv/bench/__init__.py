# SPDX-License-Identifier: BSD-3-Clause
"""Measures fastconv on layers of known networks, beside the limits of the machine and other libraries.

``fastconv bench`` is the front door (`fastconv.bench.command`); the suite in the repository's ``benchmarks/`` runs the
same code under pytest. How it is measured, and why so, is written in ``benchmarks/README.md``.

    networks, layers          what is timed: shapes of published networks
    operations, arrays        one call of one operation on one layer: data, call, work
    truth                     the same in float64 NumPy, on a sample of the result
    peak, rivals, timing      the limits of the machine; other libraries; turns, rounds, blocks
    contest, worker           one case; many cases in a process of their own
    results, tables           records, the JSON file; what is printed
    compare, picture, sweep   two result files; pictures; cost as the work grows
"""
