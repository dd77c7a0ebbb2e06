"""The report page: complete, self-contained, safe with any text, and the same bytes every time."""

from __future__ import annotations

import base64
import functools
import html.parser
import io
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hepml_core.errors import DataError, SettingError, StorageError
from hepml_core.metrics import Measured
from hepml_core.plots import Picture, plot_pictures
from hepml_core.report import MAX_MOVIE_BYTES, Report
from hepml_core.storage import LocalFolder

HOSTILE = "<script>alert(1)</script>\"' onload=x {{ 7 * 7 }}\n\u202e\ud800&amp;"
PROVENANCE = {
    "command": "hepml evaluate event_images",
    "configuration": {"seed": 0, "layers": (1, 2), HOSTILE: HOSTILE},
}


def movie(frames: int = 3) -> bytes:
    """A GIF of 24 x 16 pixels in which a square moves."""
    images = [Image.new("P", (24, 16)) for _ in range(frames)]
    for number, image in enumerate(images):
        image.putpalette([255, 255, 255, 31, 95, 168])
        image.paste(1, (4 * number, 4, 4 * number + 8, 12))
    buffer = io.BytesIO()
    images[0].save(buffer, format="GIF", save_all=True, append_images=images[1:], duration=200, loop=0)
    return buffer.getvalue()


def make_report(text: str = "harmless") -> Report:
    report = Report(text, text)
    report.add_numbers({text: Measured(0.9, 0.89, 0.91), "events": 12})
    report.add_text(text, text)
    picture = Picture(np.eye(8), (text,))
    report.add_figure("wide", plot_pictures([picture] * 2, label=text), text)
    report.add_figure("high", plot_pictures([picture]), text)
    report.add_movies("showers", {text: movie(), "second": movie(2)}, text)
    report.add_table(
        "per_class", [text, "AUC", "loss"], [[text, Measured(0.9, 0.89, 0.91), 1 / 3], ["b", None, math.nan]], text
    )
    return report


@functools.cache
def finished_report(text: str = "harmless") -> Report:
    return make_report(text)


def write(report: Report, path: Path) -> str:
    report.write(LocalFolder(path), {"auc": 0.9}, PROVENANCE)
    return (path / "index.html").read_text(encoding="utf-8")


class Elements(html.parser.HTMLParser):
    """Collects the elements and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_report_folder_holds_page_metrics_and_figures(tmp_path: Path) -> None:
    write(finished_report(), tmp_path)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert files == [
        "figures/high.pdf",
        "figures/high.png",
        "figures/showers_1.gif",
        "figures/showers_2.gif",
        "figures/wide.pdf",
        "figures/wide.png",
        "index.html",
        "metrics.json",
    ]
    assert (tmp_path / "figures/wide.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figures/wide.pdf").read_bytes().startswith(b"%PDF")


def test_the_page_is_the_last_file_that_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(LocalFolder, "write", lambda _folder, name, _content: names.append(name))
    finished_report().write(LocalFolder(tmp_path), {}, {})
    assert names[-2:] == ["metrics.json", "index.html"]


def test_metrics_that_are_not_finite_become_null(tmp_path: Path) -> None:
    metrics: dict[str, Any] = {"a": math.nan, "b": math.inf, "c": np.float32(0.5), "d": np.int64(3), "é": 1e-300}
    Report("title").write(LocalFolder(tmp_path), metrics, {})
    text = (tmp_path / "metrics.json").read_text()
    assert "NaN" not in text
    assert json.loads(text) == {"a": None, "b": None, "c": 0.5, "d": 3, "é": 1e-300}


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    page = Elements(write(finished_report(), tmp_path))
    assert not [tag for tag, _ in page.elements if tag in ("script", "link", "iframe", "object", "base")]
    addresses = [value or "" for _, each in page.elements for name, value in each.items() if name in ("src", "href")]
    assert all(address.startswith(("data:", "#")) for address in addresses)
    anchors = {each["id"] for _, each in page.elements if "id" in each}
    assert {address[1:] for address in addresses if address.startswith("#")} <= anchors
    assert len(page.all("img")) == 4


def test_hostile_text_is_shown_and_adds_no_element(tmp_path: Path) -> None:
    hostile, harmless = (Elements(write(finished_report(text), tmp_path)) for text in (HOSTILE, "harmless"))
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]
    assert [sorted(each) for _, each in hostile.elements] == [sorted(each) for _, each in harmless.elements]
    shown = HOSTILE.replace("\ud800", "\\ud800")
    assert hostile.text.count(shown) >= 10
    assert any(shown in (each["alt"] or "") for each in hostile.all("img"))


def test_every_text_from_outside_has_its_own_writing_direction(tmp_path: Path) -> None:
    page = write(finished_report(HOSTILE), tmp_path)
    body = page[page.index("<body>") :]
    outside = re.sub(r'<bdi>[^<]*</bdi>|alt="[^"]*"', "", body)
    assert "\u202e" in body
    assert "\u202e" not in outside


def test_a_rerun_gives_the_same_bytes(tmp_path: Path) -> None:
    write(finished_report(), tmp_path / "one")
    write(make_report(), tmp_path / "two")
    for path in (tmp_path / "one").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_numbers_are_shown_with_their_errors_and_what_is_undefined_as_such(tmp_path: Path) -> None:
    page = write(finished_report(), tmp_path)
    assert page.count("<bdi>0.900 ± 0.010</bdi>") == 2
    assert "<bdi>0.3333</bdi>" in page
    assert page.count("<bdi>n/a</bdi>") == 2


def test_the_page_tells_where_the_results_come_from(tmp_path: Path) -> None:
    text = Elements(write(finished_report(), tmp_path)).text
    assert "hepml evaluate event_images" in text
    assert "[1, 2]" in text


@pytest.mark.parametrize("name", ["", "../roc", "a/b", "a b", "é", ".hidden"])
def test_a_figure_whose_name_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match="figure's name"):
        Report("title").add_figure(name, plot_pictures([Picture(np.eye(2), ())]), "")


def test_two_figures_of_one_name_and_rows_of_another_length_are_refused() -> None:
    report = finished_report()
    with pytest.raises(SettingError, match="already"):
        report.add_figure("wide", plot_pictures([Picture(np.eye(2), ())]), "")
    with pytest.raises(SettingError, match="2 columns"):
        report.add_table("table", ["a", "b"], [["only one"]], "")


def test_movies_are_in_the_page_as_they_are_in_the_folder_and_say_what_they_show(tmp_path: Path) -> None:
    page = Elements(write(finished_report(), tmp_path))
    shown = [each for each in page.all("img") if (each["src"] or "").startswith("data:image/gif;base64,")]
    assert [each["alt"] for each in shown] == ["Showers: harmless", "Showers: second"]
    for number, each in enumerate(shown, 1):
        content = (tmp_path / f"figures/showers_{number}.gif").read_bytes()
        assert base64.b64decode((each["src"] or "").partition(",")[2]) == content
        assert (each["width"], each["height"]) == ("24", "16")
    with Image.open(tmp_path / "figures/showers_1.gif") as first:
        assert getattr(first, "n_frames", 1) == 3


def test_what_is_no_movie_or_too_large_for_a_page_is_refused() -> None:
    report = Report("title")
    with pytest.raises(SettingError, match="no movie"):
        report.add_movies("showers", {}, "")
    with pytest.raises(SettingError, match="figure's name"):
        report.add_movies("../showers", {"first": movie()}, "")
    with pytest.raises(DataError, match="'first' of 'showers' is no GIF"):
        report.add_movies("showers", {"first": b"\x89PNG"}, "")
    with pytest.raises(DataError, match="fewer frames"):
        report.add_movies("showers", {"first": movie() + bytes(MAX_MOVIE_BYTES)}, "")
    report.add_movies("showers", {"first": movie()}, "")
    with pytest.raises(SettingError, match="already"):
        report.add_movies("showers", {"first": movie()}, "")


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "figures").write_text("a file where a folder should be")
    with pytest.raises((StorageError, FileExistsError)):
        write(finished_report(), tmp_path)


def test_without_jinja_the_error_names_the_remedy() -> None:
    code = "import sys; sys.modules['jinja2'] = None; import hepml_core.report"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DependencyError" in done.stderr
    assert "pip install 'hepml[report]'" in done.stderr


CHECK = """<script>
const images = [...document.images];
const broken = images.filter(image => !image.complete || !image.naturalWidth || !image.clientWidth);
const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
document.title = `images ${images.length} broken ${broken.length} wide ${wide}`;
</script></body>"""


def test_a_browser_shows_every_image_and_no_scroll_bar(tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    page = write(finished_report(HOSTILE), tmp_path)
    page = re.sub(r"<meta http-equiv[^>]*>", "", page).replace("</body>", CHECK)
    (tmp_path / "checked.html").write_text(page, encoding="utf-8")
    options = "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update"
    options += (
        f" --disable-sync --no-first-run --user-data-dir={tmp_path / 'profile'} --window-size=1200,900 --dump-dom"
    )
    command = [chromium, *options.split(), (tmp_path / "checked.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "<title>images 4 broken 0 wide false</title>" in done.stdout
