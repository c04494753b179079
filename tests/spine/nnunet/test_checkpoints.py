"""Checkpoint files: whole or absent, the two newest kept, never unpickled unless their digest says so."""

import pytest
import torch

from spine.errors import DigestMismatchError
from spine.nnunet import checkpoint_files, checkpoints
from spine.nnunet.checkpoint_files import FINAL, Position, position_of


def write(folder, *positions):
    paths = [folder / (FINAL if at is None else Position(*at).file_name) for at in positions]
    for number, path in enumerate(paths):
        checkpoints.save({"number": number}, path)
    return paths


def names(folder):
    return [path.name for path in checkpoint_files.held(folder)]


@pytest.mark.parametrize("position", [Position(0), Position(0, 7), Position(12), Position(999, 249)])
def test_a_name_tells_the_position(position):
    assert position_of(position.file_name) == position


@pytest.mark.parametrize(
    "name", ["checkpoint_latest.pth", "checkpoint_epoch_1.pth", ".partial-x-checkpoint_final.pth", ""]
)
def test_other_files_are_no_checkpoints(name):
    assert position_of(name) is None


def test_the_final_checkpoint_is_behind_all_others():
    assert position_of(FINAL) > Position(99999, 999999)


def test_within_an_epoch_later_iterations_are_newer(tmp_path):
    paths = write(tmp_path, (1, 249), (2, 0), (1, 3))
    assert checkpoint_files.held(tmp_path) == [paths[1], paths[0], paths[2]]


def test_the_two_newest_are_kept_with_their_digests(tmp_path):
    paths = write(tmp_path, (1, 0), (2, 0), (3, 0))
    checkpoint_files.drop_outdated(tmp_path)
    kept = {path.name for path in paths[1:]}
    assert {path.name for path in tmp_path.iterdir()} == kept | {name + ".sha256" for name in kept}


def test_beside_a_final_checkpoint_none_is_kept(tmp_path):
    write(tmp_path, (1, 0), (2, 0), None)
    checkpoint_files.drop_outdated(tmp_path)
    assert names(tmp_path) == [FINAL]


@pytest.mark.parametrize(
    "damage", ["truncated", "changed", "empty", "without digest", "digest of another", "digest that is no text"]
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path, damage):
    before, newest = write(tmp_path, (1, 0), (2, 0))
    content, seal = newest.read_bytes(), checkpoint_files.seal_of(newest)
    if damage == "truncated":
        newest.write_bytes(content[:-100])
    elif damage == "changed":
        newest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "empty":
        newest.write_bytes(b"")
    elif damage == "without digest":
        seal.unlink()
    elif damage == "digest of another":
        seal.write_text(checkpoint_files.sealed_digest(before))
    else:
        seal.write_bytes(b"\xff\xfe\x80")
    told = []
    found = checkpoint_files.newest_verified(tmp_path, on_rejected=told.append)
    assert found == (before, checkpoint_files.sealed_digest(before))
    assert names(tmp_path) == [before.name], "what was rejected is out of the way of those to come"
    assert len(told) == 1
    assert told[0].startswith(f"{newest}: digest is sha256:")


def test_where_none_verifies_each_is_told(tmp_path):
    for path in write(tmp_path, (1, 0), (2, 0)):
        path.write_bytes(b"nothing")
    told = []
    assert checkpoint_files.newest_verified(tmp_path, on_rejected=told.append) is None
    assert len(told) == 2


def test_a_checkpoint_behind_a_rejected_one_is_kept(tmp_path):
    (newest,) = write(tmp_path, (9, 0))
    newest.write_bytes(b"nothing")
    assert checkpoint_files.newest_verified(tmp_path, on_rejected=lambda _: None) is None
    written = write(tmp_path, (1, 0), (2, 0))
    checkpoint_files.drop_outdated(tmp_path)
    assert checkpoint_files.held(tmp_path) == written[::-1]


def test_a_checkpoint_with_another_digest_is_never_unpickled(tmp_path, monkeypatch):
    (path,) = write(tmp_path, (1, 0))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    with pytest.raises(DigestMismatchError):
        checkpoints.load(path, digest="sha256:0")


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    class Harm:
        def __reduce__(self):
            return (tmp_path.joinpath("harmed").write_text, ("x",))

    path = tmp_path / FINAL
    digest = checkpoints.save({"network_weights": Harm()}, path)
    with pytest.raises(checkpoints.UnreadableCheckpointError, match="holds other than tensors and plain data"):
        checkpoints.load(path, digest=digest)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "told", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing file")]
)
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, told):
    (before,) = write(tmp_path, (1, 0))

    def full(*_):
        raise told

    monkeypatch.setattr(torch, "save", full)
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0})())
    with pytest.raises(Exception, match="no space left on this disk"):
        checkpoints.save({}, tmp_path / Position(2).file_name)
    assert {path.name for path in tmp_path.iterdir()} == {before.name, before.name + ".sha256"}
