"""Train the small task in a process of its own: what the tests start under torchrun, and what they kill.

python train_small.py OUT SETTINGS.json
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from engine.small_task import SmallRecipe, SmallTask, settings
from marey.engine.training import train


def main() -> None:
    """Train, and write what this process saw."""
    torch.set_num_threads(1)
    out, wishes = Path(sys.argv[1]), json.loads(sys.argv[2])
    faults = {name: wishes[name] for name in ("kill_at", "stop_at") if name in wishes}
    task = SmallTask(SmallRecipe(**wishes.get("recipe", {})), **faults)
    result = train(task, settings(**wishes.get("settings", {})), out)
    told = {"world": result.world, "rank": result.rank, "seen": task.seen, "scores": result.scores}
    told["state"] = {name: value.tolist() for name, value in task.model.state_dict().items()}
    (out / f"rank-{result.rank}-of-{os.environ.get('WORLD_SIZE', '1')}.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main()
