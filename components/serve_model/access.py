"""Who asks, and whether their role allows it: one dependency a route."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from components.serve_model.errors import ForbiddenError, UnauthenticatedError
from components.serve_model.tokens import ROLES, Role, Tokens


@dataclass(frozen=True)
class Caller:
    """Who makes a request, and what it allows."""

    name: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this caller's role is ``role`` or a higher one."""
        return ROLES.index(self.role) >= ROLES.index(role)


ANONYMOUS = Caller(name="anonymous", role="reader")
_BEARER = HTTPBearer(auto_error=False, description="A token made with `spineline token NAME --role ROLE`.")


class Guard:
    """Lets a request through to a route, or not.

    Without tokens every caller is the reader ``anonymous``, and nobody may approve, promote or roll back.
    """

    def __init__(self, tokens: Tokens | None) -> None:
        self._tokens = tokens

    @property
    def is_open(self) -> bool:
        """Whether everybody may read."""
        return self._tokens is None

    def problem(self) -> str | None:
        """Return what is wrong with the tokens file now."""
        return None if self._tokens is None else self._tokens.look()

    def needs(self, role: Role) -> Callable[..., Awaitable[Caller]]:
        """Return a FastAPI dependency that gives the Caller.

        It raises UnauthenticatedError (401) without a token that is known, ForbiddenError (403) where its role is
        too low. It is resolved before the route reads the body only where the route reads it from the request.
        """

        async def open_to_all(request: Request) -> Caller:
            return _admitted(request, ANONYMOUS, role)

        async def by_token(
            request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
        ) -> Caller:
            entry = self._tokens.entry(given.credentials) if self._tokens and given else None
            if entry is None:
                raise UnauthenticatedError
            return _admitted(request, Caller(name=entry.name, role=entry.role), role)

        return open_to_all if self._tokens is None else by_token


def _admitted(request: Request, caller: Caller, role: Role) -> Caller:
    # The audit log reads it there, also where the request is refused.
    request.state.caller = caller
    if not caller.may(role):
        raise ForbiddenError(role)
    return caller
