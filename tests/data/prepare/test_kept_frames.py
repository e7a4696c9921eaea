"""Which frames are kept because somebody has moved since the last one that was."""

import numpy as np

from marey.data.prepare.kept_frames import frames_apart


def test_frames_apart__compare_with_the_last_that_was_kept():
    places = np.array([0.0, 0.06, 0.12, 0.15, 0.221, 0.23, 0.33])
    joints = np.zeros((7, 2, 3))
    joints[:, 1, 2] = places  # one joint that moves is enough
    # 0.12 from 0; 0.221 is 0.101 from 0.12; 0.33 is 0.109 from 0.221
    assert frames_apart(joints, 0.1).tolist() == [0, 2, 4, 6]
    assert frames_apart(joints, 0.0).tolist() == list(range(7))
    assert frames_apart(joints[:0], 0.1).tolist() == []


def test_frames_apart__equals_the_rule_frame_by_frame():
    joints = np.cumsum(np.random.default_rng(0).normal(0, 0.03, (300, 17, 3)), axis=0)
    kept, last = [], None
    for frame, pose in enumerate(joints):
        if last is None or not np.all(np.linalg.norm(pose - last, axis=1) < 0.3):
            kept.append(frame)
            last = pose
    assert 10 < len(kept) < 100
    assert frames_apart(joints, 0.3).tolist() == kept


def test_frames_apart__unknown_joints_keep_a_frame():
    joints = np.zeros((4, 2, 3))
    joints[2, 1] = np.nan
    assert frames_apart(joints, 0.1).tolist() == [0, 2, 3]  # nor is a frame known to be near one with unknown joints
