"""A phantom's DICOM series: the same bytes each time, valid to other readers, and honest about nothing but position."""

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import UID

from spine.errors import InvalidValueError
from spine.phantom.dicom_series import write_series
from spine.volume.grid import Grid
from spine.volume.nifti import Volume


@pytest.fixture
def volume():
    array = np.random.default_rng(5).integers(-1024, 3000, (12, 10, 6), dtype=np.int16)
    return Volume(array=array, grid=Grid.of(array.shape, np.diag([0.7, 0.8, 2.5, 1.0])))


@pytest.mark.parametrize("compression", ["none", "jpeg2000", "jpeg-lossless"])
def test_same_arguments_give_the_same_names_and_bytes(tmp_path, volume, compression):
    first, second = (
        write_series(tmp_path / name, volume, patient="P1", localizer=True, compression=compression) for name in "ab"
    )
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_patients_and_series_share_no_file_name_and_no_series_uid(tmp_path, volume):
    written = [
        *write_series(tmp_path, volume, patient="P1"),
        *write_series(tmp_path, volume, patient="P1", series=2),
        *write_series(tmp_path, volume, patient="P2"),
    ]
    headers = [pydicom.dcmread(path) for path in written]
    assert len(set(written)) == len({header.SOPInstanceUID for header in headers}) == 18
    assert len({header.SeriesInstanceUID for header in headers}) == 3
    assert len({header.StudyInstanceUID for header in headers}) == 2


def test_every_uid_is_valid(tmp_path, volume):
    header = pydicom.dcmread(write_series(tmp_path, volume, patient="P1")[0])
    for name in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert UID(header[name].value).is_valid
        assert header[name].value.startswith("2.25.")
    assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID


@pytest.mark.parametrize("slices", [2, 3, 5, 6])
def test_neither_instance_numbers_nor_names_follow_the_positions(tmp_path, volume, slices):
    part = Volume(array=volume.array[:, :, :slices], grid=Grid.of((12, 10, slices), volume.grid.matrix))
    headers = [pydicom.dcmread(path) for path in write_series(tmp_path, part, patient="P1")]
    numbers = [int(header.InstanceNumber) for header in headers]
    assert sorted(numbers) == list(range(1, slices + 1))
    assert numbers != sorted(numbers)
    assert all(float(header.SliceThickness) != 2.5 for header in headers)


@pytest.mark.parametrize(
    ("compression", "syntax"), [("jpeg2000", "1.2.840.10008.1.2.4.90"), ("jpeg-lossless", "1.2.840.10008.1.2.4.70")]
)
def test_compressed_frames_decode_to_the_stored_values(tmp_path, volume, compression, syntax):
    import imagecodecs

    decode = imagecodecs.jpeg2k_decode if compression == "jpeg2000" else imagecodecs.ljpeg_decode
    for k, path in enumerate(write_series(tmp_path, volume, patient="P1", compression=compression)):
        dataset = pydicom.dcmread(path)
        frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
        assert dataset.file_meta.TransferSyntaxUID == syntax
        assert np.array_equal(decode(frame).astype(int) - 1024, volume.array[:, :, k].T)


def test_jpeg_lossless_uses_the_first_order_prediction_of_its_transfer_syntax(tmp_path, volume):
    dataset = pydicom.dcmread(write_series(tmp_path, volume, patient="P1", compression="jpeg-lossless")[0])
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    scan = frame.index(b"\xff\xda")
    assert b"\xff\xc3" in frame
    assert frame[scan + 5 + 2 * frame[scan + 4]] == 1


def test_values_below_air_are_refused(tmp_path, volume):
    array = volume.array.copy()
    array[0, 0, 0] = -1025
    with pytest.raises(InvalidValueError, match="-1025"):
        write_series(tmp_path, Volume(array=array, grid=volume.grid), patient="P1")


def test_sheared_axes_are_refused(tmp_path, volume):
    affine = volume.grid.matrix
    affine[1, 2] = 1.0
    with pytest.raises(InvalidValueError, match="perpendicular"):
        write_series(tmp_path, Volume(array=volume.array, grid=Grid.of(volume.array.shape, affine)), patient="P1")
