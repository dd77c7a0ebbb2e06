"""``python -m pipelines compile|run|submit <domain> name=value``: a pipeline as a file, here, or on a cluster."""

from __future__ import annotations

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pipelines
from hepml_core import stages
from hepml_core.config import coerce
from hepml_core.errors import HepmlError, SettingError, UnknownNameError

VERBS = {
    "compile": "write the pipelines of a domain as YAML",
    "run": "run a domain's pipeline here, each stage in a process; on toy data unless source=FOLDER is given",
    "submit": "start a domain's pipeline on a Kubeflow cluster",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit status (2 for what the user can mend, 1 for a failed run)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_overview())  # noqa: T201
            return 0
        if words[0] not in VERBS:
            raise UnknownNameError("verb", words[0], VERBS)
        if not [word for word in words[1:] if not word.startswith("-")] and not {"-h", "--help"} & {*words}:
            raise SettingError(f"{words[0]} needs a domain: {', '.join(domains())}")
        parser = _parser(words[0])
        if words[1] in domains() and {"-h", "--help"} & {*words}:
            parser.epilog = _parameters(words[1])
        return _ACTS[words[0]](parser.parse_intermixed_args(words[1:]))
    except HepmlError as error:
        print(f"pipelines: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("pipelines: interrupted", file=sys.stderr)  # noqa: T201
        return 130


def domains() -> list[str]:
    """Return the domains that have a pipeline."""
    modules = {found.name for found in pkgutil.iter_modules(pipelines.__path__)}
    return [domain for domain in stages.domains() if domain in modules]


def pipelines_of(domain: str) -> dict[str, Any]:
    """Return a domain's pipelines by name: ``<domain>`` for data at hand, ``<domain>_toy`` for generated ones, and others.

    Raises:
        UnknownNameError: There is no such domain.
    """
    if domain not in domains():
        raise UnknownNameError("domain", domain, domains())
    module = importlib.import_module(f"pipelines.{domain}")
    return {
        name: found
        for name, found in vars(module).items()
        if hasattr(found, "pipeline_func") and name.startswith(domain)
    }


def choose_pipeline(domain: str, words: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Return the pipeline for ``name=value`` words, and the values as its parameters want them.

    A first word without ``=`` names a further pipeline of the domain (``jets archive`` is ``jets_archive``).

    Raises:
        UnknownNameError: There is no such domain, pipeline or parameter; the message names the nearest one.
        SettingError: A value does not fit its parameter.
    """
    settings = {}
    known = pipelines_of(domain)
    others = [name.removeprefix(f"{domain}_") for name in known if name not in (domain, f"{domain}_toy")]
    asked = words[0] if others and words and "=" not in words[0] else ""
    if asked and asked not in others:
        raise UnknownNameError("pipeline", asked, others, f"of {domain}")
    for word in words[1:] if asked else words:
        name, separator, value = word.partition("=")
        if not separator:
            raise SettingError(f"parameters are given as name=value, got {word!r}")
        settings[name] = value
    chosen = f"_{asked}" if asked else "" if "source" in settings else "_toy"
    pipeline = known[domain + chosen]
    parameters = inspect.signature(pipeline.pipeline_func).parameters
    for name in settings:
        if name not in parameters:
            raise UnknownNameError("parameter", name, parameters, f"of the pipeline {pipeline.name}")
    return pipeline, {name: coerce(value, parameters[name].annotation, name) for name, value in settings.items()}


def _overview() -> str:
    lines = ["usage: python -m pipelines <verb> <domain> [options] [name=value …]", ""]
    lines += [f"  {verb:<8} {meaning}" for verb, meaning in VERBS.items()]
    return "\n".join([*lines, "", f"domains: {', '.join(domains())}"])


def _parameters(domain: str) -> str:
    """Show the parameters of a domain's pipelines with default and meaning."""
    lines = []
    for pipeline in pipelines_of(domain).values():
        lines += ["", f"parameters of {pipeline.name}:"]
        known = inspect.signature(pipeline.pipeline_func).parameters
        for name, described in sorted(pipeline.pipeline_spec.root.input_definitions.parameters.items()):
            default = known[name].default
            lines.append(f"  {name}={'required' if default is inspect.Parameter.empty else default}")
            lines.append(f"      {described.description}")
    return "\n".join(lines[1:])


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        unknown = message.partition("unrecognized arguments: ")[2].split(" ")[0]
        if unknown.startswith("-"):
            options = [option for action in self._actions for option in action.option_strings]
            raise UnknownNameError("option", unknown.partition("=")[0], options, f"of {self.prog}")
        raise SettingError(f"{self.prog.rpartition(' ')[2]}: {message}")


def _parser(verb: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=f"python -m pipelines {verb}",
        description=VERBS[verb],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("domain", help=", ".join(domains()))
    if verb == "compile":
        parser.add_argument("--out", default="compiled", help="folder for the YAML files (default: compiled)")
        return parser
    parser.add_argument("settings", nargs="*", metavar="name=value", help="parameters of the pipeline")
    if verb == "run":
        parser.add_argument("--root", default="runs", help="folder for the results (default: runs)")
    else:
        parser.add_argument("--host", required=True, help="address of the Kubeflow Pipelines API")
        parser.add_argument("--experiment", default="hepml", help="experiment to run in (default: hepml)")
        parser.add_argument("--pipeline-root", help="where artifacts go, for example gs://bucket/prefix")
    return parser


def _compile(given: argparse.Namespace) -> int:
    from kfp import compiler

    for name, pipeline in pipelines_of(given.domain).items():
        path = Path(given.out, f"{name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        compiler.Compiler().compile(pipeline, str(path))
        print(path)  # noqa: T201
    return 0


def _run(given: argparse.Namespace) -> int:
    from pipelines.local_run import run_here
    from pipelines.preflight import check_settings

    pipeline, values = choose_pipeline(given.domain, given.settings)
    check_settings(pipeline, values)
    return run_here(pipeline, values, Path(given.root, given.domain))


def _submit(given: argparse.Namespace) -> int:
    from pipelines.preflight import check_settings
    from pipelines.submission import submit

    pipeline, values = choose_pipeline(given.domain, given.settings)
    check_settings(pipeline, values)
    print(submit(pipeline, values, given.host, given.experiment, given.pipeline_root))  # noqa: T201
    return 0


_ACTS = {"compile": _compile, "run": _run, "submit": _submit}

if __name__ == "__main__":
    sys.exit(main())
