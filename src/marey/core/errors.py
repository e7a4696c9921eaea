"""The one family of errors. Every message says what was expected, what came, and what to do."""

from __future__ import annotations


class MareyError(Exception):
    """Base of every error that Marey raises on purpose."""


class ShapeError(MareyError, ValueError):
    """A tensor has the wrong shape or element type."""


class CalibrationError(MareyError, ValueError):
    """Cameras are missing, incomplete, or do not belong to the recording."""


class FormatError(MareyError, ValueError):
    """A file is not what its format demands."""


class InputError(MareyError, ValueError):
    """An argument or a recording cannot be worked with as it is."""


class TrainingError(MareyError, RuntimeError):
    """A training run cannot go on: its losses are not finite, or its checkpoints are of another run."""


class MissingAssetError(MareyError, FileNotFoundError):
    """A file that the user has to supply is absent."""


class MissingDependencyError(MareyError, ImportError):
    """An optional package is not installed; the message names the command that installs it."""

    @classmethod
    def of(cls, package: str, purpose: str, install: str) -> MissingDependencyError:
        """Word the error for `package`, needed for `purpose`, installed with the command `install`."""
        return cls(f"{purpose} needs the package '{package}', which is not installed; run: {install}")
