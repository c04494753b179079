"""Frozen values that are read from YAML or JSON against a schema, with an error that a person can act on."""

import json
from importlib import resources
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.composer import Composer

from spine.errors import MalformedFileError, MissingPathError, UnknownNameError
from spine.storage import digest_value


class Value(BaseModel):
    """A frozen value: unknown fields are refused, and its digest is that of its strict JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def digest(self) -> str:
        """``sha256:…`` of the value's JSON, independent of field order."""
        return digest_value(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, content: Any, *, where: Path | str) -> Self:
        """Validate ``content``; the first fault is told with its field and ``where`` it stands."""
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise MalformedFileError(where, reason=_fault(error), expected=_one(cls.__name__)) from error

    @classmethod
    def from_json(cls, text: str, *, where: Path | str) -> Self:
        """Parse JSON text; a fault names ``where`` it stands."""
        try:
            content = json.loads(text)
        except ValueError as error:
            raise MalformedFileError(where, reason=f"not JSON ({error})", expected="JSON") from error
        return cls.parse(content, where=where)

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
