"""What is written can be run: commands parse, links lead somewhere, tables are fresh.

``python -m tests.test_readme`` (part of ``make generate``) writes the tables anew.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hepml_core import stages
from hepml_core.config import build_config, describe_config
from hepml_core.stages import STAGES, domains

ROOT = Path(__file__).parents[1]
REGENERATE = "python -m tests.test_readme"
START, END = "<!-- settings:start -->", "<!-- settings:end -->"
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```", flags=re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:hepml|make|python -m) [^`]+)`")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
PLACEHOLDER = re.compile(r"<\w+>|…|\.\.\.")


def pages() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted(Path(name) for name in set(listed.stdout.splitlines()) if (ROOT / name).is_file())


def commands_of(page: Path) -> Iterator[str]:
    """List a page's commands of ours: lines of shell blocks, and what stands between back-ticks in the text."""
    text = (ROOT / page).read_text()
    for block in FENCE.finditer(text):
        if block["language"] in ("sh", "bash", "console", "shell"):
            for line in block["text"].replace("\\\n", " ").splitlines():
                yield line.removeprefix("$ ").partition("  #")[0].strip()
    yield from INLINE.findall(FENCE.sub("", text))


def ours(page: Path) -> Iterator[list[str]]:
    """List the commands of a page that are this project's own, without the variables set before them."""
    for command in commands_of(page):
        words = shlex.split(command)
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        if words and Path(words[0]).name in ("hepml", "make", "python", "python3"):
            yield words


COMMANDS = [(page, words) for page in pages() for words in ours(page)]


def check_stage(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a ``hepml`` command with its own parser, folders and settings included, and run nothing."""
    from hepml_core.__main__ import main

    asked: list[str] = []

    def only_check(stage: str, domain: str, settings: Mapping[str, object], **folders: str) -> None:
        build_config(stages.config_of(stages.find_stage(stage, domain)), settings)
        shape = STAGES[stage]
        assert {*shape.reads, shape.writes} <= set(folders) <= set(shape.folders)
        asked.append(stage)

    monkeypatch.setattr("hepml_core.__main__.run_stage", only_check)
    assert main(words) == 0
    assert asked or "--help" in words


def check_pipeline(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse a ``python -m pipelines`` command with its own parser, and run nothing."""
    from pipelines import __main__ as program
    from pipelines.preflight import check_settings

    def only_check(given: object) -> int:
        if hasattr(given, "settings"):
            check_settings(*program.choose_pipeline(given.domain, given.settings))  # type: ignore[attr-defined]
        return 0

    monkeypatch.setattr(program, "_ACTS", dict.fromkeys(program.VERBS, only_check))
    assert program.main(words) == 0


def check(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(words[0]).name
    if program == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
    elif program == "hepml":
        check_stage(words[1:], monkeypatch)
    elif words[1:3] == ["-m", "pipelines"]:
        check_pipeline(words[3:], monkeypatch)
    elif words[1:2] == ["-m"]:
        assert importlib.util.find_spec(words[2]), words


def describe(value: Path | list[str]) -> str:
    return str(value) if isinstance(value, Path) else " ".join(value)


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=describe)
def test_a_command_that_is_written_down_can_be_run(
    page: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not any(PLACEHOLDER.fullmatch(word) for word in words[:4]):  # hepml <stage> <domain> is a form, no command
        check([word for word in words if not PLACEHOLDER.fullmatch(word)], monkeypatch)


def test_the_readme_tells_how_to_start_and_to_use_own_data() -> None:
    programs = [" ".join(words[:3]) for page, words in COMMANDS if page == Path("README.md")]
    assert "make demo" in programs
    assert "make test" in programs
    assert "python -m pipelines" in programs


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_link_leads_to_a_file(page: Path) -> None:
    targets = [found["target"].partition("#")[0] for found in LINK.finditer((ROOT / page).read_text())]
    local = [target for target in targets if target and not re.match(r"\w+:", target)]
    assert not [target for target in local if not (ROOT / page.parent / target).exists()]


@pytest.mark.parametrize("page", pages(), ids=str)
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`((?:hepml_core|components|pipelines|tests|benchmarks)/[\w./-]*)`", (ROOT / page).read_text())
    assert not [path for path in named if not (ROOT / path).exists() and "/a/b/" not in path]


@pytest.mark.parametrize("page", pages(), ids=str)
def test_no_page_has_a_hole_left_to_fill(page: Path) -> None:
    assert "@@" not in (ROOT / page).read_text()


@pytest.mark.parametrize("domain", domains())
def test_the_table_of_settings_is_fresh(domain: str) -> None:
    page = domain_page(domain)
    assert page.read_text() == with_settings(page.read_text(), domain), f"the table is stale; run: {REGENERATE}"


def domain_page(domain: str) -> Path:
    return ROOT / "hepml_core" / domain / "README.md"


def with_settings(page: str, domain: str) -> str:
    """Return a domain's page with the tables of its settings between the two marks."""
    before, _, rest = page.partition(START)
    _, end, after = rest.partition(END)
    assert end, f"the page of {domain} lacks the marks {START} and {END}"
    return f"{before}{START}\n{settings_of(domain)}{END}{after}"


def settings_of(domain: str) -> str:
    """Write a table of settings for every stage, in the order of the stages."""
    home = importlib.import_module(f"hepml_core.{domain}.config")
    lines = []
    for stage in STAGES:
        config = getattr(home, f"{stage.capitalize()}Config", None)
        if config is None:
            continue  # not every domain has every stage
        lines += [
            f"\n### {stage}\n",
            f"{config.__doc__}\n",
            "| setting | default | type | meaning |",
            "|---|---|---|---|",
        ]
        for setting in describe_config(config):
            cells = (f"`{setting.name}`", f"`{setting.default}`", setting.type, setting.meaning)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n\n"


def regenerate() -> None:
    """Write the tables of all domains anew."""
    for domain in domains():
        page = domain_page(domain)
        page.write_text(with_settings(page.read_text(), domain))
        sys.stdout.write(f"{page.relative_to(ROOT)}\n")


if __name__ == "__main__":
    regenerate()
