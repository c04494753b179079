"""Values from files: what is wrong is told with its place, its field and what would have been accepted."""

import json
import re
from pathlib import Path

import pytest

from spine.errors import MalformedFileError, MissingPathError, SpinelineError, UnknownNameError
from spine.values import Value


class SmallThing(Value):
    name: str
    size: int = 1
    about: str = ""
    parts: tuple[float, ...] = ()


WRONG = [
    ("name: x\nsise: 3\n", "sise: Extra inputs are not permitted (found 3)"),
    ("size: 3\n", "name: Field required"),
    ("name: x\nsize: large\n", "size: Input should be a valid integer"),
    ("name: x\nsize: 1.5\n", "size: Input should be a valid integer"),
    ("name: x\nparts: [1.0, two]\n", "parts.1: Input should be a valid number"),
    ("- name\n", "the whole file: Input should be a valid dictionary"),
    ("", "the whole file: Input should be a valid dictionary"),
    ("name: x\nsize: [1\nabout: y\n", "not YAML at line 3, column 6"),
    ("name: x\n\tsize: 1\n", "not YAML at line 2, column 1"),
    ("name: 'x\n", "not YAML at line 2"),
    ("name: x\nsize: 1\nname: y\n", "not YAML at line 3, column 1 (the key 'name' twice)"),
    ("name: x\n'name': y\n", "not YAML at line 2, column 1 (the key 'name' twice)"),
    ("name: x\nparts: [{a: 1, b: 2, a: 3}]\n", "not YAML at line 2, column 22 (the key 'a' twice)"),
    ("name: x\n[1]: y\n", "not YAML at line 2, column 1"),
]


@pytest.mark.parametrize(("text", "told"), WRONG)
def test_a_fault_in_yaml_is_one_line_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "thing.yaml"
    path.write_text(text)
    with pytest.raises(MalformedFileError, match=re.escape(f"{path}: {told}")) as caught:
        SmallThing.from_yaml(path)
    assert "\n" not in str(caught.value)


class TwoThings(Value):
    first: dict[str, int]
    second: dict[str, int]


def test_a_key_that_is_merged_in_and_given_besides_is_not_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "things.yaml"
    path.write_text("first: &base {a: 1, b: 2}\nsecond: {<<: *base, b: 3}\n")
    assert TwoThings.from_yaml(path).second == {"a": 1, "b": 3}


def test_yaml_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thing.yaml").write_bytes("name: ü\n".encode("latin-1"))
    with pytest.raises(MalformedFileError, match=r"thing\.yaml: can't be read .*expected UTF-8 YAML"):
        SmallThing.from_yaml(tmp_path / "thing.yaml")


def test_a_missing_file_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match=r"no\.yaml: not found; expected a YAML file with a small thing"):
        SmallThing.from_yaml(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"name": "x", "sise": 3}', "recipe: sise: Extra inputs"),
        ('{"name": "x", "size": "large"}', "recipe: size: Input should be a valid integer"),
        ('{"name": "x"', "recipe: not "),
    ],
)
def test_a_fault_in_json_is_told_with_where_it_stands(text: str, told: str) -> None:
    with pytest.raises(MalformedFileError, match=re.escape(told)):
        SmallThing.from_json(text, where="recipe")


@pytest.mark.parametrize("thing", [
    SmallThing(name="x", parts=(3e-05, 1e20)),
    SmallThing(name="x", about="ü \N{GRINNING FACE} \"quoted\" \\ \n\t/"),
])  # fmt: skip
@pytest.mark.parametrize("layout", [{}, {"ensure_ascii": False}, {"indent": "\t"}, {"separators": (",", ":")}])
def test_every_layout_of_json_is_read(thing: SmallThing, layout: dict[str, object]) -> None:
    read = SmallThing.from_json(json.dumps(thing.model_dump(mode="json"), **layout), where="pipeline")  # type: ignore[arg-type]
    assert (read, read.digest) == (thing, thing.digest)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown small thing 'spline'; expected one of: .*demo.*spine"):
        SmallThing.named("spline", package="spine.recipes")


@pytest.mark.parametrize("name", ["", "../recipe", "demo/../demo", "demo.yml"])
def test_a_name_is_no_way_out_of_the_package(name: str) -> None:
    with pytest.raises((UnknownNameError, MissingPathError)):
        SmallThing.named(name, package="spine.recipes")


def test_a_name_that_ends_in_yaml_is_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    assert SmallThing.named(str(tmp_path / "mine.yaml"), package="spine.recipes").name == "mine"


def test_a_value_is_frozen_and_its_digest_tells_its_content() -> None:
    thing = SmallThing(name="x")
    with pytest.raises(ValueError, match="frozen"):
        thing.size = 2  # type: ignore[misc]
    assert thing.digest == SmallThing(size=1, name="x").digest != SmallThing(name="x", size=2).digest


def test_every_fault_is_an_expected_error() -> None:
    assert issubclass(MalformedFileError, SpinelineError)
    assert MalformedFileError("x", reason="y", expected="z").exit_code == 2
