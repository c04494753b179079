"""The processes of one fold: what they find in their environment, how they hang together and on their parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from components.train_folds import worker
from components.train_folds.devices import Device
from components.train_folds.group import run_group
from spine.settings import settings

ENVIRONMENT = "note(**{key: os.environ.get(key) for key in ('CUDA_VISIBLE_DEVICES', 'WORLD_SIZE', 'RANK', 'LOCAL_RANK',"
ENVIRONMENT += " 'MASTER_ADDR', 'MASTER_PORT', 'MINE', 'SPINELINE_TRAINING_THREADS')})"


def test_each_rank_of_a_fold_knows_its_place_and_where_they_meet(programs, monkeypatch):
    monkeypatch.setenv("SPINELINE_THREADS", "8")
    settings.cache_clear()
    jobs = [programs.job(fold, ENVIRONMENT, environment={"MINE": f"of {fold}"}) for fold in range(2)]
    assert [outcome.state for outcome in programs.run(*jobs, devices=4)] == ["done", "done"]
    notes = programs.notes()
    for fold in range(2):
        ranks = sorted((note for note in notes if note["fold"] == fold), key=lambda note: note["RANK"])
        assert [(rank["RANK"], rank["LOCAL_RANK"], rank["WORLD_SIZE"]) for rank in ranks] == [
            ("0", "0", "2"),
            ("1", "1", "2"),
        ]
        assert {rank["MASTER_ADDR"] for rank in ranks} == {"127.0.0.1"}
        assert len({rank["MASTER_PORT"] for rank in ranks}) == 1
        assert {rank["MINE"] for rank in ranks} == {f"of {fold}"}
    assert len({note["MASTER_PORT"] for note in notes}) == 2
    assert {note["CUDA_VISIBLE_DEVICES"] for note in notes} == {""}
    assert {note["SPINELINE_TRAINING_THREADS"] for note in notes} == {"2"}


def test_a_fold_on_one_device_takes_no_part_in_a_launcher_around_it(programs, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("RANK", "7")
    programs.run(programs.job(0, ENVIRONMENT))
    assert [(note["WORLD_SIZE"], note["RANK"]) for note in programs.notes()] == [("1", "0")]


def test_gpus_are_shown_to_children_as_entries_of_what_the_parent_sees(programs, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aa,MIG-bb,7")
    jobs = [programs.job(fold, ENVIRONMENT) for fold in range(2)]
    run_group(jobs, devices=[Device("cuda", 1), Device("cuda", 2)], batch_size=2, stop=threading.Event())
    assert sorted(note["CUDA_VISIBLE_DEVICES"] for note in programs.notes()) == ["7", "MIG-bb"]


@pytest.mark.parametrize(
    ("last_words", "reason"),
    [
        ("print('error: refused', file=sys.stderr); sys.exit(2)", "refused"),
        ("raise KeyError('case')", "ended with status 1: KeyError: 'case'"),
    ],
)
def test_when_one_rank_fails_the_others_of_its_fold_are_ended(programs, last_words, reason):
    script = f"""
if os.environ["RANK"] == "1":
    {last_words}
note(event="waits")
time.sleep(600)
"""
    began = time.monotonic()
    [outcome] = programs.run(programs.job(0, script), devices=2)
    assert (outcome.state, outcome.reason) == ("failed", reason)
    assert time.monotonic() - began < 60
    programs.until_gone()


@pytest.mark.parametrize(("code", "state"), [(130, "interrupted"), (2, "failed")])
def test_a_rank_that_has_stopped_waits_for_the_one_that_saves(programs, monkeypatch, code, state):
    monkeypatch.setattr(worker, "_PEER_GRACE_S", 0.0)
    script = f"""
        stopped = []
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
        note(event="ready")
        while not stopped:
            time.sleep(0.02)
        if os.environ["RANK"] == "1":
            sys.exit(130)
        time.sleep(0.5)
        note(event="saved")
        sys.exit({code})
    """
    [outcome] = programs.run_until(2, programs.job(0, script), devices=2)
    assert outcome.state == state
    assert programs.notes()[-1]["event"] == "saved"


def test_when_one_rank_is_killed_all_of_its_fold_are_started_again(programs):
    script = """
        first = not pathlib.Path(sys.argv[1]).with_name("tried").exists()
        if first and os.environ["RANK"] == "1":
            pathlib.Path(sys.argv[1]).with_name("tried").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if first:
            time.sleep(600)
        note(rank=os.environ["RANK"])
    """
    [outcome] = programs.run(programs.job(0, script), devices=2)
    assert (outcome.state, outcome.restarts) == ("done", 1)
    assert {"0", "1"} <= {note["rank"] for note in programs.notes()}


PARENT = """
import sys, threading
from pathlib import Path
from components.train_folds import worker
from components.train_folds.devices import Device
from components.train_folds.group import run_group
from components.train_folds.worker import FoldJob
jobs = [FoldJob(fold=fold, command=sys.argv[1:], log=Path("fold.log")) for fold in range(2)]
run_group(jobs, devices=[Device("cpu", 0), Device("cpu", 1)], batch_size=2, stop=threading.Event())
"""
HANG_ON = "from components.train_folds.worker import end_with_parent\nend_with_parent()\n"


@contextmanager
def parent_of_two(programs, script):
    """A process of its own that runs two folds, once both are ready."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *programs.command(0, script)],
        cwd=programs.path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        process_group=0,
        stderr=subprocess.DEVNULL,
    )
    programs.wait_for(2, event="ready")
    yield parent
    parent.kill()
    parent.wait()


@pytest.mark.slow
def test_folds_of_a_killed_parent_save_and_end(programs):
    with parent_of_two(programs, HANG_ON + programs.saves_when_stopped) as parent:
        parent.kill()
    programs.wait_for(2, event="saved")
    programs.until_gone()


@pytest.mark.slow
def test_folds_of_a_parent_that_died_before_they_looked_end_at_once(programs):
    late = "parent = os.getppid()\nnote(event='ready')\nwhile os.getppid() == parent:\n    time.sleep(0.02)\n"
    with parent_of_two(programs, late + HANG_ON + "note(event='goes on')") as parent:
        parent.kill()
    programs.until_gone()
    assert {note["event"] for note in programs.notes()} == {"ready"}


@pytest.mark.slow
def test_an_interrupt_at_the_keyboard_does_not_reach_the_folds(programs):
    with parent_of_two(programs, HANG_ON + programs.saves_when_stopped) as parent:
        groups = {os.getpgid(note["pid"]) for note in programs.notes()}
        assert os.getpgid(parent.pid) not in groups and len(groups) == 2
        os.killpg(parent.pid, signal.SIGINT)
        parent.wait(30)
    programs.wait_for(2, event="saved")


def test_a_program_started_by_hand_goes_on_without_a_group(programs):
    done = subprocess.run([sys.executable, "-c", HANG_ON + "print('went on')"], capture_output=True, text=True)
    assert done.stdout == "went on\n"


@pytest.mark.slow
def test_two_ranks_add_up_their_numbers_over_gloo(programs):
    script = """
        import torch, torch.distributed as dist
        dist.init_process_group("gloo")
        number = torch.tensor([10.0 + dist.get_rank()])
        dist.all_reduce(number)
        note(sum=number.item())
        dist.destroy_process_group()
    """
    [outcome] = programs.run(programs.job(0, script), devices=2)
    assert outcome.state == "done", outcome.log_tail
    assert [note["sum"] for note in programs.notes()] == [21.0, 21.0]
