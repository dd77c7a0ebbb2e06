"""Plain settings in, a typed frozen config out; the one door for settings of every origin.

Kubeflow Pipelines turns ints into floats, Katib and the shell give strings: the field's type decides what is meant
(``5.0`` is 5 for an int, ``"1e-4"`` is 0.0001 for a float, ``"[8,4]"`` is (8, 4) for a tuple of ints). What does not fit
is refused with a sentence and the nearest right name.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import json
import math
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from hepml_core.errors import SettingError, UnknownNameError


class Config(Protocol):
    """Any frozen dataclass of settings."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


ConfigT = TypeVar("ConfigT", bound=Config)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting as the help shows it."""

    name: str
    type: str
    default: str
    meaning: str


def build_config(config_type: type[ConfigT], settings: Mapping[str, Any]) -> ConfigT:
    """Build a config from plain settings.

    Raises:
        UnknownNameError: A setting does not exist; the message names the nearest one.
        SettingError: A value does not fit the setting's type, or the config refuses it.
    """
    hints = get_type_hints(config_type)
    names = [field.name for field in dataclasses.fields(config_type)]
    settings = _with_preset(config_type, settings)
    for name in settings:
        if name not in names:
            raise UnknownNameError("setting", name, names, f"of {config_type.__name__}")
    return config_type(**{name: coerce(value, hints[name], name) for name, value in settings.items()})


def _with_preset(config_type: type[ConfigT], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the settings of a named run under those that are given, for configs with ``PRESETS`` and a field ``preset``."""
    presets: Mapping[str, Mapping[str, Any]] = getattr(config_type, "PRESETS", {})
    preset = settings.get("preset", "")
    if not presets or not preset:
        return settings
    if preset not in presets:
        raise UnknownNameError("preset", str(preset), presets)
    return {**presets[preset], **settings}


def check_positive(**values: int) -> None:
    """Refuse numbers below 1.

    Raises:
        SettingError: One is; the message names it.
    """
    for name, value in values.items():
        if value < 1:
            raise SettingError(f"{name} must be at least 1, got {value}")


def check_seed(seed: int) -> None:
    """Refuse seeds that are no unsigned 64-bit numbers.

    Raises:
        SettingError: It is none.
    """
    if not 0 <= seed < 2**64:
        raise SettingError(f"seed must be at least 0 and less than 2**64, got {seed}")


def to_settings(config: Config) -> dict[str, Any]:
    """Return every setting of a config as plain JSON values; ``build_config`` accepts them back."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def describe_config(config_type: type[Config]) -> list[Setting]:
    """List a config's settings with type, default and meaning (the string under each field), in order."""
    hints = get_type_hints(config_type)
    meanings = _meanings(config_type)
    return [
        Setting(field.name, _type_name(hints[field.name]), _default_text(field.default), meanings.get(field.name, ""))
        for field in dataclasses.fields(config_type)
    ]


@functools.cache
def _meanings(config_type: type) -> dict[str, str]:
    """Read the docstrings under the fields from the source; base classes first."""
    found: dict[str, str] = {}
    for owner in reversed(config_type.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        body = ast.parse(inspect.cleandoc(inspect.getsource(owner))).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                found[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    return found


def _default_text(default: object) -> str:
    if default is dataclasses.MISSING:
        return "required"
    return json.dumps(default) if isinstance(default, (str, bool, tuple)) or default is None else str(default)


def _type_name(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " | ".join(str(choice) for choice in arguments)
    if origin in (Union, types.UnionType):
        return " | ".join(_type_name(argument) for argument in arguments)
    if origin is tuple:
        inner = ", ".join("..." if argument is Ellipsis else _type_name(argument) for argument in arguments)
        return f"[{inner}]"
    return "null" if hint is type(None) else str(hint.__name__)


def coerce(value: Any, hint: Any, name: str) -> Any:
    """Turn a plain value into the type that the field declares, or refuse it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return _coerce_choice(value, arguments, name)
    if origin in (Union, types.UnionType):
        return _coerce_optional(value, arguments, name)
    if origin is tuple:
        return _coerce_tuple(value, arguments, name)
    if hint not in _COERCIONS:
        raise TypeError(f"config field {name} has a type that settings cannot express: {hint}")
    coerced = _COERCIONS[hint](value)
    if coerced is None:
        raise SettingError(f"{name} must be {_article(_type_name(hint))}, got {value!r}")
    return coerced


def _coerce_choice(value: Any, choices: tuple[Any, ...], name: str) -> Any:
    for choice in choices:
        if _COERCIONS[type(choice)](value) == choice:
            return choice
    raise UnknownNameError(f"value of {name}", str(value), [str(choice) for choice in choices])


def _coerce_optional(value: Any, arguments: tuple[Any, ...], name: str) -> Any:
    if type(None) in arguments and (value is None or value in ("", "none", "None", "null")):
        return None
    (hint,) = (argument for argument in arguments if argument is not type(None))
    return coerce(value, hint, name)


def _coerce_tuple(value: Any, arguments: tuple[Any, ...], name: str) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = _parse_list(value, name)
    if not isinstance(value, (list, tuple)):
        raise SettingError(f"{name} must be a list, got {value!r}")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise SettingError(f"{name} must be a list of {len(hints)} values, got {len(value)}: {value!r}")
    return tuple(coerce(item, hint, f"{name}[{i}]") for i, (item, hint) in enumerate(zip(value, hints, strict=True)))


def _parse_list(text: str, name: str) -> Any:
    """Read ``[8, 4]``, ``["a"]``, ``8,4`` or ``a,b``: JSON where it is JSON, else comma-separated words."""
    stripped = text.strip()
    if stripped.startswith("["):
        try:
            return json.loads(stripped)
        except (ValueError, RecursionError):
            if not stripped.endswith("]"):
                raise SettingError(f"{name} must be a list such as [8,4], got {text!r}") from None
            stripped = stripped[1:-1]
    return [item.strip().strip("'\"") for item in stripped.split(",")] if stripped else []


def _to_bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    return words.get(str(value).strip().lower().removesuffix(".0"))


def _to_int(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        with suppress(ValueError):
            return int(value)  # a float would round long numbers
    number = _to_float(value)
    return int(number) if number is not None and number.is_integer() else None


def _to_float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _to_str(value: Any) -> str | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None


_COERCIONS: dict[type, Callable[[Any], Any]] = {bool: _to_bool, int: _to_int, float: _to_float, str: _to_str}


def _article(noun: str) -> str:
    names = {"int": "a whole number", "float": "a finite number", "bool": "true or false", "str": "text"}
    return names.get(noun, noun)
