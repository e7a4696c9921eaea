"""The benchmark's labels are those that were fixed."""

import numpy as np
import pytest

from marey.core import FormatError
from marey.data.benchmark.cells import CELLS, COUNT, SCENE_SETS, SEED
from marey.data.benchmark.contents import HEAD, as_json, committed, contents_of
from marey.data.benchmark.digests import digest_of
from marey.data.benchmark.truth import choose_samples

NAMES = tuple(SCENE_SETS)


def test_committed__has_every_set_of_scenes_and_2000_samples_of_each():
    assert set(committed()) == set(NAMES)
    for contents in committed().values():
        indices = contents.indices
        assert len(indices) == contents.count == COUNT
        assert indices == sorted(set(indices))
        assert not set(indices) & set(contents.skipped)


def test_committed__occlusion_hides_the_same_people():
    lists = [committed()[name].indices for name in NAMES if name.startswith("occluded")]
    assert len(lists) == 5
    assert all(indices == lists[0] for indices in lists)
    for array in ("coco_17", "camera_intrinsics", "box"):
        hashes = {committed()[name].whole[array].sha256 for name in NAMES if name.startswith("occluded")}
        assert len(hashes) == 1


@pytest.mark.parametrize("scenes", NAMES)
def test_head__made_again_is_what_was_fixed(benchmark, scenes):
    """If this fails, a change moved labels: undo it, or make a new version and measure every method again."""
    contents = committed()[scenes]
    made = benchmark.truth(next(cell.name for cell in CELLS.values() if cell.scenes == scenes))
    assert made["index"].tolist() == contents.indices[:HEAD]
    contents.check(scenes, made, head=True)
    wrong = {**made, "coco_17": made["coco_17"] + np.float32(0.01)}
    with pytest.raises(FormatError, match=r"labels of '\w+' are not those of synthetic v1: the SHA-256 of coco_17 is"):
        contents.check(scenes, wrong, head=True)


@pytest.mark.slow
@pytest.mark.parametrize("scenes", NAMES)
def test_whole__chosen_again_is_what_was_fixed(scenes):
    truth = choose_samples(SCENE_SETS[scenes], COUNT, seed=SEED)
    contents = committed()[scenes]
    assert truth["index"].tolist() == contents.indices
    contents.check(scenes, truth)


def test_check__names_an_array_that_is_absent():
    truth = {"index": np.array([0, 2, 3]), "box": np.zeros((3, 1, 4), np.float32)}
    contents = contents_of([0, 2, 3], truth)
    assert contents.skipped == (1,)
    assert contents.indices == [0, 2, 3]
    with pytest.raises(FormatError, match="the SHA-256 of box is another"):
        contents.check("easy", {"index": truth["index"]})


def test_json__holds_digests_and_what_is_skipped():
    truth = {"index": np.array([1, 2])}
    text = as_json({"easy": contents_of([1, 2], truth)}, {"easy": [[0.1, 0.2, 0.3]]}, seed=5)
    assert digest_of("index", truth["index"]).sha256 in text
    assert '"seed": 5' in text
    assert '"version": "1"' in text
