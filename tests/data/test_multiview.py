"""Samples of several views: pictures with a dot for each person, and where the samples say that it is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from marey.core import Cameras, FormatError, InputError, ShapeError, skeleton
from marey.data.labels import Images, Labels
from marey.data.multiview import MultiViewLabels, MultiViewOptions
from marey.geometry import project
from marey.io.predictions import PoseRows

SIZE = (640, 480)
LENS = (-0.25, 0.1, 0.003, -0.002, 0.0)
COLOURS = ((0, 0, 255), (0, 255, 0))
"""Blue green red, as OpenCV writes them: a red person and a green one."""
PLACES = np.array([[[0.1, 0.2, 0.0], [-0.5, 0.3, 0.4]], [[0.3, -0.2, 0.1], [-0.3, 0.1, 0.2]]])
"""(moments, people, 3) of the dots, which are everybody's pelvis; metres."""


def rig(lens, count):
    """Cameras on a circle of four metres that look at the origin, y down."""
    angle = torch.arange(count, dtype=torch.float64)
    rotation = torch.zeros(count, 3, 3, dtype=torch.float64)
    rotation[:, 0, 0], rotation[:, 0, 2] = angle.cos(), angle.sin()
    rotation[:, 2, 0], rotation[:, 2, 2] = -angle.sin(), angle.cos()
    rotation[:, 1, 1] = 1
    return Cameras(
        intrinsics=torch.tensor([[600.0, 0, 322], [0, 610, 236], [0, 0, 1]], dtype=torch.float64).expand(count, 3, 3),
        distortion=torch.tensor(lens, dtype=torch.float64).expand(count, len(lens)),
        image_size=torch.tensor(SIZE, dtype=torch.float64).expand(count, 2),
        rotation=rotation,
        translation=torch.tensor([0, 0, 4.0], dtype=torch.float64).expand(count, 3),
        names=tuple(f"cam{place}" for place in range(count)),
    )


def drawn(pixels):
    image = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.float32)
    for pixel, colour in zip(pixels, COLOURS, strict=True):
        across, down = (
            np.exp(-((np.arange(side) - at) ** 2) / (2 * 3.0**2)) for side, at in zip(SIZE, pixel, strict=True)
        )
        image[..., np.argmax(colour)] = 255 * down[:, None] * across
    return np.rint(image).astype(np.uint8)


def data_set(folder, lens=LENS, views=3, suffix="png"):
    """Two moments of two people, each with a dot at the pelvis and a box about it."""
    cameras = rig(lens, views)
    pixels = project(torch.from_numpy(PLACES).expand(views, 2, 2, 3), cameras).numpy()  # views, moments, people
    paths = []
    for moment in range(2):
        for view in range(views):
            paths.append(f"{moment}_{view}.{suffix}")
            cv2.imwrite(str(folder / paths[-1]), drawn(pixels[view, moment]))
    moment, view, person = (grid.reshape(-1) for grid in np.indices((2, views, 2)))
    order = skeleton("h36m_17")
    joints = np.full((len(moment), len(order), 3), np.nan, dtype=np.float32)
    joints[:, order.index("pelvis")] = PLACES[moment, person]
    middle = pixels[view, moment, person]
    corner = middle - np.array([40.0, 55.0])
    return Labels(
        name="dots",
        version="1",
        skeleton=order,
        images=Images(
            path=np.array(paths),
            size=np.tile(SIZE, (len(paths), 1)),
            camera=np.tile(np.arange(views), 2),
            sequence=np.full(len(paths), "take"),
            frame=np.repeat([4, 7], views),
            moment=np.repeat([0, 1], views),
        ),
        split=np.full(len(paths), "train"),
        image=moment * views + view,
        person=person,
        values={"joints": joints, "box": np.concatenate((corner, np.tile([90.0, 120.0], (len(corner), 1))), axis=1)},
        cameras=cameras,
    )


def centre_of_mass(channel):
    weight = torch.where(channel > 20, channel, 0).double()  # JPEG leaves traces elsewhere
    y, x = torch.meshgrid(torch.arange(len(weight)), torch.arange(weight.shape[1]), indexing="ij")
    return torch.stack(((weight * x).sum(), (weight * y).sum())) / weight.sum()


def of_dots(samples, places):
    """How far (B, V) the dots are from where the projections put them."""
    seen = torch.einsum("bvij,bj->bvi", samples.projections.double(), torch.nn.functional.pad(places, (0, 1), value=1))
    expected = seen[..., :2] / seen[..., 2:]
    batch, views = samples.present.shape
    found = torch.stack(
        [
            torch.stack([centre_of_mass(samples.images[item, view, item % 2]) for view in range(views)])
            for item in range(batch)
        ]
    )
    return (found - expected).norm(dim=-1)


@pytest.mark.parametrize("lens", [(), LENS], ids=["none", "usual"])
@pytest.mark.parametrize("options", [{}, {"square_bbox": False, "image_shape": (128, 96)}, {"crop": False}])
def test_samples__show_each_person_where_their_projections_say(tmp_path, lens, options):
    """Sample 0 and 2 are the red person, 1 and 3 the green one."""
    options = MultiViewOptions(**{"image_shape": (120, 120), "scale_bbox": 1.0, **options})
    data = MultiViewLabels(data_set(tmp_path, lens), tmp_path, options)
    samples = data.samples(torch.arange(4))
    assert samples.images.shape == (4, 3, 3, *options.image_shape)
    assert samples.images.dtype == torch.uint8
    assert samples.present.all()
    assert of_dots(samples, torch.from_numpy(PLACES).reshape(4, 3)).max() < 0.3
    assert samples.index.tolist() == [0, 1, 2, 3]


def test_samples__of_jpeg_at_a_smaller_scale(tmp_path):
    labels = data_set(tmp_path, suffix="jpg")
    options = MultiViewOptions(image_shape=(32, 32), reduced_decoding=True, scale_bbox=1.2)
    samples = MultiViewLabels(labels, tmp_path, options).samples([0, 1, 2, 3])
    assert (samples.shape_before_resize % 4 == 0).all()
    assert (samples.shape_before_resize >= 4 * 32).all()
    assert of_dots(samples, torch.from_numpy(PLACES).reshape(4, 3)).max() < 0.3
    assert (samples.boxes[..., :2] % 4 == 0).all()


def test_samples__hold_joints_centres_and_boxes(tmp_path):
    data = MultiViewLabels(data_set(tmp_path, ()), tmp_path, MultiViewOptions(image_shape=(64, 64)))
    samples = data.samples([2])
    pelvis = skeleton("h36m_17").index("pelvis")
    assert samples.valid[0].nonzero().tolist() == [[pelvis]]
    torch.testing.assert_close(samples.joints[0, pelvis], torch.tensor([0.3, -0.2, 0.1]))
    assert not samples.joints[0, :pelvis].any()
    torch.testing.assert_close(samples.centers, torch.tensor([[0.3, -0.2, 0.1]]))
    left = 600 * 0.3 / 4.1 + 322 - 40  # in the first view, of which no rotation
    top = 610 * -0.2 / 4.1 + 236 - 55
    assert (round(left), round(top)) == (326, 151)
    assert samples.boxes[0, 0].tolist() == [311, 151, 120, 120]  # 90 wide becomes 120: (326 + 416) // 2 - 60
    assert samples.shape_before_resize[0].tolist() == [[120, 120]] * 3
    assert samples.rows.tolist() == [[6, 8, 10]]


def test_samples__absent_views_are_black(tmp_path):
    labels = data_set(tmp_path)
    labels.values["box"][2] = np.nan  # the first person in the second view at the first moment
    data = MultiViewLabels(labels, tmp_path, MultiViewOptions(image_shape=(32, 32)))
    samples = data.samples([0])
    assert samples.present.tolist() == [[True, False, True]]
    assert samples.rows.tolist() == [[0, -1, 4]]
    assert not samples.images[0, 1].any()
    assert not samples.projections[0, 1].any()
    assert samples.boxes[0, 1].isnan().all()
    assert samples.shape_before_resize[0, 1].tolist() == [0, 0]


def test_samples__views_are_columns(tmp_path):
    data = MultiViewLabels(data_set(tmp_path), tmp_path, MultiViewOptions(image_shape=(32, 32)))
    assert data.view_names == ("cam0", "cam1", "cam2")
    whole = data.samples([0, 3])
    some = data.samples([0, 3], [2, 0])
    assert torch.equal(some.images, whole.images[:, [2, 0]])
    assert torch.equal(some.projections, whole.projections[:, [2, 0]])
    each = data.samples([0, 3], [[1], [2]])
    assert torch.equal(each.images, torch.stack((whole.images[0, [1]], whole.images[1, [2]])))
    with pytest.raises(InputError, match="views: expected 0 to 2"):
        data.samples([0], [3])
    with pytest.raises(ShapeError, match="views: expected"):
        data.samples([0], [[0], [1]])
    with pytest.raises(InputError, match="indices: expected"):
        data.samples([4])


def test_samples__decode_an_image_once(tmp_path, monkeypatch):
    data = MultiViewLabels(data_set(tmp_path), tmp_path, MultiViewOptions(image_shape=(32, 32)))
    opened = []
    fromfile = np.fromfile
    monkeypatch.setattr(np, "fromfile", lambda path, *rest: (opened.append(path.name), fromfile(path, *rest))[1])
    data.samples([0, 1, 0])
    assert sorted(opened) == ["0_0.png", "0_1.png", "0_2.png"]


def test_samples__do_not_depend_on_threads_or_company(tmp_path):
    labels, options = data_set(tmp_path, suffix="jpg"), MultiViewOptions(image_shape=(16, 16), reduced_decoding=True)
    together = MultiViewLabels(labels, tmp_path, options, threads=4).samples([0, 1, 2, 3])
    alone = [MultiViewLabels(labels, tmp_path, options, threads=1).samples([place]) for place in range(4)]
    assert torch.equal(together.images, torch.cat([one.images for one in alone]))
    assert torch.equal(together.projections, torch.cat([one.projections for one in alone]))


def test_views__are_as_many_as_the_least_of_a_batch(tmp_path):
    labels = data_set(tmp_path)
    labels.values["box"][0] = np.nan  # the first sample lacks the first view
    data = MultiViewLabels(labels, tmp_path)
    assert data.draw_views(torch.tensor([1, 2])).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert data.draw_views(torch.tensor([1, 0])).tolist() == [[0, 1], [1, 2]]


def test_views__random_numbers_without_repetition(tmp_path):
    options = MultiViewOptions(randomize_n_views=True, min_n_views=2, max_n_views=3)
    data = MultiViewLabels(data_set(tmp_path, views=5), tmp_path, options)
    drawn = [data.draw_views(torch.tensor([0, 1]), torch.Generator().manual_seed(seed)) for seed in range(60)]
    again = data.draw_views(torch.tensor([0, 1]), torch.Generator().manual_seed(7))
    assert torch.equal(again, drawn[7])
    assert {views.shape[1] for views in drawn} == {2, 3}
    assert {int(view) for views in drawn for view in views[0]} == {0, 1, 2, 3, 4}
    for views in drawn:
        assert torch.equal(views[0], views[1])
        assert len(set(views[0].tolist())) == views.shape[1]
    with pytest.raises(InputError, match="Generator"):
        data.draw_views(torch.tensor([0]))


def test_views__at_least_as_many_as_there_are(tmp_path):
    options = MultiViewOptions(randomize_n_views=True, min_n_views=10, max_n_views=31)
    data = MultiViewLabels(data_set(tmp_path), tmp_path, options)
    assert data.draw_views(torch.tensor([0]), torch.Generator()).shape == (1, 3)


def predictions(sequence, frames, people, pelvis):
    return PoseRows(
        joint_names=("pelvis",),
        sequence=np.array(sequence),
        frame=np.array(frames),
        person=np.array(people),
        values={"joints": np.array(pelvis, dtype=np.float64)[:, None]},
    )


def test_centers__of_predictions_are_matched_and_not_counted(tmp_path):
    """Rows in another order, one of another take, and one sample without: nothing is taken by its place."""
    data = MultiViewLabels(data_set(tmp_path), tmp_path)
    rows = predictions(
        ["take", "other", "take", "take"],
        [7, 4, 4, 4],
        [1, 0, 1, 0],
        [[7.0, 1, 1], [9, 9, 9], [4, 1, 1], [4, 0, 0]],
    )
    with pytest.warns(UserWarning, match="1 of 4 rows"):
        centers = data.centers_of(rows)
    np.testing.assert_array_equal(centers, [[4, 0, 0], [4, 1, 1], [np.nan] * 3, [7, 1, 1]])
    moved = data.with_centers(centers).samples([0, 3])
    assert moved.centers.tolist() == [[4, 0, 0], [7, 1, 1]]
    torch.testing.assert_close(data.samples([0]).centers, torch.from_numpy(PLACES[0, :1]).float())
    with pytest.raises(ShapeError, match=r"centers: expected \(4, 3\)"):
        data.with_centers(np.zeros((3, 3)))


def test_centers__between_the_hips_of_coco(tmp_path):
    labels = data_set(tmp_path)
    order = skeleton("coco_17")
    joints = np.full((len(labels), 17, 3), np.nan, dtype=np.float32)
    joints[:, order.index("left_hip")] = [0.0, 2.0, 4.0]
    joints[:, order.index("right_hip")] = [1.0, 0.0, 4.0]
    labels = replace(labels, skeleton=order, values={**labels.values, "joints": joints})
    samples = MultiViewLabels(labels, tmp_path).samples([0])
    assert samples.centers.tolist() == [[0.5, 1.0, 4.0]]


def test_centers__and_joints_are_unknown_where_labels_have_none(tmp_path):
    labels = data_set(tmp_path)
    values = {name: column for name, column in labels.values.items() if name != "joints"}
    samples = MultiViewLabels(replace(labels, values=values), tmp_path).samples([0])
    assert samples.centers.isnan().all()
    assert not samples.valid.any()


def test_joints__in_another_skeleton(tmp_path):
    data = MultiViewLabels(data_set(tmp_path), tmp_path, MultiViewOptions(skeleton="panoptic_19"))
    samples = data.samples([0])
    assert samples.valid[0].nonzero().tolist() == [[skeleton("panoptic_19").index("pelvis")]]


def test_reference__is_in_the_order_of_the_samples(tmp_path):
    rows = MultiViewLabels(data_set(tmp_path), tmp_path).reference()
    assert rows.sequence.tolist() == ["take"] * 4
    assert rows.frame.tolist() == [4, 4, 7, 7]
    assert rows.person.tolist() == [0, 1, 0, 1]
    pelvis = rows.values["joints"][:, rows.joint_names.index("pelvis")]
    np.testing.assert_allclose(pelvis, PLACES.reshape(4, 3), atol=1e-6)


def test_images__of_another_size_or_absent_are_errors(tmp_path):
    labels = data_set(tmp_path)
    data = MultiViewLabels(labels, tmp_path)
    cv2.imwrite(str(tmp_path / "0_1.png"), np.zeros((480, 641, 3), np.uint8))
    with pytest.raises(FormatError, match=r"0_1\.png: the labels are of an image of 640 x 480"):
        data.samples([0])
    (tmp_path / "0_1.png").unlink()
    with pytest.raises(InputError, match=r"0_1\.png"):
        data.samples([0])


def test_images__of_unknown_size_are_shown_whole(tmp_path):
    labels = data_set(tmp_path, ())
    labels.images.size[:] = 0
    samples = MultiViewLabels(labels, tmp_path, MultiViewOptions(crop=False, image_shape=(48, 64))).samples([0])
    assert samples.boxes[0].tolist() == [[0, 0, 640, 480]] * 3
    assert samples.shape_before_resize[0].tolist() == [[480, 640]] * 3


def test_lens__of_human36m_is_its_own(tmp_path):
    """Labels of that name have tangential coefficients of its own form; half of them is OpenCV's."""
    labels = replace(data_set(tmp_path), name="h36m")
    opencv = MultiViewLabels(labels, tmp_path, MultiViewOptions(lens_formula="opencv"))
    assert opencv.labels.cameras.distortion.shape == (3, 5)
    own = MultiViewLabels(labels, tmp_path).labels.cameras.distortion
    torch.testing.assert_close(
        own[0], torch.tensor([-0.25, 0.1, 0.0015, -0.001, 0, 0, 0, 0, -0.001, 0, 0.0015, 0], dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_n_views": 3, "max_n_views": 2}, "min_n_views"),
        ({"min_n_views": -1}, "min_n_views"),
        ({"retain_every_n": 0}, "retain_every_n"),
    ],
)
def test_options__that_cannot_be(options, message):
    with pytest.raises(InputError, match=message):
        MultiViewOptions(**options)
