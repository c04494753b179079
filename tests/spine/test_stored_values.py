"""What is stored keeps its digest, whatever later releases add."""

import pytest

from spine.errors import MalformedFileError
from spine.storage import digest_value
from spine.values import StoredValue, WrittenValue


class Kept(StoredValue):
    name: str


class LaterKept(StoredValue):
    format: int = 3
    name: str
    colour: str = "red"


class Part(WrittenValue):
    FIRST_FIELDS = frozenset({"size"})
    size: int


class Asked(WrittenValue):
    FIRST_FIELDS = frozenset({"name", "part"})
    name: str
    part: Part | None = None


class LaterPart(Part):
    edge: float = 0.5


class LaterAsked(Asked):
    part: LaterPart | None = None
    extra: tuple[str, ...] = ()


def test_what_is_made_now_has_the_number_of_its_format_in_its_digest():
    assert Kept(name="a").content == {"format": 2, "name": "a"}
    assert Kept(name="a").digest == digest_value({"format": 2, "name": "a"})


@pytest.mark.parametrize("content", [{"name": "a"}, {"format": 1, "name": "a"}, {"format": 2, "name": "a"}])
def test_a_later_reader_finds_the_digest_of_what_was_stored(content):
    found = LaterKept.from_stored(content, where="it")
    assert (found.digest, found.content) == (digest_value(content), content)
    assert (found.format, found.colour) == (content.get("format", 1), "red")


def test_a_changed_copy_has_a_content_of_its_own():
    found = LaterKept.from_stored({"name": "a"}, where="it")
    changed = found.model_copy(update={"colour": "blue"})
    assert changed.content == {"format": 1, "name": "a", "colour": "blue"}
    assert changed.digest != found.digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": 3, "name": "a"}, "it: has format 3 of a kept; expected format 2 or earlier; install the Spineline"),
        ({"format": "2", "name": "a"}, "it: format: '2' is no format"),
        ({"format": True, "name": "a"}, "it: format: True is no format"),
        ({"format": 0, "name": "a"}, "it: format: 0 is no format"),
        ({"name": "a", "colour": "red"}, "it: colour: Extra inputs"),
        ([1], r"it: holds no object \(found '\[1\]'\)"),
    ],
)
def test_what_is_no_known_format_is_refused_in_one_line(content, message):
    with pytest.raises(MalformedFileError, match=message):
        Kept.from_stored(content, where="it")


def test_a_field_that_people_may_set_later_changes_a_digest_once_it_is_set():
    now, later = Asked(name="a", part=Part(size=2)), LaterAsked(name="a", part=LaterPart(size=2))
    assert later.digest == now.digest
    assert later.model_copy(update={"extra": ("x",)}).digest != now.digest
    assert later.model_copy(update={"part": LaterPart(size=2, edge=0.4)}).digest != now.digest
    assert later.model_copy(update={"part": LaterPart(size=3)}).digest == Asked(name="a", part=Part(size=3)).digest


def test_a_copy_that_is_stored_has_every_field_and_a_number():
    later = LaterAsked(name="a", part=LaterPart(size=2))
    stored = later.stored()
    assert stored == {"format": 2, "name": "a", "part": {"size": 2, "edge": 0.5}, "extra": []}
    assert LaterAsked.parse(stored, where="it") == later
    with pytest.raises(MalformedFileError, match="format 3"):
        Asked.parse({"format": 3, "name": "a"}, where="it")
