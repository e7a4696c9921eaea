import torch

from marey.detect.trunk_search import Candidates, box_overlap, followed, joined, nobody, read_centers, suppress
from marey.nn.trunk import TrunkMaps


def maps(centers, boxes):
    """Maps of which only two matter."""
    none = torch.zeros(len(centers), 1, *centers.shape[1:])
    return TrunkMaps(none, none, none, none, none, centers, boxes)


def test_read_centers__the_box_around_a_peak():
    centers, boxes = torch.full((2, 8, 8), -9.0), torch.zeros(2, 4, 8, 8)
    centers[1, 2, 3], centers[1, 2, 4] = 2.0, 1.0
    boxes[1, :, 2, 3] = torch.tensor([6.0, 4.0, 10.0, 8.0])
    found = read_centers(maps(centers, boxes), least_score=0.5, most=5)
    assert found.frame.tolist() == [1]
    # the middle of the pixel of the map in column 3 and row 2, four pixels each, is at 13.5 and 9.5
    torch.testing.assert_close(found.boxes, torch.tensor([[7.5, 5.5, 23.5, 17.5]]))
    torch.testing.assert_close(found.score, torch.tensor([0.8807970]))


def test_read_centers__the_highest_of_many():
    centers = torch.full((1, 8, 8), -9.0)
    centers[0, 1, 1], centers[0, 1, 5], centers[0, 6, 5] = 1.0, 3.0, 2.0
    found = read_centers(maps(centers, torch.ones(1, 4, 8, 8)), least_score=0.1, most=2)
    assert found.score.sigmoid().shape == (2,)
    torch.testing.assert_close(found.boxes[:, 1], torch.tensor([4.5, 24.5]))


def test_read_centers__nobody():
    found = read_centers(maps(torch.full((3, 4, 4), -9.0), torch.ones(3, 4, 4, 4)), least_score=0.1, most=2)
    assert found.boxes.shape == (0, 4)


def test_suppress__the_worse_of_two_in_one_image():
    box, beside = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0]
    near = [1.0, 0.0, 11.0, 10.0]
    candidates = Candidates(
        torch.tensor([0, 0, 0, 1]), torch.tensor([box, near, beside, box]), torch.tensor([0.4, 0.9, 0.2, 0.3])
    )
    overlap = box_overlap(candidates.boxes, candidates.boxes)
    assert suppress(candidates, overlap > 0.5).tolist() == [1, 3, 2]
    assert suppress(candidates, overlap > 0.9).tolist() == [1, 0, 3, 2]


def test_suppress__what_a_dropped_one_overlaps_is_kept():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [3.0, 0.0, 13.0, 10.0], [6.0, 0.0, 16.0, 10.0]])
    candidates = Candidates(torch.zeros(3, dtype=torch.long), boxes, torch.tensor([0.9, 0.8, 0.7]))
    assert suppress(candidates, box_overlap(boxes, boxes) > 0.5).tolist() == [0, 2]


def test_followed__only_where_nobody_is_yet():
    here, there = [0.0, 0.0, 10.0, 10.0], [50.0, 0.0, 60.0, 10.0]
    candidates = Candidates(torch.tensor([1]), torch.tensor([here]), torch.tensor([0.8]))
    found = followed(candidates, torch.tensor([here, there]), 3)
    assert sorted(zip(found.frame.tolist(), found.boxes[:, 0].tolist(), strict=True)) == [
        (0, 0.0), (0, 50.0), (1, 50.0), (2, 0.0), (2, 50.0)
    ]  # fmt: skip
    assert followed(nobody(), torch.zeros(0, 4), 3).frame.tolist() == []


def test_box_overlap__literal_and_without_area():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    torch.testing.assert_close(
        box_overlap(boxes, boxes), torch.tensor([[1.0, 1 / 3, 0.0], [1 / 3, 1.0, 0.0], [0.0, 0.0, 0.0]])
    )


def test_joined__of_nobody():
    assert joined([nobody(), nobody()]).boxes.shape == (0, 4)
