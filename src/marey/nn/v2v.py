"""V2V-PoseNet (Moon, Chang, Lee, CVPR 2018): an hourglass of 3D convolutions from volumes to volumes.

Layers and names of weights are those of Learnable Triangulation of Human Pose (Iskakov et al., ICCV 2019).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from marey.core.errors import InputError, ShapeError

LEVELS = 5
"""Halvings in the published network: sides of volumes are multiples of 2^5."""


class Basic3D(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(inputs, outputs, kernel, padding=(kernel - 1) // 2),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z)."""
        y: Tensor = self.block(x)
        return y


class Residual3D(nn.Module):
    """Two 3x3x3 convolutions and the way around them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.res_branch = nn.Sequential(
            nn.Conv3d(inputs, outputs, 3, padding=1),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv3d(outputs, outputs, 3, padding=1),
            nn.BatchNorm3d(outputs),
        )
        self.skip_con = (
            nn.Sequential()
            if inputs == outputs
            else nn.Sequential(nn.Conv3d(inputs, outputs, 1), nn.BatchNorm3d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, X, Y, Z)."""
        return functional.relu(self.res_branch(x) + self.skip_con(x), inplace=True)


class Upsample3D(nn.Module):
    """Transposed convolution to twice the size, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose3d(inputs, outputs, 2, stride=2),
            nn.BatchNorm3d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, X, Y, Z) -> (B, outputs, 2 X, 2 Y, 2 Z)."""
        y: Tensor = self.block(x)
        return y


class Hourglass3D(nn.Module):
    """Halvings, five in the published network, and their way back, with a residual block across at each level."""

    def __init__(self, width: int, levels: int = LEVELS) -> None:
        super().__init__()
        self.levels = levels
        w, double, full = width, 2 * width, 4 * width
        encoders = ((w, double), (double, full), (full, full), (full, full), (full, full))[:levels]
        for level, (inputs, outputs) in enumerate(encoders, 1):
            self.add_module(f"encoder_res{level}", Residual3D(inputs, outputs))
        deepest = encoders[-1][1]
        self.mid_res = Residual3D(deepest, deepest)
        decoders = ((double, w), (full, double), (full, full), (full, full), (full, full))
        for level in range(levels, 0, -1):
            inputs, outputs = decoders[level - 1]
            self.add_module(f"decoder_res{level}", Residual3D(inputs, inputs))
            self.add_module(f"decoder_upsample{level}", Upsample3D(inputs, outputs))
        for level, (inputs, _) in enumerate(encoders, 1):
            self.add_module(f"skip_res{level}", Residual3D(inputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, X, Y, Z) -> the same shape."""
        across = []
        for level in range(1, self.levels + 1):
            across.append(self.get_submodule(f"skip_res{level}")(x))
            x = self.get_submodule(f"encoder_res{level}")(functional.max_pool3d(x, 2))
        x = self.mid_res(x)
        for level in range(self.levels, 0, -1):
            x = self.get_submodule(f"decoder_upsample{level}")(self.get_submodule(f"decoder_res{level}")(x))
            x = x + across[level - 1]
        return x


class V2V(nn.Module):
    """Volumes of features to one volume of logits per joint.

    Args:
        channels: of the features.
        joints: of the result.
        width: channels at full resolution, twice and four times as many below; 32 in the published network.
        stem: channels after the first convolution; None: half the width, as published.
        stem_kernel: side of the first convolution, odd; the 7 of the published network takes most of the time where
            there are many channels.
        levels: Halvings, 1 to 5. With fewer, batches of small volumes leave enough voxels at the deepest level for
            their normalisation.
    """

    def __init__(
        self,
        channels: int,
        joints: int,
        *,
        width: int = 32,
        stem: int | None = None,
        stem_kernel: int = 7,
        levels: int = LEVELS,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= LEVELS:
            raise InputError(f"levels: expected 1 to {LEVELS}, got {levels}")
        self.multiple = 2**levels
        """Sides of volumes are multiples of it."""
        if width < 2 or width % 2:
            raise InputError(f"width: expected an even number of channels, got {width}")
        stem = width // 2 if stem is None else stem
        self.front_layers = nn.Sequential(
            Basic3D(channels, stem, stem_kernel),
            Residual3D(stem, width),
            Residual3D(width, width),
            Residual3D(width, width),
        )
        self.encoder_decoder = Hourglass3D(width, levels)
        self.back_layers = nn.Sequential(Residual3D(width, width), Basic3D(width, width, 1), Basic3D(width, width, 1))
        self.output_layer = nn.Conv3d(width, joints, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, volumes: Tensor) -> Tensor:
        """(B, channels, X, Y, Z), sides multiples of 32, or of what the levels need -> (B, joints, X, Y, Z).

        Raises:
            ShapeError: the volumes have another shape.
        """
        if volumes.ndim != 5 or any(side % self.multiple for side in volumes.shape[-3:]):
            raise ShapeError(
                f"volumes: expected (B, C, X, Y, Z), sides multiples of {self.multiple}, got {tuple(volumes.shape)}"
            )
        logits: Tensor = self.output_layer(self.back_layers(self.encoder_decoder(self.front_layers(volumes))))
        return logits
