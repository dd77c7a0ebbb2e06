"""``hepml <stage> <domain> --dataset … name=value``: the program in every image, Katib trial and laptop."""

from __future__ import annotations

import argparse
import logging
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from hepml_core.config import describe_config
from hepml_core.errors import HepmlError, SettingError, UnknownNameError
from hepml_core.stages import STAGES, config_of, domains, find_stage, run_stage

WIDTH = 110


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a stage as the command line asks; return the exit status (2 for what the user can mend)."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _run(words)
    except HepmlError as error:
        print(f"hepml: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("hepml: interrupted; the same command goes on from here", file=sys.stderr)  # noqa: T201
        return 130


def _run(words: list[str]) -> int:
    stage, domain = [*words, "", ""][:2]
    if not stage or stage in ("-h", "--help"):
        print(_overview())  # noqa: T201
        return 0
    if not domain or domain in ("-h", "--help"):
        if stage not in STAGES:
            raise UnknownNameError("stage", stage, STAGES)
        raise SettingError(f"hepml {stage} needs a domain: {', '.join(domains(stage))}")
    function = find_stage(stage, domain)
    parser = _StageParser(prog=f"hepml {stage} {domain}", add_help=False, allow_abbrev=False)
    shape = STAGES[stage]
    for name in shape.folders:
        names = [f"--{name}", "--out"] if name == shape.writes else [f"--{name}"]
        parser.add_argument(*names, dest=name, default="")
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("settings", nargs="*")
    given = vars(parser.parse_intermixed_args(words[2:]))
    if given.pop("help"):
        print(_help(stage, domain, function.__doc__ or ""))  # noqa: T201
        return 0
    words = given.pop("settings")
    first = shape.reads[0] if shape.reads else ""
    known = [setting.name for setting in describe_config(config_of(function))]
    if first and not given[first] and words and "=" not in words[0] and words[0] not in known:
        given[first], *words = words
    settings = dict(_parse_setting(word) for word in words)
    run_stage(stage, domain, settings, **{name: folder for name, folder in given.items() if folder})
    return 0


class _StageParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        if unknown:
            options = [option for action in self._actions for option in action.option_strings]
            raise UnknownNameError("option", unknown.partition("=")[0], options, f"of {self.prog}")
        raise SettingError(f"{self.prog}: {message}")


def _parse_setting(word: str) -> tuple[str, str]:
    name, separator, value = word.partition("=")
    if not separator:
        raise SettingError(f"settings are given as name=value, got {word!r}")
    return name, value


def _overview() -> str:
    lines = ["usage: hepml <stage> <domain> --<folder> PATH … name=value …", "", "stages:"]
    for name, stage in STAGES.items():
        reads = [*stage.reads, *(f"({folder})" for folder in stage.may_read)]
        arrow = f"{' + '.join(reads) or 'nothing'} -> {stage.writes}"
        lines.append(f"  {name:<10} {stage.meaning:<46} {arrow}")
    lines += ["", f"domains: {', '.join(domains())}", ""]
    lines.append(
        "Folders are local paths, gs://bucket/folder or s3://bucket/folder. The first one that a stage reads may be"
    )
    lines.append("given without its option, and --out names the one that it writes.")
    lines.append("hepml <stage> <domain> --help shows the settings of a stage.")
    return "\n".join(lines)


def _help(stage: str, domain: str, docstring: str) -> str:
    """Show the folders and every setting with type, default and meaning."""
    shape = STAGES[stage]
    summary = " ".join(docstring.partition("\n\n")[0].split())
    options = [f"[--{name} PATH]" if name in shape.may_read else f"--{name} PATH" for name in shape.folders]
    lines = [f"usage: hepml {stage} {domain} " + " ".join(options) + " [name=value …]"]
    lines += ["", *textwrap.wrap(summary, WIDTH), "", "folders:"]
    lines += [f"  --{name:<12} read" for name in shape.reads]
    lines += [f"  --{name:<12} read, where it is given" for name in shape.may_read]
    lines += [f"  --{shape.writes:<12} written; --out is the same", "", "settings:"]
    for setting in describe_config(config_of(find_stage(stage, domain))):
        lines.append(f"  {setting.name}={setting.default}  ({setting.type})")
        lines += textwrap.wrap(setting.meaning, WIDTH, initial_indent="      ", subsequent_indent="      ")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
