import re

from srquant.report.charts import Bars, Line, bar_chart, line_chart


def rows(*names):
    return [Bars(f"model {i}", list(layers), {"weights": [4.0] * len(layers)}) for i, layers in enumerate(names)]


def test_names_stand_once_below_rows_that_have_the_same():
    svg = bar_chart("Bits", "bits", rows("ab", "ab", "cd"))
    assert [svg.count(f">{name}<") for name in "abcd"] == [1, 1, 1, 1]
    assert [svg.count(f">model {i}<") for i in range(3)] == [1, 1, 1]


def test_a_value_that_is_not_known_has_no_bar():
    def bars(heights):
        return bar_chart("Bits", "bits", [Bars("a", ["x", "y"], {"weights": heights})]).count("#2f7ed8")

    assert bars([4.0, None]) == bars([4.0, 4.0]) - 1


def test_texts_are_escaped_and_ink_follows_the_page():
    svg = line_chart('<"x"> & y', "step", [Line("<b>", [1, 2], [1, 2]), Line("c", [1, 2], [2, 1])])
    assert 'aria-label="&lt;&quot;x&quot;&gt; &amp; y"' in svg
    assert "<b>" not in svg
    assert "#000000" not in svg
    assert "currentColor" in svg


def test_the_same_values_give_the_same_chart():
    first, second = (bar_chart("Bits", "bits", rows("ab"), logarithmic=True) for _ in range(2))
    assert first == second
    assert re.search(r"\d{4}-\d\d-\d\d", first) is None
