import numpy as np
import pytest

from marey.detect.onnx_decode import best_boxes, crop_boxes, decode_grid, decode_simcc, letterbox


def gaussian(bins, center, sigma, height=1.0):
    return height * np.exp(-0.5 * ((np.arange(bins) - center) / sigma) ** 2)


def test_decode_simcc__peak_score_and_moments_by_hand():
    along_x = gaussian(384, 100, 4.9, 0.9).astype(np.float32)[None, None]
    along_y = gaussian(512, 301, 8.0, 0.6).astype(np.float32)[None, None]
    position, variance, score = decode_simcc(along_x, along_y)
    assert position[0, 0].tolist() == [50.0, 150.5]
    assert score[0, 0] == pytest.approx(0.6)
    weight = np.exp(10 * along_x[0, 0].astype(np.float64))
    distance = np.arange(384) - 100
    near = np.abs(distance) <= 36
    expected = (weight * distance**2)[near].sum() / weight[near].sum() + 1 / 12
    assert variance[0, 0, 0] == pytest.approx(expected / 4, rel=1e-4)
    assert variance[0, 0, 1] > variance[0, 0, 0]


def test_decode_simcc__a_certain_bin_has_the_variance_of_its_width():
    sure = np.full((1, 1, 384), -10, np.float32)
    sure[..., 7] = 1.0
    position, variance, _ = decode_simcc(sure, sure)
    assert position[0, 0].tolist() == [3.5, 3.5]
    assert variance[0, 0] == pytest.approx([1 / 48, 1 / 48])


def test_decode_simcc__nobody():
    position, variance, score = decode_simcc(np.zeros((0, 17, 384), np.float32), np.zeros((0, 17, 512), np.float32))
    assert position.shape == variance.shape == (0, 17, 2)
    assert score.shape == (0, 17)


@pytest.mark.parametrize(
    ("corners", "extent"), [([0, 0, 30, 100], [93.75, 125]), ([10, 20, 110, 60], [125, 125 * 4 / 3])]
)
def test_crop_boxes__padding_then_aspect(corners, extent):
    crops = crop_boxes(np.zeros((200, 200, 3), np.uint8), np.array([corners], np.float32), (192, 256))
    assert crops.pixels.shape == (1, 256, 192, 3)
    assert crops.extent[0] == pytest.approx(extent)
    assert crops.center[0].tolist() == [(corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2]


def test_crop_boxes__a_dot_lands_where_the_mapping_says():
    image = np.zeros((300, 300, 3), np.uint8)
    image[140, 120] = 255
    crops = crop_boxes(image, np.array([[90, 80, 150, 180]], np.float32), (192, 256))
    y, x = np.unravel_index(crops.pixels[0, :, :, 0].argmax(), (256, 192))
    back = np.array([x, y]) / [192, 256] * crops.extent[0] + crops.center[0] - crops.extent[0] / 2
    assert back == pytest.approx([120, 140], abs=0.3)


def test_letterbox__top_left_and_grey():
    image = np.full((100, 200, 3), 7, np.uint8)
    framed, scale = letterbox(image, (64, 64))
    assert scale == pytest.approx(0.32)
    assert (framed[:32, :64] == 7).all()
    assert (framed[32:] == 114).all()


def test_letterbox__one_pixel():
    assert letterbox(np.zeros((1, 1, 3), np.uint8), (64, 64))[0].shape == (64, 64, 3)


def test_decode_grid__cells_of_all_strides():
    # a 32 x 64 input has 4 x 8 cells of 8 pixels, 2 x 4 of 16 and 1 x 2 of 32: rows 0-31, 32-39, 40-41
    raw = np.zeros((42, 7), np.float32)
    raw[9, :6] = [0.5, 0.25, np.log(2), np.log(3), 0.5, 0.8]
    raw[41, :6] = [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    boxes = decode_grid(raw, (64, 32))
    assert boxes[9] == pytest.approx([12 - 8, 10 - 12, 12 + 8, 10 + 12, 0.4], abs=1e-4)
    assert boxes[41] == pytest.approx([32 - 16, -16, 48, 16, 1.0])


def test_best_boxes__greedy_and_thresholded():
    boxes = np.array(
        [[0, 0, 10, 10, 0.5], [1, 0, 11, 10, 0.9], [50, 50, 60, 60, 0.6], [0, 0, 10, 10, 0.1], [0, 5, 10, 15, 0.4]],
        np.float32,
    )
    assert best_boxes(boxes, 0.3, 0.45).tolist() == [1, 2, 4]
    assert best_boxes(boxes[:0], 0.3, 0.45).tolist() == []
