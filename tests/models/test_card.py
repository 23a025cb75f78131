import json

import pytest

from srquant.models.card import find_card
from srquant.models.packaged import DEFAULT, packaged_models

NO_CARDS = ["", "# Net\n", "\0", *(f"---\n{header}\n---\n" for header in ("license: [", "license: 3", "- a"))]


def test_the_packaged_network_has_a_card():
    card = find_card(packaged_models()[DEFAULT])
    assert card.licence == "Apache-2.0"
    assert card.path.exists()


@pytest.mark.parametrize(
    ("name", "text", "licence", "origin"),
    [
        ("net.json", json.dumps({"license": "CC-BY-4.0", "author": ["a", "b"]}), "CC-BY-4.0", "a, b"),
        ("net.json", json.dumps({"license": "MIT"}), "MIT", None),
        ("net.md", "---\nlicense: apache-2.0\nauthor: c\n---\n# Net\n", "apache-2.0", "c"),
        ("README.md", "---\nlicense: mit\n---\n", "mit", None),
    ],
)
def test_cards_of_other_tools(tmp_path, name, text, licence, origin):
    (tmp_path / name).write_text(text)
    card = find_card(tmp_path / "net.pth")
    assert (card.licence, card.origin, card.path) == (licence, origin, tmp_path / name)


def test_the_card_of_this_checkpoint_comes_before_the_folders(tmp_path):
    (tmp_path / "net.json").write_text('{"license": "MIT"}')
    (tmp_path / "README.md").write_text("---\nlicense: gpl-3.0\n---\n")
    assert find_card(tmp_path / "net.pth").licence == "MIT"


@pytest.mark.parametrize(
    "text", ["", "# Net\n", "---\nlicense: [\n---\n", "---\nlicense: 3\n---\n", "---\n- a\n---\n", "\0"]
)
def test_other_texts_are_no_cards(tmp_path, text):
    (tmp_path / "README.md").write_text(text)
    assert find_card(tmp_path / "net.pth") is None


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[" * 100_000, b'{"license": 3}', b"[]"])
def test_other_json_is_no_card(tmp_path, content):
    (tmp_path / "net.json").write_bytes(content)
    assert find_card(tmp_path / "net.pth") is None
