"""Progress: events reach whoever follows, whole and once, also from several processes at a time."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from spine.log_lines import about
from spine.progress import ProgressEvent, ProgressReader, followed, report
from spine.settings import child_environment, settings

CHILD = """
import sys
from spine.progress import report
for number in range(50):
    report(sys.argv[1], "epoch", done=number, total=50, note=sys.argv[1] * 20_000)
"""


@pytest.fixture
def progress_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv("SPINELINE_PROGRESS_FILE", str(path))
    settings.cache_clear()
    yield path
    settings.cache_clear()


def test_events_are_read_as_reported_and_only_once(progress_file: Path) -> None:
    reader = ProgressReader(progress_file)
    assert list(reader.new_events()) == []
    report("train", "fold 0", done=1, total=5, note="loss 0.5\nnext line")
    report("train", "fold 0", done=2, total=5)
    seen = list(reader.new_events())
    assert [(event.step, event.task, event.done, event.total) for event in seen] == [
        ("train", "fold 0", 1, 5),
        ("train", "fold 0", 2, 5),
    ]
    assert seen[0].note == "loss 0.5\nnext line"
    assert list(reader.new_events()) == []
    report("train", "fold 0", done=3, total=5)
    assert [event.done for event in reader.new_events()] == [3]


def test_an_unfinished_line_is_left_for_the_next_look(progress_file: Path) -> None:
    report("train", "fold 0", done=1, total=5)
    whole = progress_file.read_bytes()
    progress_file.write_bytes(whole + whole[:20])
    reader = ProgressReader(progress_file)
    assert len(list(reader.new_events())) == 1
    progress_file.write_bytes(whole + whole)
    assert len(list(reader.new_events())) == 1


def test_long_events_of_processes_side_by_side_stay_whole(progress_file: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, name], env=child_environment(SPINELINE_PROGRESS_FILE=str(progress_file))
        )
        for name in ("a", "b")
    ]
    assert [child.wait() for child in children] == [0, 0]
    events = list(ProgressReader(progress_file).new_events())
    for name in ("a", "b"):
        assert [event.done for event in events if event.step == name] == list(range(50))
        assert all(event.note == name * 20_000 for event in events if event.step == name)


def test_without_a_file_events_are_told_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPINELINE_PROGRESS_FILE", raising=False)
    settings.cache_clear()
    report("plan", "cases", done=2, total=8)
    settings.cache_clear()
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "plan: cases 2/8\n")


def test_an_event_names_the_fold_that_its_process_works_for(progress_file: Path) -> None:
    report("train", "epoch", done=1, total=5)
    with about(fold=3):
        report("train", "epoch", done=2, total=5)
    assert [event.fold for event in ProgressReader(progress_file).new_events()] == [None, 3]


def test_a_follower_sees_events_until_its_block_ends(progress_file: Path) -> None:
    seen: list[ProgressEvent] = []
    with pytest.raises(RuntimeError), followed(seen.append):
        report("plan", "cases", done=1, total=2)
        raise RuntimeError
    report("plan", "cases", done=2, total=2)
    assert [event.done for event in seen] == [1]
    assert [event.done for event in ProgressReader(progress_file).new_events()] == [2]
