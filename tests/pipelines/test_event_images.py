"""The pipeline of event_images; what holds for every domain's pipelines is in test_main."""

from __future__ import annotations

from tests.pipelines.compiled import compiled, parameters_of


def test_the_two_pipelines_agree_on_how_to_train() -> None:
    own, toy = (parameters_of(compiled("event_images")[name]) for name in ("event_images", "event_images_toy"))
    assert set(own) - {"source"} == set(toy) - {"events_per_class"}
    for parameter in ("architecture", "epochs", "learning_rate", "shards_root"):
        assert own[parameter]["defaultValue"] == toy[parameter]["defaultValue"]
