import numpy as np
import pytest
import torch

from marey.core import Boxes, FormatError, InputError, MissingAssetError, MissingDependencyError, skeleton
from marey.detect.detector import open_detector
from marey.detect.onnx import OnnxPose, OnnxSettings

onnx = pytest.importorskip("onnx", reason="the optional onnx is not installed")
pytest.importorskip("onnxruntime", reason="the optional onnxruntime is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def save(path, nodes, outputs, constants, shape):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def brightest_point_network(path, width=48, height=64, joints=17, batch="batch", order=("simcc_x", "simcc_y")):
    """A SimCC network that puts every joint at the brightest point of its crop; heights in 0..1."""
    nodes, constants = (
        [],
        {
            "darkest": np.float32(-2.2),
            "range": np.float32(4.9),
            "tile": np.array([1, joints, 1], np.int64),
            "channel": np.array([1], np.int64),
        },
    )
    for axis, across, bins in (("x", 2, width), ("y", 3, height)):
        constants[f"axes_{axis}"] = np.array([bins * 2], np.int64)
        constants[f"shape_{axis}"] = np.array([-1, 1, bins * 2], np.int64)
        constants[f"half_{axis}"] = np.float32(0.9)
        constants[f"last_{axis}"] = np.array([2], np.int64)
        nodes += [
            helper.make_node("ReduceMax", ["input"], [f"max_{axis}"], axes=[1, across], keepdims=0),
            helper.make_node("Sub", [f"max_{axis}", "darkest"], [f"up_{axis}"]),
            helper.make_node("Div", [f"up_{axis}", "range"], [f"scaled_{axis}"]),
            helper.make_node("Unsqueeze", [f"scaled_{axis}", f"last_{axis}"], [f"even_{axis}"]),
            helper.make_node("Mul", [f"even_{axis}", f"half_{axis}"], [f"odd_{axis}"]),
            helper.make_node("Concat", [f"even_{axis}", f"odd_{axis}"], [f"pairs_{axis}"], axis=2),
            helper.make_node("Reshape", [f"pairs_{axis}", f"shape_{axis}"], [f"row_{axis}"]),
            helper.make_node("Tile", [f"row_{axis}", "tile"], [f"simcc_{axis}"]),
        ]
    sizes = {"simcc_x": [batch, joints, width * 2], "simcc_y": [batch, joints, height * 2]}
    return save(path, nodes, [(name, sizes[name]) for name in order], constants, [batch, 3, height, width])


def constant_network(path, outputs, size=(64, 64)):
    """Gives the same outputs for every image."""
    nodes = [
        helper.make_node("ReduceMax", ["input"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
    ]
    nodes += [helper.make_node("Add", [f"constant_{name}", "nothing"], [name]) for name in outputs]
    constants = {f"constant_{name}": np.asarray(value, np.float32) for name, value in outputs.items()}
    constants["zero"] = np.float32(0)
    shapes = [(name, list(np.shape(value))) for name, value in outputs.items()]
    return save(path, nodes, shapes, constants, [1, 3, size[1], size[0]])


def dots(*places, size=(200, 300)):
    image = np.zeros((*size, 3), np.uint8)
    for x, y in places:
        image[y - 1 : y + 2, x - 1 : x + 2] = 128
        image[y, x] = 255
    return image


@pytest.mark.parametrize("batch", ["batch", 1, 3])
@pytest.mark.parametrize("order", [("simcc_x", "simcc_y"), ("simcc_y", "simcc_x")])
def test_rtmpose__reads_the_crop_of_each_box(tmp_path, batch, order):
    detector = OnnxPose(brightest_point_network(tmp_path / "pose.onnx", batch=batch, order=order))
    boxes = Boxes(
        corners=torch.tensor([[[20.0, 20, 80, 120], [float("nan")] * 4, [150.0, 30, 260, 180]]]),
        score=torch.tensor([[0.9, 0.0, 0.7]]),
    )
    (found,) = detector([dots((50, 70), (200, 100))], boxes)
    assert detector.skeleton is skeleton("coco_17")
    assert found.batch_shape == (2,)
    expected = torch.tensor([[50.0, 70.0], [200.0, 100.0]])
    assert (found.keypoints.positions - expected[:, None]).abs().max() < 2.0  # half a pixel of the small crop
    assert (found.keypoints.score > 0.5).all()
    assert found.boxes.score.tolist() == pytest.approx([0.9, 0.7])
    covariance = found.keypoints.covariance
    assert covariance.isfinite().all()
    assert (covariance[..., 0, 1] == 0).all()
    assert (covariance[1, :, 0, 0] > covariance[0, :, 0, 0]).all()  # the larger box has the coarser crop


def test_rtmpose__without_boxes_takes_the_whole_image(tmp_path):
    detector = OnnxPose(brightest_point_network(tmp_path / "pose.onnx", width=96, height=128))
    found = list(detector([dots((150, 120)), dots((30, 40))]))
    assert [d.batch_shape for d in found] == [(1,), (1,)]
    assert (found[0].keypoints.positions - torch.tensor([150.0, 120.0])).abs().max() < 4
    assert (found[1].keypoints.positions - torch.tensor([30.0, 40.0])).abs().max() < 4


def test_rtmpose__people_from_a_second_network(tmp_path):
    pose = brightest_point_network(tmp_path / "pose.onnx")
    # the image of 300 x 200 is shrunk by 0.32 to 96 x 64; boxes in those pixels, the last one is not a person
    boxes = [[48, 9.6, 83.2, 57.6, 0.8], [6.4, 6.4, 25.6, 38.4, 0.9], [49, 10, 83, 57, 0.7], [0, 0, 90, 60, 0.99]]
    person = constant_network(
        tmp_path / "person.onnx", {"dets": [boxes], "labels": [[0.0, 0.0, 0.0, 5.0]]}, size=(96, 96)
    )
    (found,) = open_detector(f"{pose},{person}")([dots((50, 70), (200, 100))])
    assert found.boxes.score.tolist() == pytest.approx([0.9, 0.8])
    assert found.boxes.corners[0].tolist() == pytest.approx([20, 20, 80, 120], abs=1e-3)
    expected = torch.tensor([[50.0, 70.0], [200.0, 100.0]])
    assert (found.keypoints.positions - expected[:, None]).abs().max() < 2.0


def test_rtmpose__people_from_the_raw_grid_of_a_yolox(tmp_path):
    raw = np.zeros((1, 84, 85), np.float32)  # 64 x 64: 64 cells of 8 pixels, 16 of 16, 4 of 32
    raw[0, 9, :6] = [1.0, 1.0, np.log(2), np.log(4), 0.9, 1.0]
    person = constant_network(tmp_path / "person.onnx", {"output": raw})
    (found,) = OnnxPose(brightest_point_network(tmp_path / "pose.onnx"), person=person)([dots((16, 16), size=(64, 64))])
    assert found.boxes.corners.tolist() == [pytest.approx([8, 0, 24, 32], abs=1e-4)]
    assert (found.keypoints.positions - 16).abs().max() < 0.6


def test_rtmpose__nobody_found(tmp_path):
    person = constant_network(tmp_path / "person.onnx", {"dets": np.zeros((1, 2, 5)), "labels": np.zeros((1, 2))})
    (found,) = OnnxPose(brightest_point_network(tmp_path / "pose.onnx"), person=person)([dots((50, 70))])
    assert found.batch_shape == (0,)


def test_rtmo__boxes_and_joints_are_scaled_back_and_thinned(tmp_path):
    boxes = np.array([[[0, 0, 32, 32, 0.5], [10, 10, 40, 60, 0.9], [11, 10, 41, 60, 0.8], [0, 0, 9, 9, 0.1]]])
    joints = np.zeros((1, 4, 17, 3))
    joints[0, 0, :, :2], joints[0, 0, :, 2] = (16, 8), 0.7
    joints[0, 1, :, :2], joints[0, 1, :, 2] = (20, 30), 1.2
    joints[0, 1, 3, 2] = 0
    detector = open_detector(str(constant_network(tmp_path / "rtmo.onnx", {"dets": boxes, "keypoints": joints})))
    (found,) = detector([np.zeros((128, 64, 3), np.uint8)])  # shrunk by a half
    assert found.boxes.corners.tolist() == [[20, 20, 80, 120], [0, 0, 64, 64]]
    assert found.keypoints.positions[:, 0].tolist() == [[40, 60], [32, 16]]
    assert found.keypoints.score[0, 0] == 1
    assert found.keypoints.score[0, 3] == 0
    assert found.keypoints.positions[0, 3].isnan().all()
    assert found.keypoints.covariance.isnan().all()


def test_rtmo__takes_no_boxes_and_no_second_network(tmp_path):
    path = constant_network(tmp_path / "r.onnx", {"dets": np.zeros((1, 2, 5)), "keypoints": np.zeros((1, 2, 17, 3))})
    with pytest.raises(InputError, match="finds people itself; call it without boxes"):
        list(OnnxPose(path)([dots()], Boxes(corners=torch.zeros(1, 1, 4), score=torch.ones(1, 1))))
    with pytest.raises(InputError, match="finds people itself; leave out"):
        OnnxPose(path, person=path)


def test_onnx__joint_count_names_the_skeleton(tmp_path):
    assert OnnxPose(brightest_point_network(tmp_path / "a.onnx", joints=26)).skeleton is skeleton("halpe_26")
    odd = brightest_point_network(tmp_path / "b.onnx", joints=5)
    with pytest.raises(InputError, match=r"5 joints; known are 17, 18, 26, 33, 133; pass OnnxSettings\(skeleton="):
        OnnxPose(odd)
    five = skeleton("coco_17").select(["nose", "left_eye", "right_eye", "left_ear", "right_ear"])
    assert OnnxPose(odd, settings=OnnxSettings(skeleton=five)).skeleton is five
    with pytest.raises(InputError, match="has 5 joints, skeleton coco_17 has 17"):
        OnnxPose(odd, settings=OnnxSettings(skeleton=skeleton("coco_17")))


def test_onnx__whole_body_keeps_body_and_feet(tmp_path):
    detector = OnnxPose(brightest_point_network(tmp_path / "whole.onnx", joints=133))
    assert detector.skeleton.joints[17:] == (
        "left_big_toe",
        "left_small_toe",
        "left_heel",
        "right_big_toe",
        "right_small_toe",
        "right_heel",
    )
    assert detector.skeleton.mirror[17] == 20
    (found,) = detector([dots((150, 120))])
    assert found.keypoints.positions.shape == (1, 23, 2)


def test_onnx__files_that_are_no_such_network(tmp_path):
    with pytest.raises(MissingAssetError, match="no ONNX file"):
        OnnxPose(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(FormatError, match="onnxruntime cannot open it"):
        OnnxPose(tmp_path / "text.onnx")
    other = constant_network(tmp_path / "other.onnx", {"depth": np.zeros((1, 64, 64))})
    with pytest.raises(FormatError, match="expected the outputs simcc_x and simcc_y"):
        OnnxPose(other)
    with pytest.raises(FormatError, match=r"expected boxes \(1, N, 5\)"):
        OnnxPose(brightest_point_network(tmp_path / "pose.onnx"), person=brightest_point_network(tmp_path / "p.onnx"))
    flat = save(
        tmp_path / "flat.onnx", [helper.make_node("Identity", ["input"], ["out"])], [("out", [1, 7])], {}, [1, 7]
    )
    with pytest.raises(FormatError, match="expected one input"):
        OnnxPose(flat)


def test_onnx__bins_that_do_not_fit_the_input(tmp_path):
    outputs = {"simcc_x": np.zeros((1, 17, 100)), "simcc_y": np.zeros((1, 17, 128))}
    detector = OnnxPose(constant_network(tmp_path / "pose.onnx", outputs))
    with pytest.raises(FormatError, match=r"expected \(128, 128\) bins"):
        list(detector([dots()]))


def test_onnx__missing_library_names_the_command(tmp_path, monkeypatch):
    import sys

    path = brightest_point_network(tmp_path / "pose.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "marey\[onnx\]"'):
        OnnxPose(path)
