"""What is here already: found by its hash, checked before it is used again, linked; what is bad is named together."""

import errno
import hashlib
import json
import os
import shutil

import pytest
import yaml

from components.pull_dataset.fetching import ObjectsUnavailableError
from spine import progress
from spine.errors import DigestMismatchError
from spine.objects import ObjectUnavailableError
from spine.records import RECORD_FILE


@pytest.fixture
def held(root):
    """A function that returns where the root keeps an object."""
    return lambda md5: root / "objects" / "md5" / md5[:2] / md5[2:]


def spoil(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content)


def same_as_published(published, root, record, listing):
    return all(
        (root / record.folder / path).read_bytes() == published.object(md5).read_bytes()
        for path, md5 in listing.items()
    )


def test_data_are_links_to_the_objects_with_a_mode_that_bears_being_copied_over(root, pull, listing, held):
    folder = root / pull().folder
    for path, md5 in listing.items():
        assert (folder / path).stat().st_ino == held(md5).stat().st_ino
        assert (folder / path).stat().st_mode & 0o777 == 0o644


def test_where_links_are_refused_data_are_copies(published, root, pull, listing, held, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    record = pull()
    assert same_as_published(published, root, record, listing)
    assert all((root / record.folder / path).stat().st_ino != held(md5).stat().st_ino for path, md5 in listing.items())


def test_what_an_interrupted_pull_brought_is_not_moved_again(published, root, pull, listing, held):
    record = pull()
    home = published.home_below(root, published.second)
    (home / RECORD_FILE).unlink()
    shutil.rmtree(home / "data")
    kept, lost = sorted(set(listing.values()))[::2], sorted(set(listing.values()))[1::2]
    for md5 in lost:
        held(md5).unlink()
    before = {md5: held(md5).stat().st_mtime_ns for md5 in kept}
    # What is there already must not be asked for again.
    for md5 in kept:
        published.object(md5).rename(published.remote / md5)
    assert pull() == record
    assert {md5: held(md5).stat().st_mtime_ns for md5 in kept} == before
    for md5 in kept:
        (published.remote / md5).rename(published.object(md5))
    assert same_as_published(published, root, record, listing)


def test_an_object_that_was_damaged_here_is_fetched_again(published, root, pull, listing, held):
    record = pull()
    home = published.home_below(root, published.second)
    (home / RECORD_FILE).unlink()
    md5 = listing["manifest.json"]
    spoil(held(md5))
    spoil(held(published.hashes[published.second]))
    assert pull() == record
    assert same_as_published(published, root, record, listing)
    assert held(md5).read_bytes() == published.object(md5).read_bytes()


def test_data_without_a_record_are_not_trusted(published, root, pull, listing):
    record = pull()
    (published.home_below(root, published.second) / RECORD_FILE).unlink()
    spoil(root / record.folder / "manifest.json")
    (root / record.folder / "more").write_text("x")
    assert pull() == record
    assert same_as_published(published, root, record, listing)
    assert not (root / record.folder / "more").exists()


def test_what_killed_pulls_left_half_written_is_neither_kept_nor_trusted(published, root, pull, listing, held):
    victim = next(path for path in sorted(listing) if path.startswith("imagesTr/"))
    incoming = published.home_below(root, published.second) / "incoming"
    partial = root / "objects" / ".partial-x1"
    for path in (incoming / victim, incoming / "more", partial / listing[victim], held(listing[victim])):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    record = pull()
    folder = root / record.folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == set(listing)
    assert same_as_published(published, root, record, listing)
    assert not partial.exists() and not incoming.exists()


def test_several_bad_objects_are_named_together_and_the_others_stay(published, root, pull, listing, held):
    # In the listing's order, each content once.
    bad = list(dict.fromkeys(row["md5"] for row in published.listed(published.second)))[:7]
    paths = {md5: path for path, md5 in reversed(listing.items())}
    away = published.remote / "away"
    away.mkdir()
    for md5 in bad:
        shutil.copy(published.object(md5), away / md5)
    for md5 in bad[::2]:
        published.object(md5).unlink()
    for md5 in bad[1::2]:
        spoil(published.object(md5))
    with pytest.raises(ObjectsUnavailableError) as told:
        pull()
    message = str(told.value)
    assert message.startswith(f"7 of {len(set(listing.values()))} objects can't be had: ") and "\n" not in message
    assert f"{paths[bad[0]]} (object {bad[0]}): no such file or directory; " in message
    assert f"{paths[bad[1]]} (object {bad[1]}): damaged, its content has MD5 " in message
    assert bad[4] in message and bad[5] not in message and "; and 2 more, all in " in message
    assert all(held(md5).is_file() is (md5 not in bad) for md5 in listing.values())
    assert not (published.home_below(root, published.second) / "data").exists()
    for md5 in bad:
        published.object(md5).unlink(missing_ok=True)
        shutil.copy(away / md5, published.object(md5))
    for md5 in set(listing.values()) - set(bad):
        published.object(md5).unlink()
    assert pull().cases == 7


def test_a_single_bad_object_is_named_with_its_path(published, pull, listing):
    md5 = listing["manifest.json"]
    spoil(published.object(md5))
    with pytest.raises(DigestMismatchError, match=f"object {md5} for manifest.json: digest is "):
        pull()
    published.object(md5).unlink()
    with pytest.raises(ObjectUnavailableError, match=r"no such file or directory \(for manifest.json\); expected"):
        pull()


def publish_more(published, content, paths):
    """Commit a version with one more object, at several paths."""
    rows = published.listed(published.second)
    md5 = hashlib.md5(content).hexdigest()
    rows += [{"md5": md5, "relpath": path} for path in paths]
    listing = json.dumps(rows).encode()
    dvc_hash = hashlib.md5(listing).hexdigest() + ".dir"
    for name, object_content in {md5: content, dvc_hash: listing}.items():
        published.object(name).parent.mkdir(exist_ok=True)
        published.object(name).write_bytes(object_content)
    lock = published.repository / "dvc.lock"
    changed = yaml.safe_load(lock.read_text())
    (output,) = (row for row in changed["stages"]["prepare_dataset"]["outs"] if row["path"] == "data/prepared")
    output.update(md5=dvc_hash, size=output["size"] + len(paths) * len(content))
    lock.write_text(yaml.safe_dump(changed))
    published.commit("more")


def test_progress_is_told_in_megabytes_of_the_size_in_dvc_lock(published, pull):
    publish_more(published, bytes(3_000_000), ["more/first", "more/second"])
    events = []
    with progress.followed(events.append):
        pull("HEAD")
    last = events[-1]
    assert (last.step, last.task) == ("pull_dataset", "fetch and check (MB)")
    # Two files of one content are fetched once.
    assert (last.done, last.total, last.note) == (6.0, 6.0, "3.0 MB moved")


def test_what_was_here_counts_as_done_and_not_as_moved(published, root, pull):
    publish_more(published, bytes(3_000_000), ["more/first"])
    record = pull("HEAD")
    shutil.rmtree(root / record.folder)
    events = []
    with progress.followed(events.append):
        pull("HEAD")
    assert (events[-1].done, events[-1].total, events[-1].note) == (3.0, 3.0, "0.0 MB moved")


def test_without_a_size_in_dvc_lock_objects_are_counted(published, pull, listing):
    lock = published.repository / "dvc.lock"
    content = yaml.safe_load(lock.read_text())
    for output in content["stages"]["prepare_dataset"]["outs"]:
        output.pop("size", None)
    lock.write_text(yaml.safe_dump(content))
    published.commit("no size")
    events = []
    with progress.followed(events.append):
        pull()
    distinct = len(set(listing.values()))
    assert (events[-1].task, events[-1].done, events[-1].total) == ("fetch and check (objects)", distinct, distinct)


def test_files_of_one_content_are_one_object(published, root, pull):
    publish_more(published, b"same", ["again/a", "again/b"])
    folder = root / pull().folder
    assert (folder / "again" / "a").stat().st_ino == (folder / "again" / "b").stat().st_ino


@pytest.mark.parametrize("harm", ["written to in place", "removed", "cut short"])
def test_a_pulled_file_that_was_touched_is_brought_again_and_the_record_stays(published, root, pull, listing, harm):
    record = pull()
    name = next(path for path in sorted(listing) if path.startswith("labelsTr/"))
    victim = root / record.folder / name
    whole = victim.read_bytes()
    if harm == "removed":
        victim.unlink()
    else:
        # Through the link, so that the object that all revisions share is damaged, too.
        victim.write_bytes(whole[:-9] if harm == "cut short" else whole[:50] + b"X" + whole[51:])
        os.utime(victim, ns=(1, 1))
    assert pull() == record
    assert victim.read_bytes() == whole


def test_a_record_that_was_damaged_is_written_anew_without_moving_data(published, root, pull):
    record = pull()
    path = published.home_below(root, published.second) / RECORD_FILE
    path.write_text(path.read_text().replace('"cases"', '"case"'))
    shutil.rmtree(published.remote / "files" / "md5")
    assert pull() == record


def test_all_bad_objects_are_listed_in_a_file(published, root, pull, listing):
    bad = sorted(set(listing.values()))[:7]
    for md5 in bad:
        published.object(md5).unlink()
    with pytest.raises(ObjectsUnavailableError, match=r"all in .*unavailable\.txt") as refused:
        pull()
    told = (root / "objects" / "unavailable.txt").read_text()
    assert all(md5 in told for md5 in bad) and len(told.splitlines()) == 7
    assert "\n" not in str(refused.value)


def test_a_remote_whose_url_dvc_quotes_is_read(published, root, pull, tmp_path):
    place = tmp_path / "rem,ote #1"
    published.remote.rename(place)
    config = published.repository / ".dvc" / "config"
    config.write_text(config.read_text().replace("../../remote", f'"{place}"'))
    published.commit("moved")
    assert pull().cases == 7
