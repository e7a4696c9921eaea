import pickle
import shutil
import warnings
from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, FrameSource, InputError, MareyError
from marey.io.video import VideoFrames, video_writer, write_video

COUNT = 40


def pictures(count=COUNT, height=48, width=64):
    """Frames whose grey level tells their number; a bright block marks the top left."""
    frames = np.empty((count, height, width, 3), np.uint8)
    frames[:] = (np.arange(count) * 4 + 20)[:, None, None, None]
    frames[:, : height // 4, : width // 4] = 250
    return frames


def encoded(path, frames, *, times=None, ticks=1000, keyframes_every=10, codec="mpeg4", **options):
    """A video made with the plain library; `times` in ticks of a second."""
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = keyframes_every
        stream.codec_context.time_base = Fraction(1, ticks)
        stream.bit_rate = 4_000_000
        for place, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = ticks // 25 * place if times is None else times[place]
            frame.time_base = Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return encoded(tmp_path_factory.mktemp("video") / "a.mp4", pictures())


def numbers(frames):
    """Which frame each decoded image is, from its grey level."""
    return [round((float(frame[-8:, -8:].mean()) - 20) / 4) for frame in frames]


def test_frames__size_times_and_order(video):
    source = VideoFrames(video)
    assert isinstance(source, FrameSource)
    assert source.size == (64, 48)
    assert source.fps == pytest.approx(25)
    assert len(source) == COUNT
    np.testing.assert_allclose(source.timestamps, np.arange(COUNT) / 25, atol=1e-4)
    frames = list(source.frames())
    assert all(frame.shape == (48, 64, 3) and frame.dtype == np.uint8 for frame in frames)
    assert numbers(frames) == list(range(COUNT))


@settings(deadline=None, max_examples=30)
@given(start=st.integers(0, COUNT), length=st.integers(0, COUNT))
def test_frames__any_range_is_exact(video, start, length):
    stop = min(start + length, COUNT)
    assert numbers(VideoFrames(video).frames(start, stop)) == list(range(start, stop))


@pytest.mark.parametrize("codec", ["libx264", "libvpx-vp9"])
def test_frames__reordered_and_invisible_frames(tmp_path, codec):
    if codec not in av.codecs_available:
        pytest.skip(f"this FFmpeg has no {codec}")
    source = VideoFrames(encoded(tmp_path / "a.mp4", pictures(), codec=codec))
    assert len(source) == COUNT
    assert numbers(source.frames(17, 33)) == list(range(17, 33))


@pytest.mark.parametrize("container", ["avi", "ts", "mkv", "mov"])
@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_frames__containers_that_seek_differently(tmp_path, container, codec):
    source = VideoFrames(encoded(tmp_path / f"a.{container}", pictures(), codec=codec, ticks=25))
    assert len(source) == COUNT
    for start in (0, 9, 10, 11, 25, 39):
        assert numbers(source.frames(start, start + 1)) == [start]
    assert numbers(pickle.loads(pickle.dumps(source)).frames(30, 33)) == [30, 31, 32]


def test_frames__range_beyond_the_video(video):
    with pytest.raises(InputError, match=r"frames 3\.\.41 asked for, there are 0\.\.40"):
        VideoFrames(video).frames(3, 41)


def test_frames__variable_rate_keeps_real_times(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(10, 200, COUNT)).tolist()
    source = VideoFrames(encoded(tmp_path / "a.mkv", pictures(), times=times))
    np.testing.assert_allclose(source.timestamps - source.timestamps[0], (np.array(times) - times[0]) / 1000, atol=2e-3)
    assert (np.diff(source.timestamps) > 0).all()
    assert numbers(source.frames(23, 31)) == list(range(23, 31))


def test_frames__packets_without_time_stamps(tmp_path):
    path = encoded(tmp_path / "a.h264", pictures(), codec="libx264", format="h264")
    source = VideoFrames(path)
    assert len(source) == COUNT
    assert numbers(source.frames(12, 15)) == [12, 13, 14]


@pytest.mark.parametrize(("quarters", "corner"), [(1, (0, -1)), (2, (-1, -1)), (3, (-1, 0))])
def test_frames__rotation_flag_is_applied(tmp_path, video, quarters, corner):
    """`quarters` clockwise in the display matrix of the track header: a b u c d v x y w in 16.16 fixed point."""
    path = tmp_path / "turned.mp4"
    content = bytearray(video.read_bytes())
    a, b = [(1, 0), (0, 1), (-1, 0), (0, -1)][quarters]
    matrix = [a << 16, b << 16, 0, -b << 16, a << 16, 0, 0, 0, 1 << 30]
    place = content.index(b"tkhd") + 4 + 40
    content[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(content)
    source = VideoFrames(path)
    assert source.size == ((48, 64) if quarters % 2 else (64, 48))
    (frame,) = source.frames(0, 1)
    assert frame.shape[:2] == source.size[::-1]
    bright = np.argwhere(frame[..., 0] > 200).mean(0) > np.array(frame.shape[:2]) / 2
    assert bright.tolist() == [bool(corner[0]), bool(corner[1])]


def test_frames__cut_off_file_keeps_what_is_there(tmp_path):
    whole = encoded(tmp_path / "whole.mp4", pictures(), options={"movflags": "faststart"})
    content = whole.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 3 // 4])
    with pytest.warns(UserWarning, match="its header promises 40 frames, it holds"):
        source = VideoFrames(cut)
    assert 10 < len(source) < 40
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames = list(source.frames())
    assert len(frames) == len(source)
    assert numbers(frames[:-1]) == list(range(len(source) - 1))


def test_frames__damage_in_the_middle_keeps_the_places(tmp_path, video):
    content = bytearray(video.read_bytes())
    with av.open(str(video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    for packet in packets[10:12]:
        content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(content)
    with pytest.warns(UserWarning, match="cannot be decoded and are black"):
        frames = list(VideoFrames(path).frames())
    assert len(frames) == COUNT
    assert not frames[10].any()
    assert numbers(frames[:10]) == list(range(10))
    assert numbers(frames[20:]) == list(range(20, COUNT))


def test_open__one_pixel_video(tmp_path):
    path = tmp_path / "dot.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width = stream.height = 1
        stream.pix_fmt = "bgr0"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((1, 1, 3), 77, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    (frame,) = VideoFrames(path).frames()
    assert frame.tolist() == [[[77, 77, 77]]]


def test_open__pixel_budget(video):
    with pytest.raises(InputError, match="64 x 48 pixels, more than the budget of 3000"):
        VideoFrames(video, max_pixels=3000)


def test_open__not_a_video(tmp_path, video):
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").write_bytes(b"")
    content = video.read_bytes()
    (tmp_path / "headless.mp4").write_bytes(content[: len(content) // 2])
    for name in ("text.mp4", "empty.mp4", "headless.mp4"):
        with pytest.raises(FormatError, match=rf"{name}: .*cut off before its index"):
            VideoFrames(tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        VideoFrames(tmp_path / "absent.mp4")


def test_open__sound_only(tmp_path):
    path = tmp_path / "sound.mka"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(FormatError, match="no video in it"):
        VideoFrames(path)


@settings(deadline=None, max_examples=40)
@given(st.binary(min_size=1, max_size=40), st.floats(0, 1), st.integers(0, 2000))
def test_open__damaged_bytes_are_a_typed_error_or_all_frames(tmp_path_factory, video, junk, share, cut):
    path = tmp_path_factory.mktemp("fuzz") / "a.mp4"
    content = video.read_bytes()
    place = int(share * len(content))
    path.write_bytes(content[:place] + junk + content[place + cut :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            source = VideoFrames(path)
            assert sum(1 for _ in source.frames()) == len(source)
        except MareyError:
            pass
        finally:
            shutil.rmtree(path.parent)


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 63), (1, 1)])
def test_write__even_and_odd_sizes(tmp_path, height, width):
    write_video(tmp_path / "out.mp4", iter(pictures(5, height, width)), fps=29.97)
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (width + width % 2, height + height % 2)
        assert float(stream.average_rate) == pytest.approx(29.97)
        assert stream.pix_fmt == "yuv420p"
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    if height > 1:
        assert numbers(frames) == list(range(5))


def test_write__bad_input_leaves_no_file(tmp_path):
    target = tmp_path / "out.mp4"
    with pytest.raises(InputError, match="no frame to write"):
        write_video(target, [], fps=25)
    with pytest.raises(InputError, match="frame rate above 0"):
        write_video(target, pictures(1), fps=0)
    with pytest.raises(InputError, match="frames of different sizes"):
        write_video(target, [pictures(1)[0], pictures(1, 32)[0]], fps=25)
    with pytest.raises(InputError, match="cannot write"):
        write_video(tmp_path / "absent" / "out.mp4", pictures(1), fps=25)
    assert not list(tmp_path.iterdir())


@pytest.mark.realdata
def test_frames__real_videos(shared_data):
    expected = {
        "pose2sim_demo/balancing/videos/cam01.mp4": (100, (1080, 1920), 60),
        "pose2sim_demo/balancing/videos/cam04.mp4": (100, (1088, 1920), 60),
        "sports2d/demo.mp4": (230, (1768, 994), 30),
        "caliscope_charuco/4_cam_recording/calibration/extrinsic/cam_1.mp4": (48, (1280, 720), 6),
        "images/pose_squats.mp4": (65, (720, 1280), 5),
    }
    for name, (count, size, fps) in expected.items():
        source = VideoFrames(shared_data / name)
        assert (len(source), source.size, source.fps) == (count, size, fps)
    source = VideoFrames(shared_data / "sports2d" / "demo.mp4")
    (late,) = source.frames(200, 201)
    *_, same = source.frames(190, 201)
    np.testing.assert_array_equal(late, same)


def test_writers__fill_several_files_side_by_side(tmp_path):
    with video_writer(tmp_path / "a.mp4", fps=10) as first, video_writer(tmp_path / "b.mp4", fps=20) as second:
        for image in pictures(6):
            first(image)
            second(image[:, :32])
        assert not (tmp_path / "a.mp4").exists()
    a, b = VideoFrames(tmp_path / "a.mp4"), VideoFrames(tmp_path / "b.mp4")
    assert (len(a), a.size, len(b), b.size) == (6, (64, 48), 6, (32, 48))
    assert (a.fps, b.fps) == (10, 20)


def test_writer__that_fails_leaves_nothing(tmp_path):
    def failing():
        yield pictures(1)[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "a.mp4", failing(), fps=10)
    with pytest.raises(InputError, match="no frame to write"), video_writer(tmp_path / "b.mp4", fps=10):
        pass
    assert not list(tmp_path.iterdir())
