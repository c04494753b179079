"""A DICOM series becomes the volume that was scanned, or is refused with the check that it fails."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from spine.phantom.dicom_series import write_series
from spine.volume.dicom import SeriesError, read_series
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, to_canonical

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SHAPE = (12, 10, 6)
GAP_MM = 2.5


def grid_of(orientation):
    affine = np.diag([0.7, 0.8, GAP_MM, 1.0])
    affine[:3, 3] = [-31.25, 14.5, 205.0]
    if orientation == "oblique":
        turned, _ = np.linalg.qr([[1.0, 0.2, -0.1], [-0.15, 1.0, 0.3], [0.2, -0.25, 1.0]])
        affine[:3, :3] = turned @ affine[:3, :3]
        return Grid.of(SHAPE, affine)
    transform = ornt_transform(axcodes2ornt(tuple("RAS")), axcodes2ornt(tuple(orientation)))
    return Grid.of(SHAPE, affine @ inv_ornt_aff(transform, SHAPE))


def made(orientation="RAS"):
    array = np.random.default_rng(7).integers(-1024, 3000, SHAPE, dtype=np.int16)
    return Volume(array=array, grid=grid_of(orientation))


@pytest.fixture
def phantom():
    return made()


@pytest.fixture
def series(tmp_path, phantom):
    """The files of one series, in the order of position from inferior to superior."""
    return write_series(tmp_path / "series", phantom, patient="P1")


def edit(path, **tags):
    """Set header values; None deletes the element."""
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path, enforce_file_format=False)


def rewrite(path, pixels, **tags):
    dataset = pydicom.dcmread(path)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path)
    edit(path, **tags)


def move(path, by_mm):
    position = np.asarray(pydicom.dcmread(path).ImagePositionPatient, dtype=float) + by_mm
    edit(path, ImagePositionPatient=[f"{value:.4f}" for value in position])


def refused(folder):
    with pytest.raises(SeriesError) as caught:
        read_series(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "expected" in str(caught.value)
    return caught.value


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "SAR", "oblique"])
def test_phantom_comes_back_with_its_voxels_and_its_grid(tmp_path, orientation):
    phantom = made(orientation)
    write_series(tmp_path, phantom, patient="P1")
    read = read_series(tmp_path).volume
    assert read.array.dtype == np.int16
    canonical, expected = to_canonical(read), to_canonical(phantom)
    assert canonical.grid.difference(expected.grid) is None
    assert np.array_equal(canonical.array, expected.array)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "oblique"])
def test_a_marked_voxel_stays_at_its_place_in_millimetres(tmp_path, orientation):
    grid = grid_of(orientation)
    array = np.zeros(SHAPE, dtype=np.int16)
    array[3, 8, 1] = 1000
    write_series(tmp_path, Volume(array=array, grid=grid), patient="P1")
    read = read_series(tmp_path).volume
    found = np.argwhere(read.array == 1000)
    assert len(found) == 1
    assert np.allclose(read.grid.millimetres(found[0]), grid.millimetres(np.asarray([3, 8, 1])), atol=1e-4)


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "oblique"])
def test_voxels_and_geometry_agree_with_itk(tmp_path, orientation):
    write_series(tmp_path, made(orientation), patient="P1")
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    read = read_series(tmp_path).volume
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ read.grid.matrix
    assert np.array_equal(read.array, SimpleITK.GetArrayFromImage(image).transpose(2, 1, 0))
    assert np.allclose(lps[:3, 3], image.GetOrigin(), atol=1e-4)
    assert np.allclose(read.grid.spacing_mm, image.GetSpacing(), atol=1e-4)
    assert np.allclose(lps[:3, :3], np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing(), atol=1e-4)


@pytest.mark.skipif(not (DATA / "ct_dicom_3slice").is_dir(), reason="the real DICOM series is not here")
def test_real_series_has_its_known_geometry_and_plausible_hu():
    read = read_series(DATA / "ct_dicom_3slice")
    assert read.volume.array.shape == (512, 512, 3)
    assert np.allclose(read.volume.grid.spacing_mm, (0.8105, 0.8105, 1.0), atol=1e-4)
    assert (read.slices, read.localizers, read.missing_uids) == (3, 0, 0)
    body = read.volume.array[200:300, 200:300]
    assert -200 < np.median(body) < 200
    assert read.volume.array.max() < 3072


@pytest.mark.parametrize("compression", ["jpeg2000", "jpeg-lossless"])
def test_lossless_compression_decodes_exactly(tmp_path, phantom, compression):
    write_series(tmp_path, phantom, patient="P1", compression=compression)
    assert np.array_equal(to_canonical(read_series(tmp_path).volume).array, phantom.array)


@pytest.mark.parametrize("syntax", [RLELossless, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_other_transfer_syntaxes_decode_exactly(tmp_path, phantom, series, syntax):
    for path in series:
        dataset = pydicom.dcmread(path)
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    assert np.array_equal(read_series(tmp_path).volume.array, phantom.array)


@pytest.mark.parametrize(
    ("slope", "intercept", "signed", "dtype"),
    [
        ("1", "-1024", 0, np.int16),
        ("1", "-1024", 1, np.int16),
        ("1", None, 1, np.int16),
        (None, "-1000", 0, np.int16),
        (None, None, 0, np.int16),
        ("2", "-1024", 1, np.int16),
        ("0.5", "-1024", 0, np.float32),
        ("0.305", "-1000.25", 1, np.float32),
        ("1", "-40000", 0, np.float32),
    ],
)
def test_slope_and_intercept_give_hu(series, slope, intercept, signed, dtype):
    stored = np.arange(120, dtype="<i2" if signed else "<u2").reshape(10, 12) * 13 - (500 if signed else 0)
    stored = stored.astype("<i2" if signed else "<u2")
    for path in series:
        rewrite(path, stored, RescaleSlope=slope, RescaleIntercept=intercept, PixelRepresentation=signed)
    array = read_series(series[0].parent).volume.array
    assert array.dtype == dtype
    expected = stored * float(slope or 1) + float(intercept or 0)
    assert np.allclose(array[:, :, 2], expected.T, rtol=1e-6, atol=1e-3)


def test_each_slice_has_its_own_rescale(series, phantom):
    stored = np.full((10, 12), 100, dtype="<u2")
    rewrite(series[1], stored, RescaleSlope="1", RescaleIntercept="-500")
    rewrite(series[4], stored, RescaleSlope="0.25", RescaleIntercept="-0.5")
    array = read_series(series[0].parent).volume.array
    assert array.dtype == np.float32
    assert (array[:, :, 1] == -400).all()
    assert (array[:, :, 4] == 24.5).all()
    assert np.array_equal(array[:, :, 0], phantom.array[:, :, 0])


def test_localizers_are_left_out_and_counted(tmp_path, phantom):
    write_series(tmp_path, phantom, patient="P1", localizer=True)
    read = read_series(tmp_path)
    assert (read.localizers, read.slices) == (1, 6)
    assert np.array_equal(read.volume.array, phantom.array)


def test_missing_uids_are_accepted_and_counted(tmp_path, phantom):
    write_series(tmp_path, phantom, patient="P1", uids=False)
    read = read_series(tmp_path)
    assert read.missing_uids == 6
    assert np.array_equal(read.volume.array, phantom.array)


def test_a_file_that_lacks_two_uids_counts_once(series):
    edit(series[2], StudyInstanceUID=None, SOPInstanceUID=None)
    edit(series[3], SOPInstanceUID="")
    assert read_series(series[0].parent).missing_uids == 2


def test_patient_is_a_pseudonym_without_the_id(tmp_path, phantom):
    for name in ("a", "b"):
        write_series(tmp_path / name, phantom, patient="Doe-1950", series=len(name))
    write_series(tmp_path / "c", phantom, patient="Roe-1951")
    first, again, other = (read_series(tmp_path / name).patient for name in "abc")
    assert first == again != other
    assert first.startswith("dicom-")
    assert len(first) == len("dicom-") + 12
    assert "Doe" not in first


@pytest.mark.parametrize("value", [None, "", "  "])
def test_patient_without_id_is_none(series, value):
    for path in series:
        edit(path, PatientID=value)
    assert read_series(series[0].parent).patient is None


def test_files_are_known_by_content_in_subfolders_and_others_ignored(series, phantom):
    folder = series[0].parent
    (folder / "deep" / "er").mkdir(parents=True)
    for path, name in zip(series, ("1.nii", "deep/2", "deep/er/3.png", "4.txt", "5.nii.gz", "IM 6"), strict=True):
        path.rename(folder / name)
    (folder / "notes.txt").write_text("not a slice")
    (folder / "groups").write_bytes(b"\x08\x00" + bytes(range(200)))
    (folder / "DICOMDIR").write_bytes(b"whatever")
    (folder / ".DS_Store").write_bytes(b"")
    (folder / ".cache").mkdir()
    shutil.copy(folder / "1.nii", folder / ".cache" / "copy.dcm")
    assert np.array_equal(read_series(folder).volume.array, phantom.array)


def test_files_without_preamble_are_read(series, phantom):
    for path in series:
        path.write_bytes(path.read_bytes()[132:])
    assert np.array_equal(read_series(series[0].parent).volume.array, phantom.array)


def test_directions_rounded_to_four_decimals_give_an_orthonormal_grid(tmp_path):
    for path in write_series(tmp_path, made("oblique"), patient="P1"):
        rounded = [f"{float(value):.4f}" for value in pydicom.dcmread(path).ImageOrientationPatient]
        edit(path, ImageOrientationPatient=rounded)
    assert read_series(tmp_path).volume.grid.is_orthonormal


def test_two_series_are_refused_with_both_counts(tmp_path, phantom):
    fewer = Volume(array=phantom.array[:, :, :4], grid=Grid.of((12, 10, 4), phantom.grid.matrix))
    write_series(tmp_path, phantom, patient="P1")
    write_series(tmp_path, fewer, patient="P1", series=2)
    error = refused(tmp_path)
    assert (error.fault, error.value) == ("one-series", 2)
    assert "6 and 4 slices" in str(error)


@pytest.mark.parametrize(
    ("tag", "value", "named"),
    [
        ("SeriesInstanceUID", None, "2 series"),
        ("FrameOfReferenceUID", "2.25.7", "2 frames of reference"),
        ("PatientID", "P2", "2 patients"),
    ],
)
def test_one_slice_of_another_series_frame_or_patient_is_refused(series, tag, value, named):
    edit(series[3], **{tag: value})
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("one-series", 2)
    assert named in str(error)
    assert "P2" not in str(error)


@pytest.mark.parametrize("degrees", [-15.0, 0.5, 30.0])
def test_gantry_tilt_is_refused_with_its_angle(series, degrees):
    for k, path in enumerate(series):
        move(path, (0.0, k * GAP_MM * np.tan(np.radians(degrees)), 0.0))
    error = refused(series[0].parent)
    assert error.fault == "gantry-tilt"
    assert error.value == pytest.approx(abs(degrees), abs=0.01)
    assert f"{abs(degrees):.2f} degrees" in str(error)


def test_one_slice_displaced_sideways_is_refused(series):
    move(series[3], (4.0, 0.0, 0.0))
    assert refused(series[0].parent).fault == "gantry-tilt"


def test_tilt_below_the_tolerance_is_accepted(series):
    for k, path in enumerate(series):
        move(path, (0.0, k * GAP_MM * 0.0008, 0.0))
    assert read_series(series[0].parent).slices == 6


def test_a_missing_slice_is_refused_with_its_gap(series):
    series[2].unlink()
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("uniform-slices", pytest.approx(5.0))
    assert series[1].name in str(error)
    assert series[3].name in str(error)
    assert "5.000 mm" in str(error)


def test_an_uneven_gap_is_refused_and_a_tiny_one_accepted(series):
    move(series[5], (0.0, 0.0, 0.04))
    assert read_series(series[0].parent).slices == 6
    move(series[5], (0.0, 0.0, 0.02))
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("uniform-slices", pytest.approx(2.56, abs=1e-3))


def test_two_slices_at_one_position_are_refused(series):
    shutil.copy(series[2], series[2].with_name("copy.dcm"))
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("uniform-slices", 0)
    assert "one slice a position" in str(error)


def test_a_single_slice_is_refused(series):
    for path in series[1:]:
        path.unlink()
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("uniform-slices", 1)


def test_localizers_alone_are_refused(series):
    for path in series:
        edit(path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("uniform-slices", 0)


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelSpacing": ["0.8", "0.71"]},
        {"ImageOrientationPatient": ["1", "0", "0", "0", "1", "0"]},
        {"Rows": 5, "Columns": 24},
    ],
)
def test_slices_that_differ_are_refused_with_their_count(series, tags):
    edit(series[0], **tags)
    edit(series[4], **tags)
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("uniform-slices", 2)
    assert "2 of 6 slices" in str(error)


@pytest.mark.parametrize("value", [None, "", ["1"]])
@pytest.mark.parametrize("tag", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_missing_tag_is_refused_naming_tag_and_file(series, tag, value):
    edit(series[1], **{tag: value})
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("readable", 1)
    assert f"lacks a usable {tag}" in str(error)
    assert series[1].name in str(error)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"Modality": "MR"}, "has modality 'MR'"),
        ({"Modality": None}, "has modality ''"),
        ({"NumberOfFrames": 40}, "multi-frame (enhanced) file, NumberOfFrames '40'"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "multi-frame (enhanced)"),
        ({"PixelSpacing": ["0", "0.7"]}, "has PixelSpacing (0.0, 0.7)"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"RescaleSlope": "0"}, "RescaleSlope 0"),
        ({"ImageOrientationPatient": ["1", "0", "0", "1", "0", "0"]}, "ImageOrientationPatient"),
    ],
)
def test_what_is_no_plain_ct_slice_is_refused(series, tags, reason):
    for path in series:
        edit(path, **tags)
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("readable", 1 if "ImageOrientationPatient" in tags else 6)
    assert reason in str(error)


def test_an_undecodable_header_value_is_refused(series):
    content = series[2].read_bytes()
    series[2].write_bytes(content.replace(b"\x08\x00\x60\x00CS", b"\x08\x00\x60\x00QQ"))
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("readable", 1)
    assert series[2].name in str(error)


def test_truncated_files_are_refused(series):
    content = series[2].read_bytes()
    for size in [*range(0, len(content), 37), 129, 132, 140, len(content) - 2]:
        series[2].write_bytes(content[:size])
        error = refused(series[0].parent)
        assert error.fault == "readable", size
        assert series[2].name in str(error)


def test_pixel_data_shorter_than_the_header_promises_are_refused(series):
    rewrite(series[2], np.zeros(100, dtype="<u2"))
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("readable", 1)
    assert "truncated" in str(error)


@pytest.mark.parametrize("compression", ["jpeg2000", "jpeg-lossless"])
def test_truncated_compressed_frames_are_refused(tmp_path, phantom, compression):
    path = write_series(tmp_path, phantom, patient="P1", compression=compression)[3]
    dataset = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([frame[: len(frame) // 4 * 2]])
    dataset.save_as(path)
    error = refused(tmp_path)
    assert (error.fault, error.value) == ("readable", 1)
    assert path.name in str(error)


def test_empty_files_and_dangling_links_among_the_slices_are_refused(series):
    series[1].write_bytes(b"")
    series[4].unlink()
    series[4].symlink_to(series[4].with_name("gone"))
    error = refused(series[0].parent)
    assert (error.fault, error.value) == ("readable", 2)
    assert "1 more" in str(error)


def test_missing_and_empty_folders_are_refused(tmp_path):
    assert refused(tmp_path / "absent").fault == "readable"
    assert refused(tmp_path).fault == "readable"
    (tmp_path / "notes.txt").write_text("not a slice")
    error = refused(tmp_path)
    assert (error.fault, error.value) == ("readable", 1)


def test_refusal_survives_the_way_home_from_a_worker(series):
    series[2].unlink()
    error = refused(series[0].parent)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.fault, copy.value) == (SeriesError, str(error), error.fault, error.value)


def test_nothing_is_written_to_stderr(tmp_path, phantom, capfd):
    write_series(tmp_path, phantom, patient="P1", uids=False, localizer=True)
    read_series(tmp_path)
    assert capfd.readouterr() == ("", "")


def test_importing_loads_no_itk_and_no_codecs():
    code = "import sys, spine.volume.dicom, spine.phantom.dicom_series as _; print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'SimpleITK'" not in loaded
    assert "'imagecodecs'" not in loaded
