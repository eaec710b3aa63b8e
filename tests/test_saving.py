# SPDX-License-Identifier: BSD-3-Clause
"""Saving replaces a file in one step or not at all, also where savers meet or are killed."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading

import pytest
from model_files import assert_same, file_bytes, small_model

from fastconv import archive, atomic, models


def test_an_error_while_saving_leaves_the_old_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "model.npz"
    old, new = small_model(1), small_model(2)
    old.save(path)

    def fail(*_, **__):
        raise OSError("No space left on device")

    def write_half(file, text, arrays):
        file.write(b"half")
        fail()

    for module, name, broken in (
        (archive, "write", write_half),
        (os, "fsync", fail),
        (os, "replace", fail),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            with pytest.raises(OSError, match="No space"):
                new.save(path)
        assert os.listdir(tmp_path) == ["model.npz"]
        assert_same(models.load(path), old)
    new.save(path)
    assert_same(models.load(path), new)


def test_the_content_is_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, name=name, real=real: (calls.append(name), real(*a)))
    small_model().save(tmp_path / "model.npz")
    assert calls == ["fsync", "replace", "fsync"] if atomic.flock else ["fsync", "replace"]


def test_a_link_is_followed_and_the_mode_kept(tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    small_model().save(link)
    assert link.is_symlink() and not target.is_symlink()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    target.chmod(0o640)
    small_model(2).save(link)
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert_same(models.load(link), small_model(2))


def test_savers_at_once_do_not_mix(tmp_path):
    path = tmp_path / "model.npz"
    contents = {file_bytes(small_model(seed)) for seed in range(4)}
    small_model(0).save(path)
    done, seen = threading.Event(), []

    def save(seed):
        for _ in range(15):
            small_model(seed).save(path)

    def watch():
        while not done.is_set():
            seen.append(path.read_bytes())

    savers = [threading.Thread(target=save, args=[seed]) for seed in range(4)]
    watcher = threading.Thread(target=watch)
    for thread in (watcher, *savers):
        thread.start()
    for thread in savers:
        thread.join()
    done.set()
    watcher.join()
    assert seen and set(seen) <= contents
    assert os.listdir(tmp_path) == ["model.npz"]


KILLED_SAVERS = textwrap.dedent("""
    import os, random, signal, sys, time
    sys.path.insert(0, sys.argv[2])
    from model_files import assert_same, small_model
    from fastconv import models

    path = sys.argv[1]
    both = [small_model(0), small_model(1)]
    both[0].save(path)
    chance, seen, orphans, kills = random.Random(0), set(), 0, 0
    while kills < 60 or seen != {0, 1} or not orphans:  # some must come while a file is written
        kills += 1
        assert kills < 2000
        child = os.fork()
        if not child:
            while True:
                both[1].save(path)
                both[0].save(path)
        time.sleep(chance.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        orphans += len(os.listdir(os.path.dirname(path))) - 1
        loaded = models.load(path).parameters["dense/weight"].tobytes()
        matches = [loaded == model.parameters["dense/weight"].tobytes() for model in both]
        assert any(matches)
        seen.add(matches.index(True))
    both[0].save(path)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]
""")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_killed_saver_leaves_a_whole_file(tmp_path):
    assert hasattr(signal, "SIGKILL")
    here = os.path.dirname(__file__)
    subprocess.run(
        [sys.executable, "-c", KILLED_SAVERS, str(tmp_path / "model.npz"), here],
        cwd=tmp_path,  # not the checkout: its fastconv/ may lack the compiled half
        check=True,
        timeout=60,
    )
