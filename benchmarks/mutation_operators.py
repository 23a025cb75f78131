"""The small changes of code that ``mutations.py`` tries: cosmic-ray's, a choice of them, and two of our own."""

from collections.abc import Iterator
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Operator
from cosmic_ray.plugins import get_operator

CHOSEN = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Pow_Mul", "Mod_FloorDiv", "LShift_RShift", "RShift_LShift")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "Lt_Gt", "LtE_Lt", "LtE_GtE", "Gt_GtE", "Gt_Lt")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("GtE_Gt", "GtE_LtE", "Eq_NotEq", "NotEq_Eq", "Is_IsNot")),
    *("ReplaceComparisonOperator_IsNot_Is", "ReplaceUnaryOperator_Delete_USub", "ReplaceUnaryOperator_Delete_Not"),
    *("ReplaceUnaryOperator_Delete_Invert", "ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr"),
    *("ReplaceOrWithAnd", "ReplaceBreakWithContinue", "AddNot", "NumberReplacer", "ZeroIterationForLoop"),
)
"""One or two replacements for each operator; strings, decorators and names of errors stay."""

PAIRS = ("min max", "amin amax", "minimum maximum", "floor ceil", "lower upper", "below above", "sum mean", "any all")
SWAPPED = dict(pair.split() for pair in PAIRS)
SWAPPED |= {new: old for old, new in SWAPPED.items()} | {"round": "floor", "round_": "floor_"}


class SwapName(Operator):
    """``min`` becomes ``max``, ``round`` becomes ``floor``, and so on."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """The places of names that have a counterpart."""
        if node.type == "name" and node.value in SWAPPED and node.parent.type not in {"param", "tfpdef", "funcdef"}:
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The counterpart in its place."""
        node.value = SWAPPED[node.value]
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


class DropCall(Operator):
    """``x.abs()`` becomes ``x``: a method without arguments isn't called."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """The places of dots before such calls."""
        call = node.get_next_sibling() if node.type == "trailer" and node.children[0].value == "." else None
        if call is not None and call.type == "trailer" and call.get_code() == "()":
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The call and its name, emptied."""
        for leaf in (*node.children, *node.get_next_sibling().children):
            leaf.value = ""
        return node

    @classmethod
    def examples(cls) -> tuple[()]:
        """None."""
        return ()


def mutants(source: str) -> list[str]:
    """Every changed version of a file's code, each with one change outside of annotations and messages."""
    nodes = list(ast_nodes(get_ast(source)))
    found: dict[str, None] = {}
    for operator in (*(get_operator(f"core/{name}")() for name in CHOSEN), SwapName(), DropCall()):
        places = [node for node in nodes for _ in operator.mutation_positions(node)]
        for occurrence, node in enumerate(places):
            if not _is_no_formula(node):
                found[mutate_code(source, operator, occurrence)] = None
    return list(found)


def _is_no_formula(node: Any) -> bool:
    """Whether a node is part of a type annotation or of a message."""
    while node.parent is not None:
        before = node.get_previous_sibling() if node.type != "file_input" else None
        after = {"tfpdef": ":", "annassign": ":", "funcdef": "->"}.get(node.parent.type)
        if node.type == "fstring" or (before is not None and before.type == "operator" and before.value == after):
            return True
        node = node.parent
    return False
