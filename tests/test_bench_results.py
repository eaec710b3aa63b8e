# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of the results of ``fastconv bench``: files, tables, comparison, sweep, pictures."""

import json
import os
from dataclasses import replace

import pytest
from bench_results import file_of, result

from fastconv import cli
from fastconv.bench import compare, sweep, tables
from fastconv.bench.results import SCHEMA, load, load_all
from fastconv.bench.rivals import RIVALS


def test_a_result_file_has_everything_and_comes_back(tmp_path):
    before = result()
    path = file_of(tmp_path / "a.json", before)
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["schema"] == SCHEMA and content["machine"]["cpu"] and content["machine"]["versions"]["numpy"]
    (record,) = content["records"]
    assert record["gflops"] == pytest.approx(80) and record["peak_gflops"] == pytest.approx(100)
    assert record["share_of_peak"] == pytest.approx(0.8) and record["ratio_best"]["torch"] == pytest.approx(1.5)
    assert record["absent"] == {"jax": "is not here"}
    after = load(path)
    assert after.results == [before] and after.bandwidth == {1: 1e10}
    again = file_of(tmp_path / "b.json", result(share=0.5), result("other"))
    assert [one.share for one in load_all([path, again]).results] == [0.5, 0.8]


@pytest.mark.parametrize(
    "content, text",
    [
        ("{", "no JSON"),
        ("[1]", "no results"),
        ('{"records": [], "schema": 99}', "schema 99"),
        (json.dumps({"schema": SCHEMA, "records": [{}]}), "without"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, content, text):
    (tmp_path / "x.json").write_text(content)
    assert cli.main(["bench", "--load", str(tmp_path / "x.json")]) == 1
    assert text in capsys.readouterr().err


def test_tables_fit_and_say_what_is_worst():
    many = [(name, 1.25 + number / 10) for number, name in enumerate(RIVALS)]
    group = [result("a" * 13, rivals=many, problem="14x14x1024->2048 1x1/2"), result("b", 0.5, many, settled=False)]
    group.append(replace(result("dw", 0.1, []), limit="copy"))
    group[2].seconds["copy"] = {"best": 2.0, "median": 2.0}
    lines = list(tables.lines(group))
    assert max(map(len, lines)) <= tables.WIDTH
    text = "\n".join(lines)
    assert "*1.25" in text and "x1.35" in text and "~50" in text and "20%m" in text
    assert "80%" in text and "jax is not here (3 cases)" in text
    assert "3 cases: 43% of the limit (least 20%), x1.25 the best rival's speed (least x1.25: net " in lines[-1]
    assert [tables.duration(value) for value in (1.5, 0.9999, 0.0123, 2.5e-6)] == ["1.50s", "1.00s", "12.3ms", "2.50us"]


# ---------------------------------------------------------------- comparison


def test_comparison_finds_what_became_slower(tmp_path, capsys):
    old = file_of(tmp_path / "old.json", result("a"), result("b"), result("c"))
    same = file_of(tmp_path / "same.json", result("a", 0.73), result("b", 0.9), result("d"))
    assert cli.main(["bench", "--compare", old, same]) == 0
    text = capsys.readouterr().out
    assert "only in the old file: 1 case" in text and "No case is slower by more than 10 %" in text
    slow = file_of(tmp_path / "slow.json", result("a", 0.71), result("b", 0.8))
    assert cli.main(["bench", "--compare", old, slow]) == 1
    text = capsys.readouterr().out
    assert "net a" in text and "net b" not in text and "-11%" in text
    assert cli.main(["bench", "--compare", old, slow, "--threshold", "15"]) == 0


def test_comparison_does_not_look_at_the_clock():
    """Twice the time beside half the peak is the same speed."""
    slower_clock = result()
    slower_clock.seconds = {name: {"best": 2 * v["best"], "median": 1.0} for name, v in result().seconds.items()}
    assert compare.change(result(), slower_clock) == pytest.approx(1)


def test_files_without_a_common_case_cannot_be_compared(tmp_path, capsys):
    paths = file_of(tmp_path / "a.json", result()), file_of(tmp_path / "b.json", result(batch=2))
    assert cli.main(["bench", "--compare", *paths]) == 1
    assert "no case in common" in capsys.readouterr().err


# ---------------------------------------------------------------- sweep


def test_sweep_finds_the_worst_fall():
    shares = {"n1": 0.5, "n2": 0.8, "n4": 0.4, "n8": 0.7}
    results = [
        result(f"batch 3x3 {name}", share, network="sweep", flops=10**9 * 2**index)
        for index, (name, share) in enumerate(shares.items())
    ]
    for one in results:
        one.seconds["fma"]["best"] = one.share * one.best  # the share is what counts, whatever the work
    ((key, (fall, before, after)),) = sweep.falls(results[::-1]).items()
    assert key[0] == "batch 3x3" and fall == pytest.approx(0.5)
    assert (before.layer, after.layer) == ("batch 3x3 n2", "batch 3x3 n4")
    assert "n2 80% -> n4 40%  TOO MUCH" in "\n".join(sweep.lines(results))
    assert not list(sweep.lines([result()]))


def test_sweep_grows_one_thing_at_a_time():
    cases = sweep.cases()
    work = {}
    for conv, batch in cases:
        work.setdefault(conv.name.rsplit(" ", 1)[0], []).append(batch * conv.p * conv.q * conv.c * conv.k)
    assert len(work) == 6 and all(values == sorted(set(values)) for values in work.values())
    assert {batch for _, batch in cases} >= {1, 64} and {conv.h for conv, _ in cases} >= {8, 224}
    assert {conv.c for conv, _ in cases} >= {16, 512}


# ---------------------------------------------------------------- pictures


def test_report_has_tables_and_pictures(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    ops = ("conv2d", "conv2d_backward_input", "conv2d_backward_weight")
    group = [
        result(name, share, [("torch", 1.3), ("onnxrt", 0.7 + share)], network=network, op=op)
        for op in ops
        for network in ("one", "two")
        for name, share in (("a", 0.4), ("b", 0.7), ("c", 0.9))
    ]
    path = file_of(tmp_path / "r.json", *group, result(op="max_pool2d"), result(op="linear", rivals=[]))
    folder = tmp_path / "report"
    assert cli.main(["bench", "--load", path, "--report", str(folder)]) == 0
    names = sorted(os.listdir(folder))
    stem = "batch1-threads1-NHWC-float32-high-avx2.png"
    assert names == [
        "overview.md",
        f"ratios-conv2d-{stem}",
        f"ratios-max_pool2d-{stem}",
        "results.json",
        f"roofline-conv2d-{stem}",
        "tables.txt",
    ]
    for name in names:
        assert (folder / name).stat().st_size > 500
        assert not name.endswith("png") or (folder / name).read_bytes().startswith(b"\x89PNG")
    overview = (folder / "overview.md").read_text().splitlines()
    assert sum(line.startswith("| one | convolution, ") for line in overview) == 3
    assert "| 3 | 63% | 40% a | x1.23 | x1.10 a (onnxrt) |" in overview[4]


def test_many_layers_are_spread_over_pictures():
    from fastconv.bench import picture

    group = [result(f"l{i}", network=f"n{i % 4}") for i in range(120)]
    pages = picture._pages(group)
    assert len(pages) == 2 and sum(map(len, pages)) == 120
    assert all(len({one.network for one in page}) == 2 for page in pages)
