"""The kinds of values that a cluster's profile is made of, each with the words that a wrong one is answered with."""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

_UNITS = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "M": 10**6, "G": 10**9, "T": 10**12}
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_REPOSITORY = r"([a-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*"
_TAG = r":(?!latest$)[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"@sha256:[0-9a-f]{64}"
_PATH = r"(/(?!\.\.?(/|$))[A-Za-z0-9._-]+)+"


@dataclass(frozen=True)
class Form:
    """A pattern that a text is to have from end to end, and the words for it: in errors, and in the schema."""

    pattern: str
    expected: str
    longest: int = 512

    def check(self, value: str) -> str:
        """Return ``value``, or refuse it with what was expected."""
        if len(value) > self.longest or not re.fullmatch(self.pattern, value):
            raise PydanticCustomError("form", "should be {expected}", {"expected": self.expected})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "description": self.expected}


Size = Annotated[str, Form(r"[1-9][0-9]*(Ki|Mi|Gi|Ti|M|G|T)?", "a whole number of bytes such as 64Gi or 500M")]
Cpu = Annotated[
    str,
    Field(coerce_numbers_to_str=True),
    Form(r"(?!0*\.?0*m?$)[0-9]+(\.[0-9]+|m)?", "a number of cores such as 4, 0.5 or 500m", longest=16),
]
ObjectName = Annotated[str, Form(_SUBDOMAIN, "a Kubernetes name: lower case letters, digits, '-' and '.'", longest=253)]
VolumeName = Annotated[
    str, Form(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", "a name of lower case letters, digits and '-'", longest=63)
]
"""kfp names the pod's volume after the claim or secret that it shows, and a volume's name may be no longer."""
LabelKey = Annotated[
    str, Form(rf"({_SUBDOMAIN}/)?{_LABEL}", "a label's key such as nvidia.com/gpu.product", longest=317)
]
LabelValue = Annotated[str, Form(rf"({_LABEL})?", "a label's value: up to 63 letters, digits, '-', '_' and '.'")]
ResourceName = Annotated[
    str, Form(rf"{_SUBDOMAIN}/{_LABEL}", "the name of a device resource such as nvidia.com/gpu", longest=317)
]
SecretKey = Annotated[str, Form(r"[A-Za-z0-9._-]+", "a key of a Secret: letters, digits, '-', '_' and '.'")]
VariableName = Annotated[str, Form(r"[A-Z_][A-Z0-9_]*", "a variable's name of upper case letters, digits and '_'")]
Folder = Annotated[str, Form(_PATH, "an absolute path such as /spineline")]
Url = Annotated[
    str, Form(r"https?://[^\s/@?#]+(/[^\s?#]*)?", "an address such as https://name.example.org, without '?' and '#'")
]
BucketUrl = Annotated[str, Form(r"s3://[a-z0-9][a-z0-9.-]+(/\S*)?", "an address such as s3://bucket/prefix")]
Place = Annotated[
    str,
    Form(rf"s3://[a-z0-9][a-z0-9.-]+(/\S*)?|{_PATH}", "s3://bucket/prefix or an absolute path"),
]
ImageReference = Annotated[
    str,
    Form(
        rf"{_REPOSITORY}({_TAG}({_DIGEST})?|{_DIGEST})",
        "name:tag or name@sha256:<64 hexadecimal digits>, and not the tag latest",
    ),
]

_GROUPINGS = ("each", "together")


def _grouping(value: Any) -> Any:
    if value not in _GROUPINGS and (type(value) is not int or not 1 <= value <= 5):
        raise PydanticCustomError("grouping", "should be each, together, or the number of folds a task: 1 to 5")
    return value


FoldGroups = Annotated[
    Literal["each", "together"] | Annotated[int, Field(strict=True, ge=1, le=5)], BeforeValidator(_grouping)
]
Retries = Annotated[int, Field(strict=True, ge=1, le=100)]
Hours = Annotated[int, Field(strict=True, ge=1, le=8760)]


def bytes_of(size: str) -> int:
    """Return a size in bytes."""
    unit = size.lstrip("0123456789")
    return int(size.removesuffix(unit)) * _UNITS[unit]


def cores_of(cpu: str) -> float:
    """Return an amount of CPU in cores."""
    return int(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)


def is_pinned(image: str) -> bool:
    """Say whether a reference names one image for good: a tag other than latest, or a digest."""
    return re.fullmatch(rf".+({_TAG}|{_DIGEST})", image) is not None
