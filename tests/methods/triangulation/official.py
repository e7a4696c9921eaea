"""State dictionaries of official checkpoints on 18 layers, by the names and shapes that the specification states."""

import torch

from published_weights import filled, shapes_of


def norm(name, channels):
    rows = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return {**rows, f"{name}.num_batches_tracked": ()}


def unit(name, inputs, outputs):
    """Two 3x3 convolutions, and a way around them where the number of channels changes."""
    shapes = {f"{name}.conv1.weight": (outputs, inputs, 3, 3), f"{name}.conv2.weight": (outputs, outputs, 3, 3)}
    shapes |= norm(f"{name}.bn1", outputs) | norm(f"{name}.bn2", outputs)
    if inputs != outputs:
        shapes |= {f"{name}.downsample.0.weight": (outputs, inputs, 1, 1)} | norm(f"{name}.downsample.1", outputs)
    return shapes


def confidence_head(name, outputs):
    shapes = {f"{name}.features.0.weight": (512, 512, 3, 3), f"{name}.features.0.bias": (512,)}
    shapes |= {f"{name}.features.4.weight": (256, 512, 3, 3), f"{name}.features.4.bias": (256,)}
    shapes |= norm(f"{name}.features.1", 512) | norm(f"{name}.features.5", 256)
    for place, (wide, narrow) in {0: (512, 256), 2: (256, 512), 4: (outputs, 256)}.items():
        shapes |= {f"{name}.head.{place}.weight": (wide, narrow), f"{name}.head.{place}.bias": (wide,)}
    return shapes


def backbone_shapes(joints):
    shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    inputs = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        shapes |= unit(f"layer{stage}.0", inputs, width) | unit(f"layer{stage}.1", width, width)
        inputs = width
    for place, wide in {0: 512, 3: 256, 6: 256}.items():
        shapes |= {f"deconv_layers.{place}.weight": (wide, 256, 4, 4)} | norm(f"deconv_layers.{place + 1}", 256)
    return shapes | {"final_layer.weight": (joints, 256, 1, 1), "final_layer.bias": (joints,)}


def network_shapes(kind, *, joints=17, confidences=True, parity=None):
    """Of a whole network; the 3D convolutions are those of the list in the parity folder."""
    shapes = backbone_shapes(joints)
    if kind == "algebraic" and confidences:
        shapes |= confidence_head("alg_confidences", joints)
    if kind == "volumetric" and confidences:
        shapes |= confidence_head("vol_confidences", 32)
    shapes = {f"backbone.{name}": shape for name, shape in shapes.items()}
    if kind == "volumetric":
        whole = shapes_of(parity / "triangulation" / "state_dict_keys_vol.txt")
        shapes |= {name: shape for name, shape in whole.items() if not name.startswith("backbone.")}
        output = {"volume_net.output_layer.weight": (joints, 32, 1, 1, 1), "volume_net.output_layer.bias": (joints,)}
        shapes |= output
    return shapes


def checkpoint(path, kind, **options):
    """Write one, with the weights of the parity files' rule, as distributed training leaves it."""
    state = filled(network_shapes(kind, **options))
    torch.save({f"module.{name}": value for name, value in state.items()}, path)
    return path
