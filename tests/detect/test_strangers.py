from itertools import pairwise

import torch

from marey.detect.scene import Sighting
from marey.detect.strangers import Strangers


def sighting(*people):
    """One view of people, each (J, 2)."""
    points = torch.stack(people)[None, None].expand(1, 2, -1, -1, -1)
    return Sighting(points=points, spread=torch.eye(2).expand(*points.shape, 2), present=torch.ones(1, len(people)) > 0)


BODY = torch.randn(10, 2, generator=torch.Generator().manual_seed(0))


def test_doubt__grows_while_nobody_claims_and_follows_the_detection():
    strangers = Strangers()
    doubts = []
    for frame in range(40):
        seen = [BODY + 0.05 * frame, BODY + 20]
        if frame % 2:
            seen.reverse()
        claimed = torch.tensor([[frame % 2 == 1, frame % 2 == 0]])
        doubt = strangers.doubt(sighting(*seen))
        doubts.append(doubt[0, frame % 2].item())
        assert (doubt[claimed] == 0).all()
        strangers.remember(sighting(*seen), ~claimed)
    assert doubts[0] == 0
    assert doubts[1] > 0
    assert all(later >= earlier for earlier, later in pairwise(doubts))
    assert doubts[-1] == 20.0  # 2 for each of 10 joints


def test_doubt__forgotten_when_claimed_or_gone():
    for claimed, place in ((True, 0.0), (False, 50.0)):
        strangers = Strangers()
        for _ in range(5):
            strangers.doubt(sighting(BODY))
            strangers.remember(sighting(BODY), torch.tensor([[True]]))
        strangers.doubt(sighting(BODY + place))
        strangers.remember(sighting(BODY + place), torch.tensor([[not claimed]]))
        doubt = strangers.doubt(sighting(BODY + place)).item()
        assert doubt == (0.0 if claimed else 0.1 * 10 * 1)
