"""Our renderer gives what kubectl gives, wherever kubectl is, and refuses what it does not know."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from manifests.merging import json_patched, merged
from manifests.rendering import UnknownFieldError, render

KUBERNETES = Path(__file__).resolve().parents[3] / "infra" / "kubernetes"
FOLDERS = ["base", *(f"overlays/{path.name}" for path in sorted((KUBERNETES / "overlays").iterdir()))]
COMPONENTS = sorted(path.name for path in (KUBERNETES / "components").iterdir())


def same(objects):
    return sorted(json.dumps(item, sort_keys=True) for item in objects)


def by_kubectl(folder):
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
@pytest.mark.parametrize("folder", FOLDERS)
def test_an_overlay_is_rendered_as_kubectl_renders_it(folder):
    assert same(render(KUBERNETES / folder)) == same(by_kubectl(KUBERNETES / folder))


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
@pytest.mark.parametrize(
    ("component", "base"),
    [
        *((name, "production") for name in COMPONENTS),
        ("inside-kubeflow", "single-node"),
        ("inside-kubeflow", "air-gapped"),
    ],
)
def test_a_sites_own_overlay_is_rendered_as_kubectl_renders_it(component, base, site):
    folder = site(component, namespace="kubeflow", base=base)
    assert same(render(folder)) == same(by_kubectl(folder))


def test_everything_moves_to_the_namespace_of_a_sites_own_overlay(site):
    objects = render(site("inside-kubeflow", namespace="kubeflow"))
    assert {item["metadata"].get("namespace") for item in objects} == {"kubeflow"}
    assert {subject["namespace"] for item in objects for subject in item.get("subjects", [])} == {"kubeflow"}


def test_no_subject_names_a_namespace_which_kustomize_would_not_move():
    texts = [
        path.read_text(encoding="utf-8") for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"
    ]
    objects = [item for text in texts for item in yaml.safe_load_all(text) if "subjects" in item]
    assert objects
    assert [
        item["metadata"]["name"] for item in objects for subject in item["subjects"] if "namespace" in subject
    ] == []


def test_what_the_renderer_does_not_know_is_refused(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("namePrefix: a-\n")
    with pytest.raises(UnknownFieldError, match="namePrefix"):
        render(tmp_path)


def test_a_patch_for_nothing_is_refused(tmp_path):
    (tmp_path / "kustomization.yaml").write_text(
        "patches: [{patch: '{apiVersion: v1, kind: Service, metadata: {name: gone}}'}]\n"
    )
    with pytest.raises(LookupError):
        render(tmp_path)


def test_a_strategic_merge_knows_list_items_by_their_names():
    item = {"containers": [{"name": "a", "image": "x", "args": ["1", "2"]}, {"name": "b"}], "kept": 1, "gone": 2}
    patch = {"containers": [{"name": "a", "args": ["3"]}], "gone": None}
    assert merged(item, patch) == {"containers": [{"name": "a", "image": "x", "args": ["3"]}, {"name": "b"}], "kept": 1}


def test_a_json_patch_adds_replaces_and_removes():
    item = {"spec": {"a": 1, "b": 2}, "metadata": {}}
    operations = [
        {"op": "remove", "path": "/spec/a"},
        {"op": "replace", "path": "/spec/b", "value": 3},
        {"op": "add", "path": "/metadata/x~1y", "value": 4},
    ]
    assert json_patched(item, operations) == {"spec": {"b": 3}, "metadata": {"x/y": 4}}
    with pytest.raises(ValueError, match="expected to be there"):
        json_patched(item, [{"op": "remove", "path": "/spec/c"}])
