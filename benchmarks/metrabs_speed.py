"""The networks of MeTRAbs, one thread, beside the fastest matrix product of the same machine; and crops for them.

    python benchmarks/metrabs_speed.py --out FILE [--rounds 9] [--smoke]

*Networks.* Each backbone with random weights, folded, on 4 images of 256 x 256, in single precision and in bfloat16 as
`marey.nn.precision` runs it. The limit is the fastest product of two square matrices (512, 1024 and 1536 wide) in the
same precision, taken in turns with the network. `share` is the network's operations a second over the limit's; its
operations are two for each weight of a convolution and place. A product in bfloat16 is native on few processors:
`native_bfloat16` says whether on this one. Where there is a CUDA device the same table is made of it, on 64 images.

*Crops.* Virtual cameras for 20 boxes in one picture of 1920 x 1080, as large as people some 4 m away, 256 x 256 each.

*Around.* `PeopleModel.estimate_poses` on that picture and those boxes, one view each: the share of its time that is not
spent in the convolutions, those of the heads counted: crops, soft-argmax, reconstruction, the way back.

Time is the processor's (`time.thread_time`), which other programs lengthen less; with CUDA it is the clock's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from marey.core import Cameras, skeleton
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.people import PeopleModel
from marey.methods.metrabs.virtual_crops import crop_views
from marey.nn.backbones import build_backbone
from marey.nn.folding import folded
from marey.nn.precision import Precision, is_half, network_precision
from measure import Timing, describe, pin_to_one_core, write_json

SIDE, PEOPLE, PICTURE = 256, 20, (1920, 1080)
K = torch.tensor([[1150.0, 0.0, 960.0], [0.0, 1150.0, 540.0], [0.0, 0.0, 1.0]])
"""Pixels."""
NETWORKS = (
    "resnet_18",
    "resnet_50",
    "resnet_v2_50",
    "efficientnet_v2_s",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
)
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is done."""

    networks: tuple[str, ...] = NETWORKS
    batch: int = 4
    cuda_batch: int = 64
    products: tuple[int, ...] = (512, 1024, 1536)
    rounds: int = 9
    around: tuple[str, ...] = ("resnet_18", "resnet_v2_50", "mobilenet_v3_large")


SMOKE = Size(
    networks=("resnet_18", "mobilenet_v3_large"),
    batch=1,
    cuda_batch=2,
    products=(256,),
    rounds=1,
    around=("resnet_18", "mobilenet_v3_large"),
)


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=Size.rounds)
    parser.add_argument("--smoke", action="store_true", help="two networks, one round: does it work?")
    options = parser.parse_args()
    size = SMOKE if options.smoke else Size(rounds=options.rounds)
    pin_to_one_core()
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    results: dict[str, Any] = {"native_bfloat16": is_half("auto", cpu)}
    with torch.inference_mode():
        results["cpu"] = table(cpu, size)
        results["crops"] = crops(size)
        results["around"] = {name: {kind: around(name, kind, size) for kind in PRECISIONS} for name in size.around}
        if torch.cuda.is_available():
            results["cuda"] = table(torch.device("cuda"), size)
    results["meta"] = describe("torch", "numpy") | {"smoke": options.smoke}
    write_json(options.out, results)


def table(device: torch.device, size: Size) -> dict[str, Any]:
    """Every network in every precision."""
    return {name: {kind: measure(name, kind, device, size) for kind in PRECISIONS} for name in size.networks}


def measure(name: str, precision: Precision, device: torch.device, size: Size) -> dict[str, float]:
    """One network beside the limit."""
    torch.manual_seed(0)
    network = folded(build_backbone(name).eval()).to(device)
    batch = size.batch if device.type == "cpu" else size.cuda_batch
    images = torch.rand(batch, 3, SIDE, SIDE, device=device).contiguous(memory_format=torch.channels_last)
    with FlopCounterMode(display=False) as counter:
        network(images)
    operations = counter.get_total_flops()

    def look() -> Tensor:
        with network_precision(precision, device):
            return network(images)

    look()
    limits, rates = [], []
    for _ in range(size.rounds):
        limits.append(max(product_rate(width, precision, device) for width in size.products))
        rates.append(operations / seconds(look, device))
    rate, limit = statistics.median(rates), statistics.median(limits)
    return {
        "share_percent": 100 * rate / limit,
        "network_gflops": rate / 1e9,
        "limit_gflops": limit / 1e9,
        "milliseconds_an_image": 1e3 * operations / rate / batch,
        "gigaoperations_an_image": operations / batch / 1e9,
        "batch": batch,
    }


def product_rate(width: int, precision: Precision, device: torch.device) -> float:
    """Operations a second of a product of square matrices."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float32
    first, second = (torch.ones(width, width, device=device, dtype=kind) for _ in range(2))
    first @ second
    return 2 * width**3 / min(seconds(lambda: first @ second, device) for _ in range(3))


def seconds(function: Callable[[], Tensor], device: torch.device) -> float:
    """Of one call."""
    if device.type == "cpu":
        return Timing.of(function, warmup=0, runs=1, clock=time.thread_time)[0].median

    def done() -> None:
        function()
        torch.cuda.synchronize(device)

    return Timing.of(done, warmup=1, runs=1)[0].median


def crops(size: Size) -> dict[str, float]:
    """Crops of many people in one picture."""
    picture, boxes = crowd()
    timing, _ = Timing.of(
        lambda: crop_views(picture, boxes, cameras(PEOPLE)), runs=4 * size.rounds, clock=time.thread_time
    )
    return {"milliseconds": 1e3 * timing.median, "people": PEOPLE}


def around(name: str, precision: Precision, size: Size) -> dict[str, float]:
    """What is not the network's of the time of a call."""
    torch.manual_seed(0)
    joints = skeleton("coco_17")
    network = folded(MetrabsNet(MetrabsConfig(backbone=name, joints=joints.joints)).eval())
    model = PeopleModel(network, joints)
    picture, boxes = crowd()
    inside: list[float] = []
    for part in (network.backbone, network.heads):
        part.register_forward_pre_hook(lambda *_: inside.append(-time.thread_time()))
        part.register_forward_hook(lambda *_: inside.append(time.thread_time()))

    def call() -> object:
        with network_precision(precision, torch.device("cpu")):
            return model.estimate_poses(picture[0], boxes, K, num_aug=1)

    call()
    shares, milliseconds = [], []
    for _ in range(size.rounds):
        inside.clear()
        total = Timing.of(call, warmup=0, runs=1, clock=time.thread_time)[0].median
        shares.append(100 * (1 - sum(inside) / total))
        milliseconds.append(1e3 * (total - sum(inside)))
    return {
        "share_percent": statistics.median(shares),
        "milliseconds": statistics.median(milliseconds),
        "people": PEOPLE,
    }


def crowd() -> tuple[Tensor, Tensor]:
    """A picture (1, 3, H, W) and boxes (N, 4)."""
    generator = torch.Generator().manual_seed(0)
    width, height = PICTURE
    picture = torch.randint(0, 256, (1, 3, height, width), generator=generator, dtype=torch.uint8)
    corner = torch.rand(PEOPLE, 2, generator=generator) * torch.tensor([width - 250.0, height - 500.0])
    return picture, torch.cat((corner, torch.tensor([[250.0, 500.0]]).expand(PEOPLE, 2)), -1)


def cameras(count: int) -> Cameras:
    """The same camera for every box, with a wide field of view and no distortion."""
    width, height = PICTURE
    return Cameras(
        intrinsics=K.expand(count, 3, 3),
        distortion=torch.zeros(count, 5),
        image_size=torch.tensor([float(width), float(height)]).expand(count, 2),
        rotation=torch.eye(3).expand(count, 3, 3),
        translation=torch.zeros(count, 3),
    )


if __name__ == "__main__":
    main()
