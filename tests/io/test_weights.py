"""Weights: shards, cards, hashes, and what is refused."""

import hashlib
import json
import struct

import pytest
import torch
from torch import nn

from marey.core import FormatError, InputError, MissingAssetError
from marey.io.weights import card_entry, load_weights, read_card, read_weights, write_weights

HALF = struct.pack("<3e", 1.0, -2.5, 0.333251953125)
"""float16 in little-endian order, as the safetensors format lays it down."""


def safetensors_bytes(header: dict, data: bytes) -> bytes:
    """A file from the words of the format: 8 bytes length of the header, JSON, the data."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def by_hand(folder, *, digest=None, name="weights-1.safetensors", **card):
    header = {
        "head.weight": {"dtype": "F16", "shape": [3, 1], "data_offsets": [0, 6]},
        "steps": {"dtype": "I64", "shape": [], "data_offsets": [6, 14]},
    }
    data = safetensors_bytes(header, HALF + struct.pack("<q", 7))
    folder.mkdir(exist_ok=True)
    (folder / "weights-1.safetensors").write_bytes(data)
    shards = {name: hashlib.sha256(data).hexdigest() if digest is None else digest}
    (folder / "card.json").write_text(json.dumps({"method": "m", "shards": shards} | card))
    return folder


def test_read_weights__of_a_file_written_by_hand(tmp_path):
    found = read_weights(by_hand(tmp_path))
    assert found["head.weight"].dtype == torch.float32
    assert found["head.weight"].tolist() == [[1.0], [-2.5], [0.333251953125]]
    assert found["steps"].dtype == torch.int64
    assert found["steps"].item() == 7


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float64, torch.float64), (None, torch.float16)])
def test_read_weights__in_the_precision_asked_for(tmp_path, dtype, expected):
    found = read_weights(by_hand(tmp_path), dtype=dtype)
    assert found["head.weight"].dtype == expected
    assert found["steps"].dtype == torch.int64


def test_read_weights__from_the_resources_of_a_package(tmp_path, monkeypatch):
    from importlib import resources

    (tmp_path / "weights_package").mkdir()
    (tmp_path / "weights_package" / "__init__.py").write_text("")
    by_hand(tmp_path / "weights_package" / "weights")
    monkeypatch.syspath_prepend(tmp_path)
    found = read_weights(resources.files("weights_package") / "weights")
    assert found["steps"].item() == 7


def test_read_weights__a_tensor_in_pieces_is_joined(tmp_path):
    header = {
        "w#1": {"dtype": "F16", "shape": [1], "data_offsets": [0, 2]},
        "w#0": {"dtype": "F16", "shape": [3], "data_offsets": [2, 8]},
    }
    data = safetensors_bytes(header, struct.pack("<4e", 4, 1, 2, 3))
    (tmp_path / "a.safetensors").write_bytes(data)
    card = {"shards": {"a.safetensors": hashlib.sha256(data).hexdigest()}, "split": {"w": [2, 2]}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    found = read_weights(tmp_path)
    assert list(found) == ["w"]
    assert found["w"].tolist() == [[1, 2], [3, 4]]
    (tmp_path / "card.json").write_text(json.dumps(card | {"split": {"w": [3, 2]}}))
    with pytest.raises(FormatError, match=r"'w' has 4 values, expected \[3, 2\]"):
        read_weights(tmp_path)


def test_write_weights__rounds_to_float16_but_for_what_it_cannot_hold(tmp_path):
    state = {
        "a": torch.tensor([1.0, 1 / 3, 1e-3]),
        "variance": torch.tensor([7e4, 1.0], dtype=torch.float64),
        "count": torch.tensor(3),
        "mask": torch.tensor([True, False]),
    }
    files = write_weights(tmp_path / "w", state, {"method": "m"})
    assert files[0].name == "card.json"
    found = read_weights(tmp_path / "w", dtype=None)
    assert {name: tensor.dtype for name, tensor in found.items()} == {
        "a": torch.float16,
        "variance": torch.float32,
        "count": torch.int64,
        "mask": torch.bool,
    }
    assert found["a"].tolist() == [1.0, 0.333251953125, 0.0010004043579101562]
    assert found["variance"].tolist() == [70000.0, 1.0]
    assert found["count"].item() == 3
    assert found["mask"].tolist() == [True, False]
    assert read_card(tmp_path / "w")["method"] == "m"


def test_write_weights__no_shard_is_larger_than_15_mib(tmp_path):
    source = torch.Generator().manual_seed(0)
    state = {name: torch.randn(size, generator=source) for name, size in (("a", 5 << 20), ("b", 17 << 20), ("c", 3))}
    state["b"] = state["b"].reshape(17, 1 << 20)
    files = write_weights(tmp_path, state, {})
    assert max(path.stat().st_size for path in files) < (15 << 20) + 4096
    found = read_weights(tmp_path)
    assert all(torch.equal(found[name], tensor.half().float()) for name, tensor in state.items())


def test_write_weights__replaces_what_was_there(tmp_path):
    write_weights(tmp_path, {"a": torch.ones(2)}, {})
    write_weights(tmp_path, {"b": torch.ones(2)}, {})
    assert list(read_weights(tmp_path)) == ["b"]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("state", "card", "message"),
    [({}, {}, "one or more tensors"), ({"a": torch.ones(1)}, {"score": float("nan")}, "plain finite values")],
)
def test_write_weights__refuses(tmp_path, state, card, message):
    with pytest.raises(InputError, match=message):
        write_weights(tmp_path, state, card)


def test_read_weights__a_changed_byte_is_noticed(tmp_path):
    by_hand(tmp_path)
    path = tmp_path / "weights-1.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"weights-1\.safetensors: damaged or of other weights: its SHA-256 is"):
        read_weights(tmp_path)


def test_read_weights__not_safetensors_in_spite_of_the_hash(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    card = {"shards": {"a.safetensors": hashlib.sha256(b"nothing").hexdigest()}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    with pytest.raises(FormatError, match="not a readable safetensors file"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a card of weights"),
        ("[]", "expected a JSON object, got list"),
        ("{}", "expected 'shards'"),
        ('{"shards": {"../a.safetensors": "00"}}', "expected files beside the card"),
        ('{"shards": {"a.safetensors": "00"}}', "a.safetensors cannot be read, which card.json names"),
        ('{"shards": {"a\\u0000": "00"}}', "cannot be read"),
        ('{"shards": {"..": "00"}}', "cannot be read"),
        ('{"shards": {"' + "a" * 5000 + '": "00"}}', "cannot be read"),
        ('{"shards": {}, "split": {"a": [1000000000000000000000000000000]}}', "'a' has 0 values"),
        ('{"shards": {}, "split": {"a": [0]}}', "expected 'split'"),
        ("[" * 100000, "not a card of weights"),
    ],
)
def test_read_weights__a_bad_card(tmp_path, text, message):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_weights(tmp_path)


def test_read_weights__nothing_there(tmp_path):
    with pytest.raises(MissingAssetError, match=r"holds no card\.json"):
        read_weights(tmp_path / "absent")


@pytest.mark.parametrize("card", [{"kind": {"size": 3}}, {"data": {"kind": {"size": 3}}, "kind": None}])
def test_card_entry__of_the_card_or_of_its_data(tmp_path, card):
    (tmp_path / "card.json").write_text(json.dumps(card))
    with card_entry(tmp_path, "kind", network="a net") as told:
        assert told == {"size": 3}


@pytest.mark.parametrize("card", [{}, {"data": 3}, {"data": {}}, {"kind": {"other": 1}}, {"kind": 7}])
def test_card_entry__that_is_not_there_or_something_else(tmp_path, card):
    (tmp_path / "card.json").write_text(json.dumps(card))
    expected = r"not the weights of a net: its card\.json lacks what was expected"
    with pytest.raises(FormatError, match=expected), card_entry(tmp_path, "kind", network="a net") as told:
        told["size"].bit_length()


def test_load_weights__into_a_module_and_not_into_another(tmp_path):
    write_weights(tmp_path, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, {})
    module = nn.Linear(3, 2).double()
    load_weights(module, tmp_path)
    assert module.weight.tolist() == [[1, 1, 1], [1, 1, 1]]
    assert module.weight.dtype == torch.float64
    with pytest.raises(FormatError, match=r"does not fit Linear: other shapes: weight \(2, 3\) instead of \(2, 4\)"):
        load_weights(nn.Linear(4, 2), tmp_path)
    with pytest.raises(FormatError, match=r"lacks 0\.weight, 0\.bias; has no place for (weight, bias|bias, weight)"):
        load_weights(nn.Sequential(nn.Linear(3, 2)), tmp_path)
