"""A page: one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from srquant.files import write_output

if TYPE_CHECKING:  # a page of curves needs neither engines nor pictures
    from srquant.report.measured_model import MeasuredModel
    from srquant.report.shown_pictures import ShownPicture


@dataclass(frozen=True)
class Command:
    """A command line that makes something of the page again; ``label`` says what."""

    label: str
    line: str


@dataclass(frozen=True)
class Chart:
    """A chart: its heading, a sentence that explains it, and its SVG element."""

    heading: str
    text: str
    svg: str


@dataclass(frozen=True)
class Page:
    """What a page shows.

    Attributes:
        title: its heading.
        labels: of the versions of each picture.
        truth: position of the version that PSNR compares with.
        pictures: with as many versions as there are labels.
        left_out: number of pictures that were measured and aren't shown.
        models: rows of the table.
        timing: how times were taken, a sentence; None without times.
        charts: of the layers.
        commands: that make everything again.
        network: facts about the float network and its licence, by what they are.
        made: versions of the programs, processor and date of the measurement.
    """

    title: str
    labels: Sequence[str]
    truth: int
    pictures: "Sequence[ShownPicture]"
    left_out: int
    models: "Sequence[MeasuredModel]"
    timing: str | None
    charts: Sequence[Chart]
    commands: Sequence[Command]
    network: dict[str, str]
    made: str

    def write(self, path: Path) -> None:
        """Write the file, as ``render``."""
        sets = [score.dataset for score in self.models[0].scores]
        render("page.html", path, {"page": self, "data": self._data(), "sets": sets})

    def _data(self) -> dict[str, Any]:
        """What the page's script needs."""
        pictures = [{"name": picture.name, "boxes": [vars(box) for box in picture.boxes]} for picture in self.pictures]
        return {"labels": list(self.labels), "truth": self.truth, "pictures": pictures}


def render(template: str, path: Path, values: Mapping[str, Any]) -> None:
    """Fill in a template of ``report/templates`` and write it, completely or not at all.

    Args:
        template: its file name.
        path: of the page.
        values: by the names that the template has; a name without a value is an error.

    Raises:
        OutputError: the page can't be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("srquant.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    write_output(path, environment.get_template(template).render(values).encode())
