"""The documentation as a site: it builds without warnings, and all its links lead somewhere."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import srquant

ROOT = Path(__file__).parents[1]


class Links(HTMLParser):
    """The addresses in a page, and the names of its places."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.found |= {values[name] for name in ("href", "src") if values.get(name)}
        self.places |= {values["id"]} if values.get("id") else set()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocstrings", reason="needs MkDocs: pip install 'srquant[docs]'")
    build = tmp_path_factory.mktemp("build")
    subprocess.run([sys.executable, ROOT / "docs_site" / "prepare.py", build], check=True)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", build / "mkdocs.yml"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return build / "site"


def test_every_page_is_there(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / "docs" / page.relative_to(ROOT / "docs")).with_suffix(
            ".html"
        ).exists() or page.name == "README.md"
    assert (site / "docs" / "images" / "comparison.png").exists()


def test_no_link_is_dead(site):
    pages = {path: Links(path.read_text()) for path in site.rglob("*.html") if "images" not in path.parts}
    assert len(pages) > 50
    dead = [
        f"{path.relative_to(site)}: {link}"
        for path, links in pages.items()
        for link in links.found
        if not leads_somewhere(path, link, pages)
    ]
    assert dead == []


def leads_somewhere(page: Path, link: str, pages: dict[Path, Links]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or page.name == "404.html":
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.is_dir():
        target = target / "index.html"
    if not target.exists():
        return False
    return not parts.fragment or target not in pages or unquote(parts.fragment) in pages[target].places


def test_a_dead_link_would_be_seen(tmp_path):
    page = tmp_path / "a.html"
    page.write_text('<a href="b.html">b</a><p id="here">')
    pages = {page: Links(page.read_text())}
    assert pages[page].found == {"b.html"}
    assert not leads_somewhere(page, "b.html", pages)
    assert not leads_somewhere(page, "#there", pages)
    assert leads_somewhere(page, "#here", pages)


def test_every_public_name_has_its_place(site):
    text = (site / "docs" / "api.html").read_text()
    assert [name for name in srquant.__all__ if f'.{name}"' not in text] == []
