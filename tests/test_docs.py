"""Relative links of the documentation lead to files and headings that exist, and docs/index.md leads to every page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "docs" / "index.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Targets of the links and pictures of a page that don't lead to the web; code is left out."""
    targets = LINK.findall(CODE.sub("code", text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
    """How links to the headings of a page end, as GitHub makes them."""
    titles = HEADING.findall(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def complaint(page: Path, target: str) -> str | None:
    """What is wrong with a link, or None."""
    name, _, anchor = target.partition("#")
    path = page.parent / name if name else page
    if not path.exists():
        return f"{target} is missing"
    if anchor and anchor not in anchors(path.read_text()):
        return f"{target}: there is no such heading"
    return None


@pytest.mark.parametrize(
    ("page", "target"),
    [
        pytest.param(page, target, id=f"{page.relative_to(ROOT)}-{target}")
        for page in PAGES
        for target in dict.fromkeys(links(page.read_text()))
    ],
)
def test_links_lead_somewhere(page, target):
    assert complaint(page, target) is None


def test_every_page_is_in_the_index():
    targets = {(INDEX.parent / target.partition("#")[0]).resolve() for target in links(INDEX.read_text())}
    assert [page for page in PAGES if page.resolve() not in targets | {INDEX.resolve()}] == []


def test_links_to_source_files_carry_the_name_of_the_file():
    for page in PAGES:
        for text, target in re.findall(r"\[([^\]]*\.py)\]\(([^)\s]+)\)", page.read_text()):
            assert text == Path(target).name, f"{page.relative_to(ROOT)}: [{text}]({target})"


def test_broken_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A title: `code`\n[a](gone.md) ![b](page.md) [c](#a-title-code) [d](page.md#none) [e](https://x.y)\n`[f](g)`"
    )
    found = links(page.read_text())
    assert found == ["gone.md", "page.md", "#a-title-code", "page.md#none"]
    assert [complaint(page, target) for target in found] == [
        "gone.md is missing",
        None,
        None,
        "page.md#none: there is no such heading",
    ]
