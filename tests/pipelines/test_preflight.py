"""Settings are looked at before the first stage starts.

No ``from __future__ import annotations`` here: kfp reads the annotations of the pipelines below.
"""

import pytest
from kfp import dsl

from components.convert import convert
from components.normalize import normalize
from components.organize import organize
from hepml_core.errors import SettingError, UnknownNameError
from pipelines.event_images import event_images, event_images_toy
from pipelines.preflight import check_settings


def test_the_reference_run_passes() -> None:
    check_settings(event_images, {"source": "anywhere"})
    check_settings(event_images_toy, {})


@pytest.mark.parametrize("pipeline", [event_images, event_images_toy])
def test_a_choice_that_does_not_exist_is_found_also_in_a_nested_pipeline(pipeline: dsl.base_component) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'densenet121'"):
        check_settings(pipeline, {"architecture": "densnet121"})


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("image_size", -1, "image_size must be 0 or a number of pixels"),
        ("learning_rate", -0.1, "learning_rate"),
        ("events_per_class", 0, "events_per_class must be at least 1"),
    ],
)
def test_a_value_that_a_stage_refuses_is_refused_in_its_words(name: str, value: float, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        check_settings(event_images_toy, {name: value})


def test_a_misspelled_setting_in_a_pipeline_file_is_found() -> None:
    @dsl.pipeline(name="misspelled")  # type: ignore[untyped-decorator]  # kfp has no types
    def misspelled(source: str) -> None:
        """Ask convert for what it does not know."""
        convert(domain="event_images", source=source, settings={"image_sise": 3})

    with pytest.raises(UnknownNameError, match="Did you mean 'image_size'"):
        check_settings(misspelled, {"source": "x"})


def test_what_another_stage_will_decide_is_left_to_the_run() -> None:
    @dsl.component(base_image="any")  # type: ignore[untyped-decorator]  # kfp has no types
    def choose() -> int:
        return 7

    @dsl.pipeline(name="chosen")  # type: ignore[untyped-decorator]  # kfp has no types
    def chosen(source: str) -> None:
        """Let a component choose a setting of another."""
        shards = convert(domain="event_images", source=source, settings={}).outputs["shards"]
        dataset = organize(domain="event_images", shards=shards, settings={}).outputs["dataset"]
        normalize(domain="event_images", dataset=dataset, settings={"max_samples": choose().output})

    check_settings(chosen, {"source": "x"})
