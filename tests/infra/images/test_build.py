"""The script that builds: what it refuses, what it asks of the engine, what it prints; the engine is a recorder."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

RECORDER = """#!/bin/sh
printf '%s\\n' "$*" >> "$0.log"
case "$1" in
version)
    [ -n "$NO_ENGINE" ] && { echo 'Cannot connect to the Docker daemon.' >&2; exit 1; }
    case "$3" in *Client*) echo "${CLIENT:-20.10}" ;; *) echo 20.10 ;; esac ;;
buildx) [ -z "$NO_BUILDX" ] || { echo "docker: unknown command: docker buildx" >&2; exit 1; } ;;
build) echo 'step 1 of 1'; [ -z "$NO_BUILD" ] ;;
image)
    case "$*" in
    *RepoDigests*) echo '["other/x@sha256:1", "reg.example/spineline/serve@sha256:2"]' ;;
    *) echo sha256:abc ;;
    esac ;;
import) cat > "$0.wheels"; echo sha256:def ;;
esac
"""
GIT = {
    "GIT_AUTHOR_NAME": "ann", "GIT_AUTHOR_EMAIL": "ann@example.org", "GIT_COMMITTER_NAME": "ann",
    "GIT_COMMITTER_EMAIL": "ann@example.org", "GIT_COMMITTER_DATE": "2026-01-02T03:04:05Z",
    "GIT_CONFIG_GLOBAL": "/dev/null",
}  # fmt: skip


class Checkout:
    """A repository with the script and what it reads, and a recorder in the engine's place."""

    def __init__(self, folder: Path, project: Path) -> None:
        self.folder, self.docker = folder / "repository", folder / "docker"
        for name in ("infra/images/build", "infra/images/Dockerfile", "components/__init__.py", "components/images.py"):
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / name, self.folder / name)
        self.docker.write_text(RECORDER)
        self.docker.chmod(0o755)
        for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "all"]):
            self.git(*arguments)

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", self.folder, *arguments]
        return subprocess.run(
            command, env={**os.environ, **GIT}, check=True, capture_output=True, text=True
        ).stdout.strip()

    def build(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        command = [self.folder / "infra/images/build", *arguments]
        variables = {**os.environ, "DOCKER": str(self.docker), **environment}
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=False)

    def asked(self, word: str) -> list[str]:
        log = Path(f"{self.docker}.log")
        lines = log.read_text().splitlines() if log.is_file() else []
        return [line for line in lines if line.split()[0] == word]


@pytest.fixture
def checkout(tmp_path, project) -> Checkout:
    return Checkout(tmp_path, project)


def refused(done: subprocess.CompletedProcess) -> str:
    assert (done.returncode, done.stdout) == (2, "")
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith("error: ")
    assert "; expected " in line
    return line


def test_builds_all_targets_and_prints_what_a_profile_takes(checkout):
    done = checkout.build()
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["images"] == {name: f"spineline/{name}:0.1.0" for name in ("data", "train", "registry", "serve")}
    assert told["ids"]["serve"] == "sha256:abc"
    assert told["revision"] == checkout.git("rev-parse", "HEAD")


def test_passes_the_commit_and_its_date_and_tags_by_version_and_commit(checkout):
    checkout.build("serve", "--base-image", "site/base:1")
    (line,) = checkout.asked("build")
    revision = checkout.git("rev-parse", "HEAD")
    for option in (
        "--target serve", "--tag=spineline/serve:0.1.0", f"--tag=spineline/serve:{revision[:12]}",
        "--build-arg=BASE_IMAGE=site/base:1", "--build-arg=WHEELS_IMAGE=scratch",
        f"--build-arg=CODE_REVISION={revision}",
        "--build-arg=SOURCE_DATE_EPOCH=1767323045", "--build-arg=CREATED=2026-01-02T03:04:05Z",
    ):  # fmt: skip
        assert f" {option} " in line
    assert "PIP_" not in line


def test_refuses_what_is_not_committed_unless_told(checkout):
    (checkout.folder / "components/new.py").touch()
    assert "components/new.py" in refused(checkout.build("serve"))
    assert checkout.asked("build") == []
    done = checkout.build("serve", "--dirty")
    assert json.loads(done.stdout)["revision"].endswith("-dirty")
    assert "-dirty " in checkout.asked("build")[0]


def test_gives_wheels_as_an_image_that_is_gone_afterwards(checkout, tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "torch-1-py3-none-any.whl").touch()
    checkout.build("serve", "--wheels", str(folder), "--no-index")
    (line,) = checkout.asked("build")
    (imported,) = checkout.asked("import")
    assert f"WHEELS_IMAGE={imported.split()[-1]} " in line
    assert "--build-arg=PIP_NO_INDEX=1" in line
    assert checkout.asked("image")[-1] == f"image rm {imported.split()[-1]}"


def test_credentials_go_as_a_secret_and_the_rest_as_it_is(checkout, tmp_path):
    secret = tmp_path / "pip.conf"
    secret.write_text("[global]\nindex-url = https://ann:word@example.org/simple\n")
    index = "https://example.org/simple"
    indexes = ("--index-url", index, "--extra-index-url", f"{index}/cpu")
    checkout.build("serve", "--pip-conf", str(secret), *indexes, "--", "--network", "host")
    (line,) = checkout.asked("build")
    assert f"--secret=id=pip.conf,src={secret} --network host" in line
    assert "word" not in line
    assert f"--build-arg=PIP_INDEX_URL={index} --build-arg=PIP_EXTRA_INDEX_URL={index}/cpu " in line


def test_pushed_images_are_named_by_digest(checkout):
    told = json.loads(checkout.build("serve", "--registry", "reg.example", "--push").stdout)
    assert told["images"] == {"serve": "reg.example/spineline/serve@sha256:2"}
    assert [line.split()[1].rpartition(":")[0] for line in checkout.asked("push")] == [
        "reg.example/spineline/serve"
    ] * 2


def test_label_of_the_source_has_no_password_and_no_path(checkout):
    checkout.git("remote", "add", "origin", "https://ann:word@example.org/spineline.git")
    checkout.build("serve")
    checkout.git("remote", "set-url", "origin", "/home/ann/spineline")
    checkout.build("serve")
    sources = [line.partition("SOURCE=")[2].split()[0] for line in checkout.asked("build")]
    assert sources == ["https://example.org/spineline.git", "unknown"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["sevre"], "sevre"),
        (["serve", "--push"], "--push"),
        (["serve", "--no-index"], "--no-index"),
        (["serve", "--wheels", "/nowhere"], "/nowhere"),
        (["serve", "--pip-conf", "/nowhere"], "/nowhere"),
    ],
)
def test_bad_input_is_one_line_that_names_it(checkout, arguments, named):
    assert named in refused(checkout.build(*arguments))
    assert checkout.asked("build") == []


def test_an_engine_that_does_not_answer_is_told(checkout):
    assert "Cannot connect to the Docker daemon." in refused(checkout.build("serve", NO_ENGINE="1"))


@pytest.mark.parametrize(
    ("version", "without_buildx", "refuses"),
    [("20.10.24", True, False), ("22.6.0", True, False), ("23.0.0", True, True), ("28.2.2", True, True),
     ("28.2.2", False, False), ("5.4.1", True, False), ("", True, False)],
)  # fmt: skip
def test_a_command_from_version_23_on_is_refused_without_buildx(checkout, version, without_buildx, refuses):
    done = checkout.build("serve", CLIENT=version or "dev", NO_BUILDX="1" if without_buildx else "")
    if refuses:
        line = refused(done)
        assert f"version {version} has no component buildx" in line
        assert "docker-buildx-plugin" in line
        assert checkout.asked("build") == []
    else:
        assert done.returncode == 0, done.stderr


def test_the_option_docker_goes_before_the_variable(checkout):
    done = checkout.build("serve", "--docker", str(checkout.docker), DOCKER="/nowhere/docker")
    assert done.returncode == 0, done.stderr
    assert "/nowhere/docker: not found" in refused(checkout.build("serve", DOCKER="/nowhere/docker"))
    assert checkout.build("serve", "--help", DOCKER="").returncode == 0


def test_a_build_that_fails_is_told_by_its_target(checkout):
    assert "data" in refused(checkout.build(NO_BUILD="1"))


def test_without_a_commit_there_is_nothing_to_build(checkout):
    shutil.rmtree(checkout.folder / ".git")
    assert "git" in refused(checkout.build("serve", GIT_CEILING_DIRECTORIES=str(checkout.folder.parent)))


@pytest.mark.parametrize(
    ("options", "variable"), [((), "/nowhere/docker"), (("--docker", "/nowhere/docker"), "docker")]
)
def test_a_base_needs_an_engine(project, options, variable):
    done = subprocess.run(
        [project / "infra/images/make_base", *options],
        env={**os.environ, "DOCKER": variable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: /nowhere/docker: no engine answers; expected ")


def test_a_base_explains_itself(project):
    done = subprocess.run([project / "infra/images/make_base", "--help"], capture_output=True, text=True, check=True)
    assert "--ca FILE" in done.stdout
