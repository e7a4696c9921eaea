import torch

from marey.core import skeleton
from marey.detect.trunk_look import (
    Look,
    certainty,
    joined_looks,
    merged_with_mirrored,
    read_look,
    similarity,
)
from marey.detect.trunk_search import Candidates
from marey.nn.trunk import TrunkMaps

KEYPOINTS = 26


def flat_maps(count):
    """Maps (.., 8, 8) of crops of 32 pixels in which there is nothing."""
    return TrunkMaps(
        features=torch.zeros(count, 1, 8, 8),
        heatmaps=torch.zeros(count, KEYPOINTS, 8, 8),
        factors=torch.zeros(count, 3 * KEYPOINTS, 8, 8),
        seen=torch.zeros(count, KEYPOINTS, 8, 8),
        parts=torch.zeros(count, 25, 8, 8),
        centers=torch.full((count, 8, 8), -9.0),
        boxes=torch.full((count, 4, 8, 8), 4.0),
    )


def one(box):
    return Candidates(torch.tensor([3]), torch.tensor([box]), torch.tensor([0.5]))


def test_read_look__in_pixels_of_the_image():
    maps = flat_maps(1)
    maps.heatmaps[0, 5, 2, 6] = 100.0
    maps.seen[0, 5, 2, 6] = 3.0
    maps.factors[0, 17, 2, 6] = 1.0  # the mixed entry of keypoint 5
    look = read_look(maps, one([0.0, 0.0, 10.0, 10.0]), torch.tensor([[9.5, 19.5, 73.5, 83.5]]).double())
    assert look.candidates.frame.tolist() == [3]
    # column 6 of the map is pixel 25.5 of the crop, 26 pixels from its edge; each is two of the image
    torch.testing.assert_close(look.positions[0, 5], torch.tensor([9.5 + 2 * 26.0, 19.5 + 2 * 10.0]))
    torch.testing.assert_close(look.score[0, 5], torch.tensor(0.9525741))
    # softplus(0) + 0.05 pixels of the map, four pixels of the crop each
    deviation, mixed = 0.7431472 * 8, 1.0 * 8
    expected = torch.tensor([[deviation**2, deviation * mixed], [deviation * mixed, mixed**2 + deviation**2]])
    torch.testing.assert_close(look.covariance[0, 5], expected)


def test_read_look__the_centre_near_the_own_box_counts_even_if_another_is_higher():
    maps = flat_maps(1)
    maps.centers[0, 2, 2], maps.centers[0, 6, 6] = 0.0, 5.0
    square = torch.tensor([[-0.5, -0.5, 31.5, 31.5]]).double()
    look = read_look(maps, one([5.0, 5.0, 13.0, 15.0]), square)
    torch.testing.assert_close(look.candidates.boxes, torch.tensor([[5.5, 5.5, 13.5, 13.5]]))
    far = read_look(maps, one([22.0, 22.0, 30.0, 30.0]), square)
    torch.testing.assert_close(far.candidates.boxes, torch.tensor([[21.5, 21.5, 29.5, 29.5]]))


def test_read_look__a_box_whose_middle_is_outside_of_the_crop():
    look = read_look(flat_maps(1), one([90.0, 5.0, 120.0, 20.0]), torch.tensor([[-0.5, -0.5, 31.5, 31.5]]).double())
    assert look.candidates.boxes.isfinite().all()
    assert 0 <= look.candidates.score < 1


def test_certainty__share_of_the_surer_half_that_is_visible_and_right():
    # within 10 pixels with 5 of standard deviation: 1 - exp(-100 / 50)
    covariance, positions = 25 * torch.eye(2).expand(2, 4, 2, 2), torch.full((2, 4, 2), 50.0)
    seen = torch.tensor([[1.0, 0.5, 0.1, 0.0], [0.0, 0.0, 0.0, 0.0]])
    large, small = torch.tensor([[0.0, 20.0, 100.0, 60.0]] * 2), torch.tensor([[45.0, 46.0, 55.0, 56.0]] * 2)
    expected = torch.tensor([0.75 * 0.8646647, 0.0])
    torch.testing.assert_close(certainty(positions, covariance, seen, large), expected)
    assert certainty(positions, covariance, seen, small)[0] < 0.03


def test_certainty__keypoints_outside_of_the_box_do_not_count():
    covariance, seen = 1e-6 * torch.eye(2).expand(1, 4, 2, 2), torch.ones(1, 4)
    positions = torch.tensor([[[50.0, 50.0], [-9.0, 50.0], [-11.0, 50.0], [50.0, 111.0]]])
    box = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    torch.testing.assert_close(certainty(positions, covariance, seen, box), torch.tensor([1.0]))
    torch.testing.assert_close(certainty(positions[:, 1:], covariance[:, 1:], seen[:, 1:], box), torch.tensor([1.0]))
    torch.testing.assert_close(certainty(positions[:, 2:], covariance[:, 2:], seen[:, 2:], box), torch.tensor([0.0]))


def test_similarity__of_people_and_of_one_found_twice():
    positions = torch.zeros(3, KEYPOINTS, 2)
    positions[1] += torch.tensor([3.0, 4.0])
    positions[2] += 1000.0
    boxes = torch.tensor([[0.0, 0.0, 50.0, 20.0], [0.0, 0.0, 50.0, 100.0], [0.0, 0.0, 50.0, 100.0]])
    none = torch.zeros(3, KEYPOINTS)
    look = Look(Candidates(torch.zeros(3), boxes, torch.ones(3)), positions, torch.zeros(3, KEYPOINTS, 2, 2), none)
    # 5 pixels apart, where a tenth of the smaller one's longer side is 5: exp(-1/2)
    found = similarity(look)
    torch.testing.assert_close(found[0], torch.tensor([1.0, 0.6065307, 0.0]))
    torch.testing.assert_close(found, found.T)


def test_merged_with_mirrored__sides_exchanged_and_turned_around():
    maps, mirrored = flat_maps(1), flat_maps(1)
    left, right = (skeleton("halpe_26").index(f"{side}_wrist") for side in ("left", "right"))
    maps.heatmaps[0, left, 2, 6] = mirrored.heatmaps[0, right, 2, 1] = 8.0
    maps.seen[0, left, 2, 6], mirrored.seen[0, right, 2, 1] = 2.0, 4.0
    maps.factors[0, 3 * left : 3 * left + 3, 2, 6] = torch.tensor([1.0, 2.0, 0.5])
    mirrored.factors[0, 3 * right : 3 * right + 3, 2, 1] = torch.tensor([3.0, 4.0, -0.7])
    merged = merged_with_mirrored(maps, mirrored)
    assert merged.heatmaps[0, left, 2, 6] == 8.0
    assert merged.heatmaps.sum() == 8.0
    assert merged.seen[0, left, 2, 6] == 3.0
    torch.testing.assert_close(merged.factors[0, 3 * left : 3 * left + 3, 2, 6], torch.tensor([2.0, 3.0, 0.6]))


def test_joined_looks__of_none():
    look = joined_looks([])
    assert look.positions.shape == (0, KEYPOINTS, 2)
    assert look.covariance.shape == (0, KEYPOINTS, 2, 2)
    assert look.candidates.score.shape == (0,)
