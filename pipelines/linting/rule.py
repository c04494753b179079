"""What a rule and a finding are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pipelines.linting.compiled import CompiledPipeline

Faults = Iterator[tuple[str, str]]
"""Where and what: the name of a task or step, and what was found of it."""


@dataclass(frozen=True)
class Rule:
    """One trap: how it is seen in a compiled pipeline, what it does, and what to write in place of it."""

    name: str
    why: str
    expected: str
    faults: Callable[[CompiledPipeline], Faults]


@dataclass(frozen=True)
class Finding:
    """A rule that a pipeline breaks, and where."""

    rule: Rule
    place: str
    found: str

    def __str__(self) -> str:
        return f"{self.place} {self.found} (rule {self.rule.name}: {self.rule.why}); expected {self.rule.expected}"
