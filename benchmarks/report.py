"""The files that each benchmark writes: OUTPUT.json and OUTPUT.md with command, machine, versions and date."""

import datetime
import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any


def machine() -> str:
    """Processor, number of cores, and versions of the libraries that decide the speed."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text().splitlines()
        model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), model)
    packages = ", ".join(filter(None, map(_version, ("torch", "openvino", "onnxruntime"))))
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def _version(package: str) -> str:
    """Name and version of a package; empty if it isn't installed."""
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def write(output: Path, title: str, about: str, rows: list[Any], columns: dict[str, str]) -> None:
    """Write rows (dataclasses) as JSON and as a Markdown table.

    Args:
        output: path without suffix.
        title: heading.
        about: what was measured and how, one paragraph.
        rows: the measurements.
        columns: attribute -> heading, in the order of the table.
    """
    command = " ".join(["python", *sys.argv])
    made = {"command": command, "machine": machine(), "date": datetime.date.today().isoformat()}
    values = [asdict(row) if is_dataclass(row) and not isinstance(row, type) else row for row in rows]
    output.parent.mkdir(parents=True, exist_ok=True)
    output.with_suffix(".json").write_text(json.dumps({**made, "rows": values}, indent=2) + "\n")
    lines = [f"# {title}\n", f"{about}\n", f"`{command}`\n", f"{made['machine']}, {made['date']}\n"]
    lines += ["| " + " | ".join(columns.values()) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(value[key]) for key in columns) + " |" for value in values]
    output.with_suffix(".md").write_text("\n".join(lines) + "\n")


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "" if value is None else str(value)
