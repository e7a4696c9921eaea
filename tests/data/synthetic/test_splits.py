"""What a benchmark shows has not been trained on: no random number, family, file or clip is of both splits."""

import pytest
import torch

from marey.core import InputError
from marey.data.synthetic import SPLITS, SyntheticConfig, SyntheticGenerator
from marey.data.synthetic.backgrounds import BACKGROUND_FAMILIES, folder_images
from marey.data.synthetic.clips import read_clips
from marey.data.synthetic.patterns import PATTERN_FAMILIES, draw_patterns
from marey.data.synthetic.random import Draws
from marey.io.images import write_image

BVH = """HIERARCHY
ROOT Hips
{
 OFFSET 0 0 0
 CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
%s
}
MOTION
Frames: %d
Frame Time: 0.1
%s
"""
LIMBS = (
    ("Spine", "0 0.2 0", (("Neck", "0 0.3 0", ()), ("LeftArm", "0.2 0.25 0", (("LeftForeArm", "0.3 0 0", (
        ("LeftHand", "0.25 0 0", ()),)),)), ("RightArm", "-0.2 0.25 0", (("RightForeArm", "-0.3 0 0", (
        ("RightHand", "-0.25 0 0", ()),)),)))),
    ("LeftUpLeg", "0.1 0 0", (("LeftLeg", "0 -0.4 0", (("LeftFoot", "0 -0.4 0", ()),)),)),
    ("RightUpLeg", "-0.1 0 0", (("RightLeg", "0 -0.4 0", (("RightFoot", "0 -0.4 0", ()),)),)),
)  # fmt: skip
JOINTS, BEFORE_LEFT_KNEE = 15, 10


def _joint(name, offset, children) -> str:
    inside = "\n".join(_joint(*child) for child in children) or "End Site\n{\n OFFSET 0 0.1 0\n}"
    return f"JOINT {name}\n{{\n OFFSET {offset}\n CHANNELS 3 Zrotation Xrotation Yrotation\n{inside}\n}}"


def write_bvh(path, knee: float, frames: int = 5) -> None:
    """A standing person whose left knee is bent by more and more degrees."""
    knee_column = 3 + 3 * BEFORE_LEFT_KNEE + 1
    rows = []
    for frame in range(frames):
        numbers = [0.0, 0.8, 0.0, *[0.0] * (3 * JOINTS)]
        numbers[knee_column] = knee * frame / (frames - 1)
        rows.append(" ".join(map(str, numbers)))
    path.write_text(BVH % ("\n".join(_joint(*limb) for limb in LIMBS), frames, "\n".join(rows)))


def test_families__are_disjoint():
    assert set(PATTERN_FAMILIES) == set(BACKGROUND_FAMILIES) == set(SPLITS)
    for families in (PATTERN_FAMILIES, BACKGROUND_FAMILIES):
        assert not set(families["training"]) & set(families["benchmark"])


def test_patterns__drawn_are_of_the_splits_families():
    found = {}
    for split in SPLITS:
        draws = Draws(seed=0, split=split, indices=torch.arange(200))
        found[split] = set(draw_patterns(draws, "x", 3, period=(0.1, 1.0), flat=True).table[..., 0].flatten().tolist())
    assert found == {"training": {0, 1, 2, 3}, "benchmark": {4, 5, 6, 7}}


def test_folder__images_are_of_one_split_by_their_names(tmp_path):
    for number in range(60):
        (tmp_path / f"picture_{number}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    training, benchmark = (set(folder_images(tmp_path, split)) for split in SPLITS)
    assert not training & benchmark
    assert len(training | benchmark) == 60
    assert 4 < len(benchmark) < 24
    moved = tmp_path / "other"
    moved.mkdir()
    for path in benchmark:
        (moved / path.name).touch()
    assert {path.name for path in folder_images(moved, "benchmark")} == {path.name for path in benchmark}
    with pytest.raises(InputError, match="none of them of the training split"):
        folder_images(moved, "training")


def test_folder__pictures_are_shown_behind_the_people(tmp_path):
    red = torch.zeros(64, 64, 3, dtype=torch.uint8).numpy()
    red[..., 0] = 200
    for number in range(20):
        write_image(tmp_path / f"{number}.png", red)
    batch = SyntheticGenerator(SyntheticConfig(tier="easy", image_size=(48, 48), backgrounds=str(tmp_path))).sample(
        0, range(4)
    )
    behind = batch.images[:, 0].permute(0, 2, 3, 1)[batch.pixels.person[:, 0] < 0].double().mean(0)
    assert behind[0] > 120
    assert behind[1:].max() < 60


@pytest.mark.parametrize(("name", "message"), [("backgrounds", "is no folder"), ("motions", "no such folder")])
def test_folder__that_is_none_is_told(tmp_path, name, message):
    with pytest.raises(InputError, match=message):
        SyntheticGenerator(SyntheticConfig(image_size=(16, 16), **{name: str(tmp_path / "nothing")})).sample(0, [0])


def test_motions__of_one_file_are_of_one_split(tmp_path):
    for number in range(12):
        write_bvh(tmp_path / f"motion_{number}.bvh", knee=60.0)
    training, benchmark = (set(read_clips(tmp_path, split).names) for split in SPLITS)
    assert not training & benchmark
    assert len(training | benchmark) == 12


def test_motions__bend_the_people(tmp_path):
    folder = tmp_path / "motions"
    folder.mkdir()
    for number in range(3):
        write_bvh(folder / f"walk_{number}.bvh", knee=80.0)
    config = SyntheticConfig(tier="easy", image_size=(16, 16), motions=str(folder))
    batch = SyntheticGenerator(config).sample(0, range(32))
    names = SyntheticGenerator(config).model.tree.joints
    other = batch.people.body.pose[:, 0, names.index("right_knee") - 1]
    bent = batch.people.body.pose[:, 0, names.index("left_knee") - 1]
    angle = ((bent.diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2).clamp(-1, 1).acos().rad2deg()
    straight = (other - torch.eye(3)).abs().amax((-2, -1)) < 1e-3
    assert 8 <= int(straight.sum()) <= 24  # about half move as in the files, where the right knee is straight
    assert angle[straight].max() < 80.5
    assert angle[straight].max() > 40


def test_motions__without_one_for_the_split_are_told(tmp_path):
    with pytest.raises(InputError, match="no motion for training in it"):
        read_clips(tmp_path, "training")
