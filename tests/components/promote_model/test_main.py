"""The step that promotes and rolls back on a cluster: who decides is recorded, and MLflow's aliases follow."""

import pytest

from components.promote_model.main import step
from model_registry.lifecycle import Registry
from model_registry.mlflow_store import MlflowStore
from model_registry.promotion import Change
from spine.errors import InvalidValueError
from spine.settings import settings

WHO = {"actor": "ann", "reason": "for tests"}


@pytest.fixture
def registry(registry_with_two_versions, monkeypatch):
    """Two approved versions, and checks of a promotion that need no network."""
    registry = registry_with_two_versions
    monkeypatch.setenv("SPINELINE_ROOT", str(registry.root))
    settings.cache_clear()

    def promote(registry, version, *, actor, reason, **_):
        serving = registry.state().serving
        event = registry.promote(version, actor=actor, reason=reason, expected_serving=serving)
        return Change(event, golden_dice=None, following=())

    monkeypatch.setattr("model_registry.promotion.promote", promote)
    yield Registry.at(registry.root, settings())
    settings.cache_clear()


def given(registry, **values):
    return {"root": str(registry.root), "action": "promote", "version": 1, "reason": "better", "actor": "cy", **values}


@pytest.mark.slow
def test_the_event_is_by_the_actor_of_the_run(registry):
    step(**given(registry))
    assert [event.actor for event in registry.history()][-1] == "cy"


@pytest.mark.parametrize("action", ["promote", "roll-back"])
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"actor": ""}, "actor is ''; expected a name of 1 to 254 printable characters"),
        ({"actor": "a\nb"}, r"actor is 'a\\nb'; expected a name"),
        ({"actor": "automatic"}, "actor is 'automatic'; expected a name"),
        ({"actor": "spineline"}, "actor is 'spineline'; expected the name of a person"),
        ({"actor": "unknown"}, "actor is 'unknown'; expected the name of a person"),
    ],
)
def test_a_run_without_a_person_is_refused_before_anything_is_read(action, wrong, told, tmp_path):
    with pytest.raises(InvalidValueError, match=told) as refused:
        step(**{"root": str(tmp_path), "action": action, "version": 1, "reason": "better", **wrong})
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_promotion_of_no_version_is_refused(tmp_path):
    with pytest.raises(InvalidValueError, match="version is 0; expected the number of an approved version"):
        step(root=str(tmp_path), action="promote", version=0, reason="better", actor="cy")


@pytest.mark.slow
def test_aliases_follow_a_promotion(registry):
    store = MlflowStore(settings().mlflow_uri, artifacts=registry.root / "mlflow", model_name=settings().model_name)
    run = store.candidate_run("t", name="t")
    for number, known in sorted(registry.state().versions.items()):
        source = registry.location(registry.bundle(number))
        store.create_version(run_id=run, source=source, digest=known.model_digest, tags={})
    step(**given(registry, version=1))
    assert store.aliases() == {"candidate": 2, "champion": 1}
    step(**given(registry, version=2))
    assert store.aliases() == {"champion": 2, "previous": 1}


@pytest.mark.slow
def test_the_event_stands_where_mlflow_can_not_be_reached_and_one_line_says_so(registry, monkeypatch, caplog):
    monkeypatch.setenv("SPINELINE_TRACKING_URI", "http://127.0.0.1:9")
    settings.cache_clear()
    step(**given(registry))
    assert registry.state().serving == 1
    (told,) = [line.message for line in caplog.records if "aliases" in line.message]
    assert told.startswith("MLflow's aliases were not set: ") and "\n" not in told
