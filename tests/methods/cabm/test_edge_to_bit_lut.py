"""CABM's table: which entries are usable, and which one a score takes."""

import pytest
import torch

from srquant.methods.cabm.edge_to_bit_lut import BitConfiguration, in_hundredths, look_up, usable_entries

SEEN = [
    BitConfiguration(120, (2, 2), 8.0),
    BitConfiguration(120, (0, 1), 5.0),
    BitConfiguration(120, (0, 1), 5.0),
    BitConfiguration(250, (2, 1), 7.0),
    BitConfiguration(301, (1, 0), 5.0),
    BitConfiguration(301, (0, 0), 4.0),
]


def test_entry_of_a_score_is_its_choice_of_fewest_bits():
    assert usable_entries(SEEN, 0, 6.0) == [SEEN[1], SEEN[5]]


def test_entries_at_the_limit_are_left_out():
    assert usable_entries(SEEN, 0, 5.0) == [SEEN[5]]


def test_scores_in_hundredths():
    hundredths = in_hundredths(torch.tensor([1.234, 1.236], dtype=torch.float64))
    assert (hundredths.tolist(), hundredths.dtype) == ([123, 124], torch.int64)


def test_other_choices_can_be_selected():
    """The second of each score; 120's has 8 bits and is left out, 250 has but one."""
    assert usable_entries(SEEN, 1, 7.5) == [SEEN[3], SEEN[4]]


def test_where_none_is_below_the_limit_the_smallest_remain():
    assert usable_entries(SEEN, 0, 3.0) == [SEEN[5]]


@pytest.mark.parametrize(
    ("score", "entry"), [(0.0, 0), (1.2, 0), (1.994, 0), (1.996, 1), (2.005, 1), (3.004, 1), (3.01, 2), (99.0, 2)]
)
def test_a_score_takes_the_next_lower_entry(score: float, entry: int):
    scores = torch.tensor([120, 200, 301])
    assert look_up(scores, torch.tensor([score], dtype=torch.float64)).tolist() == [entry]


def test_lookup_equals_the_walk_of_the_released_code():
    """A hundredth less until the score is there; clamped to the table's range, where the code could walk forever."""
    scores = torch.tensor([117, 240, 241, 300])
    for start in range(400):
        walked = start
        while walked not in scores.tolist() and walked > 117:
            walked -= 1
        expected = scores.tolist().index(max(walked, 117))
        assert look_up(scores, torch.tensor([start / 100], dtype=torch.float64)).item() == expected
