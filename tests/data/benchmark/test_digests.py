"""Hashes that other processors find too, and that changes of labels do not pass."""

import hashlib

import numpy as np
import pytest

from marey.data.benchmark.digests import digest_of, hash_of


@pytest.fixture
def joints() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(2000, 24, 3)).astype(np.float32)


def test_hash__is_that_of_whole_steps_with_name_and_shape():
    array = np.array([[0.02, -0.013], [np.nan, 0.0]], np.float32)
    steps = np.array([[1, -2], [-(2**63), -1]], dtype="<i8")  # floor(value / 0.01 - 0.25)
    expected = hashlib.sha256(b"joints|2,2|<i8|" + steps.tobytes()).hexdigest()
    assert hash_of("joints", array, step=0.01, phase=0.25) == expected
    assert hash_of("other", array, step=0.01, phase=0.25) != expected


def test_hash__of_integers_does_not_depend_on_their_width():
    assert hash_of("index", np.arange(5, dtype=np.int32)) == hash_of("index", np.arange(5, dtype=np.int64))


def test_digest__keeps_every_value_away_from_the_borders(joints):
    digest = digest_of("joints", joints)
    places = np.mod(joints.astype(np.float64) / digest.step - digest.phase, 1)
    assert np.minimum(places, 1 - places).min() == pytest.approx(digest.margin, abs=1e-8)
    assert digest.margin * digest.step > 1e-7  # metres: more than float32 rounds joints of a few metres by


def test_digest__fits_values_with_other_last_bits(joints):
    digest = digest_of("joints", joints)
    other = np.nextafter(joints, np.float32(np.inf))
    assert not np.array_equal(other, joints)
    assert digest.fits("joints", other)


@pytest.mark.parametrize("moved", [1e-3, 1e-4])
def test_digest__does_not_fit_labels_that_moved(joints, moved):
    digest, other = digest_of("joints", joints), joints.copy()
    other[:, 5, 0] += np.float32(moved)
    assert not digest.fits("joints", other)


@pytest.mark.parametrize("other", [np.zeros((2000, 24, 2), np.float32), np.full((2000, 24, 3), np.nan, np.float32)])
def test_digest__does_not_fit_another_shape_or_nothing(joints, other):
    assert not digest_of("joints", joints).fits("joints", other)


def test_digest__of_what_pixels_show_allows_one_in_a_thousand():
    visible = np.random.default_rng(0).random((2000, 1, 24)) < 0.7
    digest, few, many = digest_of("visible", visible), visible.copy(), visible.copy()
    few[:2, 0, 3] = ~few[:2, 0, 3]
    many[:40, 0, 3] = True
    many[40:80, 0, 3] = True
    assert digest.fits("visible", visible)
    assert digest.fits("visible", few)
    assert not digest.fits("visible", many)
    assert not digest_of("index", np.arange(9)).fits("index", np.arange(9) + 1)
