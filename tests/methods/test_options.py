"""Options explain themselves and are set by name."""

from dataclasses import dataclass
from typing import Literal

import pytest

from srquant.errors import PolicyError
from srquant.methods.options import configure, option, options_of, replace_aliases
from srquant.methods.registry import METHODS


@dataclass(frozen=True)
class Example:
    """Options of every type."""

    epochs: int = option(2, "passes", "section 4", least=1)
    rate: float = option(0.01, "learning rate", "supplement")
    reading: Literal["paper", "code"] = option("paper", "whose search", "2DQuant")
    dynamic: bool = option(True, "normalise", "Eq. 8")
    stages: tuple[int, ...] = option((1, 2, 3), "where", "ours")
    share: float | None = option(None, "cut", "ours", most=0.5)
    loss: Literal["l1", "l2"] = option("l1", "distance", "ours", aliases={"squares": "l2"})

    def __post_init__(self) -> None:
        replace_aliases(self)


def test_every_type_is_parsed():
    settings = ["epochs=5", "rate=1e-3", "reading=code", "dynamic=false", "stages=2,3", "share=0.5"]
    assert configure(Example, settings) == Example(5, 1e-3, "code", False, (2, 3), 0.5)
    assert configure(Example, []) == Example()
    assert configure(Example, ["share=none"]) == Example()


def test_options_say_what_they_take():
    table = {o.name: (o.type, o.default) for o in options_of(Example)}
    assert table == {
        "epochs": ("a whole number", "2"),
        "rate": ("a number", "0.01"),
        "reading": ("paper | code", "paper"),
        "dynamic": ("true | false", "true"),
        "stages": ("a whole number,...", "1,2,3"),
        "share": ("a number | none", "none"),
        "loss": ("l1 | l2", "l1"),
    }


def test_other_names_of_a_value_become_its_own():
    assert configure(Example, ["loss=squares"]) == Example(loss="squares") == Example(loss="l2")
    assert Example(loss="squares").loss == "l2"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("epoch=3", "no option is called 'epoch'.*'epochs'"),
        ("epochs", "NAME=VALUE"),
        ("epochs=many", "option epochs is 'many': give a whole number"),
        ("reading=book", "option reading is 'book': use paper or code"),
        ("loss=square", "option loss is 'square': use l1 or l2"),
        ("dynamic=maybe", "use true or false"),
        ("stages=1,x", "option stages"),
        ("epochs=0", "option epochs is 0: use 1 or more"),
        ("rate=-1", "option rate is -1: use 0 or more"),
        ("rate=nan", "option rate is nan: use 0 or more"),
        ("share=0.6", r"option share is 0\.6: use 0 to 0\.5"),
        ("stages=1,-2", "option stages is -2"),
    ],
)
def test_mistakes_are_named(setting, message):
    with pytest.raises(PolicyError, match=message):
        configure(Example, [setting])


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())
def test_every_method_explains_its_options(method):
    for entry in options_of(method.config):
        assert entry.doc
        assert entry.source
        assert configure(method.config, [f"{entry.name}={entry.default}"]) == method.config()
