"""Plain settings of every origin to typed configs and back."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepml_core.config import Config, build_config, describe_config, to_settings
from hepml_core.errors import HepmlError, SettingError, UnknownNameError
from hepml_core.event_images import config as event_images_config

EVENT_IMAGES = [
    value
    for value in vars(event_images_config).values()
    if dataclasses.is_dataclass(value) and isinstance(value, type) and value.__module__ == event_images_config.__name__
]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """One setting of each type."""

    epochs: int = 10
    """Passes over
    the events."""
    rate: float = 1e-3
    """Size of a step."""
    exact: bool = False
    """Exact or not."""
    name: str = "fit"
    """Name of the fit."""
    sizes: tuple[int, ...] = (64, 8)
    """Widths."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decays."""
    classes: tuple[str, ...] = ()
    """Classes."""
    bits: Literal[8, 16] = 8
    """Bits."""
    precision: Literal["32", "bf16"] = "32"
    """Arithmetic."""
    limit: int | None = None
    """Most events."""
    floor: float | None = None
    """Smallest rate."""

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise SettingError(f"epochs must not be negative, got {self.epochs}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LongFitConfig(FitConfig):
    """A config that extends another."""

    epochs: int = 100
    """More passes."""
    patience: int
    """Epochs to wait."""


@pytest.mark.parametrize(
    ("setting", "value", "meant"),
    [
        ("epochs", 5, 5),
        ("epochs", 5.0, 5),
        ("epochs", "5", 5),
        ("epochs", " 5 ", 5),
        ("epochs", "5.0", 5),
        ("epochs", "1e3", 1000),
        ("epochs", "9007199254740993", 9007199254740993),
        ("rate", 1, 1.0),
        ("rate", "1e-4", 0.0001),
        ("rate", "3", 3.0),
        ("exact", True, True),
        ("exact", "true", True),
        ("exact", "False", False),
        ("exact", "on", True),
        ("exact", "no", False),
        ("exact", 1.0, True),
        ("exact", "0", False),
        ("name", "a b", "a b"),
        ("name", "", ""),
        ("name", 5.0, "5"),
        ("name", 5, "5"),
        ("name", 0.5, "0.5"),
        ("sizes", [8.0, 4.0], (8, 4)),
        ("sizes", (8, 4), (8, 4)),
        ("sizes", "[8,4]", (8, 4)),
        ("sizes", "8,4", (8, 4)),
        ("sizes", "8", (8,)),
        ("sizes", "[]", ()),
        ("sizes", "", ()),
        ("betas", "0.5, 0.9", (0.5, 0.9)),
        ("classes", '["higgs", "a,b"]', ("higgs", "a,b")),
        ("classes", "higgs,qcd", ("higgs", "qcd")),
        ("classes", "['higgs', 'qcd']", ("higgs", "qcd")),
        ("classes", "[higgs, qcd]", ("higgs", "qcd")),
        ("classes", ["1", 2.0], ("1", "2")),
        ("bits", "8", 8),
        ("bits", 8.0, 8),
        ("bits", "16.0", 16),
        ("precision", "bf16", "bf16"),
        ("precision", 32, "32"),
        ("precision", 32.0, "32"),
        ("limit", None, None),
        ("limit", "none", None),
        ("limit", "null", None),
        ("limit", "", None),
        ("limit", "7", 7),
        ("floor", 7, 7.0),
    ],
)
def test_a_value_means_what_the_type_of_its_field_says(setting: str, value: object, meant: Any) -> None:
    found = getattr(build_config(FitConfig, {setting: value}), setting)
    assert found == meant
    assert type(found) is type(meant)
    if isinstance(meant, tuple):
        assert [type(item) for item in found] == [type(item) for item in meant]


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("epochs", 5.5, "epochs must be a whole number, got 5.5"),
        ("epochs", True, "epochs must be a whole number, got True"),
        ("epochs", "ten", "epochs must be a whole number, got 'ten'"),
        ("epochs", "", "epochs must be a whole number, got ''"),
        ("epochs", None, "epochs must be a whole number, got None"),
        ("epochs", math.inf, "epochs must be a whole number, got inf"),
        ("epochs", "nan", "epochs must be a whole number, got 'nan'"),
        ("epochs", [5], r"epochs must be a whole number, got \[5\]"),
        ("epochs", -1, "epochs must not be negative, got -1"),
        ("rate", False, "rate must be a finite number, got False"),
        ("rate", math.nan, "rate must be a finite number, got nan"),
        ("rate", "inf", "rate must be a finite number, got 'inf'"),
        ("rate", "1e999", "rate must be a finite number, got '1e999'"),
        ("rate", 10**400, "rate must be a finite number"),
        ("exact", "perhaps", "exact must be true or false, got 'perhaps'"),
        ("exact", 2, "exact must be true or false, got 2"),
        ("name", True, "name must be text, got True"),
        ("name", ["a"], "name must be text"),
        ("sizes", 8, "sizes must be a list, got 8"),
        ("sizes", "[8,4", r"sizes must be a list such as \[8,4\], got '\[8,4'"),
        ("sizes", "[8,NaN]", r"sizes\[1\] must be a whole number, got nan"),
        ("sizes", "8,x", r"sizes\[1\] must be a whole number, got 'x'"),
        ("sizes", [True], r"sizes\[0\] must be a whole number, got True"),
        ("sizes", "[" * 100_000, "sizes must be a list such as"),
        ("sizes", f"[{'1' * 5000}]", r"sizes\[0\] must be a whole number"),
        ("betas", "[0.9]", "betas must be a list of 2 values, got 1"),
        ("bits", True, "unknown value of bits 'True'"),
        ("bits", 9, "unknown value of bits '9'"),
        ("precision", "bf61", "unknown value of precision 'bf61'. Did you mean 'bf16'"),
        ("limit", "nothing", "limit must be a whole number, got 'nothing'"),
    ],
)
def test_nonsense_is_refused_by_name(setting: str, value: object, sentence: str) -> None:
    with pytest.raises(HepmlError, match=f"^{sentence}"):
        build_config(FitConfig, {setting: value})


def test_an_unknown_setting_comes_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"^unknown setting 'epoch' of FitConfig\. Did you mean 'epochs'\?"):
        build_config(FitConfig, {"epoch": 3})


def test_a_field_of_a_type_that_no_setting_can_have_is_our_own_bug() -> None:
    with pytest.raises(TypeError, match="config field places has a type that settings cannot express"):
        build_config(dataclasses.make_dataclass("OddConfig", [("places", set)]), {"places": "a"})


finite = st.floats(allow_nan=False, allow_infinity=False)
fit_configs = st.builds(
    FitConfig,
    epochs=st.integers(min_value=0),
    rate=finite,
    exact=st.booleans(),
    name=st.text(),
    sizes=st.lists(st.integers()).map(tuple),
    betas=st.tuples(finite, finite),
    classes=st.lists(st.text()).map(tuple),
    bits=st.sampled_from([8, 16]),
    precision=st.sampled_from(["32", "bf16"]),
    limit=st.none() | st.integers(),
    floor=st.none() | finite,
)


@given(fit_configs)
def test_settings_come_back_as_the_same_config(config: FitConfig) -> None:
    assert build_config(FitConfig, json.loads(json.dumps(to_settings(config)))) == config


@given(fit_configs)
def test_settings_come_back_through_a_command_line(config: FitConfig) -> None:
    assert build_config(FitConfig, as_words(to_settings(config))) == config


@given(st.sampled_from([field.name for field in dataclasses.fields(FitConfig)]), st.text() | st.binary() | finite)
def test_whatever_comes_in_is_understood_or_refused(setting: str, value: object) -> None:
    try:
        config = build_config(FitConfig, {setting: value})
    except HepmlError:
        return
    assert build_config(FitConfig, to_settings(config)) == config


@pytest.mark.parametrize("config_type", EVENT_IMAGES, ids=lambda kind: kind.__name__)
def test_every_setting_of_event_images_says_what_it_means(config_type: type[Config]) -> None:
    for setting in describe_config(config_type):
        assert len(setting.meaning) > 10, f"{setting.name} has no string under it"
        assert setting.meaning.endswith("."), setting.name
        assert setting.default != "required", f"{setting.name} has no default: the defaults are the reference run"


@pytest.mark.parametrize("config_type", EVENT_IMAGES, ids=lambda kind: kind.__name__)
def test_the_reference_run_passes_its_own_checks_from_every_origin(config_type: type[Config]) -> None:
    config = config_type()
    settings = to_settings(config)
    assert build_config(config_type, settings) == config
    assert build_config(config_type, through_kubeflow(settings)) == config
    assert build_config(config_type, as_words(settings)) == config


def test_the_help_tells_name_type_default_and_meaning() -> None:
    shown = {setting.name: setting for setting in describe_config(LongFitConfig)}
    assert [*shown] == [field.name for field in dataclasses.fields(LongFitConfig)]
    assert (shown["patience"].type, shown["patience"].default) == ("int", "required")
    assert (shown["epochs"].default, shown["epochs"].meaning) == ("100", "More passes.")
    assert (shown["rate"].default, shown["rate"].meaning) == ("0.001", "Size of a step.")
    assert (shown["sizes"].type, shown["sizes"].default) == ("[int, ...]", "[64, 8]")
    assert (shown["bits"].type, shown["bits"].default) == ("8 | 16", "8")
    assert (shown["limit"].type, shown["limit"].default) == ("int | null", "null")
    assert (shown["name"].type, shown["name"].default) == ("str", '"fit"')
    assert describe_config(FitConfig)[0].meaning == "Passes over the events."


def through_kubeflow(value: Any) -> Any:
    """Do what protobuf's Struct does on the way through a pipeline: whole numbers become floats."""
    if isinstance(value, dict):
        return {name: through_kubeflow(item) for name, item in value.items()}
    if isinstance(value, list):
        return [through_kubeflow(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def as_words(settings: dict[str, Any]) -> dict[str, str]:
    """Write settings as a shell or a Katib trial does."""
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in settings.items()}
