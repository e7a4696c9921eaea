"""Random numbers are a function of what they are for, of even spread, and the same in any split."""

import hashlib

import pytest
import torch

from marey.core import InputError
from marey.data.synthetic.random import Draws

MASK = 2**64 - 1


def _draws(indices, seed=5, split="training") -> Draws:
    return Draws(seed=seed, split=split, indices=torch.as_tensor(indices, dtype=torch.int64))


def _splitmix(z: int) -> int:
    """The finaliser as Steele, Lea and Flood print it, with Python's integers."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def _expected(seed: int, split: str, purpose: str, index: int, place: int) -> int:
    digest = hashlib.sha256(f"marey.data.synthetic|1|{seed}|{split}|{purpose}".encode()).digest()
    key = int.from_bytes(digest[:8], "big")
    return _splitmix((_splitmix((index + key) & MASK) + (place + 1) * 0x9E3779B97F4A7C15) & MASK)


def test_integers__are_splitmix_of_the_hashed_purpose():
    found = _draws([0, 7, -3]).within("scope").integers("purpose", 2, 2)
    for row, index in enumerate((0, 7, -3)):
        for place in range(4):
            expected = _expected(5, "training", "scope/purpose", index, place)
            assert int(found[row, place // 2, place % 2]) & MASK == expected


def test_uniform__is_the_upper_53_bits():
    drawn = _draws([4]).uniform("u", low=-2.0, high=3.0)
    assert float(drawn) == -2.0 + 5.0 * ((_expected(5, "training", "u", 4, 0) >> 11) * 2.0**-53)


@pytest.mark.parametrize("name", ["uniform", "normal", "integers"])
def test_draws__do_not_depend_on_what_stands_beside(name):
    together = getattr(_draws(range(50)), name)("x", 3, 5)
    assert torch.equal(torch.stack([getattr(_draws([k]), name)("x", 3, 5)[0] for k in range(50)]), together)
    assert torch.equal(getattr(_draws(range(50)), name)("x", 3), together.flatten(1)[:, :3])


def test_draws__differ_by_seed_split_purpose_and_scope():
    base = _draws(range(100))
    others = (
        _draws(range(100), seed=6),
        _draws(range(100), split="benchmark"),
        _draws(range(100, 200)),
        base.within("s"),
        base.fork(torch.zeros(100, 1, dtype=torch.int64), "s"),
    )
    first = base.integers("x")
    assert len(set(first.tolist())) == 100
    for other in (*(draws.integers("x") for draws in others), base.integers("y")):
        assert not set(first.tolist()) & set(other.tolist())


def test_uniform__is_even_and_independent_of_the_neighbours():
    values = _draws(range(20_000)).uniform("spread", 3)
    assert torch.histc(values, 20, 0, 1).sub(3000).abs().max() < 5 * 3000**0.5
    flat = torch.cat((values, values[:, :1].roll(1, 0)), 1)
    assert (torch.corrcoef(flat.mT) - torch.eye(4)).abs().max() < 0.03


def test_normal_and_bell__have_the_moments_of_a_normal_distribution():
    draws = _draws([1])
    for values in (draws.normal("n", 200_000)[0], draws.bell("b", 200_001)[0].double()):
        assert abs(float(values.mean())) < 0.01
        assert abs(float(values.var()) - 1) < 0.01
        assert abs(float(values.pow(4).mean()) - 3) < 0.1
    assert draws.bell("b", 200_001).shape == (1, 200_001)


def test_choice__follows_the_weights():
    drawn = _draws(range(20_000)).choice("c", (1.0, 0.0, 3.0))
    assert torch.bincount(drawn, minlength=3)[1] == 0
    assert abs(float((drawn == 2).double().mean()) - 0.75) < 0.015
    with pytest.raises(InputError, match="c: expected weights >= 0 with a positive sum"):
        _draws([0]).choice("c", (0.0, 0.0))


def test_fork__gives_each_of_several_its_own_numbers():
    draws = _draws([3, 4])
    forked = draws.fork(torch.tensor([[0, 1], [0, 1]]), "person")
    values = forked.uniform("x")
    assert len(set(values.tolist())) == 4
    assert torch.equal(draws.fork(torch.tensor([[1], [1]]), "person").uniform("x"), values[[1, 3]])
