"""Weights of networks: float16 safetensors in shards of at most 15 MiB, and a card that says where they come from."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from marey.core.errors import FormatError, InputError, MissingAssetError
from marey.io.atomic import atomic_path, atomic_write_text, check_writable
from marey.io.module_state import load_state

CARD = "card.json"
MOST_SHARD_BYTES = 15 << 20
"""Of the tensors in a shard; its header adds some kilobytes."""

_MOST_CARD_BYTES = 4 << 20
_MOST_FILE_BYTES = MOST_SHARD_BYTES + (1 << 20)

Source = str | os.PathLike[str] | Traversable
"""A folder, or a folder among the resources of a package (`importlib.resources.files`)."""


def write_weights(folder: str | os.PathLike[str], state: Mapping[str, Tensor], card: Mapping[str, Any]) -> list[Path]:
    """Write the state of a module and its card.

    Floating-point tensors become float16 (relative rounding error 5e-4), but for those with values beyond its range
    (65504), which stay float32. Whole numbers and truth values stay what they are. Weights that lie in the folder
    already are replaced at once or not at all: a shard's name holds its hash, the card is written last.

    Args:
        folder: Made if it is not there.
        state: `module.state_dict()`.
        card: Plain values that say what the weights are; `shards` and `split` are added, for the reader.

    Returns:
        The files written, the card first.

    Raises:
        InputError: the folder cannot be written, the card holds what JSON cannot, or there is nothing to write.
    """
    from safetensors.torch import save

    if not state:
        raise InputError("weights: expected one or more tensors, got none")
    folder = check_writable(folder)
    stored = {name: _stored(tensor) for name, tensor in state.items()}
    hashes: dict[str, str] = {}
    for number, shard in enumerate(_shards(stored), 1):
        data = save(shard)
        digest = hashlib.sha256(data).hexdigest()
        name = f"weights-{number}-{digest[:12]}.safetensors"
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(data)
        hashes[name] = digest
    split = {name: list(tensor.shape) for name, tensor in stored.items() if _bytes(tensor) > MOST_SHARD_BYTES}
    atomic_write_text(folder / CARD, _card_text({**card, "split": split, "shards": hashes}))
    for old in folder.glob("weights-*.safetensors"):
        if old.name not in hashes:
            old.unlink()
    return [folder / CARD, *(folder / name for name in hashes)]


def read_weights(source: Source, *, dtype: torch.dtype | None = torch.float32) -> dict[str, Tensor]:
    """Read tensors by name, on the CPU; every shard is compared with the hash on the card.

    Args:
        source: The folder.
        dtype: Of floating-point tensors; None: as they are stored.

    Raises:
        MissingAssetError: there are no weights.
        FormatError: the card or a shard is damaged, or a shard is missing or of other weights.
    """
    folder = _folder(source)
    card = read_card(folder)
    found: dict[str, Tensor] = {}
    for name, digest in _checked_shards(folder, card).items():
        found |= _read_shard(folder, name, digest)
    for name, shape in _checked_split(folder, card).items():
        found[name] = _joined(folder, found, name, shape)
    if dtype is None:
        return found
    return {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in found.items()}


def read_card(source: Source) -> dict[str, Any]:
    """Read what a card says of the weights beside it.

    Raises:
        MissingAssetError: there is no card.
        FormatError: it is damaged.
    """
    folder = _folder(source)
    place = folder.joinpath(CARD)
    if not place.is_file():
        raise MissingAssetError(f"no weights in {folder}: it holds no {CARD}; expected what marey train writes")
    try:
        card = json.loads(_read(place, _MOST_CARD_BYTES))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{place}: not a card of weights: {error}") from error
    if not isinstance(card, dict):
        raise FormatError(f"{place}: expected a JSON object, got {type(card).__name__}")
    return card


@contextmanager
def card_entry(source: Source, name: str, *, network: str) -> Iterator[Any]:
    """Give what a card, or what it says of the data, holds under a name, for a block that makes a network of it.

    Args:
        source: The folder.
        name: Of the entry.
        network: What it should be of, for messages.

    Raises:
        MissingAssetError, FormatError: as `read_card`; also where the card has no such entry, or the block finds
            something missing in it or of another kind (KeyError, TypeError, AttributeError).
    """
    card = read_card(source)
    try:
        yield card.get(name) or card["data"][name]
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(
            f"{source}: not the weights of {network}: its {CARD} lacks what was expected ({error})"
        ) from error


def load_weights(module: nn.Module, source: Source) -> None:
    """Put weights into a module, whose tensors keep their types and devices.

    Raises:
        MissingAssetError, FormatError: as `read_weights`; also where the weights are of another network.
    """
    load_state(module, read_weights(source, dtype=None), str(_folder(source)))


def _stored(tensor: Tensor) -> Tensor:
    tensor = tensor.detach().cpu()
    if tensor.is_floating_point():
        half = tensor.to(torch.float16)
        tensor = half if torch.equal(half.isfinite(), tensor.isfinite()) else tensor.to(torch.float32)
    return tensor.clone(memory_format=torch.contiguous_format)


def _shards(stored: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Fill shards in order; a tensor that is larger than a shard is cut into runs of its values."""
    shard: dict[str, Tensor] = {}
    filled = 0
    for name, piece in _pieces(stored):
        if shard and filled + _bytes(piece) > MOST_SHARD_BYTES:
            yield shard
            shard, filled = {}, 0
        shard[name] = piece
        filled += _bytes(piece)
    yield shard


def _pieces(stored: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in stored.items():
        if _bytes(tensor) <= MOST_SHARD_BYTES:
            yield name, tensor
            continue
        runs = torch.split(tensor.flatten(), MOST_SHARD_BYTES // tensor.element_size())
        yield from ((f"{name}#{number}", run.clone()) for number, run in enumerate(runs))


def _joined(folder: Traversable, found: dict[str, Tensor], name: str, shape: list[int]) -> Tensor:
    runs: list[Tensor] = []
    while (piece := f"{name}#{len(runs)}") in found:
        runs.append(found.pop(piece))
    count = sum(run.numel() for run in runs)
    if not runs or count != math.prod(shape):
        raise FormatError(f"{folder}: '{name}' has {count} values, expected {shape}; the shards are not of this card")
    return torch.cat(runs).reshape(shape)


def _read_shard(folder: Traversable, name: str, digest: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    place = folder.joinpath(name)
    try:
        data = _read(place, _MOST_FILE_BYTES)
    except (OSError, ValueError) as error:  # a ValueError for names that no file can have
        raise FormatError(f"{place} cannot be read, which {CARD} names ({error}); copy the folder again") from error
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise FormatError(f"{place}: damaged or of other weights: its SHA-256 is {found}, {CARD} says {digest}")
    try:
        return load(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise FormatError(f"{place}: not a readable safetensors file: {error}") from error


def _checked_shards(folder: Traversable, card: Mapping[str, Any]) -> dict[str, str]:
    shards = card.get("shards")
    if not isinstance(shards, dict) or not all(isinstance(digest, str) for digest in shards.values()):
        raise FormatError(f"{folder / CARD}: expected 'shards', file names with their SHA-256, got {shards!r:.80}")
    if outside := [name for name in shards if Path(name).name != name]:
        raise FormatError(f"{folder / CARD}: expected files beside the card, got '{outside[0]}'")
    return shards


def _checked_split(folder: Traversable, card: Mapping[str, Any]) -> dict[str, list[int]]:
    split = card.get("split", {})
    shapes = split.values() if isinstance(split, dict) else ()
    good = all(isinstance(shape, list) and all(type(size) is int and size > 0 for size in shape) for shape in shapes)
    if not isinstance(split, dict) or not good:
        raise FormatError(f"{folder / CARD}: expected 'split', names with shapes, got {split!r:.80}")
    return split


def _card_text(card: Mapping[str, Any]) -> str:
    try:
        return json.dumps(card, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(f"the card of the weights: expected plain finite values, got: {error}") from error


def _read(place: Traversable, most: int) -> bytes:
    with place.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise FormatError(f"{place}: more than {most} bytes; expected less of such a file")
    return data


def _folder(source: Source) -> Traversable:
    return Path(source) if isinstance(source, (str, os.PathLike)) else source


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
