import pytest

from marey.body.motion_splits import split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [("walk", "training"), ("01_01", "training"), ("kick", "benchmark"), ("11_01", "benchmark"), ("jog", "benchmark")],
)
def test_split__of_known_motions(name, split):
    assert split_of(name) == split


def test_split__of_others_is_fixed_by_their_name():
    names = [f"take {number}" for number in range(2000)]
    benchmark = [name for name in names if split_of(name) == "benchmark"]
    assert 0.17 < len(benchmark) / len(names) < 0.23
    assert [name for name in names if split_of(name) == "benchmark"] == benchmark
    # frozen: another hash would move motions from one side to the other
    assert [number for number in range(20) if split_of(f"take {number}") == "benchmark"] == [1, 4, 5, 10, 14, 17]
