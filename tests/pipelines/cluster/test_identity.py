"""The user whom a token names: by the claims that Kubeflow reads, and nobody where that would be a guess."""

import base64
import json

import pytest

from model_registry.policy import load_policy
from pipelines.cluster.endpoint import Endpoint
from pipelines.cluster.identity import token_user
from pipelines.profile import Profile
from pipelines.training import TrainingRequest, compiled_for_cluster
from spine.recipe import load_recipe


def token(**claims):
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".signature"


TOKENS = {
    "an e-mail address": (token(email="dora@example.org", sub="42"), "dora@example.org"),
    "a subject": (token(sub="dora"), "dora"),
    "letters beyond ASCII": (token(email="dörte@example.org"), "dörte@example.org"),
    "a service account": (token(sub="system:serviceaccount:team:ci"), None),
    "neither": (token(aud=["pipelines"]), None),
    "a number": (token(sub=7), None),
    "a list": (".".join(["e30", base64.urlsafe_b64encode(b"[]").decode(), "x"]), None),
    "no JSON": ("e30.!!!.x", None),
    "no JWT": ("0123456789abcdef", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize("case", TOKENS)
def test_a_token_names_a_user_or_nobody(case, tmp_path):
    text, user = TOKENS[case]
    (tmp_path / "token").write_text(text + "\n")
    assert token_user(Endpoint(token_file=tmp_path / "token")) == user


def test_without_a_token_nobody_is_named(tmp_path):
    assert token_user(Endpoint()) is None
    assert token_user(Endpoint(token_file=tmp_path / "missing")) is None


@pytest.mark.parametrize(("claims", "actor"), [({"email": "dora@example.org"}, "dora@example.org"), ({}, "ann")])
def test_a_run_carries_kubeflow_s_user_else_who_submits_it(claims, actor, tmp_path):
    (tmp_path / "token").write_text(token(**claims))
    content = {"name": "mine", "about": "x", "kubeflow": {"token_file": str(tmp_path / "token")}}
    profile = Profile.parse({**content, "kubernetes": {"volume_claim": "root"}}, where="mine.yaml")
    request = TrainingRequest(
        repository="https://git.example.org/d.git", revision="main", remote="", recipe=load_recipe("quick"),
        policy=load_policy("research"), start_from=0, actor="ann",
    )  # fmt: skip
    with compiled_for_cluster(request, profile) as launch:
        assert launch.arguments["actor"] == actor
