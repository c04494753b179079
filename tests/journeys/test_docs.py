"""The documents hold to what there is: commands, options, objects of the cluster, files, links and sums."""

import itertools
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from kubernetes.utils.quantity import parse_quantity

from pipelines.step_settings import STEPS

PROJECT = Path(__file__).resolve().parents[2]
DOCS = sorted((PROJECT / "docs").glob("*.md"))
OVERLAYS = sorted((PROJECT / "infra" / "kubernetes" / "overlays").glob("*/kustomization.yaml"))
OPERATORS = re.compile(r"[|&;<>()]+")
ASSIGNMENT = re.compile(r"\w+=.*")
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PATH = re.compile(
    r"(?<![\w./-])(?:infra|docs|tests|benchmarks|components|model_registry|pipelines|spine)/[\w./-]*[\w/]"
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
KINDS = {
    "deployment": "Deployment", "statefulset": "StatefulSet", "service": "Service", "pvc": "PersistentVolumeClaim",
    "secret": "Secret", "hpa": "HorizontalPodAutoscaler", "inferenceservice": "InferenceService",
}  # fmt: skip
OWN_OVERLAY = "my-overlay/"
"""What docs/install.md has its reader write."""
MANIFESTS_OF_KUBEFLOW = "github.com/kubeflow/pipelines/manifests/kustomize/"
OF_OTHERS = {"ml-pipeline", "ml-pipeline-ui", "main"}
"""Workloads of Kubeflow, and the container of a step, which Argo names."""
UNITS = {
    "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "B": 1.0, "s": 1.0, "min": 60.0, "h": 3600.0, "days": 86400.0,
    "million": 1e6,
}  # fmt: skip
QUANTITY = rf"[\d,]*\.?\d+(?: (?:{'|'.join(UNITS)})\b)?"
SUM = re.compile(rf"(?<![\w.])({QUANTITY}(?: [×+/] {QUANTITY})+) = ({QUANTITY})")


@pytest.fixture(params=DOCS, ids=lambda path: path.stem)
def document(request):
    return request.param


@pytest.fixture(scope="module")
def objects():
    """Every object that kubectl makes of the overlays, in one list."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which renders the manifests")
    assert OVERLAYS, "no overlay below infra/kubernetes"
    found = []
    for overlay in OVERLAYS:
        done = subprocess.run(["kubectl", "kustomize", str(overlay.parent)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{overlay.parent}: {done.stderr}"
        found += [each for each in yaml.safe_load_all(done.stdout) if each]
    return found


def simple_commands(blocks):
    """The words of every simple command; what stands in a here-document, or in quotes over lines, is left out."""
    text = re.sub(r"<<'(\w+)'.*?\n\1\n", "\n", "\n".join(blocks), flags=re.S)
    text = re.sub(r'-c "\n.*?"', "-c program", text, flags=re.S).replace("\\\n", " ")
    for line in text.splitlines():
        split = shlex.shlex(re.sub(r"(^|\s)#\s.*$", "", line), posix=True, punctuation_chars=True)
        split.whitespace_split, split.commenters = True, ""
        words = []
        for word in [*split, ";"]:
            if not OPERATORS.fullmatch(word):
                words.append(word)
            elif words:
                yield words
                words = []


def given_to_spineline(words):
    """What a simple command gives to ``spineline``, here or in a pod; None where it does not call it."""
    for place, word in enumerate(words):
        before = words[place - 1] if place else "--"
        if word == "spineline" and (before in ("--", "spine") or ASSIGNMENT.fullmatch(before)):
            return words[place + 1 :]
    return None


def commands_of_spineline():
    from pipelines.cli.app import app

    return typer.main.get_command(app).commands


def options_of(command):
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def test_every_spineline_command_is_one_that_the_command_line_takes(document, shell_blocks):
    known = commands_of_spineline()
    for words in simple_commands(shell_blocks(document)):
        given = given_to_spineline(words)
        if given is None:
            continue
        assert given, f"{document.name}: {words} names no command"
        assert given[0] in known, f"{document.name}: {' '.join(words)}: no such command"
        try:
            known[given[0]].make_context(given[0], given[1:])
        except typer.TyperException as error:
            pytest.fail(f"{document.name}: {' '.join(words)}: {error.format_message()}")


def test_every_spineline_command_in_a_sentence_has_the_options_that_it_is_given(document):
    known = commands_of_spineline()
    for text in INLINE.findall(document.read_text(encoding="utf-8")):
        given = given_to_spineline(text.replace("…", "").split())
        if not given:
            continue
        assert given[0] in known, f"{document.name}: `{text}`: no such command"
        options = {word.partition("=")[0] for word in given[1:] if word.startswith("--")}
        assert options <= options_of(known[given[0]]) | {"--help"}, f"{document.name}: `{text}`"


def test_what_kubectl_is_asked_for_is_in_the_manifests(document, shell_blocks, objects):
    names = {(each["kind"], each["metadata"]["name"]) for each in objects}
    names |= {("Secret", name) for name in _secrets_asked_for(objects)}
    containers = {each["name"] for pod in _pods(objects) for each in pod["spec"]["containers"]}
    labels = [pod["metadata"]["labels"].items() for pod in _pods(objects)]
    labels.append({("spineline.io/step", step) for step in STEPS})
    for words in _calls_of(document, shell_blocks, "kubectl"):
        asked = " ".join(words)
        for kind, name in re.findall(rf"\b({'|'.join(KINDS)})(?:/| generic | )(?!generic)([a-z][\w.-]+)", asked):
            assert (KINDS[kind], name) in names or name in OF_OTHERS, f"{document.name}: {asked}: no {kind} {name}"
        for label, value in re.findall(r"--selector ([\w./-]+)=(\S+)", asked):
            assert any((label, value) in pod for pod in labels), f"{document.name}: {asked}: no pod has this label"
        for container in re.findall(r"--container[= ](\S+)", asked):
            assert container in containers | OF_OTHERS, f"{document.name}: {asked}: no container {container}"


def test_every_call_of_kubectl_names_its_namespace_or_manifests_that_do(document, shell_blocks):
    for words in _calls_of(document, shell_blocks, "kubectl"):
        of_all_namespaces = words[1] in ("kustomize", "version") or words[2:3] == ["namespace"]
        of_all_namespaces |= words[-1].startswith("crd/")
        by_manifest = "-k" in words or "-f" in words
        assert of_all_namespaces or by_manifest or words[1] in ("--namespace", "-n"), (
            f"{document.name}: {' '.join(words)}"
        )


def test_overlays_that_are_applied_are_there(document, shell_blocks):
    for words in _calls_of(document, shell_blocks, "kubectl"):
        for option, given in itertools.pairwise(words):
            if given.startswith(MANIFESTS_OF_KUBEFLOW):
                assert re.search(r"\?ref=\d+\.\d+\.\d+$", given), f"{document.name}: {given}"
            elif option == "-k" and given != OWN_OVERLAY:
                assert (PROJECT / given / "kustomization.yaml").is_file(), f"{document.name}: {given}"
            if option == "-f":
                assert (PROJECT / given).is_file(), f"{document.name}: {given}"


def test_scripts_of_ours_know_the_options_that_they_are_given(document, shell_blocks):
    for words in simple_commands(shell_blocks(document)):
        if "/" in words[0] and (PROJECT / words[0]).is_file():
            source = (PROJECT / words[0]).read_text(encoding="utf-8")
            for option in (word for word in words if word.startswith("--")):
                assert option.partition("=")[0] in source, f"{document.name}: {' '.join(words)}"


def test_paths_that_are_named_are_there(document):
    for path in PATH.findall(document.read_text(encoding="utf-8")):
        assert (PROJECT / path).exists(), f"{document.name}: {path}"


def test_links_lead_to_a_document_and_a_heading(document):
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        led_to = document.parent / file if file else document
        assert led_to.exists(), f"{document.name}: {target}"
        assert not anchor or anchor in _anchors(led_to), f"{document.name}: {target}: no such heading"


def test_install_makes_every_secret_with_every_key_that_pods_ask_for(objects):
    text = (PROJECT / "docs" / "install.md").read_text(encoding="utf-8")
    asked = _secrets_asked_for(objects)
    assert {"spineline-mlflow", "spineline-mlflow-db", "spineline-store", "spineline-tokens"} <= set(asked)
    for name, keys in asked.items():
        assert f"create secret generic {name} " in text, name
        assert all(f"{key}=" in text for key in keys), f"{name}: {keys}"


@pytest.mark.parametrize("ours", OVERLAYS, ids=lambda path: path.parent.name)
def test_the_overlay_that_install_shows_puts_everything_into_a_namespace_that_is_there(ours, tmp_path):
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which renders the manifests")
    shown = re.findall(r"```yaml\n(apiVersion: .*?)```", (PROJECT / "docs" / "install.md").read_text(), flags=re.S)
    assert len(shown) == 2
    text = shown[0].replace("single-node", ours.parent.name)
    made = _made_of(text, tmp_path)
    assert "image: registry.example.org/spineline/serve:" in yaml.safe_dump(made)


def test_the_overlay_of_one_machine_asks_for_less_than_the_machine_has(tmp_path):
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, which renders the manifests")
    text = (PROJECT / "docs" / "install.md").read_text()
    assert "with 4 cores, 16 GB of memory" in text
    made = _made_of(re.findall(r"```yaml\n(apiVersion: .*?)```", text, flags=re.S)[1], tmp_path)
    pods = [each["spec"]["template"]["spec"] for each in made if each["kind"] in ("Deployment", "StatefulSet")]
    asked = [box["resources"]["requests"] for pod in pods for box in pod["containers"]]
    assert sum(parse_quantity(one["cpu"]) for one in asked) < 2
    assert sum(parse_quantity(one["memory"]) for one in asked) < 7 * 2**30


def _made_of(overlay, folder):
    """The objects of an overlay that a page shows, beside a copy of ours; all are in the namespace of Kubeflow."""
    shutil.copytree(PROJECT / "infra" / "kubernetes", folder / "infra" / "kubernetes")
    own = folder / OWN_OVERLAY
    own.mkdir()
    (own / "kustomization.yaml").write_text(overlay)
    done = subprocess.run(["kubectl", "kustomize", own], capture_output=True, text=True, check=True, timeout=60)
    made = list(yaml.safe_load_all(done.stdout))
    assert not {"Namespace", "ResourceQuota", "LimitRange"} & {each["kind"] for each in made}
    assert {each["metadata"]["namespace"] for each in made} == {"kubeflow"}
    return made


def test_no_page_makes_or_labels_a_namespace_for_its_reader(document, shell_blocks):
    for words in _calls_of(document, shell_blocks, "kubectl"):
        assert "infra/kubernetes/base/namespace.yaml" not in words, f"{document.name}: {' '.join(words)}"


def test_a_copy_of_a_pod_is_one_that_a_restricted_namespace_takes_and_that_gets_ready(document, shell_blocks):
    for words in _calls_of(document, shell_blocks, "kubectl"):
        if "debug" in words:  # that profile drops the probes, which a `sleep` never answers, and adds no capability
            assert "--profile=restricted" in words, f"{document.name}: {' '.join(words)}"


def test_the_newest_pod_is_found_by_its_age(document, shell_blocks):
    for line in "\n".join(shell_blocks(document)).splitlines():
        if "get pods" in line and "tail -n 1" in line:
            assert "--sort-by=.metadata.creationTimestamp" in line, f"{document.name}: {line}"


def test_the_lenient_policy_of_the_first_run_asks_nothing_of_a_network():
    from model_registry.policy import load_policy

    told = " ".join((PROJECT / "docs" / "first-run.md").read_text(encoding="utf-8").split())
    assert "floors to 0, `wrong_level_rate_at_most` to 1 and both margins to 0.9" in told
    given = load_policy("demo").model_dump(exclude_unset=True)
    floors, champion = given["floors"], given["champion"]
    at_most = {name for name in floors if name.endswith("_at_most")}
    assert at_most == {"wrong_level_rate_at_most"}
    assert {name for name in champion if name.startswith("margin")} == {"margin_overall", "margin_region"}


def test_profiles_that_are_shown_are_profiles():
    from pipelines.profile import Profile

    shown = re.findall(r"```yaml\n(name: .*?)```", (PROJECT / "docs" / "install.md").read_text(), flags=re.S)
    assert shown
    for text in shown:
        Profile.parse(yaml.safe_load(text), where="install.md")


def test_sums_of_the_capacity_page_come_out_as_it_says():
    text = (PROJECT / "docs" / "capacity.md").read_text(encoding="utf-8")
    found = SUM.findall(text)
    assert len(found) >= 15
    for terms, told in found:
        assert _value_of(terms) == pytest.approx(_quantity(told), rel=0.04), f"{terms} = {told}"


def _calls_of(document, shell_blocks, program):
    return [words for words in simple_commands(shell_blocks(document)) if words[0] == program]


def _pods(objects):
    workloads = [each["spec"]["template"] for each in objects if "template" in each.get("spec", {})]
    return [pod for pod in workloads if "containers" in pod.get("spec", {})]


def _secrets_asked_for(objects):
    """The keys by Secret that pods take into their environment or mount; none are known of one that is mounted."""
    asked = {}
    for pod in _pods(objects):
        for container in pod["spec"]["containers"]:
            for variable in container.get("env", []):
                reference = variable.get("valueFrom", {}).get("secretKeyRef")
                if reference and not reference.get("optional"):
                    asked.setdefault(reference["name"], set()).add(reference["key"])
        for volume in pod["spec"].get("volumes", []):
            if "secret" in volume:
                asked.setdefault(volume["secret"]["secretName"], set())
    return asked


def _anchors(path):
    """The anchors of a document's headings, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _value_of(terms):
    """Work a sum out, products and quotients first."""
    total = 0.0
    for product in terms.split(" + "):
        first, *others = re.split(r" ([×/]) ", product)
        value = _quantity(first)
        for operator, factor in zip(others[::2], others[1::2], strict=True):
            value = value * _quantity(factor) if operator == "×" else value / _quantity(factor)
        total += value
    return total


def _quantity(text):
    number, _, unit = text.partition(" ")
    return float(number.replace(",", "")) * UNITS.get(unit, 1.0)
