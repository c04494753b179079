"""Each rule finds a pipeline that walks into its trap, and finds nothing in a sound one; all compiled by kfp itself."""

from typing import NamedTuple

import pytest
from kfp import dsl
from kfp import kubernetes as k8s

from components.gate_candidate.component import gate_candidate
from components.images import image
from pipelines.compiling import compiled_documents
from pipelines.linting.lint import lint
from pipelines.linting.rules import GRAPH_RULES, RULES
from pipelines.pod_settings import apply_settings
from pipelines.profile import load_profile

IMAGE = image("registry")
PROFILE = load_profile("kubernetes")
lightweight = dsl.component(base_image=IMAGE, install_kfp_package=False)


@lightweight
def say(text: str) -> str:
    return text


@lightweight
def judge(text: str) -> NamedTuple("Verdict", [("word", str), ("cases", list)]):
    return (text, [text])


@lightweight
def names(text: str) -> list[str]:
    return [text]


@lightweight
def write(text: str, out: dsl.Output[dsl.Artifact]):
    pass


@lightweight
def read_all(given: dsl.Input[list[dsl.Artifact]]):
    pass


@dsl.component(base_image=IMAGE, install_kfp_package=False, packages_to_install=["numpy==2.0.0"])
def installs(text: str) -> str:
    return text


@dsl.container_component
def shell(text: str):
    return dsl.ContainerSpec(image=IMAGE, command=["echo"], args=[text])


def uncached(task):
    return task.set_caching_options(False)


@dsl.pipeline(name="sound")
def sound(text: str = "a"):
    first = uncached(say(text=text))
    listed = uncached(names(text=text))
    with dsl.If(first.output == "it is"):
        uncached(say(text="yes"))
    verdict = uncached(judge(text=text))
    with dsl.If(verdict.outputs["word"] == "pass"):
        uncached(say(text="passed"))
    with dsl.Elif(verdict.outputs["word"] == "fail"):
        uncached(say(text="failed"))
    with dsl.Else():
        uncached(say(text="unclear"))
    with dsl.ParallelFor(listed.output) as item:
        made = uncached(write(text=item))
    uncached(read_all(given=dsl.Collected(made.outputs["out"])))


@dsl.pipeline(name="cached")
def cached(text: str = "a"):
    say(text=text)


@dsl.pipeline(name="cached-exit")
def cached_exit(text: str = "a"):
    with dsl.ExitHandler(say(text="the end")):
        uncached(say(text=text))


@dsl.pipeline(name="keyed")
def keyed(text: str = "a"):
    say(text=text).set_caching_options(True, cache_key="always")


@dsl.pipeline(name="open-branch")
def open_branch(text: str = "a"):
    verdict = uncached(judge(text=text))
    with dsl.If(verdict.outputs["word"] == "pass"):
        uncached(say(text="passed"))


@dsl.pipeline(name="open-elif")
def open_elif(text: str = "a"):
    verdict = uncached(judge(text=text))
    with dsl.If(verdict.outputs["word"] == "pass"):
        uncached(say(text="passed"))
    with dsl.Elif(verdict.outputs["word"] == "fail"):
        uncached(say(text="failed"))


@dsl.pipeline(name="open-branch-in-a-loop")
def open_branch_in_loop(text: str = "a"):
    verdict = uncached(judge(text=text))
    with dsl.ParallelFor(["a", "b"]) as item, dsl.If(verdict.outputs["word"] == "pass"):
        uncached(say(text=item))


@dsl.pipeline(name="quoted")
def quoted(text: str = "a"):
    with dsl.If(uncached(say(text=text)).output == "it's"):
        uncached(say(text="yes"))


@dsl.pipeline(name="double-quoted")
def double_quoted(text: str = "a"):
    with dsl.If(uncached(say(text=text)).output == 'say "a"'):
        uncached(say(text="yes"))


@dsl.pipeline(name="one-of")
def one_of(text: str = "a") -> dsl.Artifact:
    with dsl.If(uncached(say(text=text)).output == "a"):
        left = uncached(write(text="left"))
    with dsl.Else():
        right = uncached(write(text="right"))
    return dsl.OneOf(left.outputs["out"], right.outputs["out"])


@dsl.pipeline(name="named-loop")
def named_loop(text: str = "a"):
    with dsl.ParallelFor(uncached(judge(text=text)).outputs["cases"]) as item:
        uncached(say(text=item))


@dsl.pipeline(name="reading-loop")
def reading_loop(text: str = "a"):
    first = uncached(say(text=text))
    with dsl.ParallelFor(["a", "b"]) as item:
        uncached(say(text=item))
        uncached(say(text=first.output))


@dsl.pipeline(name="container")
def container(text: str = "a"):
    uncached(shell(text=text))


@dsl.pipeline(name="installing")
def installing(text: str = "a"):
    uncached(installs(text=text))


GRAPHS = {
    "cached-step": [cached, cached_exit],
    "cache-key": [keyed],
    "branch-without-else": [open_branch, open_elif, open_branch_in_loop],
    "quote-in-condition": [quoted, double_quoted],
    "one-of-artifact": [one_of],
    "loop-over-named-output": [named_loop],
    "upstream-output-in-loop": [reading_loop],
    "not-lightweight": [container],
    "install-at-start": [installing],
}


def environment(name, value):
    return lambda task: task.set_env_variable(name, value)


def without(field):
    return lambda task: task.platform_config["kubernetes"].pop(field)


def gpu(task):
    task.set_accelerator_type("nvidia.com/gpu").set_accelerator_limit(1)


PODS = {
    "unpinned-image": [
        lambda task: task.set_container_image("spineline/registry:latest"),
        lambda task: task.set_container_image("registry.example.org:5000/registry"),
    ],
    "missing-security-context": [
        without("securityContext"),
        lambda task: k8s.set_security_context(task, run_as_user=0),
        lambda task: k8s.set_security_context(task, run_as_non_root=False),
    ],
    "missing-volume": [without("pvcMount")],
    "missing-scratch": [without("emptyDirMounts")],
    "gpu-without-shared-memory": [gpu],
    "secret-in-environment": [
        environment("STORE_PASSWORD", "x"),
        environment("GITHUB_TOKEN", "x"),
        environment("AWS_ACCESS_KEY_ID", "x"),
        environment("DATABASE", "postgresql://me:pw@db/mlflow"),
    ],
    "tracking-in-a-folder": [
        environment("MLFLOW_TRACKING_URI", "./mlruns"),
        environment("SPINELINE_TRACKING_URI", "file:///spineline/mlruns"),
    ],
    "buffered-logs": [
        lambda task: task.container_spec.env.pop("PYTHONUNBUFFERED"),
        environment("PYTHONUNBUFFERED", "0"),
    ],
    "placeholder-in-environment": [
        environment("RUN", dsl.PIPELINE_JOB_ID_PLACEHOLDER),
        environment("A", "{{workflow.uid}}"),
    ],
    "missing-resources": [lambda task: setattr(task.container_spec, "resources", None)],
    "missing-timeout": [lambda task: k8s.set_timeout(task, 0)],
    "missing-retry": [lambda task: task.set_retry(0)],
    "short-retry-window": [lambda task: task.set_retry(2)],
    "endless-backoff": [lambda task: task.set_retry(50, "60s", 2, "3650d")],
}


def compiled_step(spoil):
    @dsl.pipeline(name="one-step")
    def one_step(text: str = "a"):
        task = gate_candidate(root=text, plan=text, evaluation=text, policy=text)
        apply_settings(task, PROFILE, step="gate_candidate")
        spoil(task)

    return compiled_documents(one_step)


def found(documents, rules=RULES):
    return [finding.rule.name for finding in lint(documents, rules)]


def test_every_rule_has_a_pipeline_that_breaks_it():
    assert [rule.name for rule in RULES] == [*GRAPHS, *PODS]


@pytest.mark.parametrize(
    ("rule", "pipeline"), [(rule, pipeline) for rule, pipelines in GRAPHS.items() for pipeline in pipelines]
)
def test_a_trap_in_the_graph_is_found(rule, pipeline):
    assert rule in found(compiled_documents(pipeline), GRAPH_RULES)


@pytest.mark.parametrize(("rule", "spoil"), [(rule, spoil) for rule, spoils in PODS.items() for spoil in spoils])
def test_a_fault_of_a_pod_is_found_and_nothing_else(rule, spoil):
    assert set(found(compiled_step(spoil))) == {rule}


def test_collected_artifacts_in_a_branch_are_refused_by_the_compiler_itself():
    with pytest.raises(TypeError):

        @dsl.pipeline(name="collected")
        def collected(text: str = "a"):
            with dsl.ParallelFor(["a", "b"]) as item:
                made = uncached(write(text=item))
            with dsl.If(uncached(say(text=text)).output == "a"):
                uncached(read_all(given=dsl.Collected(made.outputs["out"])))


def test_a_sound_graph_has_no_finding():
    assert found(compiled_documents(sound), GRAPH_RULES) == []


def test_a_sound_pod_has_no_finding():
    assert found(compiled_step(lambda task: None)) == []


def test_a_finding_tells_place_fault_rule_reason_and_remedy():
    (finding,) = lint(compiled_step(gpu), RULES)
    assert str(finding) == (
        "gate-candidate has a GPU and no /dev/shm (rule gpu-without-shared-memory: data loaders hand batches over in"
        " it, and a container's own 64 MiB end training with a bus error); expected shared_memory of this step in the"
        " profile"
    )


@pytest.mark.parametrize("name", ["SPINELINE_TOKENS", "AWS_WEB_IDENTITY_TOKEN_FILE", "KEYS", "SECTION"])
def test_a_variable_that_only_names_a_file_is_no_secret(name):
    assert found(compiled_step(environment(name, "/etc/spineline/tokens.json"))) == []


def test_a_secret_is_named_and_not_shown():
    (finding,) = lint(compiled_step(environment("STORE_PASSWORD", "hunter2")), RULES)
    assert "STORE_PASSWORD" in str(finding) and "hunter2" not in str(finding)
