"""The field's published protocols, each equal to the program that defines it.

    scores = protocol("mupots").score(read_pose_rows("predictions.npz"), read_pose_rows("labels.npz"))

Every one takes predictions and labels as `PoseRows` (`marey.io.predictions`) and gives `Scores`, whose card says which
joints, alignment, averages, matching and thresholds its numbers mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from marey.core import InputError
from marey.metrics.protocols.bodies import PW3D, SSP3D, Bodies
from marey.metrics.protocols.coco import CocoKeypoints
from marey.metrics.protocols.common_joints import CommonJoints
from marey.metrics.protocols.contract import Protocol, ProtocolCard, Scores
from marey.metrics.protocols.human36m import MetrabsHuman36M, TriangulationHuman36M
from marey.metrics.protocols.lsp14 import SCENES_3DPW_OCC, Lsp14
from marey.metrics.protocols.metapose import MetaPose
from marey.metrics.protocols.mpi_inf_3dhp import MpiInf3dhp
from marey.metrics.protocols.mupots import MuPoTS
from marey.metrics.protocols.panoptic import CmuPanoptic, PanopticAP
from marey.metrics.protocols.pw3d import Pw3d
from marey.metrics.protocols.shelf import PartsOfActors
from marey.metrics.protocols.synthetic import SyntheticCaptures
from marey.metrics.protocols.uncertainty import Uncertainty

__all__ = ["PROTOCOLS", "Protocol", "ProtocolCard", "Scores", "protocol"]

PROTOCOLS: Mapping[str, Protocol] = {
    found.card.name: found
    for found in (
        MetrabsHuman36M(),
        MetrabsHuman36M(procrustes=True),
        TriangulationHuman36M(),
        TriangulationHuman36M(invalid_scenes=False),
        TriangulationHuman36M(kind="mpii"),
        TriangulationHuman36M(kind="mpii", invalid_scenes=False),
        TriangulationHuman36M(kind="transfer"),
        MpiInf3dhp(),
        MpiInf3dhp(procrustes=True),
        MpiInf3dhp(as_shipped=True),
        MpiInf3dhp(as_shipped=True, procrustes=True),
        MuPoTS(),
        Pw3d(),
        Pw3d(program="challenge"),
        Lsp14(),
        Lsp14(name="3dpw-14-pelvis", root="pelvis"),
        Lsp14(name="3dpw-3dnbf", root="as_3dnbf", visible_only=True),
        Lsp14(name="3dpw-occ", root="as_3dnbf", visible_only=True, scenes=SCENES_3DPW_OCC),
        Lsp14(name="3doh50k", root="as_3dnbf", visible_only=True),
        Lsp14(name="3dpw-advocc", root="as_3dnbf", visible_only=True),
        Bodies(name="3dpw-hierprob", metrics=PW3D),
        Bodies(name="ssp3d", metrics=SSP3D),
        MetaPose(),
        MetaPose(mirror=False),
        CocoKeypoints(),
        CmuPanoptic(),
        PanopticAP(),
        PartsOfActors(),
        PartsOfActors(name="campus"),
        CommonJoints(),
        SyntheticCaptures(),
        Uncertainty(),
    )
}
"""By the name on the card."""


def protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        InputError: there is none.
    """
    if name not in PROTOCOLS:
        near = get_close_matches(name, PROTOCOLS, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        raise InputError(f"protocol: no '{name}'; {guess}there are: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
