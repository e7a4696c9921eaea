"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings; a machine without it skips, CI must have it."""
    return _folder("data")


@pytest.fixture(scope="session")
def shared_parity() -> Path:
    """Inputs and outputs of the original programs."""
    return _folder("parity")


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        if os.environ.get("CI") == "true":
            pytest.fail(f"{folder} is missing; CI must have it")
        pytest.skip(f"{folder} is missing: the real recordings are not part of the repository")
    return folder
