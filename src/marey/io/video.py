"""Video through PyAV: frames found by their real time stamps, turned as their rotation flag says."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain
from pathlib import Path

import av
import av.error
import numpy as np
import numpy.typing as npt

from marey.core.errors import FormatError, InputError
from marey.core.recording import Image
from marey.io.atomic import atomic_path
from marey.io.frame_axis import FrameAxis
from marey.io.pixels import MAX_PIXELS, check_pixels


class VideoFrames(FrameAxis):
    """The frames of a video file, decoded when asked for and never kept.

    Opening reads the packets' time stamps without decoding them, so the number of frames and their times, at a variable
    frame rate too, are those of the file and not a guess from its header. A file without usable time stamps (raw
    streams, some AVI) is decoded once to count its frames, and takes them at the nominal rate. Every call of `frames`
    opens the file anew: several may run at once, and the object can be sent to other processes.

    A frame that is in the file but cannot be decoded comes as a black image, so that what follows keeps its place; a
    warning says how many there were. A file that was cut off has the frames that are still in it, with a warning.

    Args:
        path: The file.
        max_pixels: Larger frames are refused before anything is decoded.

    Raises:
        InputError: the file cannot be read, or its frames are larger than `max_pixels`.
        FormatError: it is not a video, is cut off before its index, or holds no frame that can be decoded.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> None:
        self.path = Path(path)
        self.max_pixels = max_pixels
        with _opened(self.path) as container:
            stream = _video_stream(self.path, container)
            check_pixels(self.path, stream.width, stream.height, max_pixels)
            promised = stream.frames
            pts, self._keyframes = _index(container, stream)
            seconds = stream.time_base or Fraction(1)
            rate = stream.average_rate or stream.guessed_rate
        self._timed = pts is not None
        self._pts = self._counted() if pts is None else pts
        if not self._pts.size:
            raise FormatError(f"{self.path}: no frame in it that can be decoded")
        if promised > self._pts.size:
            warnings.warn(
                f"{self.path}: its header promises {promised} frames, it holds {self._pts.size}; cut off?", stacklevel=2
            )
        step = float(seconds) if self._timed else 1 / float(rate or 25)
        self.files = (self.path,)
        self.timestamps = self._pts.astype(np.float64) * step
        self.fps = float(rate) if rate else None
        self.size, self._turns = self._look()

    def _decoded(self, start: int, stop: int) -> Iterator[Image]:
        """From the key frame before `start`; memory: one frame and what the codec keeps."""
        wanted, lost = start, 0
        for place, image in self._numbered(start) if start < stop else ():
            if place < wanted:
                continue
            for _ in range(wanted, min(place, stop)):
                lost += 1
                yield np.zeros_like(image)
            wanted = max(wanted, min(place, stop))
            if wanted >= stop:
                break
            yield image
            wanted += 1
            if wanted >= stop:
                break
        width, height = self.size
        for _ in range(wanted, stop):
            lost += 1
            yield np.zeros((height, width, 3), np.uint8)
        if lost:
            warnings.warn(
                f"{self.path}: {lost} of the {stop - start} frames {start}..{stop} cannot be decoded and are black",
                stacklevel=2,
            )

    def _numbered(self, start: int) -> Iterator[tuple[int, Image]]:
        """Decode from the key frame before `start`, with the index of each frame from `start` on."""
        target = self._seek_target(start)
        frames = self._from(target)
        first = next(frames, None)
        if target is not None and (first is None or first[0] > start):  # some containers seek too far
            frames = self._from(None)
            first = next(frames, None)
        for place, frame in chain([first] if first else [], frames):
            if place >= start:
                yield place, self._image(frame)

    def _from(self, target: int | None) -> Iterator[tuple[int, av.VideoFrame]]:
        """Decode from the presentation time `target`, None: from the beginning, with the index of each frame."""
        with _opened(self.path) as container:
            stream = _video_stream(self.path, container)
            stream.thread_type = "AUTO"
            if target is not None:
                try:
                    container.seek(target, stream=stream, backward=True)
                except av.error.FFmpegError:
                    return  # the caller then decodes from the beginning
            for count, frame in enumerate(_decode(container, stream)):
                place = self._place(frame.pts) if self._timed else count
                if place is not None:
                    yield place, frame

    def _seek_target(self, start: int) -> int | None:
        """Presentation time of the last key frame at or before frame `start`; None: decode from the beginning."""
        place = int(np.searchsorted(self._keyframes, int(self._pts[start]), side="right")) - 1
        return int(self._keyframes[place]) if place > 0 else None

    def _place(self, pts: int | None) -> int | None:
        """Index of the frame presented at `pts`, None if the file's packets name no such frame."""
        if pts is None:
            return None
        place = int(np.searchsorted(self._pts, pts))
        return place if place < len(self._pts) and self._pts[place] == pts else None

    def _image(self, frame: av.VideoFrame) -> Image:
        width, height = (frame.width, frame.height) if self._turns % 2 == 0 else (frame.height, frame.width)
        if (width, height) != self.size:
            raise FormatError(
                f"{self.path}: the frame size changes from {self.size} to {(width, height)}; convert it to one size"
            )
        image: Image = np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), self._turns))
        return image

    def _look(self) -> tuple[tuple[int, int], int]:
        """Size as displayed and quarter turns counter-clockwise, from the first frame that can be decoded."""
        with _opened(self.path) as container:
            for frame in _decode(container, _video_stream(self.path, container)):
                check_pixels(self.path, frame.width, frame.height, self.max_pixels)
                turns = round(frame.rotation / 90) % 4
                size = (frame.width, frame.height) if turns % 2 == 0 else (frame.height, frame.width)
                return size, turns
        raise FormatError(f"{self.path}: no frame in it that can be decoded")

    def _counted(self) -> npt.NDArray[np.int64]:
        """Numbers of the frames of a file whose packets have no time stamps: as many as can be decoded."""
        with _opened(self.path) as container:
            count = sum(1 for _ in _decode(container, _video_stream(self.path, container)))
        return np.arange(count)


def _opened(path: Path) -> av.container.InputContainer:
    try:
        return av.open(str(path), mode="r")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except PermissionError as error:
        raise InputError(f"{path}: no permission to read it") from error
    except (av.error.FFmpegError, ValueError) as error:
        raise FormatError(
            f"{path}: not a video that can be opened (damaged, or cut off before its index): {error}"
        ) from error


def _video_stream(path: Path, container: av.container.InputContainer) -> av.VideoStream:
    if not container.streams.video:
        raise FormatError(f"{path}: no video in it, or cut off before its index")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise FormatError(f"{path}: no decoder for its video")
    return stream


def _index(
    container: av.container.InputContainer, stream: av.VideoStream
) -> tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.int64]]:
    """Presentation times of all frames and of the key frames, in the stream's unit; None without usable time stamps.

    They are unusable where packets have none or share one, and in AVI with a codec that reorders frames: AVI knows
    decoding times only.
    """
    times: list[int] = []
    keys: list[int] = []
    for packet in _packets(container, stream):
        if packet.size == 0 or packet.is_discard:  # the flush at the end, or cut away by an edit list
            continue
        if packet.pts is None:
            return None, np.zeros(0, np.int64)
        times.append(packet.pts)
        if packet.is_keyframe:
            keys.append(packet.pts)
    pts = np.unique(np.array(times, np.int64))
    disguised = container.format.name == "avi" and stream.codec_context.has_b_frames
    if disguised or len(pts) < len(times):
        return None, np.zeros(0, np.int64)
    return pts, np.unique(np.array(keys or times[:1], np.int64))


def _packets(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet]:
    """The packets of a stream up to where the file can be read."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.error.FFmpegError, IndexError) as error:  # IndexError: PyAV, at a stream that only damage announces
            warnings.warn(f"{container.name}: damaged or cut off, it cannot be read to its end: {error}", stacklevel=2)
            return
        if packet is None:
            return
        yield packet


def _decode(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Decode packet by packet; a packet that the decoder refuses is passed over."""
    for packet in chain(_packets(container, stream), [None]):  # None asks the decoder for what it still holds
        try:
            frames = stream.decode(packet)
        except av.error.FFmpegError:
            continue
        yield from frames


def write_video(path: str | os.PathLike[str], frames: Iterable[Image], *, fps: float) -> None:
    """Write an MP4 of frames that come one after the other; see `video_writer`.

    Args:
        path: The file.
        frames: (height, width, 3) red green blue, all of one size; taken one by one.
        fps: Frames per second.

    Raises:
        InputError: there is no frame, their sizes differ, the rate is not above 0, or the file cannot be written.
    """
    with video_writer(path, fps=fps) as write:
        for image in frames:
            write(image)


@contextmanager
def video_writer(path: str | os.PathLike[str], *, fps: float) -> Iterator[Callable[[Image], None]]:
    """Write an MP4 with H.264 where the installed FFmpeg has an encoder for it, else MPEG-4.

    The block gets a function that takes the next frame, so that several videos can be written side by side. The file is
    there when the block ends well. Odd sizes are made even by repeating the last row and column, because the usual
    chroma format needs it.

    Args:
        path: The file.
        fps: Frames per second.

    Raises:
        InputError: there was no frame, their sizes differ, the rate is not above 0, or the file cannot be written.
    """
    path = Path(path)
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"fps: expected a frame rate above 0, got {fps}")
    with atomic_path(path) as temporary:
        encoder = _Encoder(path, fps)
        try:
            with av.open(str(temporary), mode="w", format="mp4", options={"movflags": "+faststart"}) as container:
                yield partial(encoder.write, container)
                encoder.finish(container)
        except av.error.FFmpegError as error:
            raise InputError(f"cannot write {path}: {error}") from error


class _Encoder:
    """The video stream of a file, which begins with its first frame."""

    def __init__(self, path: Path, fps: float) -> None:
        self.path, self.fps = path, fps
        self._shape: tuple[int, ...] = ()
        self._stream: av.VideoStream | None = None

    def write(self, container: av.container.OutputContainer, image: Image) -> None:
        stream = self._stream or self._begun(container, image)
        if image.shape != self._shape:
            raise InputError(f"{self.path}: frames of different sizes, {self._shape} and {image.shape}")
        height, width = image.shape[:2]
        even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))

    def finish(self, container: av.container.OutputContainer) -> None:
        if self._stream is None:
            raise InputError(f"{self.path}: no frame to write")
        container.mux(self._stream.encode())

    def _begun(self, container: av.container.OutputContainer, first: Image) -> av.VideoStream:
        codec = next(name for name in ("libx264", "libopenh264", "mpeg4") if name in av.codecs_available)
        stream: av.VideoStream = container.add_stream(codec, rate=Fraction(self.fps).limit_denominator(100_000))
        height, width = first.shape[:2]
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        if codec == "libx264":
            stream.options = {"crf": "20", "preset": "veryfast"}
        self._stream, self._shape = stream, first.shape
        return stream
