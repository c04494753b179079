"""The model store: bundles that a machine never held come whole, verified and once, or are told to be away."""

import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_registry.bundle import MANIFEST_FILE, Bundle
from model_registry.errors import BundleAwayError, NotPromotableError
from model_registry.lifecycle import Registry
from model_registry.model_store import ModelStore
from spine.blob_store import BlobStoreUnreachableError
from spine.blob_stores import open_blob_store
from spine.errors import DigestMismatchError, InvalidValueError
from spine.settings import Settings
from spine.storage import digest_folder, short

WHY = "because of the test"
WEIGHTS = "model/fold_0/checkpoint_final.pth"
MakeRelay = Callable[..., tuple[str, list[str]]]


@pytest.fixture(params=["folder", "s3"])
def services(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings with a model store in a folder, or on S3 behind a relay; the ledger is the trainer's, for all."""
    ledger = str(tmp_path / "ledger")
    if request.param == "folder":
        return Settings(ledger=ledger, model_store=str(tmp_path / "models"))
    endpoint, _ = request.getfixturevalue("relay")()
    bucket = request.getfixturevalue("bucket")
    return Settings(ledger=ledger, model_store=f"s3://{bucket}/models", s3_endpoint=endpoint)


@pytest.fixture
def store(services: Settings) -> ModelStore:
    return ModelStore(open_blob_store(str(services.model_store), endpoint=services.s3_endpoint))


@pytest.fixture
def trainer(services: Settings, tmp_path: Path, write_evidence: Callable[..., Bundle]) -> Registry:
    """The registry of the machine that trained and registered versions 1 and 2."""
    registry = Registry.at(tmp_path / "trainer", services)
    for version in (1, 2):
        bundle = write_evidence(registry.root / "models" / str(version), weights=f"weights of {version}")
        registry.register(version=version, bundle=bundle, actor="ann", reason=WHY)
    return registry


@pytest.fixture
def server(services: Settings, tmp_path: Path, trainer: Registry) -> Registry:
    """The registry of a machine that holds no bundle yet."""
    return Registry.at(tmp_path / "server", services)


def away(registry: Registry) -> Registry:
    """The same registry with a model store on a share that is not mounted."""
    blob_store = open_blob_store(registry.root / "share" / "models")
    return Registry(registry.root, ledger=registry.blob_store("ledger"), models=ModelStore(blob_store))


def test_a_registered_bundle_lies_in_the_store_by_its_digest(
    trainer: Registry, store: ModelStore, services: Settings
) -> None:
    for version in (1, 2):
        bundle = trainer.bundle(version)
        assert store.holds(bundle.digest)
        assert store.location(bundle.digest).endswith(f"/models/{short(bundle.digest)}")
        assert trainer.location(bundle) == store.location(bundle.digest)
    assert not store.holds("sha256:" + "0" * 64)


def test_the_layout_is_the_bundles_own(trainer: Registry, services: Settings) -> None:
    blob_store = open_blob_store(str(services.model_store), endpoint=services.s3_endpoint)
    bundle = trainer.bundle(1)
    names = {name.removeprefix(f"{short(bundle.digest)}/") for name in blob_store.listed(short(bundle.digest))}
    assert names == {*bundle.manifest.files, MANIFEST_FILE}
    assert blob_store.read(f"{short(bundle.digest)}/{WEIGHTS}") == b"weights of 1"


def test_a_bundle_without_its_manifest_or_a_file_is_not_held_and_is_completed(
    trainer: Registry, store: ModelStore, services: Settings
) -> None:
    blob_store = open_blob_store(str(services.model_store), endpoint=services.s3_endpoint)
    bundle = trainer.bundle(1)
    for name in (MANIFEST_FILE, WEIGHTS):
        blob_store.remove(f"{short(bundle.digest)}/{name}")
        assert not store.holds(bundle.digest)
        store.send(bundle)
        assert store.holds(bundle.digest)
    blob_store.replace(f"{short(bundle.digest)}/{MANIFEST_FILE}", b"{")
    assert not store.holds(bundle.digest)


@pytest.mark.parametrize("verified", [True, False])
def test_a_machine_that_never_held_a_version_fetches_it(trainer: Registry, server: Registry, verified: bool) -> None:
    bundle = server.verified_bundle(2) if verified else server.bundle(2)
    assert bundle.folder == server.root / "models" / "2"
    assert digest_folder(bundle.folder) == digest_folder(trainer.bundle(2).folder)
    assert sorted(path.name for path in bundle.folder.parent.iterdir()) == [".2.lock", "2"]


def test_what_was_fetched_is_used_while_the_store_is_away(server: Registry) -> None:
    server.bundle(1)
    alone = away(server)
    assert alone.verified_bundle(1).digest == server.bundle(1).digest
    assert alone.bundle(1).folder == server.root / "models" / "1"


def test_a_version_that_is_nowhere_to_be_had_is_told_in_one_line(server: Registry) -> None:
    alone = away(server)
    for attempt in (alone.bundle, alone.verified_bundle):
        with pytest.raises(
            BundleAwayError, match="version 1 is not whole in .*/models/1 and can't be fetched: .*/share is"
        ):
            attempt(1)
    assert not (server.root / "models" / "1").exists()


def test_a_root_that_takes_no_bundle_is_told_in_one_line(server: Registry) -> None:
    server.root.mkdir()
    (server.root / "models").write_text("in the way")
    with pytest.raises(BundleAwayError, match="version 1 is not whole in .* can't be fetched: .*/models: file exists"):
        server.bundle(1)


def cut(folder: Path) -> None:
    (folder / WEIGHTS).write_text("other weights")


def emptied(folder: Path) -> None:
    shutil.rmtree(folder / "model")


def unreadable(folder: Path) -> None:
    (folder / MANIFEST_FILE).write_text("{")


@pytest.mark.parametrize("damage", [cut, emptied, unreadable])
def test_a_damaged_copy_is_fetched_again_and_set_aside_and_told(
    server: Registry, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    folder = server.verified_bundle(1).folder
    sound = digest_folder(folder)
    for _ in range(2):
        damage(folder)
        harmed = digest_folder(folder)
        assert server.verified_bundle(1).folder == folder
        assert digest_folder(folder) == sound
        assert digest_folder(folder.with_name("1.damaged")) == harmed
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [line.startswith("a damaged bundle was set aside as") for line in told] == [True, True]


def test_a_damaged_copy_stays_where_it_is_while_the_store_is_away(server: Registry) -> None:
    folder = server.verified_bundle(1).folder
    cut(folder)
    harmed = digest_folder(folder)
    with pytest.raises(BundleAwayError, match="version 1 is not whole"):
        away(server).verified_bundle(1)
    assert digest_folder(folder) == harmed
    assert sorted(path.name for path in folder.parent.iterdir()) == [".1.lock", "1"]


@pytest.mark.parametrize("name", [WEIGHTS, MANIFEST_FILE])
def test_a_store_with_another_content_gives_nothing_and_names_the_file(
    server: Registry, trainer: Registry, services: Settings, name: str
) -> None:
    blob_store = open_blob_store(str(services.model_store), endpoint=services.s3_endpoint)
    mine, other = (short(trainer.bundle(version).digest) for version in (1, 2))
    blob_store.replace(f"{mine}/{name}", blob_store.read(f"{other}/{name}"))
    with pytest.raises(BundleAwayError, match=f"{mine}/{name}: digest is"):
        server.bundle(1)
    assert not (server.root / "models" / "1").exists()


def test_without_a_store_a_damaged_bundle_is_refused_as_before(
    tmp_path: Path, trainer: Registry, services: Settings
) -> None:
    registry = Registry.at(trainer.root, Settings(ledger=services.ledger))
    cut(registry.bundle(1).folder)
    with pytest.raises(DigestMismatchError, match=WEIGHTS):
        registry.verified_bundle(1)


def _fetch(root: Path, services: Settings, start: object, results: object) -> None:
    registry = Registry.at(root, services)
    for version in (1, 2):
        start.wait()  # type: ignore[attr-defined]
        results.put(registry.verified_bundle(version).json("policy.json")["name"])  # type: ignore[attr-defined]


def test_two_processes_that_fetch_at_once_both_get_it_and_one_brings_it(
    services: Settings, trainer: Registry, tmp_path: Path
) -> None:
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(2), context.Queue()
    rivals = [context.Process(target=_fetch, args=(tmp_path / "server", services, start, results)) for _ in range(2)]
    for rival in rivals:
        rival.start()
    told = [results.get(timeout=60) for _ in range(4)]
    for rival in rivals:
        rival.join()
    assert told == ["strict"] * 4
    names = sorted(path.name for path in (tmp_path / "server" / "models").iterdir())
    assert names == [".1.lock", ".2.lock", "1", "2"]


def test_threads_that_fetch_at_once_leave_one_whole_bundle_that_is_never_taken_away(server: Registry) -> None:
    server.verified_bundle(1)
    cut(server.root / "models" / "1")
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: server.verified_bundle(1).json("policy.json")["name"], range(12)))
    assert found == ["strict"] * 12


def test_what_a_killed_fetch_left_is_cleared(server: Registry) -> None:
    left = server.root / "models" / ".partial-1-abc"
    left.mkdir(parents=True)
    (left / "half").write_text("x")
    server.bundle(1)
    assert not left.exists()


def test_a_bundle_is_in_the_store_before_its_event_is_in_the_ledger(
    services: Settings, tmp_path: Path, write_evidence: Callable[..., Bundle]
) -> None:
    registry = away(Registry.at(tmp_path / "trainer", services))
    bundle = write_evidence(registry.root / "models" / "1")
    with pytest.raises(BlobStoreUnreachableError):
        registry.register(version=1, bundle=bundle, actor="ann", reason=WHY)
    assert registry.history() == []


def test_a_revoked_version_is_neither_fetched_nor_given_from_what_lies_here(server: Registry) -> None:
    server.bundle(1)
    for version in (1, 2):
        server.revoke(version, actor="ann", reason=WHY)
        for attempt in (server.bundle, server.verified_bundle):
            with pytest.raises(NotPromotableError, match=f"version {version} is revoked"):
                attempt(version)
    assert not (server.root / "models" / "2").exists()


def test_revoked_weights_do_not_come_back_under_another_number(server: Registry, trainer: Registry) -> None:
    trainer.revoke(1, actor="ann", reason=WHY)
    with pytest.raises(InvalidValueError, match="one that is not registered yet: this is version 1, revoked"):
        trainer.register(version=3, bundle=Bundle(trainer.root / "models" / "1"), actor="ann", reason=WHY)


def test_without_a_store_a_bundle_is_where_it_lies(registry: Registry, register: Callable[..., Bundle]) -> None:
    bundle = register(1)
    assert registry.location(bundle) == bundle.folder.as_uri()
