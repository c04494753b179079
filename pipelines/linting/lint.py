"""Judging a compiled pipeline by rules, and the error that names what was found."""

from collections.abc import Sequence
from typing import Any

from pipelines.linting.compiled import CompiledPipeline
from pipelines.linting.rule import Finding, Rule
from spine.errors import SpinelineError


class FoundInPipelineError(SpinelineError):
    """A compiled pipeline walks into a known trap: the first finding is told whole, others by their rule and place."""

    def __init__(self, pipeline: str, findings: Sequence[Finding], *, profile: str) -> None:
        self.findings = tuple(findings)
        first, *others = findings
        more = "; also " + ", ".join(f"{other.place} ({other.rule.name})" for other in others) if others else ""
        super().__init__(f"pipeline {pipeline} of profile '{profile}': {first}{more}")


def lint(documents: Sequence[dict[str, Any]], rules: Sequence[Rule]) -> list[Finding]:
    """Return what ``rules`` find in compiled documents, in the rules' order."""
    pipeline = CompiledPipeline.of(documents)
    return [Finding(rule, place, found) for rule in rules for place, found in rule.faults(pipeline)]
