"""Who is let through to which route, and what is told to those who are not."""

from pathlib import Path
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.testclient import TestClient

from components.serve_model.access import Caller, Guard
from components.serve_model.errors import ServeError
from components.serve_model.token_changes import make_token, revoke_token
from components.serve_model.tokens import ROLES, Tokens


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.yaml"


def client(guard: Guard) -> TestClient:
    app = FastAPI()

    @app.exception_handler(ServeError)
    async def refused(_: Request, error: ServeError) -> Response:
        return Response(str(error), status_code=error.status, headers=error.headers)

    for role in ROLES:

        @app.get(f"/{role}")
        async def route(caller: Annotated[Caller, Depends(guard.needs(role))]) -> dict[str, str]:
            return {"name": caller.name, "role": caller.role}

    return TestClient(app)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_each_role_may_do_what_those_below_it_may(path: Path) -> None:
    made = {role: make_token(path, name=f"a-{role}", role=role, lasts=None) for role in ROLES}
    asked = client(Guard(Tokens(path)))
    for rank, (role, token) in enumerate(made.items()):
        answers = [asked.get(f"/{needed}", headers=bearer(token)) for needed in ROLES]
        assert [answer.status_code for answer in answers] == [200] * (rank + 1) + [403] * (2 - rank)
        assert answers[0].json() == {"name": f"a-{role}", "role": role}


def test_without_a_token_that_is_known_the_answer_is_the_same_whatever_was_sent(path: Path) -> None:
    token = make_token(path, name="ann", role="operator", lasts=None)
    gone = make_token(path, name="bob", role="operator", lasts=None)
    revoke_token(path, name="bob")
    asked = client(Guard(Tokens(path)))
    sent = [
        {},
        bearer("wrong"),
        bearer(gone),
        bearer(""),
        bearer(f"{token} {token}"),
        {"Authorization": f"Basic {token}"},
        {"Authorization": token},
        {"Authorization": "Bearer"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"X-Token": token},
    ]
    for headers in sent:
        answer = asked.get("/reader", headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.text == "no valid token; expected the header 'Authorization: Bearer TOKEN'"
    assert asked.get("/reader", headers={"Authorization": f"bearer {token}"}).status_code == 200
    assert asked.get(f"/reader?access_token={token}").status_code == 401


def test_a_refused_role_is_told_what_is_needed_and_nothing_of_who_there_is(path: Path) -> None:
    token = make_token(path, name="ann", role="reader", lasts=None)
    make_token(path, name="secret-name", role="operator", lasts=None)
    answer = client(Guard(Tokens(path))).get("/operator", headers=bearer(token))
    assert answer.status_code == 403
    assert answer.text == "this caller may not do that; expected a token of role 'operator' or higher"


def test_without_a_tokens_file_everybody_reads_and_nobody_changes_anything() -> None:
    asked = client(Guard(None))
    assert asked.get("/reader").json() == {"name": "anonymous", "role": "reader"}
    assert asked.get("/reader", headers=bearer("any")).status_code == 200
    assert [asked.get(f"/{role}", headers=bearer("any")).status_code for role in ROLES[1:]] == [403, 403]


def test_the_openapi_document_names_the_scheme_only_where_a_token_is_asked_for(path: Path) -> None:
    make_token(path, name="ann", role="reader", lasts=None)
    asked = client(Guard(Tokens(path))).get("/openapi.json").json()
    assert asked["paths"]["/reader"]["get"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in client(Guard(None)).get("/openapi.json").json()["paths"]["/reader"]["get"]
