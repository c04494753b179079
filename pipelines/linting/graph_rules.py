"""Rules on the graph: traps of kfp's compiler, cache and local runner, whatever the place a pipeline runs in."""

import re

from pipelines.linting.compiled import CompiledPipeline, Task
from pipelines.linting.rule import Faults, Rule

_REFERENCE = re.compile(r"inputs\.parameter_values\['([^']*)'\]")
_LITERAL = re.compile(r"'[^'\"]*'")
_REST = re.compile(r"(int|double|true|false|[\s()!=<>&.\d-])*")
_EXECUTOR = "kfp.dsl.executor_main"
_CONTAINERIZED = ["python3", "-m", _EXECUTOR]


def _cached(pipeline: CompiledPipeline) -> Faults:
    for task in pipeline.tasks:
        if task.spec.get("cachingOptions", {}).get("enableCache"):
            yield task.name, "is cached"


def _cache_keys(pipeline: CompiledPipeline) -> Faults:
    for task in pipeline.tasks:
        if key := task.spec.get("cachingOptions", {}).get("cacheKey"):
            yield task.name, f"has the cache key {key!r}"


def _open_branches(pipeline: CompiledPipeline) -> Faults:
    for task in pipeline.tasks:
        outputs = (pipeline.source(task, name) for name in _REFERENCE.findall(task.condition))
        named = next((output for output in outputs if output and output.is_named), None)
        if named and not any(_is_else(sibling) for sibling in pipeline.siblings(task)):
            yield task.name, f"depends on {named.task.name}'s output '{named.key}', with no Else beside it"


def _is_else(task: Task) -> bool:
    return task.condition.startswith("!(") and all(part.startswith("!(") for part in task.condition.split(" && "))


def _quotes(pipeline: CompiledPipeline) -> Faults:
    for task in pipeline.tasks:
        rest = _LITERAL.sub("", _REFERENCE.sub("", task.condition))
        if not _REST.fullmatch(rest):
            yield task.name, f"has the condition {task.condition}"


def _chosen_artifacts(pipeline: CompiledPipeline) -> Faults:
    for name, component in pipeline.components.items():
        outputs = component.get("dag", {}).get("outputs", {}).get("artifacts", {})
        for key, output in outputs.items():
            if len(output.get("artifactSelectors", ())) > 1:
                yield name.removeprefix("comp-"), f"returns one of several artifacts as '{key}'"


def _loops_over_named(pipeline: CompiledPipeline) -> Faults:
    for task in pipeline.tasks:
        items = _items(task)
        output = pipeline.source(task, items) if items else None
        if output and output.is_named:
            yield task.name, f"loops over {output.task.name}'s output '{output.key}'"


def _loops_reading_upstream(pipeline: CompiledPipeline) -> Faults:
    for task in (task for task in pipeline.tasks if task.is_loop):
        for name, given in task.parameters.items():
            if "taskOutputParameter" in given and name != _items(task):
                yield task.name, f"reads {given['taskOutputParameter']['producerTask']}'s output in its body"


def _items(task: Task) -> str:
    return str(task.spec.get("parameterIterator", {}).get("items", {}).get("inputParameter", ""))


def _foreign_components(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        is_lightweight = any(_EXECUTOR in part for part in pod.command) and pod.command[:3] != _CONTAINERIZED
        if not is_lightweight:
            yield pod.name, f"runs {' '.join(pod.command[:3]) or 'what its image runs'}"


def _installs(pipeline: CompiledPipeline) -> Faults:
    for pod in pipeline.pods:
        if any("pip install" in part for part in pod.command):
            yield pod.name, "installs packages when it starts"


GRAPH_RULES = (
    Rule(
        "cached-step",
        "kfp's cache would skip registration, promotion and exit handlers, and its key leaves out our own package",
        "set_caching_options(enable_caching=False): records make steps skippable",
        _cached,
    ),
    Rule(
        "cache-key",
        "with a key of its own a step's cache no longer looks at the arguments",
        "no cache_key",
        _cache_keys,
    ),
    Rule(
        "branch-without-else",
        "locally a branch on a named output is skipped without a word, and the run succeeds",
        "a single unnamed return value, or dsl.Else",
        _open_branches,
    ),
    Rule(
        "quote-in-condition",
        "kfp does not escape it: both branches are skipped",
        "a string without quotes",
        _quotes,
    ),
    Rule(
        "one-of-artifact",
        "dsl.OneOf of artifacts fails locally",
        "a parameter, such as the record of the artifact",
        _chosen_artifacts,
    ),
    Rule(
        "loop-over-named-output",
        "dsl.ParallelFor over a named output fails locally",
        "a single unnamed return value, or a list",
        _loops_over_named,
    ),
    Rule(
        "upstream-output-in-loop",
        "the local runner puts the loop's item in its place",
        "the loop in a pipeline of its own, which is given the output as a parameter",
        _loops_reading_upstream,
    ),
    Rule(
        "not-lightweight",
        "the local runner refuses container components and target_image",
        "@dsl.component(base_image=…, install_kfp_package=False)",
        _foreign_components,
    ),
    Rule(
        "install-at-start",
        "what a package index holds that day is not what was tested, and an air-gapped site has none",
        "install_kfp_package=False and no packages_to_install: the image has all of it",
        _installs,
    ),
)
