"""Numbers in the text of the documentation are those of the JSON files that the benchmarks wrote."""

import pytest
from prose import RESULTS, ROOT, entry, missing, psnr, relation, uncovered
from prose_sentences import COMPLETE, ELSEWHERE, SENTENCES

ADVICE = "the page doesn't have these sentences: correct it, or benchmarks/prose_sentences.py"


@pytest.mark.parametrize("page", SENTENCES)
def test_pages_have_the_numbers_of_the_results(page):
    assert missing(SENTENCES[page](), (ROOT / page).read_text()) == [], ADVICE


@pytest.mark.parametrize("page", COMPLETE)
def test_no_number_is_without_a_source(page):
    """A number that a benchmark measured needs a sentence in ``prose_sentences.py``, another one in ``ELSEWHERE``."""
    assert uncovered([*SENTENCES[page](), *ELSEWHERE[page]], (ROOT / page).read_text()) == []


@pytest.mark.parametrize("page", ELSEWHERE)
def test_numbers_with_another_source_are_still_there(page):
    assert missing(ELSEWHERE[page], (ROOT / page).read_text()) == []


def test_every_page_that_explains_a_table_is_complete():
    pages = [RESULTS / "README.md", *RESULTS.glob("*_reading.md")]
    assert {str(page.relative_to(ROOT)) for page in pages} <= set(COMPLETE)


def test_a_wrong_number_is_found():
    sentence = f"`mse` has {psnr('mse')} dB"
    assert missing([sentence], "Here `mse` has\n37.21 dB.") == []
    assert missing([sentence], "Here `mse` has 37.22 dB.") == [sentence]


def test_a_number_without_a_sentence_is_found():
    page = "`mse` has 37.21\n/ 32.90, `tails` 37.194 and 0.155 of the size, in 12.5 seconds, version 26.04.1"
    assert uncovered(["`mse` has 37.21 / 32.90", "12.5"], page) == ["37.194"]
    assert uncovered(["has 37.21"], page) == ["32.90", "37.194"]


def test_a_missing_row_is_named():
    with pytest.raises(LookupError, match=r"ptq.json has 0 rows with .*'label': 'mze'"):
        entry("mze")


def test_relations_of_two_numbers():
    assert [relation(37.0, other) for other in (36.9, 37.04, 37.1)] == ["above", "about equal to", "below"]
