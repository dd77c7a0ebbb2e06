"""A stage's report: one self-contained HTML page, its figures as files, its metrics as JSON; the only door to jinja2.

The page needs no network and no script: it can be mailed, printed, and shown by Kubeflow as it is. Whatever goes into
it (class names, event keys, settings) is shown, never interpreted.
"""

from __future__ import annotations

import base64
import importlib.resources
import json
import math
import numbers
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hepml_core.errors import DataError, DependencyError, SettingError
from hepml_core.metrics import Measured
from hepml_core.plots import to_pdf, to_png
from hepml_core.storage import Folder

try:
    import jinja2
except ModuleNotFoundError as error:
    raise DependencyError("jinja2", "report", "writing a report") from error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | float | Measured | None

MAX_MOVIE_BYTES = 1_000_000
"""A page carries its movies within itself, so they must be small."""


class Report:
    """Collects sections, in the order in which the page shows them, and writes them."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title, self._subtitle = title, subtitle
        self._numbers: dict[str, str] = {}
        self._sections: list[_Section] = []

    def add_numbers(self, numbers: Mapping[str, Cell]) -> None:
        """Add headline numbers; they stand at the top of the page."""
        self._numbers.update({name: _text(value) for name, value in numbers.items()})

    def add_text(self, heading: str, text: str) -> None:
        """Add a section of plain text; its line breaks are kept."""
        self._sections.append(_Section("text", heading, text))

    def add_figure(self, name: str, figure: Figure, caption: str) -> None:
        """Add a figure; it is also written as ``figures/<name>.png`` and ``figures/<name>.pdf``.

        Raises:
            SettingError: The name is taken or is no file name.
        """
        self._check_name(name)
        self._sections.append(_Section("figure", _heading(name), caption, name, to_png(figure), to_pdf(figure)))

    def add_movies(self, name: str, gif_by_title: Mapping[str, bytes], caption: str) -> None:
        """Add movies (GIF), side by side; they are also written as ``figures/<name>_<number>.gif``.

        Args:
            name: Name of the section and of the files, which are numbered from 1.
            gif_by_title: Each movie's title, which stands for it where it cannot be seen, and its content.
            caption: Text below.

        Raises:
            SettingError: The name is taken or is no file name, or there is no movie.
            DataError: One is no GIF, or is larger than a page should carry.
        """
        self._check_name(name)
        if not gif_by_title:
            raise SettingError(f"the report got no movie for {name!r}")
        for title, gif in gif_by_title.items():
            if not gif.startswith(b"GIF89a"):
                raise DataError(f"the movie {title!r} of {name!r} is no GIF")
            if len(gif) > MAX_MOVIE_BYTES:
                raise DataError(
                    f"the movie {title!r} of {name!r} has {len(gif)} bytes, a page carries movies of up to "
                    f"{MAX_MOVIE_BYTES}: show fewer frames or a smaller part of the picture"
                )
        movies = [_Movie(f"{name}_{number}", *each) for number, each in enumerate(gif_by_title.items(), 1)]
        self._sections.append(_Section("movies", _heading(name), caption, name, movies=movies))

    def _check_name(self, name: str) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise SettingError(f"a figure's name must be letters, digits, '_' and '-', got {name!r}")
        if any(section.name == name for section in self._sections):
            raise SettingError(f"the report has a figure {name!r} already")

    def add_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> None:
        """Add a table; numbers are shown with four digits, measured ones with their errors, NaN and None as n/a.

        Raises:
            SettingError: A row has not one cell for each column.
        """
        for row in rows:
            if len(row) != len(columns):
                raise SettingError(f"table {name!r} has {len(columns)} columns, but a row of {len(row)} cells: {row}")
        cells = [[(_text(value), not isinstance(value, str)) for value in row] for row in rows]
        self._sections.append(_Section("table", _heading(name), caption, columns=list(columns), rows=cells))

    def write(self, folder: Folder, metrics: Mapping[str, float], provenance: Mapping[str, Any]) -> None:
        """Publish ``figures/``, ``metrics.json`` and, last, ``index.html``; equal contents give equal bytes.

        Args:
            folder: Where to write.
            metrics: Numbers for machines; one that is not finite becomes null.
            provenance: Where the results come from: command, versions, digests. A mapping inside (``configuration``)
                becomes a table of its own that can be unfolded.

        Raises:
            StorageError: The store refused.
        """
        page = self._page(provenance)
        for section in self._sections:
            if section.kind == "figure":
                folder.write(f"figures/{section.name}.png", section.png)
                folder.write(f"figures/{section.name}.pdf", section.pdf)
            for movie in section.movies:
                folder.write(f"figures/{movie.name}.gif", movie.gif)
        plain = {name: _json_number(value) for name, value in metrics.items()}
        folder.write("metrics.json", f"{json.dumps(plain, indent=2)}\n".encode())
        folder.write("index.html", page.encode("utf-8", "backslashreplace"))

    def _page(self, provenance: Mapping[str, Any]) -> str:
        source = importlib.resources.files("hepml_core").joinpath("report.html").read_text(encoding="utf-8")
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        return environment.from_string(source).render(
            title=self._title,
            subtitle=self._subtitle,
            numbers=self._numbers,
            sections=self._sections,
            facts={name: _fact(value) for name, value in provenance.items() if not isinstance(value, Mapping)},
            details={
                name: {inner: _fact(value) for inner, value in group.items()}
                for name, group in provenance.items()
                if isinstance(group, Mapping)
            },
        )


@dataclass(frozen=True)
class _Movie:
    name: str
    title: str
    gif: bytes = field(repr=False)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, as the header of the GIF says."""
        width, height = struct.unpack("<HH", self.gif[6:10])
        return width, height

    @property
    def gif_base64(self) -> str:
        return base64.b64encode(self.gif).decode()


@dataclass(frozen=True)
class _Section:
    """What the template shows of one section; ``text`` is the caption of a figure, a table or movies."""

    kind: str
    heading: str
    text: str
    name: str = ""
    png: bytes = field(default=b"", repr=False)
    pdf: bytes = field(default=b"", repr=False)
    columns: list[str] = field(default_factory=list)
    rows: list[list[tuple[str, bool]]] = field(default_factory=list)
    """Cells as text and whether it is a number."""
    movies: list[_Movie] = field(default_factory=list)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the PNG, as its header says."""
        width, height = struct.unpack(">II", self.png[16:24])
        return width, height

    @property
    def wide(self) -> bool:
        """Whether a figure or table is better shown over the whole width of the page."""
        if self.kind == "figure":
            width, height = self.size
            return width > (1250 if width > 1.4 * height else 1800)
        return self.kind in ("text", "movies") or len(self.columns) > 5

    @property
    def png_base64(self) -> str:
        return base64.b64encode(self.png).decode()

    @property
    def pdf_base64(self) -> str:
        return base64.b64encode(self.pdf).decode()


def _heading(name: str) -> str:
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _text(value: Cell) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fact(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _json_number(value: float) -> float | None:
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if math.isfinite(value) else None
