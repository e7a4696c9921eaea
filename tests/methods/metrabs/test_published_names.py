"""Names of variables of the published TensorFlow networks, generated here from the published programs' layers."""

import pytest
import torch

from marey.core import FormatError
from marey.core.skeletons import skeleton
from marey.methods.metrabs.model import MetrabsConfig, MetrabsNet
from marey.methods.metrabs.published_names import biases_before_norms, converted, recognise, variable_names
from published_variables import (
    HEADS,
    LARGE,
    SMALL,
    efficientnet,
    keras_resnet,
    keras_resnet_v2,
    mobilenet,
    resnet_v2,
)

NETWORKS = {
    "resnet_v2_50": resnet_v2((3, 4, 6, 3)),
    "resnet_v2_152": [*keras_resnet_v2((3, 8, 36, 3)), *HEADS],
    "resnet_18": [*keras_resnet((2, 2, 2, 2), 2), *HEADS],
    "resnet_50": [*keras_resnet((3, 4, 6, 3), 3), *HEADS],
    "efficientnet_v2_s": [*efficientnet(2, 8, 30), *HEADS],
    "efficientnet_v2_l": [*efficientnet(4, 14, 61, "l"), *HEADS],
    "mobilenet_v3_small_keras": [*mobilenet(SMALL), *HEADS],
    "mobilenet_v3_large_keras": [*mobilenet(LARGE), *HEADS],
}
PAIRS = {
    "resnet_v2_50": {
        "backbone.block3.5.bn2.running_var": "block3/unit_6/bottleneck_v2/conv2/BatchNorm/moving_variance",
        "backbone.block1.0.shortcut.bias": "block1/unit_1/bottleneck_v2/shortcut/biases",
        "heads.separate.1.0.bias": "postnorm_copy1/beta",
        "heads.separate.0.2.weight": "logits_copy0/weights",
    },
    "resnet_v2_152": {
        "backbone.block2.0.preact.running_mean": "conv3_block1_preact_bn/moving_mean",
        "backbone.block4.0.shortcut.weight": "conv5_block1_0_conv/kernel",
        "backbone.block3.35.conv3.bias": "conv4_block36_3_conv/bias",
        "backbone.postnorm.weight": "post_bn/gamma",
    },
    "resnet_18": {
        "backbone.conv1.weight": "conv1_conv/kernel",
        "backbone.layer2.0.downsample.1.bias": "conv3_block1_0_bn/beta",
        "backbone.layer4.1.conv2.weight": "conv5_block2_2_conv/kernel",
        "heads.conv_final.bias": "heatmap_head/bias",
    },
    "resnet_50": {"backbone.layer3.4.bn3.running_var": "conv4_block5_3_bn/moving_variance"},
    "efficientnet_v2_s": {
        "backbone.features.0.1.weight": "stem/tpu_batch_normalization/gamma",
        "backbone.features.1.1.block.0.0.weight": "blocks_1/conv2d/kernel",
        "backbone.features.3.0.block.1.1.bias": "blocks_6/tpu_batch_normalization_1/beta",
        "backbone.features.4.0.block.1.0.weight": "blocks_10/depthwise_conv2d/depthwise_kernel",
        "backbone.features.6.14.block.2.fc2.bias": "blocks_39/se/conv2d_1/bias",
        "backbone.features.6.14.block.3.0.weight": "blocks_39/conv2d_1/kernel",
        "backbone.features.6.14.block.3.1.running_mean": "blocks_39/tpu_batch_normalization_2/moving_mean",
        "backbone.features.7.0.weight": "head/conv2d/kernel",
    },
    "efficientnet_v2_l": {"backbone.features.7.6.block.0.0.weight": "blocks_78/conv2d/kernel"},
    "mobilenet_v3_small_keras": {
        "backbone.features.0.0.weight": "Conv/kernel",
        "backbone.features.1.block.0.0.weight": "expanded_conv/depthwise/depthwise_kernel",
        "backbone.features.1.block.1.fc1.weight": "expanded_conv/squeeze_excite/Conv/kernel",
        "backbone.features.2.block.1.1.weight": "expanded_conv_1/depthwise/BatchNorm/gamma",
        "backbone.features.11.block.3.1.bias": "expanded_conv_10/project/BatchNorm/beta",
        "backbone.features.12.0.weight": "Conv_1/kernel",
        "backbone.head.bias": "Conv_2/bias",
    },
    "mobilenet_v3_large_keras": {"backbone.features.15.block.0.0.weight": "expanded_conv_14/expand/kernel"},
}


def keys_of(name, layout):
    with torch.device("meta"):
        network = MetrabsNet(MetrabsConfig(backbone=name, joints=skeleton("smpl_24").joints, head_layout=layout))
    return [key for key in network.state_dict() if not key.endswith("num_batches_tracked")]


@pytest.mark.parametrize("name", NETWORKS)
def test_names__every_one_is_used_once(name):
    family = recognise(NETWORKS[name])
    assert family.backbone == name
    keys = keys_of(name, "separate" if family.slim else "shared")
    found = variable_names(keys, family)
    assert sorted(found) == sorted(keys)
    assert len(set(found.values())) == len(keys)
    left = set(NETWORKS[name]) - set(found.values())
    assert set(found.values()) <= set(NETWORKS[name])
    assert left == (set(biases_before_norms(left)) if name == "resnet_50" else set())
    for key, variable in PAIRS[name].items():
        assert found[key] == (variable if variable in NETWORKS[name] else family.scope + variable)


def test_biases__and_the_means_that_take_them_away():
    names = ["conv1_conv/bias", "a/conv2_block1_0_conv/bias", "conv2_block1_1_conv/kernel", "Conv_2/bias"]
    assert biases_before_norms(names) == {
        "conv1_conv/bias": "conv1_bn/moving_mean",
        "a/conv2_block1_0_conv/bias": "a/conv2_block1_0_bn/moving_mean",
    }


def test_converted__kernels():
    kernel = torch.arange(24).reshape(1, 2, 3, 4)  # height, width, inputs, outputs
    assert converted("a/kernel", kernel).shape == (4, 3, 1, 2)
    assert converted("a/kernel", kernel)[3, 1, 0, 1] == kernel[0, 1, 1, 3]
    depthwise = torch.arange(6).reshape(1, 2, 3, 1)
    assert converted("a/depthwise_kernel", depthwise).shape == (3, 1, 1, 2)
    assert converted("a/depthwise_kernel", depthwise)[2, 0, 0, 1] == depthwise[0, 1, 2, 0]
    assert converted("a/gamma", torch.tensor([1.5], dtype=torch.float64)).dtype == torch.float32


OTHERS = {
    "yolo": (
        ["conv2d/kernel", "batch_normalization/gamma"],
        r"expected variables of a MeTRAbs network \(slim's .*, got ",
    ),
    "two networks": (
        ["a/stem/conv2d/kernel", "b/stem/conv2d/kernel"],
        "several networks in one checkpoint: 'a/', 'b/'",
    ),
    "other depth": (resnet_v2((3, 4, 5, 3)), r"stages of \(3, 4, 5, 3\) units; expected one of"),
    "other size": (efficientnet(1, 2, 3), "a network of 6 blocks; expected 40 or 57 or 79"),
}


@pytest.mark.parametrize(("names", "message"), OTHERS.values(), ids=OTHERS)
def test_names__of_other_networks(names, message):
    with pytest.raises(FormatError, match=message):
        recognise(names)
