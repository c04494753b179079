"""The command on tokens: who may use the server, and as what."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.output import console, errors, print_json, print_table
from spine.errors import InvalidValueError, UsageError
from spine.settings import settings


def add_to(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command()(token)


def token(
    name: Annotated[
        str | None, typer.Argument(help="Whose token it is: the name that the ledger will record for what it does.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(help="reader (scans, versions, history), approver (also approves) or operator (also promotes)."),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it lasts, such as 90d or 12h.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List whose tokens there are.")] = False,
    revoke: Annotated[str | None, typer.Option(metavar="NAME", help="Take away the token of this name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print strict JSON.")] = False,
) -> None:
    """Make a token for the server, list those there are, or take one away.

    A token is printed once; the file that SPINELINE_TOKENS names keeps its SHA-256. A server follows the file.
    """
    if sum((name is not None, listed, revoke is not None)) != 1:
        raise UsageError("Give exactly one of NAME, --list, --revoke")
    if listed:
        _list(as_json)
    elif revoke is not None:
        _revoke(revoke, as_json)
    else:
        _make(str(name), role, expires, as_json)


def _make(name: str, role: str | None, expires: str | None, as_json: bool) -> None:
    from components.serve_model.token_changes import duration, make_token
    from components.serve_model.tokens import ROLES

    wanted = next((known for known in ROLES if known == role), None)
    if wanted is None:
        raise InvalidValueError("role", role, expected=f"--role with one of: {', '.join(ROLES)}")
    made = make_token(_file(), name=name, role=wanted, lasts=duration(expires) if expires else None)
    if as_json:
        print_json({"name": name, "role": wanted, "token": made})
        return
    errors.print(f"the token of {name}, {wanted}; it is shown this once and kept nowhere:", highlight=False)
    typer.echo(made)


def _list(as_json: bool) -> None:
    from components.serve_model.tokens import read_entries

    entries = read_entries(_file())
    if as_json:
        print_json([entry.model_dump(mode="json", exclude={"sha256"}) for entry in entries])
        return
    print_table(
        "tokens",
        ["name", "role", "expires (UTC)", "expired"],
        [(entry.name, entry.role, entry.expires, entry.has_expired()) for entry in entries],
    )


def _revoke(name: str, as_json: bool) -> None:
    from components.serve_model.token_changes import revoke_token

    revoke_token(_file(), name=name)
    if as_json:
        print_json({"name": name, "revoked": True})
        return
    console.print(f"the token of {name} is no longer accepted", highlight=False)


def _file() -> Path:
    path = settings().tokens
    if path is None:
        raise InvalidValueError("SPINELINE_TOKENS", None, expected="the path of the tokens file")
    return path.expanduser().absolute()
