"""Copy what the documentation site shows into one folder: links between pages hold there as in the repository.

    python docs_site/prepare.py build

Writes ``build/pages``, with a page of the public functions and classes, and ``build/mkdocs.yml``.
"""

import argparse
import shutil
from pathlib import Path

import yaml

import srquant

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE")
FOLDERS = ("docs", "benchmarks", "src/srquant")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.html")
API = "# Python\n\nThe public functions and classes; `import srquant` has all of them.\n"


def copy_pages(target: Path) -> None:
    """Replace ``target`` by copies of all pages, of what they show, and of the code that they name."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in PAGES:
        shutil.copy(ROOT / name, target / name)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, target / name, ignore=LEFT_OUT)
    shutil.copytree(ROOT / "docs" / "images", target / "docs" / "images", dirs_exist_ok=True)
    shutil.copy(ROOT / "docs_site" / "sort_tables.js", target / "sort_tables.js")
    (target / "docs" / "api.md").write_text(API + "".join(f"\n::: {name}\n" for name in public_names()))


def public_names() -> list[str]:
    """Full names of all that ``srquant`` exports, sorted by their last part."""
    homes = {name: module for module, names in srquant._HOMES.items() for name in names}
    return [f"srquant.{homes[name]}.{name}" for name in sorted(srquant.__all__, key=str.lower)]


def configuration(pages: Path) -> str:
    """The configuration with absolute folders, and with every page of a folder where ``nav`` names ``FOLDER/*``."""
    values = yaml.safe_load((ROOT / "docs_site" / "mkdocs.yml").read_text())
    for tab in values["nav"]:
        for name, entry in tab.items():
            if isinstance(entry, str) and entry.endswith("/*"):
                tab[name] = in_order(pages, Path(entry).parent)
    values |= {"docs_dir": str(pages), "site_dir": str(pages.parent / "site")}
    return yaml.safe_dump(values, sort_keys=False)


def in_order(pages: Path, folder: Path) -> list[str]:
    """The pages of a folder, by name, its ``README.md`` first."""
    found = sorted((pages / folder).glob("*.md"), key=lambda page: (page.name != "README.md", page.name))
    return [str(page.relative_to(pages)) for page in found]


def main() -> None:
    """Write everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path)
    build = parser.parse_args().build.resolve()
    copy_pages(build / "pages")
    (build / "mkdocs.yml").write_text(configuration(build / "pages"))


if __name__ == "__main__":
    main()
