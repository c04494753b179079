"""NIfTI files: what is damaged or foreign is refused by name, what is written comes back, orientation too."""

import gzip
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from spine.errors import GridMismatchError, LabelValueError, MissingPathError, UnreadableVolumeError
from spine.volume.grid import Grid
from spine.volume.nifti import (
    Volume,
    case_name,
    read_image,
    read_labels,
    read_volume,
    require_one_grid,
    to_canonical,
    to_grid_of,
    write_volume,
)

AFFINE = np.array([[1.5, 0, 0, -20], [0, 1.5, 0, 10], [0, 0, 2.0, 300], [0, 0, 0, 1]])
ORIENTATIONS = [
    "".join(code)
    for axes in permutations(("LR", "PA", "IS"))
    for code in product(*axes)
]  # fmt: skip


def noise(shape: tuple[int, ...] = (6, 7, 8)) -> NDArray[np.int16]:
    return np.random.default_rng(0).integers(-1000, 1500, shape).astype(np.int16)


def nifti_bytes(array: NDArray[Any], affine: NDArray[np.float64] = AFFINE) -> bytes:
    return bytes(nibabel.Nifti1Image(array, affine, dtype=array.dtype).to_bytes())


def patched(offset: int, content: bytes) -> bytes:
    """An image whose header is damaged at ``offset``."""
    raw = bytearray(nifti_bytes(noise()))
    raw[offset : offset + len(content)] = content
    return bytes(raw)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """A function that writes bytes under a name."""

    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def posed(codes: str) -> Volume:
    """A label map whose voxels all differ from one another, on a grid of that orientation."""
    axes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, code in enumerate(codes):
        row, sign = axes[code]
        affine[row, column] = sign * (0.75, 1.5, 3.0)[row]
    affine[:3, 3] = (-40, 25, 812.5)
    return Volume(array=np.arange(60, dtype=np.uint8).reshape(3, 4, 5), grid=Grid.of((3, 4, 5), affine))


@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_a_volume_comes_back_as_it_was_written(tmp_path: Path, name: str, dtype: type) -> None:
    volume = Volume(array=(noise() % 26).astype(dtype), grid=Grid.of((6, 7, 8), AFFINE))
    write_volume(tmp_path / name, volume)
    read = read_image(tmp_path / name)
    assert np.array_equal(read.array, volume.array)
    assert read.array.dtype == np.float32
    assert read.grid == volume.grid
    assert nibabel.load(tmp_path / name).header.get_xyzt_units()[0] == "mm"


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = Volume(array=noise(), grid=Grid.of((6, 7, 8), AFFINE))
    write_volume(tmp_path / "first.nii.gz", volume)
    monkeypatch.setattr("time.time", lambda: 2e9)
    write_volume(tmp_path / "later" / "second.nii.gz", volume)
    assert (tmp_path / "first.nii.gz").read_bytes() == (tmp_path / "later" / "second.nii.gz").read_bytes()


COMPRESSED = gzip.compress(nifti_bytes(noise()), mtime=0)
DAMAGED = [
    ("plain.nii.gz", nifti_bytes(noise()), "is named .nii.gz but is not gzip"),
    ("packed.nii", COMPRESSED, "is named .nii but is gzip"),
    ("empty.nii", b"", "has zero bytes"),
    ("empty.nii.gz", b"", "has zero bytes"),
    ("hollow.nii.gz", gzip.compress(b""), "can't be read"),
    ("half.nii.gz", COMPRESSED[: len(COMPRESSED) // 2], "can't be read"),
    ("header.nii.gz", COMPRESSED[:20], "can't be read"),
    ("end.nii.gz", COMPRESSED[:-4], "can't be read"),
    ("cut.nii", nifti_bytes(noise())[:-7], "can't be read"),
    ("short.nii", nifti_bytes(noise())[:200], "can't be read"),
    ("page.nii", b"<html>not found</html>", "can't be read"),
    ("datatype.nii", patched(70, (9999).to_bytes(2, "little")), "can't be read"),
    ("offset.nii", patched(108, np.float32(1e9).tobytes()), "can't be read"),
    ("dimensions.nii", patched(40, (9).to_bytes(2, "little")), "can't be read"),
    ("negative.nii", patched(42, (-5).to_bytes(2, "little", signed=True)), "can't be read"),
    ("huge.nii.gz", gzip.compress(patched(42, (32767).to_bytes(2, "little") * 3)), "can't be read"),
    ("flat.nii", nifti_bytes(noise((6, 7))), "has 2 dimensions"),
    ("series.nii", nifti_bytes(noise((6, 7, 8, 2))), "has 4 dimensions"),
    ("vector.nii", nifti_bytes(noise((6, 7, 8, 1, 3))), "has 5 dimensions"),
    ("colour.nii", nifti_bytes(np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])), "holds "),
    ("complex.nii", nifti_bytes(np.full((4, 4, 4), 1 + 2j, np.complex64)), "holds "),
    ("singular.nii", patched(312, bytes(16)), "has an affine that maps to no volume"),
    ("scan.mha", nifti_bytes(noise()), "'.mha' is no NIfTI suffix"),
]


@pytest.mark.parametrize(("name", "content", "told"), DAMAGED, ids=[name for name, _, _ in DAMAGED])
@pytest.mark.parametrize("read", [read_image, read_labels])
def test_what_is_damaged_or_no_volume_is_refused_by_name(
    put: Callable[[str, bytes], Path], read: Callable[[Path], Volume], name: str, content: bytes, told: str
) -> None:
    path = put(name, content)
    with pytest.raises(UnreadableVolumeError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: {told}")
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_a_compressed_volume_is_noticed(put: Callable[[str, bytes], Path]) -> None:
    """Any one of them, though many still unpack: the checksum at the end of the stream tells."""
    unnoticed = []
    for place in range(30, len(COMPRESSED), len(COMPRESSED) // 25):
        content = bytearray(COMPRESSED)
        content[place] ^= 0x10
        try:
            read_image(put("x.nii.gz", bytes(content)))
            unnoticed.append(place)
        except UnreadableVolumeError:
            pass
    assert not unnoticed


def test_a_file_of_several_gzip_members_is_read_whole(put: Callable[[str, bytes], Path]) -> None:
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    content = nibabel.Nifti1Image(array, np.eye(4)).to_bytes()
    for cut in (100, 352, len(content) - 1):
        packed = gzip.compress(content[:cut]) + gzip.compress(content[cut:])
        assert np.array_equal(read_volume(put("volume.nii.gz", packed)).array, array)


@pytest.mark.parametrize("endianness", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_what_is_unpacked_is_what_nibabel_reads(
    put: Callable[[str, bytes], Path], dtype: type, endianness: str
) -> None:
    array = np.random.default_rng(0).integers(0, 200, (5, 6, 7)).astype(dtype)
    image = nibabel.Nifti1Image(array, np.eye(4), nibabel.Nifti1Header(endianness=endianness))
    path = put("volume.nii.gz", gzip.compress(image.to_bytes()))
    read, expected = read_volume(path).array, np.asanyarray(nibabel.load(path).dataobj)
    assert read.dtype == expected.dtype and np.array_equal(read, expected)
    assert read.flags.f_contiguous and read.flags.writeable


@pytest.mark.parametrize("read", [read_image, read_labels])
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], Volume]) -> None:
    with pytest.raises(MissingPathError, match=r"no\.nii\.gz: not found; expected a \.nii or \.nii\.gz volume"):
        read(tmp_path / "no.nii.gz")
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(MissingPathError):
        read(tmp_path / "folder.nii")


@pytest.mark.parametrize("name", ["one.nii", "one.nii.gz"])
def test_a_series_of_one_frame_is_that_frame(put: Callable[[str, bytes], Path], name: str) -> None:
    content = nifti_bytes(noise((6, 7, 8, 1)))
    volume = read_image(put(name, gzip.compress(content) if name.endswith("gz") else content))
    assert volume.array.shape == volume.grid.shape == (6, 7, 8)
    assert np.array_equal(volume.array, noise((6, 7, 8, 1))[..., 0])


def test_a_scaled_image_is_read_in_its_real_values(put: Callable[[str, bytes], Path]) -> None:
    scaled = bytearray(nifti_bytes(np.full((3, 3, 3), 1024, np.int16)))
    scaled[112:120] = np.array([0.5, -1024], np.float32).tobytes()  # scl_slope, scl_inter
    assert (read_image(put("x.nii", bytes(scaled))).array == -512).all()


def test_nifti_2_is_read(put: Callable[[str, bytes], Path]) -> None:
    content = gzip.compress(nibabel.Nifti2Image(noise(), AFFINE).to_bytes())
    assert np.array_equal(read_image(put("x.nii.gz", content)).array, noise())


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_voxel_that_is_no_number_is_counted_and_refused(put: Callable[[str, bytes], Path], odd: float) -> None:
    array = noise().astype(np.float32)
    array[1, 2, 3] = array[4, 5, 6] = odd
    path = put("x.nii", nifti_bytes(array))
    with pytest.raises(UnreadableVolumeError, match="2 voxels are NaN or infinite"):
        read_image(path)
    with pytest.raises(LabelValueError, match="not whole numbers"):
        read_labels(path)


@pytest.mark.parametrize(
    ("value", "dtype", "told"),
    [
        (0.5, np.float32, "not whole numbers"),
        (24.999, np.float64, "not whole numbers"),
        (26, np.uint8, "label 26 found"),
        (26, np.float32, "label 26 found"),
        (-1, np.int16, "label -1 found"),
        (-1, np.float32, "label -1 found"),
        (256, np.int16, "label 256 found"),
        (1e20, np.float32, "label 1"),
    ],
)
def test_a_label_that_is_not_ours_is_refused(
    put: Callable[[str, bytes], Path], value: float, dtype: type, told: str
) -> None:
    array = np.zeros((3, 4, 5), dtype)
    array[1, 1, 1] = value
    with pytest.raises(LabelValueError, match=f"{told}.*; expected whole numbers 0-25"):
        read_labels(put("x.nii", nifti_bytes(array)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_whole_labels_of_any_type_are_read_as_uint8(put: Callable[[str, bytes], Path], dtype: type) -> None:
    array = np.arange(26).reshape(13, 2, 1).astype(dtype)
    labels = read_labels(put("x.nii", nifti_bytes(array)))
    assert labels.array.dtype == np.uint8
    assert np.array_equal(labels.array, array)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_becomes_ras_and_comes_back_exactly(codes: str) -> None:
    volume = posed(codes)
    assert volume.grid.orientation == codes
    canonical = to_canonical(volume)
    assert canonical.grid.orientation == "RAS"
    assert (np.diag(canonical.grid.matrix)[:3] == (0.75, 1.5, 3.0)).all()
    back = to_grid_of(canonical, volume.grid)
    assert np.array_equal(back.array, volume.array)
    assert back.grid == volume.grid


def test_a_pir_voxel_keeps_its_place_in_the_body() -> None:
    volume = posed("PIR")
    canonical = to_canonical(volume)
    for index in ((0, 0, 0), (2, 3, 4), (1, 0, 3)):
        place_mm = volume.grid.millimetres(np.array(index, dtype=np.float64))
        there = np.linalg.inv(canonical.grid.matrix) @ [*place_mm, 1]
        assert canonical.array[tuple(np.round(there[:3]).astype(int))] == volume.array[index]


@pytest.mark.parametrize("degrees", [7, 30, 45, 46, 80])
@pytest.mark.parametrize("codes", ["PIR", "LPS", "RAS"])
def test_an_oblique_volume_goes_to_canonical_and_back_exactly(codes: str, degrees: float) -> None:
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.eye(4)
    turn[1:3, 1:3] = [[cosine, -sine], [sine, cosine]]
    straight = posed(codes)
    volume = Volume(array=straight.array, grid=Grid.of(straight.array.shape, turn @ straight.grid.matrix))
    back = to_grid_of(to_canonical(volume), volume.grid)
    assert np.array_equal(back.array, volume.array)


def test_a_prediction_on_another_grid_is_not_forced_back() -> None:
    volume = posed("PIR")
    moved = volume.grid.matrix
    moved[0, 3] += 1
    with pytest.raises(GridMismatchError, match="prediction and its input lie on different grids: origin"):
        to_grid_of(to_canonical(volume), Grid.of(volume.grid.shape, moved))


def test_a_pair_on_two_grids_is_refused_with_both_names() -> None:
    with pytest.raises(GridMismatchError, match="image and labels lie on different grids: size"):
        require_one_grid(posed("RAS"), Volume(noise(), Grid.of((6, 7, 8), AFFINE)), names=("image", "labels"))
    require_one_grid(posed("RAS"), posed("RAS"), names=("image", "labels"))


@pytest.mark.parametrize(
    ("name", "case"), [("case_0001.nii.gz", "case_0001"), ("a.b.nii", "a.b"), ("x.nii.nii.gz", "x.nii"), ("y.mha", "y")]
)
def test_a_case_is_named_by_its_file(name: str, case: str) -> None:
    assert case_name(Path("folder") / name) == case
