"""The list of finished pictures."""

import json

import pytest

from srquant.errors import OutputError
from srquant.upscale.jobs.done_record import FILE_NAME, Entry, Record, read_entries

LINE = json.dumps({"target": "a.png", "source": "1", "network": "2", "output": "3"})


def test_what_killed_runs_leave_is_passed_over(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_text(f"\n{LINE}\n{LINE[:30]}\n\n{LINE[:1]}")
    assert read_entries(path) == [Entry("a.png", "1", "2", "3")]


@pytest.mark.parametrize(
    "line",
    [
        '{"target": ["a"], "source": "x", "network": "y", "output": "z"}',
        '{"target": "a", "source": "x", "network": "y"}',
        '{"target": "a", "source": "x", "network": "y", "output": "z", "more": "w"}',
        '{"target": "a", "source": 1, "network": "y", "output": "z"}',
        "[]",
        "null",
        "7",
        "a,b",
        "{}}",
        "[" * 100_000,
    ],
)
def test_other_lines_are_named(tmp_path, line):
    (tmp_path / FILE_NAME).write_text(f"{LINE}\n{line}\n")
    with pytest.raises(OutputError, match=r"srquant-done\.jsonl, line 2: not an entry of a finished picture; remove"):
        Record(tmp_path)
