"""Frozen values that are read from YAML or JSON against a schema, with an error that a person can act on.

A digest must stay what it was when a later Spineline adds a field. ``StoredValue`` is for what programs write: its
digest is that of the JSON as it was stored. ``WrittenValue`` is for what people write: its digest leaves out fields
added since the first release where they have their default.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from yaml.composer import Composer

from spine.errors import MalformedFileError, MissingPathError, UnknownNameError
from spine.storage import digest_value

_FIRST_FORMAT = 1
FormatNumber = Annotated[int, Field(strict=True, ge=_FIRST_FORMAT)]


class FieldConflictError(ValueError):
    """Fields of a value, each valid, do not go together; for validators of whole models."""

    def __init__(self, reason: str, *, expected: str) -> None:
        self.reason, self.expected = reason, expected
        super().__init__(f"{reason}; expected {expected}")


class Value(BaseModel):
    """A frozen value: unknown fields are refused, and its digest is that of its strict JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @cached_property
    def content(self) -> dict[str, Any]:
        """The value as JSON: what is stored of it, and what its digest is over."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """``sha256:…`` of the value's content, independent of field order."""
        return digest_value(self.content)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy with some fields changed; its content is its own."""
        copy = super().model_copy(update=update, deep=deep)
        copy.__dict__.pop("content", None)
        return copy

    @classmethod
    def parse(cls, content: Any, *, where: Path | str) -> Self:
        """Validate ``content``; the first fault is told with its field and ``where`` it stands."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            conflict = error.errors()[0].get("ctx", {}).get("error")
            if isinstance(conflict, FieldConflictError):
                raise MalformedFileError(where, reason=conflict.reason, expected=conflict.expected) from error
            raise MalformedFileError(where, reason=_fault(error), expected=_one(cls.__name__)) from error

    @classmethod
    def from_json(cls, text: str, *, where: Path | str) -> Self:
        """Parse JSON text; a fault names ``where`` it stands."""
        return cls.parse(_json(text, where=where), where=where)

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read one YAML file."""
        if not path.is_file():
            raise MissingPathError(path, expected=f"a YAML file with {_one(cls.__name__)}")
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=SafeLoader)  # noqa: S506 - a safe loader
        except (OSError, UnicodeDecodeError) as error:
            raise MalformedFileError(path, reason=f"can't be read ({error})", expected="UTF-8 YAML") from error
        except yaml.YAMLError as error:
            raise MalformedFileError(path, reason=yaml_fault(error), expected="YAML") from error
        return cls.parse(content, where=path)

    @classmethod
    def named(cls, name: str, *, package: str) -> Self:
        """Find ``name`` among the YAML files of ``package``, or read it as a path where it ends in .yaml."""
        if name.endswith((".yaml", ".yml")):
            return cls.from_yaml(Path(name))
        folder = resources.files(package)
        known = sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))
        if name not in known:
            raise UnknownNameError(_words(cls.__name__), name, accepted=", ".join(known) + ", or a path to a .yaml")
        with resources.as_file(folder / f"{name}.yaml") as path:
            return cls.from_yaml(path)


class StoredValue(Value):
    """A value that programs write to a file and read again, with the number of its format.

    A class whose fields change in a way that a reader should know of raises the default of ``format``.
    """

    format: FormatNumber = 2
    """What this code writes is the default; it reads the formats before it, of which the first had no number."""

    @classmethod
    def from_stored(cls, content: Any, *, where: Path | str) -> Self:
        """Validate JSON that was stored, of this format or an earlier one; its digest is over ``content`` as it is.

        Raises MalformedFileError for a later format, or for what is none of it.
        """
        value = cls.parse(
            _with_known_format(content, cls, newest=cls.model_fields["format"].default, where=where), where=where
        )
        value.__dict__["content"] = content
        return value

    @classmethod
    def from_json(cls, text: str, *, where: Path | str) -> Self:
        """Parse JSON text that was stored."""
        return cls.from_stored(_json(text, where=where), where=where)


class WrittenValue(Value):
    """A value that people write in YAML: a field that is added later changes no digest before somebody sets it."""

    FIRST_FIELDS: ClassVar[frozenset[str]]
    """The fields that were there when digests were first stored; they are in every digest."""
    FORMAT: ClassVar[int] = 2
    """The format of the copies that this code stores; the first had no number."""

    @property
    def digest(self) -> str:
        """``sha256:…`` of the value's JSON without later fields that have their default."""
        return digest_value(self.first_content())

    def stored(self) -> dict[str, Any]:
        """Return the JSON of a copy to store: every field, and the number of the format."""
        return {"format": self.FORMAT, **self.content}

    @classmethod
    def parse(cls, content: Any, *, where: Path | str) -> Self:
        """Validate what somebody wrote, or a stored copy of this format or an earlier one.

        Raises MalformedFileError for a later one.
        """
        if isinstance(content, dict) and "format" in content:
            _with_known_format(content, cls, newest=cls.FORMAT, where=where)
            content = {name: part for name, part in content.items() if name != "format"}
        return super().parse(content, where=where)

    def first_content(self) -> dict[str, Any]:
        """Return the JSON that the digest is over; so that of every ``WrittenValue`` within."""
        fields = type(self).model_fields
        later = {
            name
            for name, field in fields.items()
            if name not in self.FIRST_FIELDS and getattr(self, name) == field.get_default(call_default_factory=True)
        }
        parts = {name: getattr(self, name) for name in fields if name not in later}
        within = {name: part.first_content() for name, part in parts.items() if isinstance(part, WrittenValue)}
        return {**self.model_dump(mode="json", exclude=later), **within}


def _json(text: str, *, where: Path | str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedFileError(where, reason=f"not JSON ({error})", expected="JSON") from error


def _with_known_format(content: Any, kind: type[Value], *, newest: int, where: Path | str) -> dict[str, Any]:
    """Return stored JSON with the number of its format; raises MalformedFileError where that is no known one."""
    words = _one(kind.__name__)
    if not isinstance(content, dict):
        raise MalformedFileError(where, reason=f"holds no object (found {str(content)[:40]!r})", expected=words)
    number = content.get("format", _FIRST_FORMAT)
    if type(number) is not int or number < _FIRST_FORMAT:
        raise MalformedFileError(
            where, reason=f"format: {number!r} is no format", expected=f"{words}, format 1 or later"
        )
    if number > newest:
        expected = f"format {newest} or earlier; install the Spineline that wrote it, or a later one"
        raise MalformedFileError(where, reason=f"has format {number} of {words}", expected=expected)
    return {**content, "format": number}


class SoleKeys(Composer):
    """What makes a loader of YAML refuse a key that is given twice: of two values the last would win without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping's node; raises MarkedYAMLError."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            # Keys that are no scalars are refused when the mapping is made.
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


class SafeLoader(SoleKeys, yaml.SafeLoader):
    """YAML's safe loader, each key once."""


def _fault(error: ValidationError) -> str:
    # A field that is not known is mostly a known one misspelt, which is then missed as well.
    faults = sorted(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
    first = faults[0]
    field = ".".join(str(part) for part in first["loc"]) or "the whole file"
    given = repr(first["input"])
    shown = given if len(given) <= 60 else given[:57] + "…"
    return f"{field}: {first['msg']} (found {shown})"


def yaml_fault(error: yaml.YAMLError) -> str:
    """Say in a few words where YAML breaks off, and at what."""
    return f"{yaml_place(error)} ({getattr(error, 'problem', None) or 'unreadable'})"


def yaml_place(error: Exception) -> str:
    """Say that something is not YAML, and where it breaks off; nothing of what stands there is quoted."""
    mark = getattr(error, "problem_mark", None)
    return f"not YAML at line {mark.line + 1}, column {mark.column + 1}" if mark else "not YAML"


def _one(name: str) -> str:
    words = _words(name)
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
