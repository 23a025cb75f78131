"""Options of a method: fields of its frozen dataclass, each with a description and the source of its default.

@dataclass(frozen=True)
class MinMax:
    momentum: float = option(0.9, "weight of earlier batches in the moving average", "AdaBM code", most=1)
"""

import math
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from srquant.errors import PolicyError, suggest

Config = TypeVar("Config")


@dataclass(frozen=True)
class Option:
    """One field of a config.

    Attributes:
        name: as ``--set name=value`` takes it.
        type: accepted values, e.g. ``a number`` or ``paper | code``.
        default: the default, written as ``--set`` takes it.
        doc: what it does.
        source: where the default comes from.
    """

    name: str
    type: str
    default: str
    doc: str
    source: str


def option(
    default: Any,
    doc: str,
    source: str,
    least: float = 0,
    most: float | None = None,
    aliases: Mapping[str, str] = MappingProxyType({}),
) -> Any:
    """A dataclass field with a description.

    Args:
        default: its value unless another is given.
        doc: what it does.
        source: where the default comes from.
        least: smallest number that ``configure`` accepts.
        most: largest number that ``configure`` accepts; None for no limit.
        aliases: other names of its values, with the value each stands for. A config with such options calls
            ``replace_aliases`` in ``__post_init__``.
    """
    metadata = {"doc": doc, "source": source, "least": least, "most": most, "aliases": aliases}
    return field(default=default, metadata=metadata)


def replace_aliases(config: Any) -> None:
    """Replace values of a config that are aliases by the values they stand for, in place."""
    for f in fields(config):
        value = getattr(config, f.name)
        if isinstance(value, str):
            object.__setattr__(config, f.name, f.metadata["aliases"].get(value, value))


def options_of(config: type[Any]) -> list[Option]:
    """The options of a config class, in the order of its fields."""
    hints = get_type_hints(config)
    return [
        Option(f.name, _type_name(hints[f.name]), text_of(_default(f)), f.metadata["doc"], f.metadata["source"])
        for f in fields(config)
    ]


def configure(config: type[Config], settings: Iterable[str]) -> Config:
    """A config with some defaults replaced.

    Args:
        config: the class.
        settings: ``name=value`` each; tuples are written ``1,2,3``, None as ``none``.

    Raises:
        PolicyError: no such option, or a value of another type or out of range.
    """
    hints = get_type_hints(config)
    known = {f.name: f for f in fields(config)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise PolicyError(f"setting {setting!r}: give it as NAME=VALUE")
        if name not in known:
            raise PolicyError(f"no option is called {name!r}; {suggest(name, known)}")
        values[name] = _parse(name, hints[name], known[name].metadata["aliases"].get(text, text))
        _check_range(known[name], values[name])
    return replace(config(), **values)  # type: ignore[type-var]


def text_of(value: Any) -> str:
    """A value as ``configure`` takes it."""
    if isinstance(value, tuple):
        return ",".join(map(text_of, value))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _default(f: Field[Any]) -> Any:
    if f.default is MISSING:
        raise TypeError(f"option {f.name} has no default")
    return f.default


def _check_range(f: Field[Any], value: Any) -> None:
    least, most = f.metadata["least"], f.metadata["most"]
    for number in value if isinstance(value, tuple) else (value,):
        if not isinstance(number, int | float) or isinstance(number, bool):
            continue
        if not least <= number <= (math.inf if most is None else most):
            end = "or more" if most is None else f"to {most:g}"
            raise PolicyError(f"option {f.name} is {number:g}: use {least:g} {end}")


def _parse(name: str, kind: Any, text: str) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        (inner,) = (part for part in get_args(kind) if part is not type(None))
        return None if text == "none" else _parse(name, inner, text)
    if get_origin(kind) is tuple:
        return tuple(_parse(name, get_args(kind)[0], part) for part in text.split(","))
    choices: tuple[Any, ...] = get_args(kind) if get_origin(kind) is Literal else (True, False) if kind is bool else ()
    if choices:
        named = {text_of(choice): choice for choice in choices}
        if text not in named:
            raise PolicyError(f"option {name} is {text!r}: use {' or '.join(named)}")
        return named[text]
    try:
        return kind(text)
    except ValueError:
        raise PolicyError(f"option {name} is {text!r}: give {_type_name(kind)}") from None


def _type_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " | ".join(map(text_of, get_args(kind)))
    if get_origin(kind) is tuple:
        return f"{_type_name(get_args(kind)[0])},..."
    if get_origin(kind) in (Union, types.UnionType):
        return " | ".join("none" if part is type(None) else _type_name(part) for part in get_args(kind))
    return {bool: "true | false", int: "a whole number", float: "a number", str: "text"}[kind]
