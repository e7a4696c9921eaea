"""The benchmark's labels, prepared as other data sets are: made once, checked always."""

import numpy as np
import pytest

from marey.core import FormatError, InputError
from marey.data.benchmark import Benchmark
from marey.data.benchmark.cells import SCENE_SETS
from marey.data.benchmark.store import label_file
from marey.data.prepare.run import prepare_data_set
from marey.data.prepare.sources import DATA_SETS
from marey.data.prepare.synthetic import SyntheticOptions

SOURCE = DATA_SETS["synthetic"]


def test_options__are_all_sets_of_scenes_by_default():
    assert SOURCE.options() is SyntheticOptions
    assert SyntheticOptions().scenes == tuple(SCENE_SETS)


@pytest.mark.parametrize("scenes", [(), ("easy", "simple")])
def test_options__of_no_such_scenes__are_an_error(scenes):
    with pytest.raises(InputError, match="scenes: expected some of easy, medium, hard, ring, "):
        SyntheticOptions(scenes=scenes)


def test_prepare__a_file_of_other_labels_is_an_error_that_names_the_version(tmp_path):
    truth = {"index": np.arange(2000), "coco_17": np.zeros((2000, 17, 3), np.float32)}
    np.savez(label_file(tmp_path, "hard"), **truth)
    with pytest.raises(FormatError, match=r"v1_hard\.npz: labels of 'hard' are not those of synthetic v1: the SHA-256"):
        prepare_data_set(SOURCE, tmp_path, tmp_path, SyntheticOptions(scenes=("hard",)), show=False)


@pytest.mark.slow
def test_prepare__makes_labels_once(tmp_path):
    options = SyntheticOptions(scenes=("easy",))
    prepare_data_set(SOURCE, tmp_path, tmp_path, options, show=False)
    path = label_file(tmp_path, "easy")
    written = path.stat().st_mtime_ns
    assert Benchmark(tmp_path).labels("single_easy").benchmark == "synthetic v1"
    prepare_data_set(SOURCE, tmp_path, tmp_path, options, fresh=True, show=False)
    assert path.stat().st_mtime_ns == written
