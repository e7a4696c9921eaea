"""`marey convert` as a command."""

import numpy as np
import pytest

from marey.cli.main import main
from marey.io.npz import write_estimate_npz
from pipeline.recordings import recorded

TOML = """[cam_1]
size = [640, 480]
matrix = [[700, 0, 320], [0, 700, 240], [0, 0, 1]]
distortions = [0, 0, 0, 0]
rotation = [0, 0, 0]
translation = [0, 0, 3000]

[cam_2]
size = [640, 480]
matrix = [[700, 0, 320], [0, 700, 240], [0, 0, 1]]
distortions = [0, 0, 0, 0]
rotation = [0, 0, 0]
translation = [2000, 0, 3000]
"""


def test_convert__from_toml_to_colmap(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(TOML)
    words = ["convert", str(tmp_path / "a.toml"), str(tmp_path / "model"), "--to", "colmap", "--unit"]
    assert main([*words, "mm"]) == 0
    assert capsys.readouterr().out.startswith("toml -> colmap: 2 cameras (cam_1, cam_2)\nwrote ")
    assert " 2.0 0.0 3.0 2 cam_2" in (tmp_path / "model" / "images.txt").read_text()
    assert main([*words, "0.002"]) == 0
    assert " 4.0 0.0 6.0 2 cam_2" in (tmp_path / "model" / "images.txt").read_text()


def test_convert__missing_unit_and_unknown_format_are_one_line(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(TOML)
    assert main(["convert", str(tmp_path / "a.toml"), str(tmp_path / "b.toml")]) == 2
    assert "the file does not state its unit: pass unit='mm'" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "a.toml"), str(tmp_path / "b.toml"), "--from", "fbx"]) == 2
    assert "no format is called 'fbx'" in capsys.readouterr().err


def test_convert__says_which_files_it_wrote(tmp_path, capsys):
    write_estimate_npz(tmp_path / "estimate.npz", recorded())
    assert main(["convert", str(tmp_path / "estimate.npz"), str(tmp_path / "c.json")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-2:] == [f"wrote {tmp_path / 'c_front.json'}", f"wrote {tmp_path / 'c_side.json'}"]


def test_convert__joints_and_rate_that_the_file_does_not_say(tmp_path, capsys):
    positions = {"a": {"walk": np.zeros((2, 25, 3), np.float32)}}
    np.savez(tmp_path / "a.npz", positions_3d=np.array(positions, dtype=object))
    words = ["convert", str(tmp_path / "a.npz"), str(tmp_path / "a.csv")]
    assert main(words) == 2
    assert "say with --skeleton what they are: body_25 or body_25b" in capsys.readouterr().err
    assert main([*words, "--skeleton", "body_25", "--fps", "50"]) == 0
    assert "25 joints of 1 people in 2 frames at 50 per second" in capsys.readouterr().out
    assert main([*words, "--fps", "0"]) == 2
    assert "fps: expected frames per second above 0, got 0" in capsys.readouterr().err


def test_convert__unit_that_is_none(tmp_path, capsys):
    (tmp_path / "a.toml").write_text(TOML)
    with pytest.raises(SystemExit):
        main(["convert", str(tmp_path / "a.toml"), str(tmp_path / "b.toml"), "--unit", "5 cm"])
    assert "5 cm" in capsys.readouterr().err
    assert not (tmp_path / "b.toml").exists()
