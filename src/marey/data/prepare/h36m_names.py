"""Names in Human3.6M: subjects, cameras, actions, joints and the files of each."""

from __future__ import annotations

from marey.core import InputError, skeleton

SUBJECTS = ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
"""Those with poses."""

CAMERAS = ("54138969", "55011271", "58860488", "60457274")

IMAGE_SIZES = {"54138969": (1000, 1002), "55011271": (1000, 1000), "58860488": (1000, 1000), "60457274": (1000, 1002)}
"""Width and height in pixels."""

ACTIONS = tuple(
    f"{action}-{trial}"
    for action in (
        "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown",
        "Smoking", "TakingPhoto", "Waiting", "Walking", "WalkingDog", "WalkingTogether",
    )
    for trial in (1, 2)
)  # fmt: skip
"""As h36m-fetch and Learnable Triangulation name them; every subject does each of fifteen twice."""

DAMAGED = {"S9": ("Greeting-2", "SittingDown-2", "Waiting-1")}
"""Actions whose poses are displaced in the world; 0.2 m along x brings them back."""

KNOWN_GAPS = {("S11", "Directions-2", "54138969")}
"""Subject, action and camera without a recording in the official data."""

SKELETON = skeleton("h36m_17")

SOURCE_COUNT = 32
SOURCE_PLACES = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Of the joints of `SKELETON` among the 32 of the official files."""

_FILES = {
    "S1": (
        "Directions 1, Directions, Discussion 1, Discussion, Eating 2, Eating, Greeting 1, Greeting, Phoning 1, "
        "Phoning, Posing 1, Posing, Purchases 1, Purchases, Sitting 1, Sitting 2, SittingDown 2, SittingDown, "
        "Smoking 1, Smoking, TakingPhoto 1, TakingPhoto, Waiting 1, Waiting, Walking 1, Walking, WalkingDog 1, "
        "WalkingDog, WalkTogether 1, WalkTogether"
    ),
    "S5": (
        "Directions 1, Directions 2, Discussion 2, Discussion 3, Eating 1, Eating, Greeting 1, Greeting 2, "
        "Phoning 1, Phoning, Posing 1, Posing, Purchases 1, Purchases, Sitting 1, Sitting, SittingDown, "
        "SittingDown 1, Smoking 1, Smoking, Photo, Photo 2, Waiting 1, Waiting 2, Walking 1, Walking, WalkDog 1, "
        "WalkDog, WalkTogether 1, WalkTogether"
    ),
    "S6": (
        "Directions 1, Directions, Discussion 1, Discussion, Eating 1, Eating 2, Greeting 1, Greeting, Phoning 1, "
        "Phoning, Posing 2, Posing, Purchases 1, Purchases, Sitting 1, Sitting 2, SittingDown 1, SittingDown, "
        "Smoking 1, Smoking, Photo, Photo 1, Waiting 3, Waiting, Walking 1, Walking, WalkDog 1, WalkDog, "
        "WalkTogether 1, WalkTogether"
    ),
    "S7": (
        "Directions 1, Directions, Discussion 1, Discussion, Eating 1, Eating, Greeting 1, Greeting, Phoning 2, "
        "Phoning, Posing 1, Posing, Purchases 1, Purchases, Sitting 1, Sitting, SittingDown, SittingDown 1, "
        "Smoking 1, Smoking, Photo, Photo 1, Waiting 1, Waiting 2, Walking 1, Walking 2, WalkDog 1, WalkDog, "
        "WalkTogether 1, WalkTogether"
    ),
    "S8": (
        "Directions 1, Directions, Discussion 1, Discussion, Eating 1, Eating, Greeting 1, Greeting, Phoning 1, "
        "Phoning, Posing 1, Posing, Purchases 1, Purchases, Sitting 1, Sitting, SittingDown, SittingDown 1, "
        "Smoking 1, Smoking, Photo 1, Photo, Waiting 1, Waiting, Walking 1, Walking, WalkDog 1, WalkDog, "
        "WalkTogether 1, WalkTogether 2"
    ),
    "S9": (
        "Directions 1, Directions, Discussion 1, Discussion 2, Eating 1, Eating, Greeting 1, Greeting, Phoning 1, "
        "Phoning, Posing 1, Posing, Purchases 1, Purchases, Sitting 1, Sitting, SittingDown, SittingDown 1, "
        "Smoking 1, Smoking, Photo 1, Photo, Waiting 1, Waiting, Walking 1, Walking, WalkDog 1, WalkDog, "
        "WalkTogether 1, WalkTogether"
    ),
    "S11": (
        "Directions 1, Directions, Discussion 1, Discussion 2, Eating 1, Eating, Greeting 2, Greeting, Phoning 3, "
        "Phoning 2, Posing 1, Posing, Purchases 1, Purchases, Sitting 1, Sitting, SittingDown, SittingDown 1, "
        "Smoking 2, Smoking, Photo 1, Photo, Waiting 1, Waiting, Walking 1, Walking, WalkDog 1, WalkDog, "
        "WalkTogether 1, WalkTogether"
    ),
}
"""The names of the official files for `ACTIONS`, in their order."""

_MARTINEZ = {
    ("S1", "TakingPhoto-1"): "Photo 1",
    ("S1", "TakingPhoto-2"): "Photo",
    ("S1", "WalkingDog-1"): "WalkDog 1",
    ("S1", "WalkingDog-2"): "WalkDog",
}
"""Where Martinez's poses are named in another way."""

_METRABS = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog", "WalkingTogether": "WalkTogether"}

_OFFICIAL = {
    subject: dict(zip(ACTIONS, (name.strip() for name in names.split(",")), strict=True))
    for subject, names in _FILES.items()
}


def official_name(subject: str, action: str) -> str:
    """How the official files of an action such as `Greeting-2` are named: `Greeting` for S9.

    Raises:
        InputError: there is no such subject or action.
    """
    if subject not in _OFFICIAL or action not in _OFFICIAL[subject]:
        raise InputError(f"Human3.6M has no {subject} {action}; subjects are {', '.join(SUBJECTS)}, actions {ACTIONS}")
    return _OFFICIAL[subject][action]


def martinez_name(subject: str, action: str) -> str:
    """How an action's file of poses in Martinez's download is named.

    Raises:
        InputError: there is no such subject or action.
    """
    return _MARTINEZ.get((subject, action)) or official_name(subject, action)


def action_of_official(subject: str, name: str) -> str:
    """The action of a file's name: `Greeting-2` for `Greeting` of S9; empty for a name that is none."""
    return {file: action for action, file in _OFFICIAL.get(subject, {}).items()}.get(name, "")


def metrabs_action(action: str) -> str:
    """How MeTRAbs calls an action such as `WalkingDog-1`: `WalkDog`."""
    name = action.rpartition("-")[0] or action
    return _METRABS.get(name, name)
