"""Licence and origin of a checkpoint, from a card that lies beside it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from srquant.models.packaged import packaged_models

MOST_BYTES = 1_000_000
"""Larger files aren't cards."""


@dataclass(frozen=True)
class Card:
    """What a card says.

    Attributes:
        licence: as written there, such as ``apache-2.0``.
        origin: author or address; None if it isn't named.
        path: of the card.
    """

    licence: str
    origin: str | None
    path: Path


def find_card(checkpoint: Path) -> Card | None:
    """The card of a checkpoint; None without one that names a licence.

    Looked for are ``NAME.json`` in OpenModelDB's form, then ``NAME.md`` and ``README.md`` with Hugging Face's header.
    The packaged networks share one card.

    Args:
        checkpoint: a file of weights.
    """
    if checkpoint in packaged_models().values():
        return Card("Apache-2.0", "part of srquant", checkpoint.with_name("MODEL_CARD.md"))
    for path in (checkpoint.with_suffix(".json"), checkpoint.with_suffix(".md"), checkpoint.with_name("README.md")):
        card = _read(path)
        if card is not None:
            return card
    return None


def _read(path: Path) -> Card | None:
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        text = path.read_text(encoding="utf-8")
        fields = json.loads(text) if path.suffix == ".json" else _header(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError):  # no card, or none that can be read
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("license"), str):
        return None
    return Card(fields["license"], _origin(fields), path)


def _header(text: str) -> Any:
    found = re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)
    return yaml.safe_load(found[1]) if found else None


def _origin(fields: dict[str, Any]) -> str | None:
    named = fields.get("author") or fields.get("source")
    if isinstance(named, list):
        return ", ".join(map(str, named))
    return str(named) if named else None
