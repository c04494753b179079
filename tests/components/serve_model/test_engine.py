"""Models come and go: what is kept warm, what leaves memory, and what a revoked version still may do."""

import threading
import time
import weakref

import pytest

from components.serve_model.engine import Engine, Turn, Turns
from components.serve_model.errors import DrainingError
from model_registry.bundle import MANIFEST_FILE, Bundle
from model_registry.lifecycle import Registry
from spine.errors import SpinelineError
from spine.phantom import make_scan
from spine.storage import write_json


@pytest.fixture
def registry(registry_with_two_versions, make_bundle) -> Registry:
    """The registry of two versions and a third one, whose model is that of the first."""
    registry = registry_with_two_versions
    bundle = make_bundle(registry.root / "versions" / "3", seed=1)
    renamed = bundle.manifest.model_copy(update={"recipe_name": "third"})
    write_json(bundle.folder / MANIFEST_FILE, renamed.model_dump(mode="json"))
    registry.register(version=3, bundle=Bundle(bundle.folder), actor="ann", reason="for tests")
    registry.approve(3, actor="ben", reason="for tests")
    return registry


@pytest.fixture
def engine(registry: Registry) -> Engine:
    """An engine whose models must leave memory by themselves: nothing here waits for the garbage collector."""
    return Engine(root=registry.root, threads=1)


def brought(engine: Engine, registry: Registry, version: int) -> bool:
    model, was_warm = engine.prepare(registry, version)
    engine.switch(model)
    return was_warm


def test_the_model_before_is_warm_and_the_one_before_that_leaves_memory(engine: Engine, registry: Registry) -> None:
    assert not brought(engine, registry, 1)
    first = weakref.ref(engine.live.segmenter)
    assert not brought(engine, registry, 2)
    assert brought(engine, registry, 1)
    assert engine.live.segmenter is first()
    assert not brought(engine, registry, 3)
    assert set(engine.held()) == {1, 3}
    assert not brought(engine, registry, 2)
    assert first() is None


def test_a_model_leaves_memory_with_the_last_request_that_holds_it(engine: Engine, registry: Registry) -> None:
    brought(engine, registry, 1)
    request = engine.live
    weights = weakref.ref(request.segmenter)
    for version in (2, 3):
        brought(engine, registry, version)
    assert weights() is not None
    assert request.decode(make_scan(seed=1, patient=0, spacing_mm=(6.0, 6.0, 6.0)).image).labels.array.any()
    del request
    assert weights() is None


@pytest.mark.slow
def test_many_swaps_hold_no_more_than_two_models(engine: Engine, registry: Registry) -> None:
    seen: list[weakref.ref[object]] = []
    for swap in range(8):
        brought(engine, registry, swap % 3 + 1)
        seen.append(weakref.ref(engine.live.segmenter))
        assert len({id(model()) for model in seen if model() is not None}) <= 2


def test_another_model_waits_for_the_replaced_ones_to_finish(
    engine: Engine, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.serve_model.engine._MOST_DRAINING", 1)
    monkeypatch.setattr("components.serve_model.engine._DRAIN_S", 0.1)
    brought(engine, registry, 1)
    requests = [engine.live]
    for version in (2, 3):
        brought(engine, registry, version)
    with pytest.raises(DrainingError, match="still finish requests"):
        engine.prepare(registry, 1)
    assert engine.live.version == 3
    monkeypatch.setattr("components.serve_model.engine._DRAIN_S", 20.0)
    threading.Timer(0.2, requests.clear).start()
    assert not brought(engine, registry, 1)


def test_a_version_can_be_kept_warm_beside_the_live_one(engine: Engine, registry: Registry) -> None:
    brought(engine, registry, 2)
    model, _ = engine.prepare(registry, 1)
    engine.keep(model)
    assert engine.live.version == 2
    assert brought(engine, registry, 1)
    assert set(engine.held()) == {1, 2}


def test_a_revoked_version_is_forgotten_and_what_holds_it_is_told(engine: Engine, registry: Registry) -> None:
    brought(engine, registry, 1)
    request = engine.live
    brought(engine, registry, 2)
    engine.drop(1)
    assert request.is_withdrawn
    assert engine.held() == (2,)
    assert not engine.live.is_withdrawn
    engine.drop(2)
    assert engine.live is None


def test_a_model_whose_files_changed_stays_out(engine: Engine, registry: Registry) -> None:
    brought(engine, registry, 1)
    weights = registry.bundle(2).fold_path(0)
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(SpinelineError, match="digest"):
        engine.prepare(registry, 2)
    assert engine.live.version == 1
    assert engine.held() == (1,)


def test_whoever_waits_for_a_turn_gets_the_next_one() -> None:
    turn, order = Turn(Turns()), []
    with turn:
        waiting = threading.Thread(target=lambda: [turn.__enter__(), order.append("waited"), turn.__exit__()])
        waiting.start()
        time.sleep(0.1)
    for _ in range(3):
        with turn:
            order.append("came again")
    waiting.join(5)
    assert order[0] == "waited"


def test_a_golden_case_goes_before_the_batches_of_other_models() -> None:
    turns = Turns()
    golden, other, order = Turn(turns), Turn(turns), []

    def ask() -> None:
        with other:
            order.append("other")

    with golden.first():
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.1)
        for _ in range(3):
            with golden:
                order.append("golden")
    asking.join(5)
    assert order == ["golden", "golden", "golden", "other"]


def test_a_golden_case_that_fails_lets_the_others_go_on() -> None:
    turns = Turns()
    with pytest.raises(ValueError, match="no answer"), Turn(turns).first():
        raise ValueError("no answer")
    with Turn(turns):
        pass
