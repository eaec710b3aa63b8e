# SPDX-License-Identifier: BSD-3-Clause
"""The switches of the library: threads, instruction sets, precision; and what it says of itself."""

import threading

import numpy as np
import pytest
from compare import same_bits

import fastconv as fc

KNOWN_ISAS = {"reference", "avx2", "avx512", "avx512_bf16", "amx", "neon"}
parallel = pytest.mark.skipif(not fc._core.openmp_runtime(), reason="a serial build")


@pytest.fixture(autouse=True)
def threads_as_before():
    before = fc.get_num_threads()
    yield
    fc.set_num_threads(before)


def in_another_thread(function):
    results = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


# ---- threads ------------------------------------------------------------------


@parallel
def test_number_of_threads_is_of_the_process():
    for number in (3, 1, np.int64(2)):
        fc.set_num_threads(number)
        assert fc.get_num_threads() == number and type(fc.get_num_threads()) is int
        assert in_another_thread(fc.get_num_threads) == number


@parallel
def test_threads_in_a_with_block_are_of_the_calling_thread():
    fc.set_num_threads(2)
    with fc.threads(5):
        assert fc.get_num_threads() == 5
        assert in_another_thread(fc.get_num_threads) == 2
        with fc.threads(1):
            assert fc.get_num_threads() == 1
        assert fc.get_num_threads() == 5
    assert fc.get_num_threads() == 2
    with pytest.raises(KeyError), fc.threads(7):
        raise KeyError
    assert fc.get_num_threads() == 2


@pytest.mark.parametrize("number", [0, -1, -(2**70), 2**70])
def test_senseless_numbers_of_threads(number):
    before = fc.get_num_threads()
    with pytest.raises(ValueError):
        fc.set_num_threads(number)
    with pytest.raises(ValueError), fc.threads(number):
        pass
    assert fc.get_num_threads() == before


@pytest.mark.parametrize("number", [1.0, "2", None, True, (1,)])
def test_numbers_of_threads_that_are_no_integers(number):
    before = fc.get_num_threads()
    with pytest.raises(TypeError):
        fc.set_num_threads(number)
    with pytest.raises(TypeError), fc.threads(number):
        pass
    assert fc.get_num_threads() == before


# ---- instruction sets ---------------------------------------------------------


def test_instruction_sets_are_known_and_end_in_the_reference():
    isas = fc.isas()
    assert len(set(isas)) == len(isas) and set(isas) <= KNOWN_ISAS
    assert isas[-1] == "reference"


def test_every_kernel_is_of_the_instruction_set_asked_for():
    """The kernels have equal names everywhere, and no set is empty."""
    names = set()
    for isa in fc.isas():
        with fc.using_isa(isa) as used:
            kernels = used.kernels()
        assert set(kernels.values()) == {isa}
        names.add(tuple(sorted(kernels)))
    assert len(names) == 1 and names != {()}


def test_instruction_sets_differ_in_bits():
    """Otherwise using_isa would be a promise without effect: sums run in another order."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4, 1000)).astype(np.float32)
    weight = rng.standard_normal((1000, 64)).astype(np.float32)
    results = {}
    for isa in fc.isas():
        with fc.using_isa(isa):
            results[isa] = fc.linear(x, weight)
    default = fc.linear(x, weight)
    assert same_bits(default, results[fc.isas()[0]])
    for isa in fc.isas()[:-1]:
        assert not same_bits(results[isa], results["reference"])


def test_using_isa_ends_with_its_block():
    x, weight = np.full((3, 999), 0.1, np.float32), np.full((999, 5), 0.3, np.float32)
    default = fc.linear(x, weight)
    with fc.using_isa("reference"):
        reference = fc.linear(x, weight)
        with fc.using_isa(fc.isas()[0]):
            assert same_bits(fc.linear(x, weight), default)
        assert same_bits(fc.linear(x, weight), reference)
        assert same_bits(in_another_thread(lambda: fc.linear(x, weight)), default)
    assert same_bits(fc.linear(x, weight), default)
    with pytest.raises(KeyError), fc.using_isa("reference"):
        raise KeyError
    assert same_bits(fc.linear(x, weight), default)


def test_instruction_sets_that_are_not_there():
    for name in ("sse9", "", "AVX2", *(KNOWN_ISAS - set(fc.isas()))):
        with pytest.raises(ValueError, match="reference"), fc.using_isa(name):
            pass
    for name in (None, 1, b"avx2"):
        with pytest.raises(TypeError), fc.using_isa(name):
            pass


# ---- precision ----------------------------------------------------------------


def test_precision_of_a_block_and_of_the_process():
    assert fc.get_precision() == "high"
    try:
        fc.set_precision("strict")
        assert fc.get_precision() == in_another_thread(fc.get_precision) == "strict"
        with fc.precision("medium"):
            assert fc.get_precision() == "medium"
            assert in_another_thread(fc.get_precision) == "strict"
            with fc.precision("high"):
                assert fc.get_precision() == "high"
            assert fc.get_precision() == "medium"
        assert fc.get_precision() == "strict"
    finally:
        fc.set_precision("high")
    with pytest.raises(KeyError), fc.precision("strict"):
        raise KeyError
    assert fc.get_precision() == "high"


def test_strict_keeps_subnormal_numbers_however_it_is_asked_for():
    x, weight = np.full((1, 4), 1e-40, np.float32), np.ones((4, 4), np.float32)
    with fc.precision("strict"):
        assert fc.linear(x, weight).all()
    assert fc.linear(x, weight, precision="strict").all()
    try:
        fc.set_precision("strict")
        assert fc.linear(x, weight).all()
    finally:
        fc.set_precision("high")


@pytest.mark.parametrize("name", ["exact", "", "STRICT"])
def test_precisions_that_do_not_exist(name):
    with pytest.raises(ValueError, match="strict"):
        fc.set_precision(name)
    with pytest.raises(ValueError, match="strict"), fc.precision(name):
        pass


@pytest.mark.parametrize("name", [None, 1, b"high"])
def test_precisions_that_are_no_words(name):
    with pytest.raises(TypeError):
        fc.set_precision(name)
    with pytest.raises(TypeError), fc.precision(name):
        pass


# ---- what it says of itself ---------------------------------------------------


@parallel
def test_show_config_prints_everything(capsys):
    fc.set_num_threads(3)
    fc.show_config()
    shown = capsys.readouterr().out
    assert fc.__version__ in shown
    for isa in fc.isas():
        assert isa in shown
    for word in ("thread", "openmp", "cache"):
        assert word in shown.lower()
    assert "3" in shown
