import pickle

import cv2
import numpy as np
import pytest
import torch

from data.prepare.mat73 import write_mat73
from marey.core import FormatError, InputError, MissingAssetError
from marey.data.labels import read_labels
from marey.data.prepare import muco
from marey.data.prepare.muco_composites import person_mask, read_origins, visible_boxes
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.geometry.projection import project
from marey.io.images import read_image

scipy_io = pytest.importorskip("scipy.io", reason="the optional scipy is not installed")
pytest.importorskip("h5py", reason="the optional h5py is not installed")

CALIBRATION = """Skeletool Camera Calibration File V1.0
name          0
  sensor      10 10
  size        120 120
  animated    0
  intrinsic   100 0 60 0 0 100 60 0 0 0 1 0 0 0 0 1\x20
  extrinsic   1 0 0 {tx} 0 1 0 0 0 0 1 500 0 0 0 1\x20
  radial      0
"""

# of the four people: columns of the picture that each one's mask covers, rows 30 to 90, and depth in mm
PEOPLE = {1: (10, 30, 4000.0), 2: (20, 40, 3000.0), 3: (60, 80, 3500.0), 4: (95, 115, 5000.0)}
CHAIR = (70, 85)  # columns of the chair of person 2, who is the nearest, rows 60 to 90


def joints(subject):
    """28 joints that fill the columns of the mask and its rows but for one pixel, in mm before the camera."""
    left, right, depth = PEOPLE[subject]
    u = np.linspace(left, right, 28)
    v = np.linspace(31, 89, 28)[np.argsort(np.arange(28) * 11 % 28)]
    return np.stack([(u - 60) * depth / 100, (v - 60) * depth / 100, np.full(28, depth)], -1)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """One frame of four subjects of MPI-INF-3DHP, two composites of it; of the second a mask is missing."""
    root = tmp_path_factory.mktemp("sets")
    for subject in PEOPLE:
        folder = root / f"3dhp/S{subject}/Seq1"
        cells = np.empty((1, 1), object)
        cells[0, 0] = np.stack([joints(subject).reshape(84)] * 2)
        folder.mkdir(parents=True)
        scipy_io.savemat(folder / "annot.mat", {"annot3": cells, "univ_annot3": cells})
        (folder / "camera.calibration").write_text(CALIBRATION.format(tx=10 * subject))
        left, right, _ = PEOPLE[subject]
        person, chair = np.zeros((120, 120, 3), np.uint8), np.full((120, 120, 3), 255, np.uint8)
        person[30:90, left:right, 2] = 255
        person[0:8, 100:120, 2] = 255  # something else in the background
        if subject == 2:
            chair[60:90, CHAIR[0] : CHAIR[1], 2] = 0
        for part, image in (("imageSequence", person), ("FGmasks", person), ("ChairMasks", chair)):
            (folder / part).mkdir()
            for frame in (0, 1):
                if (subject, part, frame) != (3, "ChairMasks", 1):
                    path = folder / part / f"img_0_{frame:06d}.jpg"
                    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    composites = root / "muco/unaugmented_set_001"
    composites.mkdir(parents=True)
    image = np.zeros((120, 120, 3), np.uint8)
    x, y = 100 * joints(4)[7, :2] / 5000 + 60
    image[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2] = 255
    for number in (1, 2):
        cv2.imwrite(str(composites / f"{number:06d}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
    origins = [[[np.array([[s, 1.0, 0.0, float(frame)]])] for s in PEOPLE] for frame in (0, 1)]
    write_mat73(root / "muco/sampled_dataset_info.mat", composite_info=[[[cell] for cell in row] for row in origins])
    boxes = {
        "unaugmented_set_001/00/0000/000001.jpg": [
            [12.0, 31.0, 10.0, 58.0, 0.9],  # person 1: IoU about .9 with what is visible of it
            [19.0, 28.0, 22.0, 66.0, 0.8],  # person 2
            [55.0, 10.0, 45.0, 100.0, 0.7],  # around person 3, more than twice as large
            [95.0, 29.0, 20.0, 62.0, 0.1],  # person 4, not sure enough
        ]
    }
    (root / "muco/yolov3_detections.pkl").write_bytes(pickle.dumps(boxes))
    return root


def prepared(root, out, **options):
    return prepare_data_set(data_source("muco"), root, out, muco.MucoOptions(**options), show=False)


@pytest.fixture(scope="module")
def out(downloads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    prepared(downloads / "muco", folder)
    return folder


def test_tables__are_those_of_the_original(out):
    origins = np.load(out / "composite_frame_origins.npy")
    assert origins.tolist() == [[[s, 1, 0, frame] for s in PEOPLE] for frame in (0, 1)]
    assert np.load(out / "valid_composite_frame_indices.npy").tolist() == [0]
    visible = np.load(out / "visible_boxes.npy")
    # person 2 hides columns 20 to 29 of person 1; its chair covers part of person 3, whose box stays as large
    expected = [[10, 30, 10, 60], [20, 30, 20, 60], [60, 30, 20, 60], [95, 30, 20, 60]]
    np.testing.assert_allclose(visible[0], expected, atol=1)  # masks are JPEG
    assert (visible[1] == 0).all()


def test_people__are_matched_with_their_detections(out):
    found = read_labels(out / "labels.npz")
    assert found.person.tolist() == [0, 1]
    assert found.images.path.tolist() == [
        "images/unaugmented_set_001/00/0000/000001_0.jpg",
        "images/unaugmented_set_001/00/0000/000001_1.jpg",
    ]
    assert found.values["subject"].tolist() == ["S1", "S2"]
    # the box is 58 high: not scaled above 1, so its crop has it as large
    np.testing.assert_allclose(found.values["box"][:, 2:], [[10, 58], [22, 66]], atol=1e-9)
    np.testing.assert_allclose(found.values["joints"][0, 14], joints(1)[4] / 1000 - [0.01, 0, 0.5], atol=1e-6)
    card = (out / "card.json").read_text()
    assert "1 of 2 composites lack a frame or mask" in card


def test_without_detections__everybody_visible_is_taken(downloads, tmp_path):
    root = tmp_path / "muco"
    root.mkdir()
    (root / "unaugmented_set_001").symlink_to(downloads / "muco/unaugmented_set_001")
    np.save(root / "composite_frame_origins.npy", np.array([[[s, 1, 0, 0] for s in PEOPLE]]))
    found = prepared(root, tmp_path / "o", mpi_inf_3dhp=downloads / "3dhp", joints=28)
    assert found.person.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found.values["joints"][3], joints(4) / 1000 - [0.04, 0, 0.5], atol=1e-6)
    image = read_image(tmp_path / "o" / found.images.path[3]).astype(float)[..., 0]
    camera = found.cameras[3]
    light = image * (image > 128)
    v, u = np.indices(light.shape)
    middle = np.array([(light * u).sum(), (light * v).sum()]) / light.sum()
    expected = project(torch.from_numpy(found.values["joints"][3, 7]), camera).numpy()
    np.testing.assert_allclose(middle, expected, atol=0.6)
    mask = read_image(tmp_path / "o" / found.values["mask"][3])[..., 0] > 0
    assert mask.any(0).sum() > 40  # of all people and the chair, not of the one only
    assert "everybody visible was taken" in (tmp_path / "o/card.json").read_text()


@pytest.mark.parametrize(
    ("detected", "expected"),
    [
        ([[12.0, 31.0, 10.0, 58.0], [0.0, 0.0, 5.0, 5.0]], [0, -1]),
        # both overlap both people: the sum decides, not the better pair
        ([[10.0, 30.0, 20.0, 60.0], [4.0, 30.0, 19.0, 60.0]], [1, 0]),
        ([[10.0, 30.0, 19.0, 60.0]], [0, -1]),
        ([[10.0, 30.0, 21.0, 60.0]], [-1, -1]),  # more than twice as large
    ],
)
def test_matching__by_the_largest_sum(detected, expected):
    truth = np.array([[10.0, 30.0, 10.0, 60.0], [15.0, 30.0, 20.0, 60.0]])[: 2 if len(detected) > 1 else 1]
    found = muco.matched_boxes(truth, np.array(detected), muco.MucoOptions())
    for row, place in enumerate(expected[: len(truth)]):
        np.testing.assert_array_equal(found[row], detected[place] if place >= 0 else [np.nan] * 4)


def test_visible_boxes__lose_what_is_nearer():
    def mask(left, right):
        found = np.zeros((10, 20), bool)
        found[2:8, left:right] = True
        return found

    nothing = np.zeros((10, 20), bool)
    people = [(mask(0, 6), nothing), (mask(4, 12), mask(12, 16)), (mask(13, 15), nothing)]
    found = visible_boxes(people, np.array([3.0, 2.0, 4.0]))
    assert found.tolist() == [[0, 2, 4, 6], [4, 2, 8, 6], [0, 0, 0, 0]]


def test_person_mask__is_the_part_around_the_joints():
    foreground = np.zeros((40, 40), bool)
    foreground[10:30, 10:20] = True
    foreground[29, 10:40] = True  # a stain that hangs on the person
    foreground[0:5, 30:40] = True
    found = person_mask(foreground, np.array([[10.0, 10.0], [20.0, 30.0]]))
    assert found[10:30, 10:20].all()
    assert not found[0:5].any()
    assert np.flatnonzero(found[29]).max() == 20  # 1.3 x 1.05 times 10, around 15, ends at 21.8


def test_missing__mask_of_3dhp_or_composites(downloads, tmp_path):
    with pytest.raises(MissingAssetError, match=r"unaugmented_set_001.*MuCo-3DHP.*MPI-INF-3DHP, whose licence"):
        prepared(tmp_path / "muco", tmp_path / "o")
    (tmp_path / "muco/unaugmented_set_001").mkdir(parents=True)
    np.save(tmp_path / "muco/composite_frame_origins.npy", np.array([[[s, 2, 0, 0] for s in PEOPLE]]))
    with pytest.raises(MissingAssetError, match=r"S1/Seq2/FGmasks/img_0_000000\.jpg"):
        prepared(tmp_path / "muco", tmp_path / "p", mpi_inf_3dhp=downloads / "3dhp")


def test_origins__damaged(tmp_path):
    path = tmp_path / "sampled_dataset_info.mat"
    write_mat73(path, composite_info=[[[np.zeros((1, 3))] for _ in range(4)]])
    with pytest.raises(FormatError, match=r"composite_info\(1,1\): expected four numbers"):
        read_origins(path, most=5)
    write_mat73(path, other=np.zeros((2, 2)))
    with pytest.raises(FormatError, match="expected 'composite_info'"):
        read_origins(path, most=5)


def test_frame_beyond_the_annotation__is_refused(downloads, tmp_path):
    root = tmp_path / "muco"
    (root / "unaugmented_set_001").mkdir(parents=True)
    np.save(root / "composite_frame_origins.npy", np.array([[[s, 1, 0, 2] for s in PEOPLE]]))
    for subject in PEOPLE:
        target = tmp_path / f"3dhp/S{subject}/Seq1"
        for part in ("imageSequence", "FGmasks", "ChairMasks"):
            (target / part).mkdir(parents=True)
            (target / part / "img_0_000002.jpg").touch()
            (target / part / "img_0_000000.jpg").touch()
        for name in ("annot.mat", "camera.calibration"):
            (target / name).symlink_to(downloads / f"3dhp/S{subject}/Seq1" / name)
    with pytest.raises(FormatError, match="not annotated there"):
        prepared(root, tmp_path / "o")


def test_number_of_composites__is_bounded_as_published(downloads, tmp_path):
    with pytest.raises(InputError, match="none of 0 composites"):
        prepared(downloads / "muco", tmp_path / "o", images=1)
