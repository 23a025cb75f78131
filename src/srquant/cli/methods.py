"""``srquant methods``: list the methods and their options."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from srquant.cli.options import Json
from srquant.cli.output import check_json, show, table, write_json
from srquant.cli.train_inputs import FLOAT
from srquant.errors import PolicyError, suggest

if TYPE_CHECKING:
    from rich.table import Table

    from srquant.methods.registry import Method
    from srquant.methods.trained_registry import TrainedMethod

QUANTIZE, TRAIN = "srquant quantize", "srquant train"
"""The command that a method belongs to."""

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False, help="Show this method's options.")]


def methods(name: Name = None, json: Json = None) -> None:
    """List all methods, or the options of one method with defaults and their sources."""
    check_json(json)

    from srquant.methods.options import options_of
    from srquant.methods.registry import METHODS
    from srquant.methods.trained_registry import TRAINED

    known: dict[str, Method[Any] | TrainedMethod[Any]] = {**METHODS, **TRAINED}
    commands = {name: TRAIN if name in TRAINED else QUANTIZE for name in known}
    listed = [{"name": m.name, "command": commands[m.name], "summary": m.summary} for m in known.values()]
    if name is None:
        show(method_table(listed), "srquant methods NAME shows what --set can change", json_to=json)
        write_json(listed, json)
        return
    if name not in known:
        raise PolicyError(f"no method is called {name!r}; {suggest(name, known)}")
    method = known[name]
    options = [vars(option) for option in options_of(method.config)]
    attention = f"; in networks with attention it quantizes {', '.join(method.attention)}" if name != FLOAT else ""
    show(f"{commands[name]} --method {name}: {method.summary}{attention}", option_table(options), json_to=json)
    write_json({"name": name, "command": commands[name], "summary": method.summary, "options": options}, json)


def method_table(listed: list[dict[str, str]]) -> "Table":
    """One row per method."""
    rows = table("method", "command", "what it does")
    for column in rows.columns:
        column.justify = "left"
    for method in listed:
        rows.add_row(method["name"], method["command"], method["summary"])
    return rows


def option_table(options: list[dict[str, str]]) -> "Table":
    """One row per option, as ``--set`` takes it."""
    rows = table("option", "type", "default", "what it does", "default from")
    for column in rows.columns:
        column.justify, column.no_wrap = "left", False
    for option in options:
        rows.add_row(*(option[key] for key in ("name", "type", "default", "doc", "source")))
    return rows
