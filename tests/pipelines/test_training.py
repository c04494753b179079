"""What a training may ask for, and how folds are dealt to tasks on one machine."""

import pytest

from model_registry.policy import load_policy
from pipelines.training import TrainingRequest, local_groups, train_on_this_machine
from spine.errors import InvalidValueError
from spine.journal import JOURNAL_FILE, Journal, last_status
from spine.recipe import load_recipe
from spine.settings import settings


@pytest.fixture
def devices(monkeypatch):
    """A function that names the devices to train on, or none."""

    def name(text):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        monkeypatch.delenv("SPINELINE_DEVICES", raising=False)
        if text:
            monkeypatch.setenv("SPINELINE_DEVICES", text)
        settings.cache_clear()

    yield name
    settings.cache_clear()


def test_on_a_cpu_each_fold_is_a_task_of_its_own(devices):
    devices(None)
    assert local_groups([0, 2, 4]) == [[0], [2], [4]]


def test_devices_that_are_named_are_shared_out_by_one_task(devices):
    devices("cpu,cpu")
    assert local_groups([0, 2, 4]) == [[0, 2, 4]]


def request(**given):
    policy = load_policy(given.pop("policy", "demo"))
    asked = {"repository": ".", "revision": "main", "remote": "", "start_from": 0, "actor": "ann", **given}
    return TrainingRequest(recipe=load_recipe("quick"), policy=policy, **asked)


@pytest.mark.parametrize(
    "revision",
    ["", "-x", "a b", "a..b", "a//b", "a\tb", "a:b", "a?", "a*", "[a", "a\\b", "x@{1}", ".a", "b/.a", "a.lock", "/a",
     "a/", "a.", "~1", "a\n"],
)  # fmt: skip
def test_a_revision_that_git_could_not_have_is_refused(revision):
    with pytest.raises(InvalidValueError, match="branch, tag or commit"):
        request(revision=revision)


@pytest.mark.parametrize("revision", ["HEAD", "main", "v1.0", "f80fe63", "HEAD~2", "main^", "team/scans-2", "пример"])
def test_a_revision_that_git_could_have_is_taken(revision):
    assert request(revision=revision).revision == revision


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("repository", "https://user:s3cret@git.example.org/d.git"),
        ("repository", "https://user:s3c:r@et@git.example.org/d.git"),
        ("repository", "https://:s3cret@git.example.org:8443/d.git"),
        ("remote", "http://user:s3cret@dvc.example.org/store"),
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(name, url):
    with pytest.raises(InvalidValueError, match="credential helper") as refused:
        request(**{name: url})
    assert "s3c" not in str(refused.value) and "et@" not in str(refused.value)
    assert str(refused.value).startswith(f"{name} is '") and "example.org" in str(refused.value)


@pytest.mark.parametrize(
    "repository",
    [".", "git@git.example.org:team/d.git", "ssh://git@git.example.org:22/d.git", "https://org@git.example.org/d.git",
     "https://git.example.org:8443/a@b.git"],
)  # fmt: skip
def test_a_url_without_a_password_is_taken(repository):
    assert request(repository=repository).repository == repository


def test_a_training_that_was_killed_is_ended_before_the_next_run_begins(devices, monkeypatch, tmp_path):
    monkeypatch.setenv("SPINELINE_ROOT", str(tmp_path))
    monkeypatch.setenv("SPINELINE_TRACKING_URI", "http://127.0.0.1:9")  # MLflow follows when it answers
    devices(None)
    fold = tmp_path / "candidates" / "c0ffeec0ffee" / "Dataset001_Spine" / "Trainer__Plans__3d" / "fold_0"
    fold.mkdir(parents=True)
    for journal in (fold / JOURNAL_FILE, fold.parents[2] / JOURNAL_FILE):
        Journal(journal).status("RUNNING")

    def started(*, prepare, **_):
        prepare()
        raise KeyboardInterrupt

    monkeypatch.setattr("pipelines.training.run_local", started)
    with pytest.raises(KeyboardInterrupt):
        train_on_this_machine(request(), on_event=lambda _: None)
    assert last_status(fold / JOURNAL_FILE) == last_status(fold.parents[2] / JOURNAL_FILE) == "KILLED"


def test_who_starts_a_run_is_an_argument_of_it():
    assert request().arguments(root="/spineline")["actor"] == "ann"


@pytest.mark.parametrize("actor", ["", "unknown", "spineline", "Spineline"])
def test_a_policy_that_separates_the_approver_needs_a_person_who_starts_the_run(actor):
    with pytest.raises(InvalidValueError, match="policy 'research' needs another person to approve") as refused:
        request(actor=actor, policy="research")
    assert "SPINELINE_ACTOR" in str(refused.value)
    assert request(actor=actor, policy="demo").actor == actor
