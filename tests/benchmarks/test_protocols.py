import importlib
import sys
from xml.etree import ElementTree as Xml

import pytest
import torch

from house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
parity = importlib.import_module("parity")
protocols = importlib.import_module("protocols")
spread = importlib.import_module("protocol_spread")


def test_recordings__are_as_many_as_said_and_found():
    predictions, labels = protocols.recordings(3)
    assert (len(labels), len(predictions)) == (20 * 3 * 3, 20 * 3 * 4)
    scores = protocols.MuPoTS().score(predictions, labels)
    assert scores.values["recall"] == 100
    assert 40 < scores.values["metric/absolute/raw/mpjpe17_mm"] < 55  # 30 mm along each axis: 48 mm


def test_spread__without_faults_there_is_no_error(monkeypatch):
    for fault in ("JOINT_DEGREES", "BODY_DEGREES", "DEPTH", "SIZE"):
        monkeypatch.setattr(spread, fault, 0.0)
    truth, predicted = spread.bodies(spread.open_body("small"), 4)
    for name, number, joints in spread.ASKED:
        if name == "3dpw-3dnbf":
            continue  # brings two different points together
        assert spread.score(name, number, truth[joints], predicted[joints], joints) == pytest.approx(0, abs=1e-3)


def test_spread__a_shift_is_an_absolute_error_only():
    truth, _ = spread.bodies(spread.open_body("small"), 4)
    moved = truth["h36m_17"] + torch.tensor([0.0, 0.0, 0.1])
    assert spread.score("h36m", "mpjpe_mm", truth["h36m_17"], moved, "h36m_17") == pytest.approx(100)
    assert spread.score("h36m", "mpjpe_relative_mm", truth["h36m_17"], moved, "h36m_17") == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("case", "outcome"),
    [
        ("<testcase/>", "passed"),
        ("<testcase><failure/></testcase>", "failed"),
        ("<testcase><error/></testcase>", "failed"),
        ("<testcase><skipped/></testcase>", "skipped"),
    ],
)
def test_parity__tells_outcomes_apart(case, outcome):
    assert parity._outcome(Xml.fromstring(case)) == outcome
