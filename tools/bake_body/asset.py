"""The file of the body: integers of 16 bits with a scale where half precision would lose tenths of millimetres."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from mesh import Indices, Mesh
from regressors import Regressor
from safetensors.torch import save_file
from shape_space import ShapeSpace
from torch import Tensor

from marey.io.atomic import atomic_path

LEVELS = ("small", "medium", "full")


@dataclass(frozen=True, kw_only=True, eq=False)
class Phenotypes:
    """How shape coefficients follow from phenotypes, and what phenotypes people have."""

    variations: list[str]
    """Names of the ends that phenotypes are interpolated between."""
    terms: Tensor
    """(K, variations) bool: which variations' weights each blend shape multiplies."""
    map: Tensor
    """(K + 1, S) shape coefficients of each product; the last row is added."""
    ages: Tensor
    """(2, A) years, and Anny's age of each."""
    moments: Tensor
    """(years, sexes, 4, 2) mean and standard deviation of height, weight, muscle and proportions."""
    moment_years: Tensor
    """(years,)"""


@dataclass(frozen=True, kw_only=True, eq=False)
class Baked:
    """All that is written."""

    space: ShapeSpace
    """Of the vertices (N), then the 24 joints."""
    weights: tuple[Tensor, Tensor]
    """Joints and weights (N, 6)."""
    levels: dict[str, Mesh]
    source: Tensor
    """(N,) the numbers of the vertices in MakeHuman's base mesh."""
    uv: Tensor
    """(U, 2)"""
    points: dict[str, Regressor]
    phenotypes: Phenotypes
    notes: dict[str, str] = field(default_factory=dict)
    """What is written as text beside the arrays."""


def order_of(levels: dict[str, Mesh], of: str) -> Indices:
    """The vertices (`faces`) or texture coordinates (`uv_faces`) with those of the coarser levels first."""
    seen: list[Indices] = []
    for level in LEVELS:
        used = np.unique(getattr(levels[level], of))
        seen.append(np.setdiff1d(used, np.concatenate(seen)) if seen else used)
    return np.concatenate(seen)


def renumbered(levels: dict[str, Mesh], of: str, order: Indices) -> dict[str, Indices]:
    """The faces of all levels with the numbers of an order."""
    number = np.full(int(order.max()) + 1, -1)
    number[order] = np.arange(len(order))
    return {level: number[getattr(mesh, of)] for level, mesh in levels.items()}


def write(path: Path, baked: Baked) -> None:
    """Write the file, whole or not at all."""
    vertices = order_of(baked.levels, "faces")
    texture = order_of(baked.levels, "uv_faces")
    joints = len(baked.space.mean) - 24
    mean, basis = baked.space.mean, baked.space.basis
    arrays = _quantised("template", mean[vertices][None]) | _quantised("shape_basis", basis[:, vertices])
    arrays |= {"joint_template": mean[joints:].float(), "joint_basis": basis[:, joints:].float()}
    arrays |= _quantised("uv", baked.uv[texture][None])
    arrays |= {
        "skin_joints": baked.weights[0][vertices].to(torch.uint8),
        "skin_weights": baked.weights[1][vertices].half(),
        "makehuman_vertices": baked.source[vertices].to(torch.int16),
    }
    for of, order in (("faces", vertices), ("uv_faces", texture)):
        for level, faces in renumbered(baked.levels, of, order).items():
            arrays[f"{of}.{level}"] = torch.from_numpy(faces).to(torch.int16)
    number = np.argsort(vertices)
    arrays["point_vertices"] = torch.from_numpy(
        np.stack([number[one.vertices] for one in baked.points.values()])
    ).short()
    arrays["point_weights"] = torch.from_numpy(np.stack([one.weights for one in baked.points.values()])).float()
    arrays |= _phenotypes(baked.phenotypes)
    notes = baked.notes | {
        "points": ",".join(baked.points),
        "variations": ",".join(baked.phenotypes.variations),
    }
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in arrays.items()}, temporary, metadata=notes)


def _quantised(name: str, rows: Tensor) -> dict[str, Tensor]:
    """Rows (R, ...) as 16-bit integers, each row with its scale."""
    scale = rows.flatten(1).abs().amax(1) / 32767
    shape = (-1,) + (1,) * (rows.ndim - 1)
    return {name: (rows / scale.reshape(shape)).round().to(torch.int16), f"{name}.scale": scale.float()}


def _phenotypes(one: Phenotypes) -> dict[str, Tensor]:
    return {
        "phenotype.terms": one.terms.to(torch.uint8),
        "phenotype.map": one.map.float(),
        "phenotype.ages": one.ages.float(),
        "phenotype.moments": one.moments.float(),
        "phenotype.moment_years": one.moment_years.float(),
    }
