import pickle
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from data.prepare.mat73 import write_mat73
from marey.core import FormatError, InputError, MissingAssetError
from marey.core.skeletons import skeleton
from marey.data.labels import read_labels, rows_to_score
from marey.data.prepare import mpi_inf_3dhp_files as files
from marey.data.prepare.mpi_inf_3dhp import Mpi3dhpOptions
from marey.data.prepare.mpi_inf_3dhp_evaluation import person_boxes
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import data_source
from marey.geometry.projection import project
from marey.io.images import read_image
from marey.io.predictions import read_pose_rows
from marey.pipeline.scoring import score_predictions

scipy_io = pytest.importorskip("scipy.io", reason="the optional scipy is not installed")
pytest.importorskip("h5py", reason="the optional h5py is not installed")

CALIBRATION = """Skeletool Camera Calibration File V1.0
name          0
  sensor      10 10
  size        64 64
  animated    0
  intrinsic   60 0 32 0 0 61 30 0 0 0 1 0 0 0 0 1\x20
  extrinsic   1 0 0 100 0 0 1 -200 0 -1 0 3000 0 0 0 1\x20
  radial      0
name          1
  sensor      10 10
  size        64 64
  animated    0
  intrinsic   60 0 32 0 0 60 32 0 0 0 1 0 0 0 0 1\x20
  extrinsic   1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\x20
  radial      0
"""


def person(offset=(0.0, 0.0, 3000.0)):
    """28 joints in millimetres: a cross around a point, the pelvis in its middle, all apart."""
    joints = np.zeros((28, 3))
    joints[:, 0] = np.linspace(-300, 300, 28)
    joints[:, 1] = np.linspace(-600, 600, 28)[np.argsort(np.arange(28) * 11 % 28)]
    joints[4] = 0
    return joints + offset


def annotation(poses):
    """`annot.mat`: a cell (cameras, 1) of (T, 84), and the same 10 % larger."""
    metric, universal = np.empty((len(poses), 1), object), np.empty((len(poses), 1), object)
    for camera, pose in enumerate(poses):
        metric[camera, 0] = np.reshape(pose, (len(pose), 84))
        universal[camera, 0] = metric[camera, 0] * 1.1
    return {"annot3": metric, "univ_annot3": universal}


def write_sequence(folder, poses, *, first=0, frames=(0, 5, 10, 15)):
    """A training sequence; in each image a white square of 3 pixels where the head top of camera 1 is."""
    for part in ("imageSequence", "FGmasks"):
        (folder / part).mkdir(parents=True)
    (folder / "camera.calibration").write_text(CALIBRATION)
    scipy_io.savemat(folder / "annot.mat", annotation(poses))
    for camera, pose in enumerate(poses):
        for frame in frames:
            name = f"img_{camera + first}_{frame:06d}.jpg"
            x, y, z = pose[min(frame, len(pose) - 1)][7]
            image = np.zeros((64, 64, 3), np.uint8)
            column, row = round(60 * x / z + 32), round(60 * y / z + 32)
            image[row - 1 : row + 2, column - 1 : column + 2] = 255
            cv2.imwrite(str(folder / "imageSequence" / name), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
            mask = np.zeros((64, 64, 3), np.uint8)
            mask[16:48, 24:40, 2] = 255
            mask[0:2, 0:2, 2] = 255  # not the person
            cv2.imwrite(str(folder / "FGmasks" / name), mask, [cv2.IMWRITE_JPEG_QUALITY, 100])


@pytest.fixture(scope="module")
def download(tmp_path_factory):
    """Subject 8, whose camera 1 sees somebody who stands, walks out of the image and comes back."""
    root = tmp_path_factory.mktemp("mpi") / "3dhp"
    still, away = person(), person((9000.0, 0.0, 3000.0))
    near = person((90.0, 0.0, 3000.0))  # 9 cm from the start
    far = person((180.0, 0.0, 3000.0))  # 18 cm
    poses = [still] * 5 + [near] * 5 + [away] * 5 + [far] * 5
    for sequence in ("Seq1", "Seq2"):
        write_sequence(root / "S8" / sequence, [poses, poses])
    boxes = {"S8/Seq1/imageSequence/img_1_000000.jpg": [[0.0, 0.0, 9.0, 9.0, 0.2], [25.0, 17.0, 16.0, 28.0, 0.9]]}
    (root / "yolov3_person_detections.pkl").write_bytes(pickle.dumps(boxes))
    return root


ONLY_8 = Mpi3dhpOptions(splits=("validation",), cameras=(1,))


def prepared(root, out, options=ONLY_8, **keys):
    return prepare_data_set(data_source("3dhp"), root, out, options, show=False, **keys)


@pytest.fixture(scope="module")
def labels(download, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    prepared(download, out)
    return out, read_labels(out / "labels.npz")


def test_training_frames__are_those_inside_in_which_somebody_moved(labels):
    _, found = labels
    # 0: the first; 5: 9 cm only; 10: outside; 15: 18 cm from frame 0
    assert found.images.sequence.tolist() == ["S8/Seq1"] * 2 + ["S8/Seq2"] * 2
    assert found.images.frame.tolist() == [0, 15, 0, 15]
    assert set(found.split.tolist()) == {"validation"}
    assert found.skeleton.joints == skeleton("mpi_inf_3dhp_17").joints


def test_training_joints__are_metres_in_the_world_in_the_order_of_the_test_set(labels):
    _, found = labels
    # the order of the specification: htop, neck, rsho, relb, rwri, lsho, lelb, lwri, rhip, rkne, rank, lhip, lkne,
    # lank, then as the test set has them: pelv, spin, head
    order = [7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]
    np.testing.assert_allclose(found.values["joints"][0], person()[order] / 1000, atol=1e-12)
    np.testing.assert_allclose(found.values["joints_universal"][0], person()[order] * 1.1 / 1000, atol=1e-12)


def test_crop__shows_a_joint_where_its_camera_sees_it(labels):
    out, found = labels
    for row in (0, 1):
        image = read_image(out / found.images.path[found.image[row]])
        assert image.shape[1::-1] == tuple(found.images.size[found.image[row]])
        camera = found.cameras[int(found.images.camera[found.image[row]])]
        expected = project(torch.from_numpy(found.values["joints"][row, 0]), camera).numpy()
        light = image[..., 1].astype(float) * (image[..., 1] > 128)
        y, x = np.indices(light.shape)
        middle = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
        scale = float(camera.intrinsics[0, 0]) / 60
        np.testing.assert_allclose(middle, expected, atol=0.6 * scale)  # the square is drawn to whole pixels


def test_crop__is_as_bright_as_the_original_makes_it(labels):
    """White stays white but for the green that is taken out: a + 19.8 and b - 18.7 at full light."""
    out, found = labels
    image = read_image(out / found.images.path[0])
    lab = cv2.cvtColor(np.uint8([[[255, 255, 255]]]), cv2.COLOR_RGB2LAB)[0, 0].astype(float)
    expected = cv2.cvtColor(np.uint8([[[lab[0], lab[1] + 19, lab[2] - 19]]]), cv2.COLOR_LAB2RGB)[0, 0]
    brightest = image.reshape(-1, 3)[image.sum(-1).argmax()].astype(int)
    assert np.abs(brightest - expected.astype(int)).max() <= 25  # JPEG halves the resolution of colours


def test_crop__colours_stay_if_asked(download, tmp_path):
    found = prepared(download, tmp_path / "o", replace(ONLY_8, adjust_colours=False))
    image = read_image(tmp_path / "o" / found.images.path[0])
    brightest = image.reshape(-1, 3)[image.sum(-1).argmax()].astype(int)
    assert np.ptp(brightest) < 12


def test_mask__is_the_part_that_fits_the_box(labels):
    out, found = labels
    path = out / found.values["mask"][0]
    mask = read_image(path)[..., 0] > 0
    camera = found.cameras[0]
    left, top, width, height = found.values["box"][0]
    rows, columns = np.nonzero(mask)
    assert mask.shape == tuple(found.images.size[0][::-1])
    assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2
    scale = float(camera.intrinsics[0, 0]) / 60
    assert columns.max() - columns.min() + 1 == pytest.approx(16 * scale, abs=1 + scale)
    assert left < columns.mean() < left + width
    assert top < rows.mean() < top + height


def test_card__names_inputs_and_options(labels):
    out, found = labels
    card = (out / "card.json").read_text()
    for word in ("S8/Seq1/annot.mat", "S8/Seq2/camera.calibration", "yolov3_person_detections.pkl", "non-commercial"):
        assert word in card
    assert found.values["subject"].tolist() == ["S8"] * 4
    assert found.camera_names().tolist() == ["1"] * 4


def test_without_crops__labels_are_of_the_images_of_the_download(download, tmp_path):
    found = prepared(download, tmp_path / "o", replace(ONLY_8, crops=False))
    assert (tmp_path / "o" / found.images.path[1]).resolve() == download / "S8/Seq1/imageSequence/img_1_000015.jpg"
    # the box of the joints 1.05 times as large; in frame 0 its hull with the detection
    pixels = person()[[7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6]] * 60 / 3000 + 32
    low, high = pixels[:, :2].min(0), pixels[:, :2].max(0)
    own = np.concatenate([(low + high) / 2 - 1.05 * (high - low) / 2, 1.05 * (high - low)])
    np.testing.assert_allclose(found.values["box"][1], own + np.array([180 * 60 / 3000, 0, 0, 0]), atol=1e-9)
    left, top = min(own[0], 25.0), min(own[1], 17.0)
    right, bottom = max(own[0] + own[2], 41.0), max(own[1] + own[3], 45.0)
    assert (right - left) * (bottom - top) < 2 * own[2] * own[3]  # or the detection would be somebody else
    np.testing.assert_allclose(found.values["box"][0], [left, top, right - left, bottom - top], atol=1e-9)


def test_28_joints__keep_the_order_of_the_download(download, tmp_path):
    found = prepared(download, tmp_path / "o", replace(ONLY_8, crops=False, joints=28))
    np.testing.assert_allclose(found.values["joints"][0], person() / 1000, atol=1e-12)


def test_resume__goes_on_where_a_damaged_image_stopped_it(download, tmp_path):
    root = shutil.copytree(download, tmp_path / "3dhp")
    damaged = root / "S8/Seq2/imageSequence/img_1_000015.jpg"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200])
    with pytest.raises(FormatError, match=r"img_1_000015\.jpg"):
        prepared(root, tmp_path / "o")
    assert not (tmp_path / "o/labels.npz").exists()
    kept = (tmp_path / "o/images/S8/Seq1/img_1_000000.jpg").stat().st_mtime_ns
    damaged.write_bytes(whole)
    found = prepared(root, tmp_path / "o")
    assert len(found) == 4
    assert (tmp_path / "o/images/S8/Seq1/img_1_000000.jpg").stat().st_mtime_ns == kept  # its camera was done
    assert all((tmp_path / "o" / path).exists() for path in found.images.path)


def test_training_frames__end_where_the_published_ones_do(tmp_path):
    """Camera 2 of S6 Seq2 has 3911 frames; S1 Seq1 is read up to frame 6415, whatever is annotated after."""
    root, small = tmp_path / "3dhp", tmp_path / "small"
    block = CALIBRATION[CALIBRATION.index("name          1") :]
    write_sequence(small, [[person()]] * 3, frames=(0,))
    (small / "camera.calibration").write_text(CALIBRATION + block)
    for subject in range(1, 8):
        for sequence in ("Seq1", "Seq2"):
            (root / f"S{subject}").mkdir(parents=True, exist_ok=True)
            (root / f"S{subject}" / sequence).symlink_to(small)
    for place, count, kept in (("S6/Seq2", 3930, 3911), ("S1/Seq1", 6430, 6416)):
        (root / place).unlink()
        write_sequence(root / place, [[person()]] * 3, frames=(0,))
        (root / place / "camera.calibration").write_text(CALIBRATION + block)
        moving_away = np.stack([person((0, 0, 3000.0)), person((200, 0, 3000.0))])[np.arange(count) // 5 % 2]
        poses = annotation([moving_away[:1], moving_away[:1], moving_away])
        scipy_io.savemat(root / place / "annot.mat", poses)
        for frame in range(0, kept, 5):
            (root / place / "imageSequence" / f"img_2_{frame:06d}.jpg").touch()
    found = prepared(root, tmp_path / "o", Mpi3dhpOptions(splits=("train",), cameras=(2,), crops=False))
    for place, last, count in (("S6/Seq2", 3910, 783), ("S1/Seq1", 6415, 1284)):
        frames = found.images.frame[found.images.sequence == place]
        assert (frames.max(), len(frames)) == (last, count)
    assert len(found) == 783 + 1284 + 12


def film(path, images):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 64))
    for image in images:
        writer.write(image)
    writer.release()


def test_films__give_the_same_frames_as_images(download, tmp_path):
    root = shutil.copytree(download, tmp_path / "3dhp")
    for sequence in ("Seq1", "Seq2"):
        for part in ("imageSequence", "FGmasks"):
            folder = root / "S8" / sequence / part
            images = {int(path.stem[-6:]): cv2.imread(str(path)) for path in folder.glob("img_1_*.jpg")}
            other = np.full((64, 64, 3), 255, np.uint8)  # of frames that nobody may take
            film(folder / "video_1.avi", [images.get(frame, other) for frame in range(20)])
            for path in folder.glob("*.jpg"):
                path.unlink()
    found = prepared(root, tmp_path / "o")
    again = prepared(download, tmp_path / "p", workers=3)
    assert found.images.path.tolist() == again.images.path.tolist()
    assert found.values["mask"].tolist() == again.values["mask"].tolist()
    for path in found.images.path:
        one, other = (read_image(tmp_path / folder / path).astype(float) for folder in "op")
        assert np.abs(one - other).mean() < 3  # the film is compressed more


def test_film__that_ends_too_early_says_so(download, tmp_path):
    root = shutil.copytree(download, tmp_path / "3dhp")
    film(root / "S8/Seq1/imageSequence/video_1.avi", [np.zeros((64, 64, 3), np.uint8)] * 12)
    with pytest.raises(InputError, match=r"video_1\.avi.*16"):
        prepared(root, tmp_path / "o")


def test_names_from_1__are_seen_and_said(download, tmp_path):
    root = tmp_path / "3dhp"
    poses = [[person((0, 0, 3000.0 + 200 * camera))] for camera in range(9)]
    text = CALIBRATION + "".join(CALIBRATION[CALIBRATION.index("name          1") :] for _ in range(7))
    for sequence in ("Seq1", "Seq2"):
        write_sequence(root / "S8" / sequence, poses, first=1, frames=(0,))
        (root / "S8" / sequence / "camera.calibration").write_text(text)
        for part in ("imageSequence", "FGmasks"):
            (root / "S8" / sequence / part / "img_4_000000.jpg").unlink()  # camera 3 is on the ceiling
    found = prepared(root, tmp_path / "o", replace(ONLY_8, crops=False, cameras=(2, 4)))
    assert [path.rsplit("/", 1)[1] for path in found.images.path[:2]] == ["img_3_000000.jpg", "img_5_000000.jpg"]
    assert "numbered from camera 1" in (tmp_path / "o/card.json").read_text()


def test_names_from_either__ask(tmp_path):
    (tmp_path / "img_4_000000.jpg").touch()
    with pytest.raises(InputError, match="--first-camera"):
        files.first_camera(tmp_path)
    (tmp_path / "img_0_000000.jpg").touch()
    assert files.first_camera(tmp_path) == 0


def test_missing__names_file_source_and_licence(download, tmp_path):
    with pytest.raises(MissingAssetError, match=r"S1/Seq1.*MPI-INF-3DHP.*3dhp-dataset.*non-commercial"):
        prepared(download, tmp_path / "o", Mpi3dhpOptions(splits=("train",)))


def test_calibration__damaged(tmp_path):
    path = tmp_path / "camera.calibration"
    path.write_text(CALIBRATION.replace("60 0 32 0 0 61", "60 0 32 0 61"))
    with pytest.raises(FormatError, match="camera 0: expected 16 numbers"):
        files.read_calibration(path)
    path.write_text(CALIBRATION.replace("extrinsic   1 0 0 0 ", "rotation   1 0 0 0 "))
    with pytest.raises(FormatError, match="camera 1 has no line 'extrinsic'"):
        files.read_calibration(path)


def test_calibration__centre_is_minus_the_turned_translation(tmp_path):
    path = tmp_path / "camera.calibration"
    path.write_text(CALIBRATION)
    found = files.read_calibration(path)
    # R^T (0.1, -0.2, 3), R's rows x, z, -y of the world: the centre is minus (0.1, -3, -0.2)
    np.testing.assert_allclose(found.centers[0], [-0.1, 3.0, 0.2], atol=1e-12)
    assert found.image_size.tolist() == [[64.0, 64.0], [64.0, 64.0]]


def test_boxes__take_the_detection_of_the_same_person_only():
    pixels = np.array([[[10.0, 10.0], [30.0, 50.0]]] * 3)  # with the margin 9.5, 9, 21, 42
    detected = {
        "same": np.array([[8.0, 12.0, 24.0, 45.0, 0.5], [100.0, 100.0, 9.0, 9.0, 0.4]]),
        "other": np.array([[8.0, 12.0, 24.0, 45.0, 0.5], [60.0, 10.0, 20.0, 40.0, 0.9]]),
    }
    found = person_boxes(pixels, ["same", "other", "unknown"], detected)
    np.testing.assert_allclose(found, [[8.0, 9.0, 24.0, 48.0], [9.5, 9.0, 21.0, 42.0], [9.5, 9.0, 21.0, 42.0]])


# the test set


def evaluation_arrays():
    """Three frames, the second not valid; joints of (3, 17, 1, T) in millimetres."""
    joints = np.arange(3 * 17 * 3, dtype=float).reshape(3, 17, 1, 3) + np.array([0, 0, 3000.0])[:, None, None, None]
    return {
        "annot3": joints,
        "univ_annot3": joints * 2,
        "valid_frame": np.array([[1.0, 0.0, 1.0]]),
        "activity_annotation": np.array([[1.0, 9.0, 7.0]]),
    }


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_test_set__is_read_from_either_version(tmp_path, version):
    path = tmp_path / "annot_data.mat"
    arrays = evaluation_arrays()
    if version == "5":
        scipy_io.savemat(path, arrays)
    else:
        write_mat73(path, **arrays)
    found = files.read_evaluation_poses(path)
    assert found.frame.tolist() == [0, 2]
    assert found.activity.tolist() == ["Stand/Walk", "Misc."]
    np.testing.assert_allclose(found.poses.joints[1, 16], [0.050, 0.101, 3.152], atol=1e-12)
    np.testing.assert_allclose(found.poses.universal[0, 1], [0.006, 0.108, 6.210], atol=1e-12)


def test_test_set__labels_have_scene_activity_and_the_cameras_of_its_documentation(tmp_path):
    root = tmp_path / "3dhp"
    for place in range(1, 7):  # the first lies where the download puts it, the others where MeTRAbs's script does
        folder = root / ("mpi_inf_3dhp_test_set/TS1" if place == 1 else f"TS{place}")
        folder.mkdir(parents=True)
        write_mat73(folder / "annot_data.mat", **evaluation_arrays())
    found = prepared(root, tmp_path / "o", Mpi3dhpOptions(splits=("test",)))
    assert found.values["scene"].tolist() == [
        name for name in ("green-screen", "no-green-screen", "outdoor") for _ in range(4)
    ]
    assert found.values["activity"].tolist() == ["Stand/Walk", "Misc."] * 6
    assert found.images.path[1].endswith("3dhp/mpi_inf_3dhp_test_set/TS1/imageSequence/img_000003.jpg")
    camera = found.cameras[int(found.images.camera[0])]
    # f 7.32506 mm on 10 mm of 2048 pixels; (5 - 0.0322884) mm; rows 1.00044 times as many
    np.testing.assert_allclose(camera.intrinsics[0], [1500.172288, 0, 1017.387336], atol=1e-5)
    np.testing.assert_allclose(camera.intrinsics[1, 1:], [1500.832364, 1043.490916], atol=1e-5)
    np.testing.assert_allclose(camera.centers, [3.42728, 1.38786, 0.30942], atol=1e-9)
    rows = rows_to_score(found, frame="camera")
    np.testing.assert_allclose(rows.values["joints"][1, 16], [0.050, 0.101, 3.152], atol=1e-6)
    stored = read_pose_rows(tmp_path / "o/protocols/3dhp.npz")
    assert (stored.sequence[1], stored.frame[1], stored.benchmark) == ("TS1", 2, "3dhp 1")
    np.testing.assert_array_equal(stored.values["joints"], rows.values["joints"])
    archive = np.load(tmp_path / "o/human_data/mpi_inf_3dhp_test.npz", allow_pickle=True)
    assert archive["image_path"][1] == "mpi_inf_3dhp_test_set/TS1/imageSequence/img_000003.jpg"
    universal = archive["keypoints3d"][1][archive["keypoints3d_mask"] > 0]
    assert any(np.allclose(joint[:3], [0.100, 0.202, 6.304], atol=1e-5) for joint in universal)
    outdoor = found.cameras[int(found.images.camera[-1])]
    np.testing.assert_allclose(outdoor.intrinsics[1], [0, 1672.593708, 556.352188], atol=1e-5)
    np.testing.assert_allclose(outdoor.distortion[:2], [-0.276859611, 0.131125256], atol=1e-12)


def test_evaluate__scores_a_file_of_metrabs(tmp_path):
    """Everybody 30 mm to the right, in its order of joints: nothing is left once the pelvises lie on each other."""
    root = tmp_path / "3dhp"
    arrays = evaluation_arrays()
    for place in range(1, 7):
        (root / f"TS{place}").mkdir(parents=True)
        scipy_io.savemat(root / f"TS{place}/annot_data.mat", arrays)
    prepared(root, tmp_path / "o", Mpi3dhpOptions(splits=("test",)))
    names = [(place, frame) for place in range(1, 7) for frame in (0, 2)]
    order = [*range(14), 15, 16, 14]
    poses = np.stack([arrays["annot3"][:, order, 0, frame].T for _, frame in names])
    np.savez(
        tmp_path / "predictions_3dhp.npz",
        image_path=np.array([f"3dhp/TS{place}/imageSequence/img_{frame + 1:06d}.jpg" for place, frame in names]),
        coords3d_pred=poses + np.array([30.0, 0, 0]),
        coords3d_true=poses,
    )
    labels = tmp_path / "o/protocols/3dhp.npz"
    scores = score_predictions(tmp_path / "predictions_3dhp.npz", protocol_name="3dhp", labels=labels)
    assert scores.values["mpjpe_mm"] == pytest.approx(0, abs=1e-3)
    assert set(scores.groups["pck/scene"]) == {"green-screen", "no-green-screen", "outdoor"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valid_frame": np.ones((1, 4))}, "3, 4 frames"),
        ({"activity_annotation": np.array([[1.0, 1.0, 8.0]])}, "frame 2 has the activity 8"),
        ({"annot3": np.zeros((3, 16, 1, 3))}, "'annot3': expected numbers"),
        ({"univ_annot3": None}, "lacks the variable univ_annot3"),
    ],
)
def test_test_set__damaged(tmp_path, change, message):
    arrays = {name: value for name, value in {**evaluation_arrays(), **change}.items() if value is not None}
    scipy_io.savemat(tmp_path / "annot_data.mat", arrays)
    with pytest.raises(FormatError, match=message):
        files.read_evaluation_poses(tmp_path / "annot_data.mat")


def test_matlab__cut_off(tmp_path):
    scipy_io.savemat(tmp_path / "a.mat", evaluation_arrays())
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole[:1000])
    with pytest.raises(FormatError, match=r"a\.mat"):
        files.read_evaluation_poses(tmp_path / "a.mat")
    write_mat73(tmp_path / "b.mat", **evaluation_arrays())
    (tmp_path / "b.mat").write_bytes((tmp_path / "b.mat").read_bytes()[:1500])
    with pytest.raises(FormatError, match=r"b\.mat"):
        files.read_evaluation_poses(tmp_path / "b.mat")
