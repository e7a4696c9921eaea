import math

import numpy as np
import pytest
import scipy.signal
import torch

from marey.core import InputError
from marey.refine.biquads import butterworth_sections
from marey.refine.filters import butterworth, one_euro
from refine.recordings import joints_of, seconds, waving


def _rough(frames, people=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return waving(frames, people) + 0.02 * torch.randn(frames, people, 17, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize(("cutoff", "fps"), [(6.0, 60.0), (0.5, 100.0), (45.0, 100.0)])
def test_sections__have_scipys_response(order, cutoff, fps):
    sections = butterworth_sections(order, cutoff, fps).numpy()
    padded = np.insert(sections, 3, 1.0, axis=1)
    _, ours = scipy.signal.sosfreqz(padded, 200)
    _, expected = scipy.signal.sosfreqz(scipy.signal.butter(order, cutoff, fs=fps, output="sos"), 200)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


@pytest.mark.parametrize("order", [2, 3, 4])
def test_butterworth__is_scipys_butter_and_filtfilt(order):
    joints = joints_of(_rough(150, 2))
    filtered = butterworth(joints, seconds(150), cutoff=6.0, order=order).positions
    numerator, denominator = scipy.signal.butter(order, 6.0, fs=60.0)
    expected = scipy.signal.filtfilt(numerator, denominator, joints.positions.numpy(), axis=0)
    np.testing.assert_allclose(filtered, expected, atol=1e-6)


def test_butterworth__filters_spans_between_gaps_each_by_itself():
    positions = _rough(300)
    positions[:7], positions[100:130, 0, 3] = math.nan, math.nan
    positions[200, 0, 5] = math.nan
    filtered = butterworth(joints_of(positions), seconds(300)).positions
    assert torch.equal(filtered.isnan(), positions.isnan())
    numerator, denominator = scipy.signal.butter(4, 6.0, fs=60.0)
    for joint, first, last in ((3, 7, 100), (3, 130, 300), (5, 7, 200), (5, 201, 300), (0, 7, 300)):
        expected = scipy.signal.filtfilt(numerator, denominator, positions[first:last, 0, joint].numpy(), axis=0)
        np.testing.assert_allclose(filtered[first:last, 0, joint], expected, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 5, 15])
def test_butterworth__spans_shorter_than_its_padding_stay_in_range(frames):
    positions = torch.full((40, 1, 17, 3), math.nan, dtype=torch.float64)
    positions[10 : 10 + frames] = 1.0 + 0.1 * seconds(frames)[:, None, None, None]
    filtered = butterworth(joints_of(positions), seconds(40)).positions
    torch.testing.assert_close(filtered, positions, atol=0.01, rtol=0, equal_nan=True)


def test_butterworth__keeps_covariance_and_flags():
    joints = joints_of(_rough(50))
    filtered = butterworth(joints, seconds(50))
    assert torch.equal(filtered.covariance, joints.covariance)
    assert torch.equal(filtered.filled, joints.filled)


def test_butterworth__nothing_known_and_one_frame():
    nothing = torch.full((5, 1, 17, 3), math.nan, dtype=torch.float64)
    assert butterworth(joints_of(nothing), seconds(5)).positions.isnan().all()
    assert torch.equal(butterworth(joints_of(waving(1)), seconds(1)).positions, waving(1))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"cutoff": 30.0}, "half the frame rate"), ({"cutoff": 0.0}, "cutoff"), ({"order": 0}, "order: expected 1")],
)
def test_butterworth__impossible_filters_are_refused(arguments, text):
    with pytest.raises(InputError, match=text):
        butterworth(joints_of(waving(20)), seconds(20), **arguments)


def test_butterworth__uneven_times_are_refused():
    times = seconds(20).clone()
    times[10:] += 0.02
    with pytest.raises(InputError, match="evenly spaced"):
        butterworth(joints_of(waving(20)), times)


def _one_euro_of_one_joint(points, times, min_cutoff, speed_factor, speed_cutoff):
    """The published algorithm, one point after the other, with the speed of the vector."""

    def share(cutoff, step):
        return 1 / (1 + 1 / (2 * math.pi * cutoff) / step)

    value, velocity, before, output = None, np.zeros(3), None, []
    for point, time in zip(points, times, strict=True):
        if np.isnan(point).any():
            output.append(point)
            continue
        if value is None:
            value = point
        else:
            step = time - before
            velocity = velocity + share(speed_cutoff, step) * ((point - value) / step - velocity)
            value = value + share(min_cutoff + speed_factor * np.linalg.norm(velocity), step) * (point - value)
        before = time
        output.append(value)
    return np.stack(output)


def test_one_euro__is_the_published_algorithm_with_gaps_and_uneven_times():
    generator = torch.Generator().manual_seed(4)
    times = (0.005 + 0.02 * torch.rand(100, generator=generator).double()).cumsum(0)
    positions = _rough(100, 2)
    positions[:3, 1], positions[40:50, 0, 2] = math.nan, math.nan
    filtered = one_euro(joints_of(positions), times, min_cutoff=1.5, speed_factor=3.0, speed_cutoff=2.0).positions
    for person, joint in ((0, 2), (1, 9)):
        expected = _one_euro_of_one_joint(positions[:, person, joint].numpy(), times.numpy(), 1.5, 3.0, 2.0)
        np.testing.assert_allclose(filtered[:, person, joint], expected, atol=1e-12)


def test_one_euro__knows_no_future():
    positions = _rough(60)
    changed = positions.clone()
    changed[40:] += 1.0
    first, second = (one_euro(joints_of(points), seconds(60)).positions for points in (positions, changed))
    assert torch.equal(first[:40], second[:40])


def test_one_euro__steadies_a_resting_joint_and_follows_a_fast_one():
    time = seconds(300)
    truth = torch.zeros(300, 1, 17, 3, dtype=torch.float64)
    truth[:, 0, 9, 0] = 2.0 * time
    noise = 0.005 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    filtered = one_euro(joints_of(truth + noise), time).positions
    error = (filtered - truth)[100:].square().sum(-1).mean(0).sqrt()[0]
    assert error[0] < 0.5 * 0.005 * math.sqrt(3)
    assert error[9] < 0.04, "2 m/s with less than 20 ms of delay"
