"""Progress where there is no terminal: few lines, but never one too few to know how things are."""

import time

import pytest

from pipelines.cli import progress_lines
from pipelines.cli.output import errors, print_table, progress_view
from pipelines.cli.progress_lines import ProgressLines
from spine.log_lines import current_fold
from spine.progress import ProgressEvent


def event(done, note="", *, task="step", total=1, fold=None):
    return ProgressEvent(step="plan_training", task=task, done=done, total=total, note=note, at=0, fold=fold)


@pytest.fixture
def lines():
    """Progress lines, and the notes that they have told."""
    told = []
    return ProgressLines(lambda one: told.append(one.note)), told


def test_between_beginning_and_end_a_task_is_told_of_at_most_every_ten_seconds(lines):
    shown, told = lines
    for number in range(100):
        shown.show(event(number, f"epoch {number}", total=100))
    assert told == ["epoch 0"]
    shown.show(event(100, "done", total=100))
    assert told == ["epoch 0", "done"]


def test_news_that_was_kept_back_is_told_once_it_is_due_though_nothing_else_happens(lines, monkeypatch):
    monkeypatch.setattr(progress_lines, "_QUIET_S", 0.2)
    monkeypatch.setattr(progress_lines, "_LOOK_S", 0.02)
    shown, told = lines
    with shown.kept_up():
        for note in ("waits", "is made", "runs"):
            shown.show(event(0, note))
        assert told == ["waits"]
        until = time.monotonic() + 10
        while len(told) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert told == ["waits", "runs"]


def test_the_newest_is_told_at_the_end_in_the_order_in_which_it_came_and_also_where_work_failed(lines):
    shown, told = lines
    with pytest.raises(RuntimeError), shown.kept_up():
        for note in ("a1", "a2"):
            shown.show(event(0, note, task="a"))
        for note in ("b1", "b2"):
            shown.show(event(0, note, task="b"))
        shown.show(event(0, "a3", task="a"))
        raise RuntimeError
    assert told == ["a1", "b1", "b2", "a3"]


def test_a_part_that_begins_anew_is_told_of_at_once(lines):
    shown, told = lines
    for note in ("first", "kept"):
        shown.show(event(0, note))
    shown.begin_part()
    shown.show(event(0, "second"))
    assert told == ["first", "kept", "second"]


def test_a_line_is_about_the_fold_that_its_event_names(monkeypatch):
    folds = []
    monkeypatch.setattr(errors, "print", lambda *_, **__: folds.append(current_fold()))
    with progress_view() as view:
        view.show(event(1, task="fold 2, epoch", fold=2))
        view.show(event(1))
    assert folds == [2, None]


NOTES = ["[/nan] loss", "[bold]my[/bold] [prod]", "an :bug: here"]


@pytest.mark.parametrize("note", NOTES)
@pytest.mark.parametrize("on_terminal", [True, False])
def test_words_in_brackets_are_shown_as_they_are(note, on_terminal, capsys, monkeypatch):
    monkeypatch.setattr(errors, "_force_terminal", on_terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress_view() as view:
        view.show(event(0, note, task=f"fold {note}"))
    assert capsys.readouterr().err.count(note) >= 2


@pytest.mark.parametrize("note", NOTES)
def test_a_tables_title_is_no_markup(note, capsys):
    print_table(f"{note}: RUNNING", ["step"], [("x" * 80,)])
    assert f"{note}: RUNNING" in capsys.readouterr().out
