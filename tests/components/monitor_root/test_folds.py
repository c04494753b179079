"""Folds as the monitor tells of them: by what they told last, and by what is on disk when nobody tells any more."""

import shutil
import time

import pytest

from spine.nnunet.checkpoint_files import Position

EPOCH = {"train_loss": -0.4, "pseudo_dice": 0.8, "epoch_seconds": 12.5, "learning_rate": 0.01}


def statuses(seen, candidate, fold):
    return {key[3]: value for key, value in seen.items() if key[:3] == ("training_status", candidate, str(fold))}


def test_a_fold_is_told_by_its_journal_and_its_checkpoints(site):
    began = time.time()
    site.journal(2).status("RUNNING")
    site.journal(2).metrics(EPOCH, step=7)
    checkpoint = site.fold(2) / Position(epoch=7).file_name
    checkpoint.write_bytes(b"weights")
    site.set_age(checkpoint, 600)
    (site.fold(2) / Position(epoch=6).file_name).write_bytes(b"older by name, newer by time")
    site.set_age(site.fold(2) / Position(epoch=6).file_name, 900)
    seen = site.watched()()
    fold = (site.candidate, "2")
    assert seen["training_epoch", *fold] == 7
    assert (seen["training_loss", *fold], seen["training_pseudo_dice", *fold]) == (-0.4, 0.8)
    assert seen["training_epoch_seconds", *fold] == 12.5
    assert seen["training_last_checkpoint_timestamp_seconds", *fold] == pytest.approx(time.time() - 600, abs=60)
    assert began <= seen["training_last_epoch_timestamp_seconds", *fold] <= time.time()
    assert began <= seen["training_status_timestamp_seconds", *fold] <= time.time()
    assert statuses(seen, *fold) == {"running": 1, "finished": 0, "failed": 0, "killed": 0}


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_the_newest_status_counts_also_after_it_went_on(site, status):
    watched = site.watched()
    site.journal(0).status("RUNNING")
    site.journal(0).status(status)
    assert statuses(watched(), site.candidate, 0)[status.lower()] == 1
    site.journal(0).status("RUNNING")
    assert statuses(watched(), site.candidate, 0) == {"running": 1, "finished": 0, "failed": 0, "killed": 0}


def test_what_is_not_known_yet_is_left_out(site):
    site.journal(0).parameters({"fold": "0"})
    seen = site.watched()()
    assert seen["training_epoch", site.candidate, "0"] == 0
    assert sum(statuses(seen, site.candidate, 0).values()) == 0
    unknown = ("status_timestamp", "last_epoch_timestamp", "last_checkpoint_timestamp", "epoch")
    assert not [key for key in seen if key[0] in [f"training_{name}_seconds" for name in unknown]]
    assert not [key for key in seen if key[0] in ("training_epochs", "training_loss", "training_pseudo_dice")]


def test_the_number_of_epochs_is_read_from_the_candidates_own_journal(site):
    site.journal(0).status("RUNNING")
    site.journal(1).status("RUNNING")
    type(site.journal(0))(site.fold(0).parents[2] / "journal.jsonl").parameters({"training.epochs": "250"})
    seen = site.watched()()
    assert [seen["training_epochs", site.candidate, fold] for fold in ("0", "1")] == [250, 250]


def test_only_what_is_new_of_a_journal_is_read(site, monkeypatch):
    offsets = []
    from components.monitor_root import folds

    class Reader(folds.JournalReader):
        def __init__(self, path, offset=0):
            offsets.append(offset)
            super().__init__(path, offset)

    monkeypatch.setattr(folds, "JournalReader", Reader)
    watched, size = site.watched(), 0
    for epoch in (1, 2, 3):
        site.journal(0).metrics(EPOCH, step=epoch)
        assert watched()["training_epoch", site.candidate, "0"] == epoch
        assert max(offsets) == size
        size = site.journal(0).path.stat().st_size


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(site):
    watched = site.watched()
    site.journal(0).metrics(EPOCH, step=1)
    whole = site.journal(0).path.read_bytes()
    site.journal(0).path.write_bytes(whole + whole.replace(b'"step": 1', b'"step": 2')[:-9])
    assert watched()["training_epoch", site.candidate, "0"] == 1
    site.journal(0).metrics(EPOCH, step=3)
    assert watched()["training_epoch", site.candidate, "0"] == 3


def test_a_journal_that_was_begun_anew_is_read_anew(site):
    watched = site.watched()
    for epoch in range(1, 30):
        site.journal(0).metrics(EPOCH, step=epoch)
    assert watched()["training_epoch", site.candidate, "0"] == 29
    shutil.rmtree(site.fold(0))
    site.journal(0).metrics(EPOCH, step=1)
    assert watched()["training_epoch", site.candidate, "0"] == 1


def test_candidates_that_were_silent_for_days_leave_the_labels(site):
    watched = site.watched(days=2)
    site.journal(0).status("FINISHED")
    site.journal(0, candidate="decadedecade").status("RUNNING")
    site.set_age(site.journal(0).path, 3 * 86400)
    seen = watched()
    assert {key[1] for key in seen if key[0] == "training_epoch"} == {"decadedecade"}
    assert seen["monitor_candidates_left_out",] == 0


def test_of_too_many_candidates_the_last_active_ones_are_told(site):
    for number in range(23):
        site.journal(0, candidate=f"{number:012x}").status("RUNNING")
        site.set_age(site.journal(0, candidate=f"{number:012x}").path, 100 * number)
    seen = site.watched()()
    assert {key[1] for key in seen if key[0] == "training_epoch"} == {f"{number:012x}" for number in range(20)}
    assert seen["monitor_candidates_left_out",] == 3


def test_what_else_lies_among_the_candidates_makes_no_label(site):
    site.journal(0, candidate="notes of ann").status("RUNNING")
    site.journal(7).status("RUNNING")
    (site.root / "candidates" / "file").write_text("x")
    site.journal(0).status("RUNNING")
    assert [key for key in site.watched()() if key[0] == "training_epoch"] == [("training_epoch", site.candidate, "0")]
