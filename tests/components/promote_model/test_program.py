"""The step that promotes and rolls back on a cluster: MLflow's aliases follow, and the event stands without them."""

import pytest

from components.promote_model.program import step
from model_registry.lifecycle import Registry
from model_registry.mlflow_store import MlflowStore
from model_registry.promotion import Change
from spine.settings import settings

pytestmark = pytest.mark.slow
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
    return {"root": str(registry.root), "action": "promote", "version": 1, "reason": "better", **values}


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


def test_the_event_stands_where_mlflow_can_not_be_reached_and_one_line_says_so(registry, monkeypatch, caplog):
    monkeypatch.setenv("SPINELINE_TRACKING_URI", "http://127.0.0.1:9")
    settings.cache_clear()
    step(**given(registry))
    assert registry.state().serving == 1
    (told,) = [line.message for line in caplog.records if "aliases" in line.message]
    assert told.startswith("MLflow's aliases were not set: ") and "\n" not in told
