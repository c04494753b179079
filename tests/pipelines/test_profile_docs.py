"""docs/profiles.md against the schema and the rules: its tables are made from them, and renewed by one line.

SPINELINE_RENEW=1 .venv/bin/python -m pytest tests/pipelines/test_profile_docs.py tests/pipelines/test_golden.py
"""

import ast
import inspect
import json
import os
import re
import textwrap
from pathlib import Path

import pytest
import yaml

from pipelines.cluster.endpoint import Endpoint
from pipelines.linting.rules import RULES
from pipelines.profile import Environment, Kubernetes, Profile, Security, load_profile
from pipelines.step_secrets import PURPOSE_OF, TRACKING_STEPS, StoreSecrets
from pipelines.step_settings import SecretUse, StepSettings, Toleration

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "profiles.md"
SECTIONS: dict[str, type] = {
    "A profile": Profile,
    "kubeflow": Endpoint,
    "kubernetes": Kubernetes,
    "kubernetes.security": Security,
    "kubernetes.store_secrets": StoreSecrets,
    "kubernetes.environment": Environment,
    "kubernetes.defaults, and each of kubernetes.steps": StepSettings,
    "tolerations": Toleration,
    "secrets": SecretUse,
}


def fields():
    return "\n\n".join(_section(title, model) for title, model in SECTIONS.items())


def _section(title, model):
    schema = model.model_json_schema()
    told = _docstrings(model)
    lines = [f"### {title}", "", "| field | value | default | what it is |", "|---|---|---|---|"]
    for name, field in schema["properties"].items():
        default = "required" if name in schema.get("required", ()) else _default(field)
        lines.append(f"| `{name}` | {_value(field)} | {default} | {told[name]} |")
    return "\n".join(lines)


def _docstrings(model):
    """Return what stands below each field in the source, on one line."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    found = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        is_told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            found[field.target.id] = inspect.cleandoc(str(below.value.value)).replace("\n", " ") if is_told else ""
    return found


def _default(field):
    default = field.get("default")
    if isinstance(default, dict) and default:
        return "its own"
    if not default and default != 0:
        return "none"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _value(field):
    """Say in words what a field of a JSON schema accepts."""
    if "description" in field:
        return str(field["description"])
    if options := [option for option in field.get("anyOf", ()) if option.get("type") != "null"]:
        return ", or ".join(_value(option) for option in options)
    if choices := field.get("enum"):
        return ", ".join(f"`{choice}`" for choice in choices)
    if "$ref" in field:
        return _SECTION_WORDS[field["$ref"].rsplit("/", 1)[-1]]
    if field.get("type") == "array":
        return f"list: {_value(field['items'])}"
    if field.get("type") == "object":
        return f"map: {_value(field['propertyNames'])} → {_value(field['additionalProperties'])}"
    return _plain(field)


def _plain(field):
    kind = {"string": "text", "integer": "whole number", "boolean": "`true`, `false`"}[str(field["type"])]
    low, high = field.get("minimum"), field.get("maximum")
    if low is None:
        return kind
    return f"{kind}, {low} or more" if high is None else f"{kind}, {low} to {high}"


_SECTION_WORDS = {model.__name__: f"see {title}" for title, model in SECTIONS.items()}


def step_secrets():
    lines = ["| step | `tracking_secret` | `store_secret`, or of `store_secrets` |", "|---|---|---|"]
    for step, purpose in PURPOSE_OF.items():
        tracking, keys = "yes" if step in TRACKING_STEPS else "–", f"`{purpose}`" if purpose else "–"
        lines.append(f"| `{step}` | {tracking} | {keys} |")
    return "\n".join(lines)


def rules():
    lines = ["| rule | why | expected |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| `{rule.name}` | {rule.why} | {rule.expected} |" for rule in RULES)])


@pytest.mark.parametrize("table", [fields, step_secrets, rules], ids=["fields", "step_secrets", "rules"])
def test_the_tables_are_those_of_the_code(table):
    document = DOCUMENT.read_text(encoding="utf-8")
    part = re.compile(rf"(?<=<!-- {table.__name__} -->\n\n).*?(?=\n\n<!-- end -->)", re.DOTALL)
    if os.environ.get("SPINELINE_RENEW"):
        document = part.sub(lambda _: table(), document)
        DOCUMENT.write_text(document, encoding="utf-8")
    assert part.findall(document) == [table()]


def test_every_field_says_what_it_is():
    for model in SECTIONS.values():
        told = _docstrings(model)
        assert [name for name in model.model_fields if not told.get(name)] == [], model.__name__


def test_every_profile_that_comes_along_is_told():
    folder = DOCUMENT.parents[1] / "pipelines" / "profiles"
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    for name in names:
        assert f"| `{name}` |" in DOCUMENT.read_text(encoding="utf-8")
        assert load_profile(name).name == name


def test_the_examples_of_the_document_are_profiles(tmp_path):
    examples = re.findall(r"```yaml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert examples
    for example in examples:
        Profile.parse(yaml.safe_load(example), where="docs/profiles.md")
