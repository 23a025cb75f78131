"""Results of the GPU benchmark: a JSON file and a page, rewritten with every row, so that a cut run keeps its rows."""

import datetime
import importlib.metadata
import importlib.util
import json
from pathlib import Path
from typing import Any

import report
import torch
from gpu_setting import Setting

from srquant.files import write_whole

TITLES = {
    "quantize": "Time to quantize to W4A4, head and tail 8 bits; the papers' own times on an RTX 3090",
    "agreement": "The same quantized network on the CPU and on the device",
    "engines": "Time of EDSR's body, W4A4 for Triton; medians of rounds in turns",
    "training": "Training steps",
    "qat": "Quantization-aware training",
    "distill": "Distillation",
}


class Store:
    """The rows of one step; those of an earlier run of the step are dropped.

    Args:
        output: path without suffix.
        step: one of ``TITLES``.
        setting: for what the page says about the run.
    """

    def __init__(self, output: Path, step: str, setting: Setting) -> None:
        self.json, self.page, self.step = output.with_suffix(".json"), output.with_suffix(".md"), step
        self.json.parent.mkdir(parents=True, exist_ok=True)
        self.content: dict[str, Any] = json.loads(self.json.read_text()) if self.json.exists() else {"steps": {}}
        self.content["steps"][step] = {"made": made(setting), "rows": []}
        self.write()

    def add(self, **row: Any) -> None:
        """Append a row, print it, and write both files."""
        print(self.step, row, flush=True)
        self.content["steps"][self.step]["rows"].append(row)
        self.write()

    def write(self) -> None:
        """Write both files."""
        write_whole(self.json, (json.dumps(self.content, indent=1) + "\n").encode())
        write_whole(self.page, page(self.content["steps"]).encode())


def made(setting: Setting) -> dict[str, str]:
    """Device, machine, versions, network, date."""
    cuda = setting.device.type == "cuda"
    name = torch.cuda.get_device_name(setting.device) if cuda else "CPU, shows only that the step runs"
    version = f", CUDA {torch.version.cuda}" if cuda else ""
    version += f", triton {importlib.metadata.version('triton')}" if importlib.util.find_spec("triton") else ""
    date = datetime.date.today().isoformat()
    return {"device": name, "machine": report.machine() + version, "about": setting.about, "date": date}


def page(steps: dict[str, Any]) -> str:
    """The Markdown page: one table for each step that ran."""
    lines = ["# On a GPU\n", "`benchmarks/gpu.sh` measured all numbers here, except those called the papers'.\n"]
    for step, content in ((step, steps[step]) for step in TITLES if step in steps):
        lines += [f"## {TITLES[step]}\n", "; ".join(content["made"].values()) + ".\n", *table(content["rows"])]
    return "\n".join(lines)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of a Markdown table; a column for every key."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    if not keys:
        return ["No result: the step failed or was cut.\n"]
    head = ["| " + " | ".join(keys) + " |", "|" + " --- |" * len(keys)]
    return [*head, *("| " + " | ".join(cell(row.get(key)) for key in keys) + " |" for row in rows), ""]


def first_line(error: Exception) -> str:
    """Type and first line of an error."""
    return f"{type(error).__name__}: {error}".splitlines()[0]


def cell(value: Any) -> str:
    """A value in a table."""
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "/")
