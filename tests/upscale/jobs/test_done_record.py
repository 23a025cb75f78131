"""The list of finished pictures."""

import json

import pytest

from srquant.errors import OutputError
from srquant.upscale.jobs.done_record import FILE_NAME, Entry, Record

LINE = json.dumps({"target": "a.png", "source": "1", "network": "2", "output": "3"})


def test_what_killed_runs_leave_is_passed_over(tmp_path):
    (tmp_path / FILE_NAME).write_text(f"\n{LINE}\n{LINE[:30]}\n\n{LINE[:1]}")
    assert Record(tmp_path).entries == {"a.png": Entry("a.png", "1", "2", "3")}


def test_what_other_runs_add_is_read(tmp_path):
    record, other = Record(tmp_path), Record(tmp_path)
    assert record.entries == {}
    for name in ("a.png", "b.png"):
        other.add(tmp_path / name, "1", "2", "3")
        record.add(tmp_path / f"x{name}", "1", "2", "3")
        for one in (record, other):
            one.refresh()
    assert list(record.entries) == list(other.entries) == ["a.png", "xa.png", "b.png", "xb.png"]


def test_a_line_is_read_when_it_is_complete(tmp_path):
    path = tmp_path / FILE_NAME
    path.write_text(f"\n{LINE[:20]}")
    record = Record(tmp_path)
    with path.open("a") as file:
        file.write(LINE[20:])
    record.refresh()
    assert list(record.entries) == ["a.png"]
    with path.open("a") as file:
        file.write("\n[]")
    with pytest.raises(OutputError, match="line 3: not an entry"):
        record.refresh()


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
