"""Which small changes of the formulas do the tests notice? Mutation testing, each file by its own tests.

    pip install cosmic-ray
    OMP_NUM_THREADS=1 SRQUANT_SHARED=../shared python benchmarks/mutations.py
    python benchmarks/mutations.py --again   # what survived before, after new tests
    python benchmarks/mutations.py --table   # the table alone, after new verdicts

Results are in docs/results/mutations.json, written after each file; files that are there are skipped. The verdict on a
survivor is written there by hand: ``equivalent: why`` or ``accepted: why``. Every mutant runs in a fork of a process
that has imported PyTorch, on changed code in memory; the source stays as it is.
"""

import argparse
import difflib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mutation_operators import mutants
from mutation_table import table

ROOT = Path(__file__).parents[1]
SOURCE, RESULTS = ROOT / "src" / "srquant", ROOT / "docs" / "results" / "mutations.json"

IMPORTED = ("torch", "numpy", "PIL.Image", "scipy", "hypothesis", "lightning_fabric", "safetensors", "onnx")
"""What tests import besides the project, once for all mutants; forks behind OpenVINO and ONNX Runtime hang."""

SAMPLE = 60
"""Most mutants of a file that are tried unless ``--sample`` says otherwise; the file's name is the seed."""

FAST = "not published"
"""Tests of published networks that take 10 seconds and more are left out."""

KILLED = "killed by a new test"

REWRITTEN = "ignore::pytest.PytestAssertRewriteWarning"
"""Modules that are imported before pytest starts can't be rewritten."""

OWN = ("grids/picture_density.py", "grids/picture_edges.py", "grids/range_rules.py", "grids/uniform.py")
TESTS: dict[str, tuple[str, ...]] = {
    **{name: (f"{Path(name).parent}/test_{Path(name).name}",) for name in OWN},
    "grids/weight_bound_gradient.py": ("grids/test_weight_bound_gradient.py", "quantizers/test_layers.py"),
    "weight_rounding/choose.py": ("weight_rounding", "methods/test_rounding.py"),
    "weight_rounding/gptaq.py": ("weight_rounding/test_gptaq.py",),
    "weight_rounding/gptq.py": ("weight_rounding/test_gptq.py",),
    "weight_rounding/run_side_by_side.py": ("weight_rounding",),
    "distillation/losses.py": ("distillation/test_losses.py", "methods/ptq4sr", "methods/adabm/test_method.py"),
    "methods/gba/allocation.py": ("methods/gba/test_allocation.py",),
    "methods/gba/bit_offsets.py": ("methods/gba/test_bit_offsets.py",),
    "methods/adabm/adaptive_bits.py": ("methods/adabm",),
    "methods/adabm/adaptive_weights.py": ("methods/adabm",),
    "methods/adabm/bit_aware_clipping.py": ("methods/adabm",),
    "methods/adabm/clipping_gradients.py": ("methods/adabm",),
    "methods/adabm/image_to_bit.py": ("methods/adabm",),
    "methods/adabm/layer_to_bit.py": ("methods/adabm",),
    "methods/two_d_quant/dobi.py": ("methods/two_d_quant",),
    "methods/ptq4sr/dual_clipping.py": ("methods/ptq4sr",),
    "methods/ptq4sr/lsq_gradients.py": ("methods/ptq4sr",),
    "methods/quantsr/rlq.py": ("methods/quantsr",),
    "methods/quantsr/redistribution.py": ("methods/quantsr",),
    "methods/quantsr/fold_shortcuts.py": ("methods/quantsr",),
    "methods/quantsr/rlq_layers.py": ("methods/quantsr",),
    "methods/daq/quantizer.py": ("methods/daq",),
    "methods/ddtb/gate.py": ("methods/ddtb",),
    "methods/cabm/edge_to_bit_lut.py": ("methods/cabm",),
    "methods/cabm/lut_quantizer.py": ("methods/cabm",),
    "methods/cadyq/candidates.py": ("methods/cadyq",),
    "methods/cadyq/bit_selector.py": ("methods/cadyq",),
    "quantizers/base.py": ("quantizers",),
    "quantizers/by_picture.py": ("quantizers/test_by_picture.py", "methods/cadyq", "methods/cabm", "methods/ddtb"),
    "quantizers/dan.py": ("quantizers/test_dan.py", "quantizers/test_learned_bits.py"),
    "quantizers/integer_weight.py": ("quantizers/test_integer_weight.py", "quantizers/test_base.py"),
    "quantizers/layers.py": ("quantizers/test_layers.py", "grids/test_weight_bound_gradient.py"),
    "quantizers/plq.py": ("quantizers/test_plq.py", "quantizers/test_learned_bits.py"),
    "quantizers/shifted.py": ("quantizers/test_shifted.py", "quantizers/test_learned_bits.py", "methods/quantsr"),
    "quantizers/symmetric.py": ("quantizers/test_symmetric.py", "quantizers/test_learned_bits.py", "methods/pams"),
}
"""The tests of each file, below ``tests``."""


class Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one file of the package from changed code."""

    def __init__(self, file: Path, code: str) -> None:
        self.file, self.code = file, code
        self.name = ".".join(file.relative_to(SOURCE.parent).with_suffix("").parts)

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """The module's, if it is that one."""
        is_it = fullname == self.name
        return importlib.util.spec_from_file_location(fullname, self.file, loader=self) if is_it else None

    def exec_module(self, module: Any) -> None:
        """Run the changed code as the module."""
        exec(compile(self.code, str(self.file), "exec"), module.__dict__)


def outcome(name: str, code: str, limit: float) -> str:
    """``survived``, ``killed`` or ``timeout``: what a file's tests say of this code, in a process of its own."""
    child = os.fork()
    if child == 0:
        signal.alarm(int(limit))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        sys.meta_path.insert(0, Changed(SOURCE / name, code))
        tests = [str(ROOT / "tests" / test) for test in TESTS[name]]
        options = ("-x", "-q", "-k", FAST, "-p", "no:cacheprovider", "-W", REWRITTEN, "--rootdir", str(ROOT))
        os._exit(pytest.main([*tests, *options]))
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return "timeout"
    return "survived" if status == 0 else "killed"


def changes(source: str) -> list[tuple[dict[str, Any], str]]:
    """Of each mutant: line number, changed lines before and after; and its code."""
    found = []
    for code in mutants(source):
        old, new = source.splitlines(), code.splitlines()
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        _, start, end, first, last = next(block for block in blocks if block[0] != "equal")
        before, after = (" ".join(line.strip() for line in lines) for lines in (old[start:end], new[first:last]))
        found.append(({"line": start + 1, "before": before, "after": after, "verdict": None}, code))
    return found


def limit_of(name: str, source: str) -> float:
    """Seconds that a mutant may take: four times as many as the tests without any change, and 10."""
    start = time.perf_counter()
    if outcome(name, source, 600) != "survived":
        sys.exit(f"{name}: its tests fail without any change")
    return 10 + 4 * (time.perf_counter() - start)


def first_run(name: str, most: int) -> dict[str, Any]:
    """Counts and survivors of one file, of at most that many mutants."""
    source, start = (SOURCE / name).read_text(), time.perf_counter()
    limit, every = limit_of(name, source), changes(source)
    sample = random.Random(name).sample(every, min(most, len(every)))
    found = [(change, outcome(name, code, limit)) for change, code in sample]
    counts = {kind: sum(result == kind for _, result in found) for kind in ("killed", "survived", "timeout")}
    survivors = sorted((change for change, result in found if result == "survived"), key=lambda change: change["line"])
    seconds = round(time.perf_counter() - start)
    return {"mutants": len(every), "sampled": len(sample), **counts, "seconds": seconds, "survivors": survivors}


def run_again(name: str, known: dict[str, Any]) -> None:
    """Try the survivors that have no verdict yet; a new test may have killed them."""
    source, start = (SOURCE / name).read_text(), time.perf_counter()
    waiting = [survivor for survivor in known["survivors"] if survivor["verdict"] is None]
    if not waiting:
        return
    limit, every = limit_of(name, source), changes(source)
    for survivor in waiting:
        same = [code for change, code in every if all(change[key] == survivor[key] for key in ("before", "after"))]
        if same and all(outcome(name, code, limit) != "survived" for code in same):
            survivor["verdict"] = KILLED
    known["seconds"] += round(time.perf_counter() - start)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=list(TESTS), help="below src/srquant; else all")
    parser.add_argument("--sample", type=int, default=SAMPLE, help="most mutants of a file (default: %(default)s)")
    parser.add_argument("--again", action="store_true", help="what survived and has no verdict")
    parser.add_argument("--table", action="store_true", help="write the table alone")
    arguments = parser.parse_args()
    for module in () if arguments.table else IMPORTED:
        importlib.import_module(module)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in () if arguments.table else arguments.files:
        if name in results and arguments.again:
            run_again(name, results[name])
        elif name not in results and not arguments.again:
            results[name] = first_run(name, arguments.sample)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        print(name, {key: value for key, value in results.get(name, {}).items() if key != "survivors"}, flush=True)
    RESULTS.with_suffix(".md").write_text(table(results))


if __name__ == "__main__":
    main()
