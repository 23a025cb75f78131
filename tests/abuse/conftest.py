"""The benchmark that these tests run in short."""

import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def abuse():
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import abuse

        yield abuse
    finally:
        sys.path.remove(str(BENCHMARKS))
