"""Freed memory stays in the process."""

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from srquant.cli.freed_memory import keep_freed_memory

if "keep" in sys.argv:
    assert keep_freed_memory()

def steps(count):
    for _ in range(count):
        torch.ones(2**21)

steps(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
steps(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of the GNU C library")


def page_faults(*arguments: str, **variables: str) -> int:
    """New pages in 20 allocations of 8 MiB."""
    command = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **variables})
    return int(done.stdout)


@glibc
def test_a_tensor_gets_the_pages_of_the_freed_one() -> None:
    fixed = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    assert page_faults(**fixed) > 20 * 100
    assert page_faults("keep") < 100


@glibc
def test_what_the_user_has_set_stays() -> None:
    code = "from srquant.cli.freed_memory import keep_freed_memory; print(keep_freed_memory())"
    variables = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "131072"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert done.stdout.strip() == "False"
