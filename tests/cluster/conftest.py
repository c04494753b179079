"""What the tests of a cluster share: each expensive thing is made once, and removed at the end of the session."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import data_set, kubeflow_api
from tests.cluster.commands import Kubectl, Spineline
from tests.cluster.configuration import Configuration, MissingConfigurationError, current
from tests.cluster.registry_pods import RegistryPods
from tests.cluster.suite_profile import (
    ENDLESS,
    SHORT,
    image,
    out_of_memory_profile,
    policy,
    read_yaml,
    recipes,
    remote_of,
    suite_profile,
)
from tests.cluster.training_runs import END_S, Launcher, TrainingRun

ORDER = (
    "test_installation",
    "test_training",
    "test_serving",
    "test_failures",
    "test_stopping",
    "test_schedules",
    "test_cluster_features",
)
"""Modules in the order that shares runs: those that are interrupted begin to train while versions are promoted."""
LONGEST_TEST_S = 2400


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the tests of a cluster, and skip them, for one reason, where none is named."""
    marked = [item for item in items if item.get_closest_marker("cluster")]
    places = [place for place, item in enumerate(items) if item.get_closest_marker("cluster")]
    try:
        current()
        added = pytest.mark.timeout(LONGEST_TEST_S)
    except MissingConfigurationError as error:
        added = pytest.mark.skip(reason=str(error))
    for item in marked:
        item.add_marker(added)
    for place, item in zip(places, sorted(marked, key=lambda item: ORDER.index(item.path.stem)), strict=True):
        items[place] = item


@dataclass(frozen=True)
class Registered:
    """Two runs that were started together, and the versions that they registered."""

    runs: tuple[TrainingRun, TrainingRun]
    versions: tuple[int, int]
    times: tuple[tuple[str, str], tuple[str, str]]
    """When the first and the last pod of each run were created."""


@pytest.fixture(scope="session")
def configuration() -> Configuration:
    return current()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="session")
def kubectl(configuration: Configuration) -> Kubectl:
    return Kubectl(configuration.namespace, configuration.environment)


@pytest.fixture(scope="session")
def registry(kubectl: Kubectl) -> RegistryPods:
    return RegistryPods(kubectl)


@pytest.fixture(scope="session")
def profile_content(configuration: Configuration) -> dict[str, Any]:
    """The user's profile made small."""
    return suite_profile(read_yaml(configuration.profile), configuration)


@pytest.fixture(scope="session")
def write_profile(folder: Path) -> Callable[[str, dict[str, Any]], Path]:
    """A function of a name and a profile's content that returns its file."""

    def write(name: str, content: dict[str, Any]) -> Path:
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture(scope="session")
def spineline(
    configuration: Configuration,
    folder: Path,
    profile_content: dict[str, Any],
    write_profile: Callable[[str, dict[str, Any]], Path],
) -> Spineline:
    return Spineline(write_profile("profile", profile_content), configuration.environment, folder)


@pytest.fixture(scope="session")
def repository(configuration: Configuration, kubectl: Kubectl, profile_content: dict[str, Any]) -> Iterator[str]:
    """The data set's git repository: the given one, or that of a pod in the cluster."""
    if configuration.repository:
        yield configuration.repository
        return
    remote = remote_of(profile_content, configuration)
    assert remote, "no store for a data set: set SPINELINE_CLUSTER_REPOSITORY, or SPINELINE_CLUSTER_REMOTE"
    chosen = image(profile_content, "data")
    has_policies = kubectl.has("networkpolicy", "runs")
    objects = data_set.data_set_objects(profile_content, image=chosen, remote=remote, has_policies=has_policies)
    try:
        kubectl.apply(*objects)
        data_set.wait_until_served(kubectl)
        yield data_set.REPOSITORY
    finally:
        if not configuration.keeps:
            data_set.remove(kubectl, remote=remote, endpoint=data_set.endpoint_of(profile_content))


@pytest.fixture(scope="session")
def launcher(
    configuration: Configuration, spineline: Spineline, kubectl: Kubectl, repository: str, folder: Path
) -> Iterator[Launcher]:
    """Starts runs; all of them are stopped and removed at the end."""
    for name, content in {**recipes(), "policy": policy()}.items():
        # JSON is YAML, and it keeps numbers such as 1e-05 as they are.
        (folder / f"{name}.yaml").write_text(json.dumps(content))
    made = Launcher(spineline, kubectl, repository, configuration.revision, folder)
    yield made
    made.stop_all()
    if not configuration.keeps:
        kubeflow_api.delete_runs(spineline.profile, [run.run_id for run in made.runs])
        made.remove_all()


@pytest.fixture(scope="session")
def new_seed() -> Callable[[], int]:
    """A function that returns a seed which no earlier run had: training is never found done."""
    first = int(time.time()) % 10**8
    count = iter(range(1000))
    return lambda: first + next(count)


@pytest.fixture(scope="session")
def registered(launcher: Launcher, registry: RegistryPods, new_seed: Callable[[], int]) -> Registered:
    """Two runs to registration, at once."""
    before = {one["version"] for one in registry.versions()}
    runs = [launcher.start(recipe=SHORT, seed=new_seed(), folds="0,1") for _ in range(2)]
    for run in runs:
        run.follow()
    for run in runs:
        assert run.follower is not None
        code = run.follower.wait(timeout_s=END_S)
        assert code == 0, f"run {run.run_id} did not succeed\n{run.describe()}"
    times = []
    for run in runs:
        created = sorted(pod["metadata"]["creationTimestamp"] for pod in run.all_pods())
        times.append((created[0], created[-1]))
    versions = sorted(one["version"] for one in registry.versions() if one["version"] not in before)
    assert len(versions) == 2, f"two runs registered {versions}"
    return Registered(runs=tuple(runs), versions=tuple(versions), times=tuple(times))


@pytest.fixture(scope="session")
def interrupted(
    registered: Registered,
    launcher: Launcher,
    new_seed: Callable[[], int],
    profile_content: dict[str, Any],
    write_profile: Callable[[str, dict[str, Any]], Path],
) -> dict[str, TrainingRun]:
    """Runs to interrupt, and runs that fail by themselves, each followed; started together, once others registered."""
    little = write_profile("out-of-memory", out_of_memory_profile(profile_content))
    found = {
        "changed": launcher.start(recipe=ENDLESS, seed=new_seed()),
        "killed": launcher.start(recipe=ENDLESS, seed=new_seed()),
        "out of memory": launcher.start(recipe=SHORT, seed=new_seed(), profile=little),
        "bad input": launcher.start(recipe=SHORT, seed=new_seed(), revision="no-such-branch"),
    }
    for run in found.values():
        run.follow()
    return found
