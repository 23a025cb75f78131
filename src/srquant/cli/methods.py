"""``srquant methods``: what there is to choose from, and what can be set."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from srquant.cli.options import Json
from srquant.cli.output import check_json, show, table, write_json
from srquant.cli.settings import find_method

if TYPE_CHECKING:
    from rich.table import Table

    from srquant.methods import Method

Name = Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False, help="Show this method's options.")]


def methods(name: Name = None, json: Json = None) -> None:
    """List all methods, or the options of one with defaults and where these come from."""
    check_json(json)

    from srquant.methods import METHODS
    from srquant.methods.options import options_of

    if name is None:
        chosen = list(METHODS.values())
        show(method_table(chosen), "srquant methods NAME shows what --set can change", json_to=json)
        write_json([{"name": method.name, "summary": method.summary} for method in chosen], json)
        return
    method = find_method(name)
    options = [vars(option) for option in options_of(method.config)]
    attention = f"in networks with attention it quantizes {', '.join(method.attention)}"
    show(f"{method.name}: {method.summary}; {attention}", option_table(options), json_to=json)
    write_json({"name": method.name, "summary": method.summary, "options": options}, json)


def method_table(chosen: "list[Method[Any]]") -> "Table":
    """One row per method."""
    rows = table("method", "what it does")
    for column in rows.columns:
        column.justify = "left"
    for method in chosen:
        rows.add_row(method.name, method.summary)
    return rows


def option_table(options: list[dict[str, str]]) -> "Table":
    """One row per option, as ``--set`` takes it."""
    rows = table("option", "type", "default", "what it does", "default from")
    for column in rows.columns:
        column.justify, column.no_wrap = "left", False
    for option in options:
        rows.add_row(*(option[key] for key in ("name", "type", "default", "doc", "source")))
    return rows
