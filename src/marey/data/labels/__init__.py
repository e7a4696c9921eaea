"""What is known of people in images: one table for every data set, its file, and what is done with it."""

from marey.data.labels.file import read_labels, write_labels
from marey.data.labels.joining import join_labels
from marey.data.labels.projection import joints_in_camera, with_keypoints
from marey.data.labels.scoring import rows_to_score
from marey.data.labels.table import SPLITS, Images, Labels

__all__ = [
    "SPLITS",
    "Images",
    "Labels",
    "join_labels",
    "joints_in_camera",
    "read_labels",
    "rows_to_score",
    "with_keypoints",
    "write_labels",
]
