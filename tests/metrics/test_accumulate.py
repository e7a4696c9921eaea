"""Sums that do not depend on splits, order or processes."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import InputError, ShapeError
from marey.metrics.accumulate import Tally, Total, gathered, merged

finite = st.floats(allow_nan=False, allow_infinity=False)


def values(*shape, seed=0):
    """Over six hundred orders of magnitude, a tenth missing."""
    source = torch.Generator().manual_seed(seed)
    size = 10.0 ** (600 * torch.rand(*shape, generator=source, dtype=torch.float64) - 300)
    found = size * torch.randn(*shape, generator=source, dtype=torch.float64)
    return torch.where(torch.rand(*shape, generator=source) < 0.1, torch.nan, found)


@settings(deadline=None, max_examples=100)
@given(st.lists(finite, max_size=30))
def test_total__is_the_exact_sum(numbers):
    total = Total.of(torch.tensor(numbers, dtype=torch.float64))
    assert Fraction(total.units, 1 << 1074) == sum(map(Fraction, numbers))
    assert (total.count, total.missing) == (len(numbers), 0)


def test_total__rounds_once():
    assert Total.of(torch.tensor([1e16, 1.0, -1e16], dtype=torch.float64)).sum == 1.0
    numbers = torch.rand(1000, dtype=torch.float64)
    assert Total.of(numbers).sum == math.fsum(numbers.tolist())
    assert Total.of(torch.tensor([5e-324, 1e-310], dtype=torch.float64)).sum == 5e-324 + 1e-310


@pytest.mark.parametrize("cuts", [(1,), (7, 8, 40), tuple(range(1, 60))])
def test_total__of_parts_in_any_order_is_the_whole(cuts):
    rows = values(60, 17)
    parts = [Total.of(part) for part in torch.tensor_split(rows, cuts)]
    whole = Total.of(rows)
    assert whole.missing == int(rows.isnan().sum()) > 0
    for order in itertools.islice(itertools.permutations(range(len(parts))), 24):
        assert merged(parts[place] for place in order) == whole
    assert merged(reversed(parts)).mean() == whole.mean()


def test_total__knows_what_is_missing():
    total = Total.of(torch.tensor([1.0, math.nan, 3.0, math.nan]))
    assert (total.mean(), total.count, total.missing, total.known_share) == (2.0, 2, 2, 0.5)
    assert Total().known_share == 0


def test_total__a_mean_of_nothing_is_an_error():
    with pytest.raises(InputError, match="the values: expected a known value, got 0 missing ones"):
        Total().mean()
    with pytest.raises(InputError, match="wrists: expected a known value, got 3 missing ones"):
        Total.of(torch.full((3,), math.nan)).mean("wrists")
    with pytest.raises(InputError, match="got 1 infinite, the first in row 0"):
        Total.of(torch.tensor([1.0, math.inf]))


def labelled(rows):
    return {
        "subject": ["S9" if row % 3 else "S11" for row in range(rows)],
        "action": ["walk" if row % 2 else "sit" for row in range(rows)],
    }


def test_tally__of_parts_in_any_order_is_the_whole():
    rows, labels = values(61, 5, seed=1), labelled(61)
    whole = Tally.of(rows, **labels)
    cuts = [0, 3, 4, 20, 61]
    parts = [
        Tally.of(rows[a:b], **{name: given[a:b] for name, given in labels.items()}) for a, b in itertools.pairwise(cuts)
    ]
    for order in itertools.permutations(parts):
        together = Tally()
        for part in order:
            together = together + part
        assert together == whole
    assert whole.total() == Total.of(rows)


def test_tally__groups_and_means():
    rows = torch.tensor([[1.0, 3.0], [5.0, math.nan], [9.0, 11.0], [0.0, 0.0]])
    tally = Tally.of(rows, subject=["a", "a", "b", "b"], action=["sit", "walk", "sit", "sit"])
    assert tally.means() == {("a", "sit"): 2.0, ("a", "walk"): 5.0, ("b", "sit"): 5.0}
    assert tally.over("action").means() == {("sit",): 4.0, ("walk",): 5.0}
    assert tally.over("subject").means() == {("a",): 3.0, ("b",): 5.0}
    assert tally.over("action", "subject").means()[("walk", "a")] == 5.0
    assert tally.mean() == pytest.approx(29 / 7)
    assert tally.over("subject").mean_of_means() == 4.0
    assert tally.over().means() == {(): tally.mean()}
    assert Tally.of(rows).means() == {(): tally.mean()}


def test_tally__an_empty_group_is_an_error_that_names_it():
    tally = Tally.of(torch.tensor([1.0, math.nan]), sequence=["TS1", "TS2"])
    with pytest.raises(InputError, match="sequence TS2: expected a known value"):
        tally.means()
    with pytest.raises(InputError, match="sequence TS2"):
        tally.mean_of_means()
    assert tally.known().means() == {("TS1",): 1.0}
    assert tally.mean() == 1.0
    for nothing in (Tally(), Tally.of(torch.zeros(0, 17), sequence=[])):
        with pytest.raises(InputError, match="expected a known value"):
            nothing.mean()
        with pytest.raises(InputError, match="groups: expected a known value"):
            nothing.mean_of_means()


def test_tally__text_keeps_every_bit():
    tally = Tally.of(values(30, 4), **labelled(30))
    assert Tally.from_json(tally.to_json()) == tally
    assert Tally.from_json('{"by": ["a"], "totals": [["x", "-0x10", 2, 1]]}').totals[("x",)] == Total(
        units=-16, count=2, missing=1
    )
    for text in ("", "[]", '{"by": ["a"], "totals": [["0x1", 1, 0]]}', '{"by": [], "totals": [["0x1", "y"]]}'):
        with pytest.raises(InputError, match="tally: expected"):
            Tally.from_json(text)


def test_tally__errors():
    with pytest.raises(ShapeError, match=r"action: expected one label a row of \(3, 2\), got 2"):
        Tally.of(torch.zeros(3, 2), action=["a", "b"])
    one, other = (Tally.of(torch.zeros(1), **{name: ["a"]}) for name in ("action", "joint"))
    with pytest.raises(InputError, match="expected the same labels"):
        one + other
    with pytest.raises(InputError, match="labels: expected some of action, got joint"):
        one.over("joint")


def test_gathered__alone_is_the_tally_itself():
    tally = Tally.of(torch.ones(3))
    assert gathered(tally) is tally


def _count(rank, world, path, rows, labels):
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}/meet", rank=rank, world_size=world)
    mine = slice(rank * 40, (rank + 1) * 40)
    tally = Tally.of(rows[mine], **{name: given[mine] for name, given in labels.items()})
    whole = gathered(tally)
    assert torch.distributed.get_world_size() == world == 2
    assert whole != tally
    (path / f"{rank}.json").write_text(whole.to_json(), encoding="utf-8")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_gathered__two_processes_are_one(tmp_path):
    rows, labels = values(61, 5, seed=2), labelled(61)
    torch.multiprocessing.spawn(_count, args=(2, tmp_path, rows, labels), nprocs=2)
    expected = Tally.of(rows, **labels)
    for rank in range(2):
        assert Tally.from_json((tmp_path / f"{rank}.json").read_text(encoding="utf-8")) == expected
