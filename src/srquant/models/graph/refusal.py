"""Why a network can't be traced, in one sentence: what, where, and what to do."""

import re

from srquant.errors import EngineError, first_line

PLACE = re.compile(r'File "([^"]+)", line (\d+), in forward')
OWN = ("/torch/", "srquant/models/graph/", "srquant/deploy/export/")
"""Parts of paths that are of no use to the reader."""

NEXT_STEP = "engine 'torch' runs it"


def not_traced(architecture: str, error: Exception) -> EngineError:
    """The steps of a network depend on the picture, or PyTorch can't trace it for another reason."""
    return EngineError(
        f"{architecture} can't be exported, its steps depend on the picture{place(str(error))} ({first_line(error)}); "
        f"{NEXT_STEP}"
    )


def only_one_size(architecture: str, height: str, width: str) -> EngineError:
    """PyTorch's trace of a network holds for pictures of one size."""
    return EngineError(
        f"{architecture} can't be exported, its steps depend on the size of the picture (rows {height}, columns "
        f"{width} in the trace); {NEXT_STEP}"
    )


def other_result(architecture: str, height: int, width: int, reason: str) -> EngineError:
    """The graph of a network computes something else."""
    return EngineError(
        f"{architecture} can't be exported, its graph gives another picture of {height}x{width} pixels ({reason}): an "
        f"operator's trace holds for one size only; {NEXT_STEP}"
    )


def place(trace: str) -> str:
    """`` at FILE:LINE`` of the last call in the user's code; nothing if there is none."""
    places = [(file, line) for file, line in PLACE.findall(trace) if not any(part in file for part in OWN)]
    return f" at {places[-1][0]}:{places[-1][1]}" if places else ""
