"""How many cores a process may use: it may be bound to some, and a container's quota may allow it the time of fewer."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spamctl import cores
from spamctl.engine.runtime import default_threads

ASK = """
from spamctl.cores import cores
from spamctl.engine.runtime import default_threads
print(cores(), default_threads())
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="affinity and control groups are Linux's")


def asked(enter=None):
    """Return the cores and the threads that a new process counts, which first enters whatever bounds it."""
    free = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    words = [sys.executable, "-c", ASK]
    answer = subprocess.run(words, preexec_fn=enter, env=free, capture_output=True, text=True, check=True)
    return answer.stdout.split()


@LINUX
def test_a_process_that_is_bound_to_one_core_has_one():
    assert asked(lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) == ["1", "1"]


@contextlib.contextmanager
def group(name, quotas):
    """Make a control group with these values; skip where that is not allowed."""
    folder = next((top / name for top in (cores.GROUPS / "cpu", cores.GROUPS) if top.is_dir()), cores.GROUPS / name)
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}; run as root, outside of a container")
    try:
        for file, value in quotas.items():
            if (folder / file).exists():
                (folder / file).write_text(value)
        if not any((folder / file).exists() for file in quotas):
            pytest.skip(
                "the control groups here know no quota of time; enable the controller cpu in cgroup.subtree_control"
            )
        yield folder
    finally:
        folder.rmdir()


@LINUX
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_a_real_control_group_that_allows_the_time_of_half_a_core_leaves_one():
    with group(f"spamctl-{os.getpid()}", {"cpu.max": "50000 100000", "cpu.cfs_quota_us": "50000"}) as folder:
        assert asked(lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))) == ["1", "1"]
    assert int(asked()[0]) > 1


def lay(monkeypatch, tmp_path, mine, files):
    """Lay control groups out in a folder."""
    for name, value in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(value)
    (tmp_path / "mine").write_text(mine)
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "MINE", tmp_path / "mine")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))


V1, QUOTA, PERIOD = "cpu,cpuacct", "cpu.cfs_quota_us", "cpu.cfs_period_us"


@pytest.mark.parametrize(
    ("mine", "files", "expected"),
    [
        ("0::/\n", {"cpu.max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # a core and a half
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "9900000 100000\n"}, 64),  # more than there are
        ("0::/pods/one\n", {"pods/cpu.max": "300000 100000\n", "pods/one/cpu.max": "max 100000\n"}, 3),
        ("0::/pods/one\n", {"pods/cpu.max": "300000 100000\n", "pods/one/cpu.max": "100000 50000\n"}, 2),
        ("0::/of/outside\n", {"cpu.max": "400000 100000\n"}, 4),
        ("0::/../..\n", {"cpu.max": "400000 100000\n"}, 4),
        (f"4:memory:/\n3:{V1}:/a\n0::/\n", {f"{V1}/a/{QUOTA}": "500000", f"{V1}/a/{PERIOD}": "100000"}, 5),
        (f"3:{V1}:/\n", {f"{V1}/{QUOTA}": "-1\n", f"{V1}/{PERIOD}": "100000\n"}, 64),
        ("3:cpuset:/\n", {f"cpuset/{QUOTA}": "1", f"cpuset/{PERIOD}": "1"}, 64),
        ("0::/\n", {"cpu.max": "much\n"}, 64),
        ("0::/\n", {"cpu.max": "100000 0\n"}, 64),
        ("", {"cpu.max": "100000 100000\n"}, 64),
    ],
)  # fmt: skip
def test_the_tightest_quota_on_the_way_up_counts(monkeypatch, tmp_path, mine, files, expected):
    lay(monkeypatch, tmp_path, mine, files)
    assert cores.cores() == expected


def test_where_no_control_groups_are_affinity_counts(monkeypatch, tmp_path):
    lay(monkeypatch, tmp_path, "", {})
    monkeypatch.setattr(cores, "MINE", Path(tmp_path, "none"))
    assert cores.cores() == 64


@pytest.mark.parametrize(
    ("variable", "threads"),
    [("3", 3), ("3,2", 3), (" 2 ", 2), ("", 64), ("0", 64), ("-1", 64), ("all", 64), (None, 64)],
)
def test_a_variable_says_how_many_threads_work_unless_it_is_no_number(monkeypatch, tmp_path, variable, threads):
    lay(monkeypatch, tmp_path, "", {})
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if variable is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert default_threads() == threads
