"""Where results go: nothing else is replaced, and none of them takes another along."""

import pytest

from components.prepare_dataset.main import Choices, prepare_dataset
from spine.errors import InvalidValueError
from spine.storage import digest_file

CHOICES = Choices(seed=1, test_share=0.3)


def hashes(folder):
    return {str(path.relative_to(folder)): digest_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_an_earlier_prepared_set_is_replaced_as_a_whole(prepared, many):
    folder, _ = prepared
    (folder / "imagesTr" / "stray.nii.gz").write_bytes(b"x")
    expected = {name: found for name, found in hashes(folder).items() if "stray" not in name}
    prepare_dataset(raw=many, output=folder, choices=CHOICES)
    assert hashes(folder) == expected


@pytest.mark.parametrize("where", ["the raw folder", "its parent", "a folder of other things", "a file"])
def test_an_output_that_would_delete_other_things_is_refused(raw, tmp_path, where):
    other, file = tmp_path / "home", tmp_path / "file"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    file.write_text("x")
    places = {"the raw folder": raw, "its parent": tmp_path, "a folder of other things": other, "a file": file}
    before = hashes(tmp_path)
    with pytest.raises(InvalidValueError, match="output"):
        prepare_dataset(raw=raw, output=places[where], choices=CHOICES)
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("place", ["the raw folder", "a folder below it", "a folder of other things", "the output"])
def test_a_report_never_replaces_anything_but_a_report(raw, tmp_path, place):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    places = {
        "the raw folder": raw,
        "a folder below it": raw / "volumes",
        "a folder of other things": home,
        "the output": tmp_path / "prepared",
    }
    before = hashes(tmp_path)
    with pytest.raises(InvalidValueError, match="report is"):
        prepare_dataset(raw=raw, output=tmp_path / "prepared", choices=Choices(report=places[place]))
    assert hashes(tmp_path) == before


def test_a_lock_that_a_replacement_would_take_along_is_refused(raw, tmp_path):
    output = tmp_path / "prepared"
    for lock, words in ((output / "splits.json", "a place outside the output"), (tmp_path, "a file, not a folder")):
        with pytest.raises(InvalidValueError, match=f"lock of the test set is .*{words}"):
            prepare_dataset(raw=raw, output=output, choices=Choices(splits=lock))
    assert not output.exists()


def test_an_output_that_is_a_link_is_followed(raw, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "prepared").symlink_to(tmp_path / "disk")
    prepare_dataset(raw=raw, output=tmp_path / "prepared", choices=Choices())
    assert (tmp_path / "prepared").is_symlink() and (tmp_path / "disk" / "manifest.json").is_file()
