"""Names of variables of the published TensorFlow networks, from the published programs' layers."""

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def normed(scope):
    return [f"{scope}/{part}" for part in NORM]


def resnet_v2(units, scope="MainPart/resnet_v2_50/"):
    """Slim's residual network with the two heads of 2020."""
    names = ["conv1/weights", "conv1/biases"]
    for block, count in enumerate(units, 1):
        for unit in range(1, count + 1):
            begin = f"block{block}/unit_{unit}/bottleneck_v2"
            names += normed(f"{begin}/preact")
            names += [f"{begin}/shortcut/weights", f"{begin}/shortcut/biases"] if unit == 1 else []
            for conv in (1, 2):
                names += [f"{begin}/conv{conv}/weights", *normed(f"{begin}/conv{conv}/BatchNorm")]
            names += [f"{begin}/conv3/weights", f"{begin}/conv3/biases"]
    for head in (0, 1):
        names += [*normed(f"postnorm_copy{head}"), f"logits_copy{head}/weights", f"logits_copy{head}/biases"]
    return [scope + name for name in names]


def keras_resnet(units, convs):
    """Keras's residual network; bottlenecks have biases where a normalisation follows."""
    bias = convs == 3
    names = ["conv1_conv/kernel", *(["conv1_conv/bias"] if bias else []), *normed("conv1_bn")]
    for stage, count in enumerate(units, 2):
        for unit in range(1, count + 1):
            around = unit == 1 and (bias or stage > 2)
            for conv in range(0 if around else 1, convs + 1):
                begin = f"conv{stage}_block{unit}_{conv}"
                names += [f"{begin}_conv/kernel", *([f"{begin}_conv/bias"] if bias else []), *normed(f"{begin}_bn")]
    return names


def keras_resnet_v2(units):
    names = ["conv1_conv/kernel", "conv1_conv/bias", *normed("post_bn")]
    for stage, count in enumerate(units, 2):
        for unit in range(1, count + 1):
            begin = f"conv{stage}_block{unit}"
            names += normed(f"{begin}_preact_bn")
            names += [f"{begin}_0_conv/kernel", f"{begin}_0_conv/bias"] if unit == 1 else []
            for conv in (1, 2):
                names += [f"{begin}_{conv}_conv/kernel", *normed(f"{begin}_{conv}_bn")]
            names += [f"{begin}_3_conv/kernel", f"{begin}_3_conv/bias"]
    return names


def efficientnet(simplest, fused, separate, size="s"):
    names, begin = [], f"efficientnetv2-{size}"
    for part in ("stem", "head"):
        names += [f"{begin}/{part}/conv2d/kernel", *normed(f"{begin}/{part}/tpu_batch_normalization")]
    kinds = ["simplest"] * simplest + ["fused"] * fused + ["separate"] * separate
    for number, kind in enumerate(kinds):
        block = f"{begin}/blocks_{number}"
        names += [f"{block}/conv2d/kernel", *normed(f"{block}/tpu_batch_normalization")]
        if kind != "simplest":
            names += [f"{block}/conv2d_1/kernel", *normed(f"{block}/tpu_batch_normalization_1")]
        if kind == "separate":
            names += [f"{block}/depthwise_conv2d/depthwise_kernel", *normed(f"{block}/tpu_batch_normalization_2")]
            names += [f"{block}/se/conv2d{number}/{part}" for number in ("", "_1") for part in ("kernel", "bias")]
    return names


def mobilenet(weighing):
    """One block for each truth value: whether it weighs its channels."""
    names = ["Conv/kernel", "Conv_1/kernel", *normed("Conv/BatchNorm"), *normed("Conv_1/BatchNorm")]
    names += ["Conv_2/kernel", "Conv_2/bias"]
    for block, weighs in enumerate(weighing):
        begin = f"expanded_conv_{block}" if block else "expanded_conv"
        if block:
            names += [f"{begin}/expand/kernel", *normed(f"{begin}/expand/BatchNorm")]
        names += [f"{begin}/depthwise/depthwise_kernel", *normed(f"{begin}/depthwise/BatchNorm")]
        if weighs:
            for conv in ("Conv", "Conv_1"):
                names += [f"{begin}/squeeze_excite/{conv}/kernel", f"{begin}/squeeze_excite/{conv}/bias"]
        names += [f"{begin}/project/kernel", *normed(f"{begin}/project/BatchNorm")]
    return names


HEADS = ["heatmap_head/kernel", "heatmap_head/bias"]
SMALL = [True, False, False, *[True] * 8]
LARGE = [False] * 3 + [True] * 3 + [False] * 4 + [True] * 5
