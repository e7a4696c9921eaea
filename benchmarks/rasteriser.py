"""How many pictures of one person a thread rasterises in a second.

    python benchmarks/rasteriser.py --out FILE [--smoke]

The open body stands with its arms at its sides, is turned by another angle in each picture, and fills 60 % of the
height of 256 x 256 pixels. A picture is the face and the depth at every pixel, from vertices already projected. For
each level of the body:

- `images_per_second`: batches of 16, one thread, faces seen from behind left out;
- `with_weights`: the same with the differentiable depth and weights of the face's corners;
- `two_sided`: that with faces seen from behind; `one_by_one`: the same as `with_weights`, without a batch;
- `silhouette_gradient`: rasterised, blended at its borders, and the area's derivative in every vertex.

`images_per_second` is by the clock on the wall; `cpu` is by the time of the processor, which other programs on the
machine disturb less. On a machine with an accelerator, `accelerator` has batches of 256 there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from marey.body.model import BodyModel
from marey.body.open_body import LEVELS, open_body
from marey.geometry.rotations import euler_to_matrix
from marey.render import mesh_edges, rasterize, silhouette, visible_faces
from measure import Timing, describe, pin_to_one_core, write_json

SIZE = (256, 256)
SHARE = 0.6
ARMS = {"left_shoulder": -1.2, "right_shoulder": 1.2}
"""Radians about the axis that the person faces along."""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--smoke", action="store_true", help="a few runs of each; the numbers mean little")
    options = parser.parse_args()
    pin_to_one_core()
    torch.set_num_threads(1)
    runs = 3 if options.smoke else 41
    results: dict[str, Any] = {level: measured(open_body(level), runs) for level in LEVELS}
    results["work"] = {"size": SIZE, "share_of_height": SHARE, "batch": 16}
    results["meta"] = describe("torch")
    write_json(options.out, results)


def measured(body: BodyModel, runs: int) -> dict[str, Any]:
    """Every way of drawing one body."""
    views, faces = pictures(body, 16), body.faces
    edges = mesh_edges(faces)

    def with_gradient() -> Tensor:
        leaf = views.clone().requires_grad_()
        area = silhouette(rasterize(leaf, faces, SIZE, cull_back_faces=True), leaf, faces, edges).sum()
        return torch.autograd.grad(area, leaf)[0]

    drawn = rasterize(views, faces, SIZE, cull_back_faces=True)
    found = {
        "faces": len(faces),
        "covered_pixels": len(drawn.hits) / len(views),
        **rate(lambda: visible_faces(views, faces, SIZE, cull_back_faces=True), len(views), runs),
        "with_weights": rate(lambda: rasterize(views, faces, SIZE, cull_back_faces=True), len(views), runs),
        "two_sided": rate(lambda: rasterize(views, faces, SIZE), len(views), runs),
        "one_by_one": rate(lambda: rasterize(views[0], faces, SIZE, cull_back_faces=True), 1, runs),
        "silhouette_gradient": rate(with_gradient, len(views), runs),
    }
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None:
        found["accelerator"] = on_accelerator(body, accelerator, runs)
    return found


def on_accelerator(body: BodyModel, device: torch.device, runs: int) -> dict[str, Any]:
    """Batches of 256 on another device."""
    views, faces = pictures(body, 256).to(device), body.faces.to(device)

    def draw() -> None:
        visible_faces(views, faces, SIZE, cull_back_faces=True)
        torch.accelerator.synchronize()

    return {"device": str(device), **rate(draw, len(views), runs)}


def rate(draw: Callable[[], object], count: int, runs: int) -> dict[str, Any]:
    """Pictures a second, by the wall and by the processor."""
    timing, _ = Timing.of(draw, warmup=2, runs=runs)
    start = time.process_time()
    for _ in range(runs):
        draw()
    spent = (time.process_time() - start) / runs
    return {"images_per_second": timing.per_second(count), "cpu": count / spent, "seconds": timing.asdict()}


def pictures(body: BodyModel, count: int) -> Tensor:
    """Pixels and depth (count, N, 3) of one person seen from all sides, every one of the same height in pixels."""
    state = body.neutral()
    pose = state.pose.clone()
    for name, angle in ARMS.items():
        pose[body.tree.joints.index(name) - 1] = euler_to_matrix(torch.tensor([0.0, 0.0, angle]), "xyz")
    vertices = body(
        type(state)(orientation=state.orientation, pose=pose, shape=state.shape, translation=state.translation)
    ).vertices
    yaw = torch.arange(count) * 2 * torch.pi / count
    turns = euler_to_matrix(torch.stack((torch.zeros(count), yaw, torch.zeros(count)), -1), "xyz")
    turned = (vertices - (vertices.amax(0) + vertices.amin(0)) / 2) @ turns.mT
    turned = turned * torch.tensor([1.0, -1.0, -1.0])  # y down, and the person looks at the camera
    depth = turned[..., 2:] + 3.0
    seen = turned[..., :2] / depth
    # one scale for each picture makes it exactly as high as asked
    height = seen[..., 1].amax(1) - seen[..., 1].amin(1)
    middle = (seen.amax(1, keepdim=True) + seen.amin(1, keepdim=True)) / 2
    pixels = (seen - middle) * (SHARE * SIZE[0] / height)[:, None, None] + torch.tensor([127.5, 127.5])
    return torch.cat((pixels, depth), -1)


if __name__ == "__main__":
    main()
