"""The registry's work behind the control routes: off the event loop, one change of a kind at a time."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeVar

from components.serve_model.engine import Engine
from components.serve_model.errors import ChangeUnderWayError
from components.serve_model.schemas import refusal
from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.promotion import Golden
from spine.errors import SpinelineError
from spine.values import Value

_LOG = logging.getLogger(__name__)
Kind = Literal["approval", "promotion", "rollback"]
Answer = TypeVar("Answer", bound=Value)
Work = Callable[[Registry], Answer]


class Control:
    """The registry's work, off the event loop.

    Changes of a kind are made one at a time, and a second one is refused meanwhile; a rollback never waits for a
    promotion, which may wait for servers that don't follow. Between kinds and servers the ledger decides who was first.
    """

    def __init__(self, *, root: Path, open_registry: Callable[[], Registry], engine: Engine) -> None:
        self.root, self._open, self._engine = root, open_registry, engine
        self._lines: dict[Kind, asyncio.Lock] = {
            "approval": asyncio.Lock(),
            "promotion": asyncio.Lock(),
            "rollback": asyncio.Lock(),
        }
        self._reading = asyncio.Lock()
        self._read_from: Registry | None = None

    async def read(self, work: Work[Answer]) -> Answer:
        """Read the ledger, one reader after the other: they share what is read of it already."""
        async with self._reading:
            return await asyncio.to_thread(self._translate_errors, work, self._registry_to_read)

    async def change(self, kind: Kind, work: Work[Answer]) -> Answer:
        """Make a change; raises ServeError where it is refused."""
        line = self._lines[kind]
        if line.locked():
            raise ChangeUnderWayError(kind)
        async with line:
            return await asyncio.to_thread(self._translate_errors, work, self._open)

    def golden(self, registry: Registry, *, keep: bool) -> Golden:
        """Return what loads a version beside the live one for its golden case, and keeps it warm for the swap."""

        def run(_: Bundle, version: int) -> float:
            model, _was_warm = self._engine.prepare(registry, version)
            if keep:
                self._engine.keep(model)
            return model.golden_dice

        return run

    def _registry_to_read(self) -> Registry:
        if self._read_from is None:
            self._read_from = self._open()
        return self._read_from

    def _translate_errors(self, work: Work[Answer], opened: Callable[[], Registry]) -> Answer:
        try:
            return work(opened())
        except SpinelineError as error:
            _LOG.warning("refused: %s", error)
            raise refusal(error, root=self.root) from error
