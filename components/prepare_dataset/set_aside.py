"""Cases that people set aside: a YAML file that is versioned with the data, a case and its reason a line."""

from collections.abc import Iterable
from pathlib import Path

import yaml

from spine.errors import MalformedFileError
from spine.storage import write_text
from spine.values import SoleKeys, yaml_fault

_EXPECTED = "lines of case: reason"
_HEAD = """\
# Cases that prepare_dataset leaves out, with the reason: what people found that no check can know.
# `spineline label-issues` lists candidates after a training run; `spineline exclude CASE --reason "…"` adds one.
"""


def read_set_aside(path: Path | None, *, cases: Iterable[str]) -> dict[str, str]:
    """Return the reason by case; raises MalformedFileError for a case that the raw data do not hold, or no reason."""
    if path is None or not path.is_file():
        return {}
    reasons = _read(path)
    known = set(cases)
    for case, reason in reasons.items():
        if not isinstance(reason, str) or not reason.strip():
            raise MalformedFileError(path, reason=f"case '{case}' has no reason", expected=_EXPECTED)
        if case not in known:
            # A slip of the pen would otherwise leave the case in.
            raise MalformedFileError(path, reason=f"names '{case}', which the raw data lack", expected="their cases")
    return reasons


def add_to_set_aside(path: Path, *, case: str, reason: str) -> None:
    """Add a case to the file, or give it a new reason; the file is made where there is none."""
    reasons = _read(path) if path.is_file() else {}
    reasons[case] = reason
    lines = yaml.safe_dump(reasons, allow_unicode=True, sort_keys=True, width=1000)
    write_text(path, _HEAD + lines)


class _Texts(SoleKeys, yaml.BaseLoader):
    """Leaves scalars text: a case may be called 0012 or no. Each case once: of two reasons the last would win."""


def _read(path: Path) -> dict[str, str]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Texts)  # noqa: S506 - safer than safe
    except UnicodeDecodeError as error:
        raise MalformedFileError(path, reason="not UTF-8", expected=_EXPECTED) from error
    except yaml.YAMLError as error:
        raise MalformedFileError(path, reason=yaml_fault(error), expected=_EXPECTED) from error
    if not content:
        return {}
    if not isinstance(content, dict):
        raise MalformedFileError(path, reason="not a mapping", expected=_EXPECTED)
    return {str(case): reason for case, reason in content.items()}
