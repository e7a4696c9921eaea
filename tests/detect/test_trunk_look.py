import torch

from marey.detect.trunk_look import joined_looks, read_look
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
    torch.testing.assert_close(look.candidates.score, torch.tensor([0.5]))
    torch.testing.assert_close(look.candidates.boxes, torch.tensor([[5.5, 5.5, 13.5, 13.5]]))
    far = read_look(maps, one([22.0, 22.0, 30.0, 30.0]), square)
    torch.testing.assert_close(far.candidates.score, torch.tensor([0.9933072]))


def test_read_look__a_box_whose_middle_is_outside_of_the_crop():
    look = read_look(flat_maps(1), one([90.0, 5.0, 120.0, 20.0]), torch.tensor([[-0.5, -0.5, 31.5, 31.5]]).double())
    assert look.candidates.boxes.isfinite().all()
    assert look.candidates.score < 0.01


def test_joined_looks__of_none():
    look = joined_looks([])
    assert look.positions.shape == (0, KEYPOINTS, 2)
    assert look.covariance.shape == (0, KEYPOINTS, 2, 2)
    assert look.candidates.score.shape == (0,)
