"""Names of files and views: natural order, frame numbers, and what two names of the same camera share."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MOST_DIGITS = 18
_DIGITS = re.compile(r"(\d+)")
_KIND = re.compile(r"(json|img|imgs|images?|videos?|vid|keypoints|pose|frames|synchronized|synced)$")


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that counts: `cam_2` before `cam_10`, letters without regard to case."""
    parts = _DIGITS.split(name.casefold())
    return tuple(_counted(part.lstrip("0")) if part.isdecimal() else (1, 0, part) for part in parts if part)


def _counted(digits: str) -> tuple[int, int, str]:
    """A number by its length and digits, which compare as the number does: Python refuses to make it of thousands."""
    return 0, len(digits), digits


def last_number(name: str) -> int | None:
    """The last group of digits in a name, as `12` in `trial3_000000000012_keypoints`; None where it is none to count.

    Groups of more than 18 digits count nothing.
    """
    groups = _DIGITS.findall(name)
    return int(groups[-1]) if groups and len(groups[-1]) <= _MOST_DIGITS else None


def view_key(name: str) -> str:
    """What identifies a camera: lower-case letters and numbers, without what says only the kind of the data.

    `cam01_json`, `Cam_1` and `cam-01_img` all become `cam1`. A name that is nothing but a kind stays.
    """
    counted = _DIGITS.sub(lambda digits: digits[0].lstrip("0") or "0", name.casefold())
    plain = "".join(character for character in counted if character.isalnum())
    return _KIND.sub("", plain) or plain


def file_stem(name: str) -> str:
    """A name as part of a file's name: letters, digits, points, dashes and underscores; anything else is `_`."""
    return re.sub(r"[^\w.-]+", "_", name).lstrip(".") or "_"


def listed(names: Sequence[str], *, most: int = 8, longest: int = 40) -> str:
    """Names for a message: the first ones, cut to so many letters, and how many more there are; `nothing` of none."""
    shown = ", ".join(name[:longest] for name in names[:most]) or "nothing"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
