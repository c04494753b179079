"""What the Dockerfile promises, read from its text: no engine needed."""

import importlib
import json
import re
import subprocess
import sys
from typing import get_args

import pytest
from docker.utils.build import exclude_paths
from packaging.utils import canonicalize_name

from components.images import PROGRAMS, VERSION, Target, image

TARGETS = get_args(Target)
SHARING = ("train", "serve")
"""Targets with torch, whose layer they share."""
LABELS = {
    f"org.opencontainers.image.{name}"
    for name in ("title", "description", "version", "revision", "created", "source", "licenses", "base.name")
}


@pytest.mark.parametrize("target", TARGETS)
class TestTarget:
    def test_runs_as_nobody_in_particular(self, dockerfile, target):
        assert dockerfile.last(target, "USER") == "10001:10001"

    def test_begins_with_a_program_and_no_shell(self, dockerfile, target):
        entry, command = (json.loads(dockerfile.last(target, word)) for word in ("ENTRYPOINT", "CMD"))
        assert (entry + command)[0] in ("python", "spineline")

    def test_carries_the_labels_of_the_open_container_initiative(self, dockerfile, target):
        labels = {
            name for stage in dockerfile.chain(target) for line in stage.all("LABEL")
            for name in re.findall(r"(org\.opencontainers\S+?)=", line)
        }  # fmt: skip
        assert labels == LABELS

    def test_has_its_own_extra_and_no_other_targets(self, dockerfile, described, target):
        install = " ".join(dockerfile.stages[f"packages-{target}"].all("RUN"))
        extras = re.search(r"install_packages\.sh (.*)", install)[1].split()
        assert set(extras) - {"pipeline"} == {target}
        assert set(extras) <= described["optional-dependencies"].keys()

    def test_takes_only_what_was_built_for_it(self, dockerfile, target):
        copies = [line for stage in reversed(dockerfile.chain(target)) for line in stage.all("COPY")]
        shared = ["packages-shared"] if target in SHARING else []
        stages = ["user", *shared, f"packages-{target}", f"project-{target}"]
        assert copies == [f"--from={stage} /target/ /" for stage in stages]

    def test_all_its_packages_are_pinned(self, packages_of, project, target):
        files = (project / "constraints.txt", project / "infra/images/build-constraints.txt")
        pins = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        assert packages_of(target) <= {canonicalize_name(line.partition("==")[0]) for line in pins}


def test_there_is_a_target_an_image_and_no_more(dockerfile):
    used = {stage.parent for stage in dockerfile.stages.values()}
    for stage in dockerfile.stages.values():
        used |= set(re.findall("from=([a-z-]+)", " ".join(stage.all("RUN") + stage.all("COPY"))))
    assert dockerfile.stages.keys() - used == set(TARGETS)


@pytest.mark.parametrize("target", SHARING)
def test_targets_with_torch_share_its_layer_and_add_only_to_it(dockerfile, target):
    assert dockerfile.stages[target].parent == "base-shared"
    assert dockerfile.stages["base-shared"].all("COPY") == ["--from=packages-shared /target/ /"]
    (install,) = dockerfile.stages[f"packages-{target}"].all("RUN")
    assert "--mount=type=bind,from=packages-shared,source=/target/opt/venv,target=/opt/venv,rw " in install
    (description,) = dockerfile.stages[f"project-{target}"].all("RUN")
    for packages in (target, "shared"):
        mount = f"from=packages-{packages},source=/target/opt/venv,target=/packages/{packages} "
        assert mount in description


def test_the_shared_layer_has_what_the_extras_of_all_targets_with_torch_list(dockerfile, described, project):
    (install,) = dockerfile.stages["packages-shared"].all("RUN")
    arguments = re.search(r"install_packages\.sh (.*)", install)[1].split()
    assert arguments == ["--shared", *SHARING]
    command = [sys.executable, project / "infra/images/list_requirements.py", *arguments]
    listed = subprocess.run(command, cwd=project, check=True, capture_output=True, text=True).stdout.splitlines()
    extras = [set(described["optional-dependencies"][target]) for target in SHARING]
    assert set(listed) == {*described["dependencies"], *set.intersection(*extras)}
    assert {"torch", "nnunetv2"} <= set(listed)


def test_stages_start_from_arguments_or_one_another(dockerfile):
    parents = {stage.parent for stage in dockerfile.stages.values()} - dockerfile.stages.keys()
    assert parents == {"${BASE_IMAGE}", "${WHEELS_IMAGE}"}


def test_the_base_is_a_version_and_not_the_latest(dockerfile):
    _, _, tag = dockerfile.arguments["BASE_IMAGE"].partition(":")
    assert tag not in ("", "latest")


def test_a_site_without_a_network_needs_no_other_frontend(project):
    text = (project / "infra/images/Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"^#\s*(syntax|escape)\s*=", text, flags=re.MULTILINE)


def test_the_user_can_not_log_in(dockerfile):
    made = " ".join(dockerfile.stages["user"].all("RUN"))
    assert "spineline:x:10001:10001::/tmp:/usr/sbin/nologin" in made


def test_what_has_a_server_has_a_health_check_without_a_shell(dockerfile):
    _, command = dockerfile.last("serve", "HEALTHCHECK").split(" CMD ")
    assert json.loads(command)[0] == "python"
    assert dockerfile.last("serve", "EXPOSE") == "8642"


def test_nothing_is_installed_in_what_runs_but_git(dockerfile):
    runs = {line for target in TARGETS for stage in dockerfile.chain(target) for line in stage.all("RUN")}
    assert not [line for line in runs if "pip" in line]
    assert len([line for line in runs if "apt-get install" in line]) == 1


def test_versions_agree(dockerfile, described):
    defaults = {
        line for stage in dockerfile.stages.values() for line in stage.all("ARG") if line.startswith("VERSION=")
    }
    assert defaults == {f"VERSION={VERSION}"}
    assert described["version"] == VERSION


def test_every_step_names_its_image(project):
    steps = {file.parent.name for file in (project / "components").glob("*/component.py")}
    programs = {file.parent.name for file in (project / "components").glob("*/__main__.py")}
    assert programs - steps == PROGRAMS.keys()
    for step in steps:
        component = getattr(importlib.import_module(f"components.{step}.component"), step)
        assert component.component_spec.implementation.container.image in {image(target) for target in TARGETS}


def test_only_sources_are_sent_to_the_engine(project, tmp_path):
    kept = [
        "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "spine/a.py", "pipelines/profiles/p.yaml",
        "infra/images/sbom.py",
    ]  # fmt: skip
    kept_out = [
        ".git/config", ".venv/bin/python", "data/raw/scan.nii.gz", "tests/test_a.py", ".spineline/models/m.pth", ".env",
        ".dvc/config", "benchmarks/b/run.py", "spine/__pycache__/a.pyc", "spineline.egg-info/PKG-INFO", "secret.env",
        "params.yaml",
    ]  # fmt: skip
    for name in (*kept, *kept_out):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    lines = (project / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    sent = {path for path in exclude_paths(str(tmp_path), patterns) if (tmp_path / path).is_file()}
    assert sent == set(kept)


def test_what_is_copied_is_sent(dockerfile, project):
    patterns = (project / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = exclude_paths(str(project), [line for line in patterns if line and not line.startswith("#")])
    for line in (line for stage in dockerfile.stages.values() for line in stage.all("COPY") if "--from" not in line):
        assert set(line.split()[:-1]) <= sent, line


def test_scripts_that_a_stage_runs_are_there(dockerfile):
    for name in dockerfile.stages:
        chain = dockerfile.chain(name)
        run = set(re.findall(r"\w+\.(?:sh|py)", " ".join(line for stage in chain for line in stage.all("RUN"))))
        copied = " ".join(line for stage in chain for line in stage.all("COPY"))
        assert all(f"infra/images/{script}" in copied for script in run), name


def test_constraints_of_builds_are_exact(project):
    lines = (project / "infra/images/build-constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert {"pip", "setuptools", "wheel"} <= {line.partition("==")[0] for line in pins}
    assert all(re.fullmatch(r"[a-z]+==[0-9.]+", line) for line in pins)
