"""A group of folds as real child processes on CPU stand-ins: queue, failures, kills, stops, progress."""

import pytest

from components.train_folds.outcome import FoldsFailedError
from components.train_folds.worker import FoldJob
from spine import progress
from spine.settings import settings


def states(outcomes):
    return [outcome.state for outcome in outcomes]


def test_five_folds_on_three_devices_queue_and_use_all_three(programs):
    script = "note(event='began'); time.sleep(0.1 if sys.argv[2] == '0' else 0.8); note(event='ended')"
    outcomes = programs.run(*[programs.job(fold, script) for fold in range(5)], devices=3)
    assert [(outcome.fold, outcome.state) for outcome in outcomes] == [(fold, "done") for fold in range(5)]
    at_once, most = 0, 0
    for note in sorted(programs.notes(), key=lambda note: note["at"]):
        at_once += 1 if note["event"] == "began" else -1
        most = max(most, at_once)
    assert most == 3


def test_a_failing_fold_stops_no_other_and_is_named_with_its_reason_and_log(programs):
    jobs = [programs.job(fold, "print('fine')") for fold in range(5)]
    jobs[1] = programs.job(1, "print('error: case C7: not found; expected a scan', file=sys.stderr); sys.exit(2)")
    jobs[3] = programs.job(3, "[print('line', n) for n in range(40)]; raise RuntimeError('CUDA out of memory')")
    outcomes = programs.run(*jobs, devices=2)
    assert states(outcomes) == ["done", "failed", "done", "failed", "done"]
    error = FoldsFailedError(outcomes)
    assert str(error) == (
        "2 of 5 folds failed: fold 1: case C7: not found; expected a scan; "
        "fold 3: ended with status 1: RuntimeError: CUDA out of memory"
    )
    assert "line 39" in error.log_tail and "line 20" not in error.log_tail


def test_a_log_is_appended_to_and_its_tail_is_of_this_run_only(programs):
    job = programs.job(0, "sys.exit('broken')")
    job.log.parent.mkdir()
    job.log.write_text("error: of the last run\n")
    assert programs.run(job)[0].log_tail == "broken"
    assert job.log.read_text() == "error: of the last run\nbroken\n"


def test_a_program_that_cannot_be_started_is_a_failed_fold(programs):
    missing = FoldJob(fold=0, command=["/nowhere/python"], log=programs.path / "0.log")
    outcomes = programs.run(missing, programs.job(1, "pass"))
    assert states(outcomes) == ["failed", "done"]
    assert outcomes[0].reason.startswith("could not be started: /nowhere/python")


def test_a_killed_fold_is_started_again_while_its_checkpoint_gets_further(programs):
    script = """
        epoch = len(list(pathlib.Path(sys.argv[1]).parent.glob("epoch_*")))
        if epoch == 5:
            sys.exit(0)
        pathlib.Path(sys.argv[1]).with_name(f"epoch_{epoch}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    [outcome] = programs.run(programs.job(0, script, progress=lambda: len(list(programs.path.glob("epoch_*")))))
    assert (outcome.state, outcome.restarts) == ("done", 5)


def test_a_fold_that_is_killed_at_the_same_place_is_given_up(programs):
    script = "note(event='began'); os.kill(os.getpid(), signal.SIGKILL)"
    outcomes = programs.run(programs.job(0, script), programs.job(1, "pass"))
    assert states(outcomes) == ["failed", "done"]
    assert outcomes[0].reason == "killed by SIGKILL 3 times without getting further (out of memory?)"
    assert len(programs.notes()) == 3


def test_what_a_killed_fold_has_started_ends_with_it(programs):
    script = """
        import subprocess
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        note(event="began", worker=worker.pid)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    programs.run(programs.job(0, script))
    workers = [note["worker"] for note in programs.notes()]
    assert len(workers) == 3
    programs.until_gone(workers)


def test_a_stop_lets_running_folds_save_and_starts_no_other(programs):
    jobs = [programs.job(fold, programs.saves_when_stopped) for fold in range(3)]
    outcomes = programs.run_until(2, *jobs, devices=2)
    assert states(outcomes) == ["interrupted"] * 3
    assert outcomes[2].reason == "stopped before it began"
    assert sorted(note["fold"] for note in programs.notes() if note["event"] == "saved") == [0, 1]


def test_a_fold_that_does_not_stop_is_killed_after_the_grace(programs):
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); note(event='ready'); time.sleep(600)"
    outcomes = programs.run_until(1, programs.job(0, script), grace_s=0.3)
    assert (outcomes[0].state, outcomes[0].restarts) == ("interrupted", 0)
    programs.until_gone()


def test_an_error_in_this_process_ends_the_children_too(programs):
    def refuse(event):
        raise RuntimeError(event.task)

    script = """
        from spine import progress
        note(event="began")
        progress.report("train_folds", "fold 0", done=1, total=2)
        time.sleep(600)
    """
    with pytest.raises(RuntimeError, match="fold 0"):
        programs.run(programs.job(0, script), on_event=refuse)
    programs.until_gone()


def test_progress_of_children_reaches_the_parent(programs):
    script = "from spine import progress; progress.report('train_folds', f'fold {sys.argv[2]}', done=1, total=2)"
    seen = []
    programs.run(*[programs.job(fold, script) for fold in range(2)], devices=2, on_event=seen.append)
    assert sorted(event.task for event in seen) == ["fold 0", "fold 1"]


def test_children_use_the_progress_file_that_the_parent_was_given(programs, monkeypatch):
    monkeypatch.setenv("SPINELINE_PROGRESS_FILE", str(programs.path / "events.jsonl"))
    settings.cache_clear()
    script = "from spine import progress; progress.report('train_folds', 'fold 0', done=1, total=2)"
    seen = []
    programs.run(programs.job(0, script), on_event=seen.append)
    assert [event.task for event in progress.ProgressReader(programs.path / "events.jsonl").new_events()] == ["fold 0"]
    assert seen == []
