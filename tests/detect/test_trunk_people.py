"""The detector in a graph finds whom the detector finds."""

import pytest
import torch

from marey.core import InputError
from marey.data.synthetic import SyntheticConfig, SyntheticGenerator
from marey.detect.trunk import MareyPose, SearchSettings, shipped_trunk
from marey.detect.trunk_people import TrunkPeople
from marey.detect.trunk_search import box_overlap, kept_apart
from marey.engine.export import export
from marey.engine.networks import Network, Port

QUICK = SearchSettings(small_side=None, following=False)


@pytest.fixture(scope="module")
def people():
    """Four square pictures, the last of nobody."""
    config = SyntheticConfig(tier="easy", image_size=(224, 224), skeletons=("coco_17",))
    shown = SyntheticGenerator(config).sample(2, range(3)).images[:, 0]
    return torch.cat((shown, torch.full_like(shown[:1], 90)))


def test_people__are_those_of_the_detector(people):
    detector = MareyPose(search=QUICK, precision="float32")
    theirs = list(detector([image.permute(1, 2, 0).numpy() for image in people]))
    with torch.no_grad():
        boxes, scores, keep = TrunkPeople(shipped_trunk(), people=3, search=QUICK)(people)
    assert boxes.shape == (4, 3, 4)
    assert keep.sum(1).tolist() == [len(each.boxes.score) for each in theirs]
    assert keep.any(1).tolist() == [True, True, True, False]
    for found, box, score, there in zip(theirs, boxes, scores, keep, strict=True):
        size = found.boxes.corners.diff(dim=-1).abs().max() if there.any() else 1.0
        assert ((box[there] - found.boxes.corners).abs() < 0.03 * size).all()
        torch.testing.assert_close(score[there], found.boxes.score, rtol=0, atol=0.02)
        assert box[~there].isnan().all()
        assert (score[~there] == 0).all()


def test_people__in_a_wide_picture_are_nearly_those_of_the_detector(people):
    wide = torch.cat(list(people[:2]), -1)
    (theirs,) = MareyPose(search=QUICK, precision="float32")([wide.permute(1, 2, 0).numpy()])
    with torch.no_grad():
        boxes, _, keep = TrunkPeople(shipped_trunk(), people=4, search=QUICK)(wide[None])
    assert keep.sum() == len(theirs.boxes.score) == 2
    assert (box_overlap(theirs.boxes.corners, boxes[keep]).amax(1) > 0.7).all()


def test_small_people__are_looked_for_where_there_is_nobody_else(people):
    small = torch.nn.functional.interpolate(people[:1].float(), size=64, mode="area")[0].round()
    far = torch.full((2, 3, 256, 256), 90, dtype=torch.uint8)
    far[0, :, 100:164, 150:214], far[1, :, :224, :224] = small, people[0]
    searches = (SearchSettings(sides=(64,), small_side=side) for side in (None, 256))
    with torch.no_grad():
        without, with_small = (TrunkPeople(shipped_trunk(), people=1, search=search)(far) for search in searches)
    assert without[2][:, 0].tolist() == [False, True]
    assert with_small[2][:, 0].tolist() == [True, True]
    torch.testing.assert_close(with_small[0][1], without[0][1])


def test_kept_apart__who_rivals_a_better_one_that_stays():
    rivals = torch.zeros(2, 4, 4, dtype=torch.bool)
    rivals[0, 0, 1] = rivals[0, 1, 0] = rivals[0, 1, 2] = rivals[0, 2, 1] = True
    there = torch.tensor([[True, True, True, False], [False, True, True, True]])
    assert kept_apart(there, rivals).tolist() == [[True, False, True, False], [False, True, True, True]]


def test_people__no_place():
    with pytest.raises(InputError, match="people: expected 1 or more, got 0"):
        TrunkPeople(shipped_trunk(), people=0)


@pytest.mark.slow
def test_onnx__pictures_of_any_size_and_number(tmp_path, people):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    search = SearchSettings(sides=(128,), small_side=None)
    network = Network(
        module=TrunkPeople(shipped_trunk(), people=2, search=search),
        example=(people[:2, :, :200],),
        inputs=(Port(name="images", shape=("batch", 3, "height", "width")),),
        outputs=(
            Port(name="boxes", shape=("batch", 2, 4)),
            Port(name="scores", shape=("batch", 2)),
            Port(name="keep", shape=("batch", 2)),
        ),
        least={"height": 40, "width": 40},
    )
    made = export(network, tmp_path / "people.onnx")
    assert {tuple(trial.sizes.values()) for trial in made.trials} >= {(2, 200, 224), (3, 201, 225), (1, 40, 40)}
