"""Reading the ledger and changing what is served over HTTP: who may, what is recorded, and how a refusal is told."""

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from components.serve_model.errors import ChangeUnderWayError
from components.serve_model.registry_service import Control
from components.serve_model.schemas import refusal, without_paths
from components.serve_model.token_changes import make_token
from model_registry.errors import BrokenLedgerError, ConflictError, GoldenCaseError, NotPromotableError
from model_registry.lifecycle import Registry
from spine.blob_store import BlobStoreUnreachableError
from spine.errors import DigestMismatchError, InvalidValueError, UnknownNameError


@dataclass(frozen=True)
class Desk:
    """A server with a token for each role."""

    server: object
    tokens: dict[str, str]

    def ask(self, role: str | None, method: str, path: str, **more: object) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        return self.server.client.request(method, path, headers=headers, **more)

    def change(self, role: str | None, path: str, **body: object) -> httpx.Response:
        return self.ask(role, "POST", f"/v1/{path}", json=body)


@pytest.fixture
def desk_of(serve: Callable, tmp_path: Path) -> Callable[[Path], Desk]:
    """A function of a root that starts its server."""
    path = tmp_path / "tokens.yaml"
    names = {"reader": "rita", "approver": "abel", "operator": "olga"}
    tokens = {role: make_token(path, name=name, role=role, lasts=None) for role, name in names.items()}
    return lambda root: Desk(server=serve(root, tokens=path), tokens=tokens)


@pytest.fixture
def desk(registry_with_two_versions: Registry, desk_of: Callable[[Path], Desk]) -> Desk:
    return desk_of(registry_with_two_versions.root)


CHANGES = {
    "versions/1/approval": ({"reason": "good"}, "approver"),
    "promotions": ({"version": 1, "reason": "better"}, "operator"),
    "rollbacks": ({"reason": "worse"}, "operator"),
}


def test_a_version_is_promoted_and_rolled_back_under_the_tokens_name(desk: Desk, registry_with_two_versions) -> None:
    for version in (1, 2):
        made = desk.change("operator", "promotions", version=version, reason=f"to {version}")
        assert made.status_code == 200, made.text
        told = made.json()
        assert told["event"]["kind"] == "promote"
        assert told["event"]["to_version"] == version
        assert told["event"]["actor"] == "olga"
        assert told["golden_dice"] >= 0.99
        assert len(told["following"]) == 1
        assert desk.ask("reader", "GET", "/v1/model").json()["version"] == version
    back = desk.change("operator", "rollbacks", reason="worse on patients")
    assert back.status_code == 200, back.text
    assert back.json()["event"]["to_version"] == 1
    assert desk.ask("reader", "GET", "/v1/model").json()["version"] == 1
    events = registry_with_two_versions.history()
    assert [(event.kind, event.actor, event.reason) for event in events[-3:]] == [
        ("promote", "olga", "to 1"),
        ("promote", "olga", "to 2"),
        ("roll back", "olga", "worse on patients"),
    ]
    assert back.json()["event"]["event_digest"] == events[-1].digest


def test_versions_and_history_tell_what_the_ledger_says(desk: Desk, registry_with_two_versions) -> None:
    registry_with_two_versions.promote(2, actor="ann", reason="first", expected_serving=None)
    told = desk.ask("reader", "GET", "/v1/versions").json()
    assert (told["serving"], told["before"]) == (2, None)
    assert [(version["version"], version["stage"], version["approved_by"]) for version in told["versions"]] == [
        (1, "approved", "ben"),
        (2, "promoted", "ben"),
    ]
    assert "bundle" not in told["versions"][0]
    history = desk.ask("reader", "GET", "/v1/history").json()["events"]
    assert [event["event_digest"] for event in history] == [
        event.digest for event in registry_with_two_versions.history()
    ]


def test_an_approver_approves_and_is_recorded(desk_of: Callable[[Path], Desk], make_bundle, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "root")
    bundle = make_bundle(registry.root / "versions" / "1")
    registry.register(version=1, bundle=bundle, actor="ann", reason="for tests")
    desk = desk_of(registry.root)
    made = desk.change("approver", "versions/1/approval", reason=" looked at the report ")
    assert made.status_code == 200, made.text
    assert made.json()["has_evidence_pack"] is True
    assert len(list(registry.root.rglob("evidence-1.zip"))) == 1
    assert registry.state().version(1).approved_by == "abel"
    assert registry.history()[-1].reason == "looked at the report"
    again = desk.change("approver", "versions/1/approval", reason="again")
    assert (again.status_code, again.json()) == (
        409,
        {"error": "version 1 is approved and can't be approved; expected a registered version"},
    )


def test_every_role_is_held_to_what_it_may(desk: Desk, registry_with_two_versions) -> None:
    before = len(registry_with_two_versions.history())
    for path, (body, needed) in CHANGES.items():
        allowed = {"approver": ("approver", "operator"), "operator": ("operator",)}[needed]
        for role in (None, "reader", "approver", "operator"):
            if role in allowed:
                continue
            answer = desk.change(role, path, **body)
            assert answer.status_code == (403 if role else 401), (path, role)
            assert list(answer.json()) == ["error"]
    for path in ("/v1/versions", "/v1/history", "/v1/model"):
        assert desk.ask(None, "GET", path).status_code == 401
        assert desk.ask("reader", "GET", path).status_code != 401
    for path in ("/healthz", "/metrics"):
        assert desk.ask(None, "GET", path).status_code == 200
    assert len(registry_with_two_versions.history()) == before


def test_without_tokens_nobody_changes_anything(registry_with_two_versions, serve) -> None:
    server = serve(registry_with_two_versions.root)
    for path, (body, _) in CHANGES.items():
        assert server.client.post(f"/v1/{path}", json=body).status_code == 403
    assert server.client.get("/v1/versions").status_code == 200


def test_a_body_is_not_read_before_its_sender_is_let_through(desk: Desk) -> None:
    for role, status in ((None, 401), ("reader", 403)):
        answer = desk.ask(role, "POST", "/v1/promotions", content=b"not json at all")
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        (b"", 422, "the body"),
        (b"{", 422, "the body"),
        (b"[]", 422, "the body"),
        (b"\xff\xfe", 422, "not JSON"),
        (b"[" * 9000, 422, "not JSON"),
        (b'{"reason": "x"}', 422, "version: Field required"),
        (b'{"version": 1}', 422, "reason: Field required"),
        (b'{"version": 0, "reason": "x"}', 422, "version"),
        (b'{"version": 1, "reason": ""}', 422, "reason"),
        (b'{"version": 1, "reason": "  "}', 422, "reason"),
        (b'{"version": 1, "reason": "a\\u001b[2Jb"}', 422, "reason"),
        ('{"version": 1, "reason": "all\u202edoog"}'.encode(), 422, "reason"),
        ('{"version": 1, "reason": "good\u200b"}'.encode(), 422, "reason"),
        (b'{"version": true, "reason": "x"}', 422, "version"),
        (b'{"version": 1.0, "reason": "x"}', 422, "version"),
        (b'{"version": "1", "reason": "x"}', 422, "version"),
        (b'{"version": 1, "reason": "x", "dry_run": "yes"}', 422, "dry_run"),
        (b'{"version": 1, "version": 2, "reason": "x"}', 422, "'version' is given twice"),
        (b'{"version": 1, "reason": "x", "deadline_s": true}', 422, "deadline_s"),
        (b'{"version": 1, "reason": "x", "deadline_s": NaN}', 422, "deadline_s"),
        (b'{"version": 1, "reason": "x", "deadline_s": 1e9}', 422, "deadline_s"),
        (b'{"version": 1, "reason": "x", "actor": "somebody else"}', 422, "actor: Extra inputs"),
        (b'{"version": 1, "reason": "' + b"x" * 20000 + b'"}', 413, "at most 16 KiB"),
        (b'{"version": 7, "reason": "x"}', 404, "unknown version '7'; expected one of: 1, 2"),
    ],
)
def test_a_body_that_is_wrong_is_told_in_one_line_and_nothing_is_done(
    desk: Desk, registry_with_two_versions, content: bytes, status: int, told: str
) -> None:
    before = len(registry_with_two_versions.history())
    answer = desk.ask("operator", "POST", "/v1/promotions", content=content)
    assert answer.status_code == status, answer.text
    assert told in answer.json()["error"]
    assert "\n" not in answer.json()["error"]
    assert len(registry_with_two_versions.history()) == before


def test_a_number_that_is_none_in_the_path_is_told(desk: Desk) -> None:
    for number in ("x", "0", "-1", "99999999999999999999"):
        answer = desk.change("approver", f"versions/{number}/approval", reason="x")
        assert answer.status_code == 422
        assert list(answer.json()) == ["error"]


def test_a_damaged_version_is_refused_without_a_path_and_the_old_one_stays(
    desk: Desk, registry_with_two_versions
) -> None:
    assert desk.change("operator", "promotions", version=1, reason="first").status_code == 200
    root = registry_with_two_versions.root
    checkpoint = next((root / "versions" / "2").rglob("checkpoint_final.pth"))
    checkpoint.write_bytes(checkpoint.read_bytes() + b"x")
    answer = desk.change("operator", "promotions", version=2, reason="second")
    assert answer.status_code == 422
    assert str(root) not in answer.text
    assert "/" not in answer.json()["error"]
    assert desk.ask("reader", "GET", "/v1/model").json()["version"] == 1
    assert registry_with_two_versions.state().serving == 1


def test_a_dry_run_says_what_would_happen_and_changes_nothing(desk: Desk, registry_with_two_versions) -> None:
    before = len(registry_with_two_versions.history())
    answer = desk.change("operator", "promotions", version=1, reason="try", dry_run=True)
    assert answer.status_code == 200, answer.text
    assert answer.json()["would_succeed"] is True
    assert any("golden case" in line for line in answer.json()["lines"])
    assert len(registry_with_two_versions.history()) == before
    assert desk.ask("reader", "GET", "/v1/model").json()["version"] is None


def test_a_second_change_of_a_kind_is_refused_meanwhile_and_one_of_another_kind_is_not(tmp_path: Path) -> None:
    control = Control(root=tmp_path, open_registry=lambda: Registry(tmp_path), engine=None)
    begun, go_on = threading.Event(), threading.Event()

    def slow(registry: Registry) -> str:
        begun.set()
        assert go_on.wait(10)
        return "promoted"

    async def both() -> None:
        first = asyncio.create_task(control.change("promotion", slow))
        await asyncio.to_thread(begun.wait, 10)
        with pytest.raises(ChangeUnderWayError, match="another promotion is under way"):
            await control.change("promotion", slow)
        assert await control.change("rollback", lambda _: "rolled back") == "rolled back"
        go_on.set()
        assert await first == "promoted"
        assert await control.change("promotion", lambda _: "again") == "again"

    asyncio.run(both())


def test_refusals_have_their_status_and_no_path(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    errors = {
        UnknownNameError("version", 9, accepted=["1"]): 404,
        ConflictError(number=3, state="version 2 is served"): 409,
        NotPromotableError(3, state="revoked", wanted="promoted", expected="another"): 409,
        BrokenLedgerError(number=3, reason="was changed"): 409,
        GoldenCaseError(3, dice=0.5, expected=0.99): 422,
        InvalidValueError("reason", "", expected="a sentence"): 422,
        DigestMismatchError(root / "versions" / "2" / "x.pth", found="sha256:0", expected="sha256:1"): 422,
        BlobStoreUnreachableError("s3://bucket/ledger", reason="timed out"): 503,
    }
    for error, status in errors.items():
        told = refusal(error, root=root)
        assert told.status == status
        assert "/" not in str(told)
        assert "with space" not in str(told)
    line = without_paths(f"{root}/a: not found; expected b\nsecond", root=root)
    assert line == "… not found; expected b"


def test_the_document_names_what_the_routes_take_and_answer(desk: Desk) -> None:
    document = desk.ask("reader", "GET", "/openapi.json").json()
    for path, (body, _) in CHANGES.items():
        template = "/v1/" + path.replace("/1/", "/{version}/")
        operation = document["paths"][template]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert set(body) <= set(schema["properties"])
        assert {"200", "401", "403", "404", "409", "422"} <= set(operation["responses"])
        assert operation["security"]
    assert json.dumps(document).count("event_digest") >= 1
