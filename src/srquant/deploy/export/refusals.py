"""Why a library can't convert a graph, in one sentence: what, where, and what to do."""

import re

from torch import fx

from srquant.errors import EngineError
from srquant.models.graph.refusal import NEXT_STEP, place

OPERATOR = re.compile(r"(?:op='|for operations: )([\w.:]+)")
"""The name of an operator in the messages of both converters."""


def not_converted(graph: fx.GraphModule, engine: str, error: Exception) -> EngineError:
    """An engine lacks an operator of a graph, or its converter failed for another reason."""
    found = OPERATOR.search(str(error))
    if found is None:
        return EngineError(f"{engine} can't convert the network: {str(error).strip().splitlines()[-1]}; {NEXT_STEP}")
    name = found.group(1)
    node = next((node for node in graph.graph.nodes if str(node.target) == name), None)
    where = "" if node is None else f" in layer '{_module(node)}'{place(node.meta.get('stack_trace') or '')}"
    return EngineError(f"operator '{name}'{where} has no form in {engine}; {NEXT_STEP}")


def _module(node: fx.Node) -> str:
    """Name of the module that calls a node's operator."""
    names = [name for name, _ in node.meta.get("nn_module_stack", {}).values()]
    return names[-1] if names else "?"
