"""Commands as somebody runs them who has just come."""

import os
import subprocess
from pathlib import Path


def run(*command: str | Path, cwd: Path, timeout: int = 1500) -> str:
    """Run a command as a newcomer would: without our environment's own settings."""
    clean = {key: value for key, value in os.environ.items() if key not in ("CI", "PYTHONPATH", "VIRTUAL_ENV")}
    clean |= {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout[-8000:]}"
    return done.stdout
