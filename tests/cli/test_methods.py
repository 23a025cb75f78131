import json

import pytest

from srquant.methods import METHODS
from srquant.methods.options import options_of


def test_all_methods_are_listed_with_a_line_each(run):
    lines = run("methods").stdout.splitlines()
    for method in METHODS.values():
        assert sum(method.name in line and method.summary in line for line in lines) == 1


@pytest.mark.parametrize("method", METHODS)
def test_every_option_is_explained(run, method):
    value = json.loads(run("methods", method, "--json", "-").stdout)
    assert value["options"] == [vars(option) for option in options_of(METHODS[method].config)]
    assert all(option["doc"] and option["source"] for option in value["options"])


def test_the_table_shows_type_default_and_source(run):
    (line,) = [line for line in run("methods", "minmax").stdout.splitlines() if "momentum" in line]
    for cell in ("a number", "0.9", "moving average", "AdaBM code"):
        assert cell in line


def test_unknown_method(run, complaint):
    assert "did you mean 'gba'?" in complaint(run("methods", "gbaa"))
