"""The results of ``mutations.py`` as Markdown."""

from collections import Counter
from typing import Any

HEADING = """# Mutations

Small changes of the formulas (`+` for `-`, a number one more, `min` for `max`, a call left out), one at a time. The
tests of the changed file must notice each. At most 60 of a file were drawn, 40 of the quantizers'. Counts are of the
first run. What survived it is listed below with a verdict: killed by a new test, equivalent (nothing that a test could
notice), or accepted. Line numbers and code are those of the day of the first run; names may have changed since.
That day is 26 November 2026; `layer_to_bit.py` and `image_to_bit.py` of AdaBM were one file then, listed as the
former. Two cores, one process, 76 minutes; the seed of a file's sample is its name.

    python benchmarks/mutations.py
"""


def table(results: dict[str, Any]) -> str:
    """The results as Markdown: counts, then the survivors of each file."""
    columns = ("mutants", "sampled", "killed", "timeout", "survived")
    rows = {name: [result[column] for column in columns] for name, result in results.items()}
    survivors = [survivor for result in results.values() for survivor in result["survivors"]]
    verdicts = Counter((survivor["verdict"] or "open").partition(":")[0] for survivor in survivors)
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    lines = [HEADING, f"| file | {' | '.join(columns)} |", "| --- " + "| --: " * len(columns) + "|"]
    lines += [f"| {name} | {' | '.join(map(str, row))} |" for name, row in (rows | {"all": total}).items()]
    lines += ["", "Survivors: " + ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common()) + "."]
    for name, result in results.items():
        lines += ["", f"## {name}", ""] if result["survivors"] else []
        for s in result["survivors"]:
            lines += [f"- Line {s['line']}, {s['verdict'] or 'open'}", f"  - `{s['before']}`", f"  - `{s['after']}`"]
    return "\n".join(lines) + "\n"
