import pytest

from marey.core import InputError
from marey.io.inputs import find_views


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text("")


def found(*paths):
    return [(view.name, view.kind, view.path.name) for view in find_views(paths)]


def test_find__one_folder_of_sub_folders(tmp_path):
    make(tmp_path, "cam10_json/1.json", "cam2_json/1.json", "cam2_json/2.json", "notes/readme.txt", "cameras.toml")
    assert found(tmp_path) == [("cam2_json", "keypoints", "cam2_json"), ("cam10_json", "keypoints", "cam10_json")]


def test_find__one_folder_of_videos_and_settings(tmp_path):
    make(tmp_path, "b.MP4", "a.avi", "settings.json", ".hidden.mp4")
    assert found(tmp_path) == [("a", "video", "a.avi"), ("b", "video", "b.MP4")]


def test_find__sub_folders_with_one_video_each(tmp_path):
    make(tmp_path, "left/video.mp4", "right/video.mp4", "both/1.mp4", "both/2.mp4")
    assert found(tmp_path) == [("left", "video", "video.mp4"), ("right", "video", "video.mp4")]


def test_find__paths_given_one_by_one(tmp_path):
    make(tmp_path, "cam1/video.mp4", "cam2/video.mp4", "cam3_img/1.png", "photo.jpg")
    paths = [
        tmp_path / "cam2" / "video.mp4",
        tmp_path / "cam1" / "video.mp4",
        tmp_path / "cam3_img",
        tmp_path / "photo.jpg",
    ]
    assert found(*paths) == [
        ("cam1_video", "video", "video.mp4"),
        ("cam2_video", "video", "video.mp4"),
        ("cam3_img", "images", "cam3_img"),
        ("photo", "images", "photo.jpg"),
    ]


def test_find__results_of_marey_are_no_views(tmp_path):
    make(tmp_path, "cam1.mp4", "cam2/1.png", "results/estimate.npz", "results/overlay.mp4", "results/1.json")
    make(tmp_path, "told/report.html", "told/overlay.mp4", "begun/detections/cam1.npz", "begun/frame.png")
    assert [name for name, *_ in found(tmp_path)] == ["cam1", "cam2"]


def test_find__overlay_beside_the_results_in_the_folder_of_the_videos(tmp_path):
    make(tmp_path, "cam1.mp4", "overlay.mp4", "estimate.npz")
    assert [name for name, *_ in found(tmp_path)] == ["cam1"]


def test_find__camera_that_is_called_overlay(tmp_path):
    make(tmp_path, "overlay.mp4", "cam1.mp4")
    assert [name for name, *_ in found(tmp_path)] == ["cam1", "overlay"]


def test_find__folder_of_images_with_annotations_is_one_view(tmp_path):
    make(tmp_path, "1.png", "2.png", "coco.json")
    assert found(tmp_path) == [(tmp_path.name, "images", tmp_path.name)]


def test_find__frames_and_keypoints_of_one_camera(tmp_path):
    make(tmp_path, "cam1.mp4", "cam1_json/1.json")
    assert {kind for _, kind, _ in found(tmp_path)} == {"video", "keypoints"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "nothing in it that could be a view.*it holds nothing"),
        (["trial/pose/cam1/1.json"], "it holds the folders trial"),
        (["notes.txt", "LICENSE"], r"it holds 1 file\(s\) without suffix; 1 \.txt file\(s\)$"),
        (["xy_pose.csv", "other.csv"], r"2 \.csv file\(s\); give the Caliscope csv itself: \S+/xy_pose\.csv$"),
        (["HOLISTIC/xy_HOLISTIC.csv"], r"give the Caliscope csv itself: \S+/HOLISTIC/xy_HOLISTIC\.csv$"),
        (
            ["pose/a/1.json", "videos/a.mp4", "videos/b.mp4", "results/estimate.npz", "results/detections/a.npz"],
            r"views lie in \S+/pose and \S+/videos: give those of one recording$",
        ),
        (["one/pose/a/1.json"], r"views lie in \S+/one/pose: give"),
        (["cam1.mp4", "cam_01.mp4"], "views with the same name"),
    ],
)
def test_find__nothing_usable_in_a_folder(tmp_path, files, message):
    make(tmp_path, *files)
    with pytest.raises(InputError, match=message):
        find_views([tmp_path])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("1.json", "one JSON file is one frame"),
        ("a.docx", "unknown kind of file '.docx'.*Caliscope csv"),
        ("gone", "no such file"),
    ],
)
def test_find__unusable_path(tmp_path, name, message):
    make(tmp_path, "1.json", "a.docx")
    with pytest.raises(InputError, match=message):
        find_views([tmp_path / name])


def test_find__no_input():
    with pytest.raises(InputError, match="no input: give videos"):
        find_views([])
