import json

import pytest

from srquant.methods.options import options_of
from srquant.methods.registry import METHODS
from srquant.methods.trained_registry import TRAINED

EVERY = {**METHODS, **TRAINED}


def test_all_methods_are_listed_with_a_line_each(run):
    lines = run("methods").stdout.splitlines()
    for method in EVERY.values():
        (line,) = [line for line in lines if method.name in line and method.summary in line]
        assert ("srquant train" in line) == (method.name in TRAINED)


def test_no_name_means_two_methods():
    assert not METHODS.keys() & TRAINED.keys()


@pytest.mark.parametrize("method", EVERY)
def test_every_option_is_explained(run, method):
    value = json.loads(run("methods", method, "--json", "-").stdout)
    assert value["options"] == [vars(option) for option in options_of(EVERY[method].config)]
    assert all(option["doc"] and option["source"] for option in value["options"])


def test_the_table_shows_type_default_and_source(run):
    (line,) = [line for line in run("methods", "minmax").stdout.splitlines() if "momentum" in line]
    for cell in ("a number", "0.9", "moving average", "AdaBM code"):
        assert cell in line


@pytest.mark.parametrize("method", ["mse", "tails", "2dquant", "gba"])
def test_roundings_are_shown_by_the_names_of_their_papers(run, method):
    value = json.loads(run("methods", method, "--json", "-").stdout)
    (option,) = [option for option in value["options"] if option["name"] == "rounding"]
    assert option["type"] == "nearest | gptq | gptaq"


def test_unknown_method(run, complaint):
    assert "did you mean 'gba'?" in complaint(run("methods", "gbaa"))
