import pytest

from marey.body.joint_names import find_joint_names
from marey.body.smpl_tree import SMPL_TREE
from marey.body.trees import body_tree
from marey.core import InputError, JointTree, skeleton

MIXAMO = """Hips Spine/Hips Spine1/Spine Spine2/Spine1 Neck/Spine2 Head/Neck HeadTop_End/Head
LeftShoulder/Spine2 LeftArm/LeftShoulder LeftForeArm/LeftArm LeftHand/LeftForeArm LeftHandMiddle1/LeftHand
RightShoulder/Spine2 RightArm/RightShoulder RightForeArm/RightArm RightHand/RightForeArm RightHandMiddle1/RightHand
LeftUpLeg/Hips LeftLeg/LeftUpLeg LeftFoot/LeftLeg LeftToeBase/LeftFoot
RightUpLeg/Hips RightLeg/RightUpLeg RightFoot/RightLeg RightToeBase/RightFoot"""
UNREAL = """root pelvis/root spine_01/pelvis spine_02/spine_01 spine_03/spine_02 neck_01/spine_03 head/neck_01
clavicle_l/spine_03 upperarm_l/clavicle_l lowerarm_l/upperarm_l hand_l/lowerarm_l middle_01_l/hand_l
clavicle_r/spine_03 upperarm_r/clavicle_r lowerarm_r/upperarm_r hand_r/lowerarm_r middle_01_r/hand_r
thigh_l/pelvis calf_l/thigh_l foot_l/calf_l ball_l/foot_l thigh_r/pelvis calf_r/thigh_r foot_r/calf_r ball_r/foot_r"""
CMU = """root lhipjoint/root rhipjoint/root lowerback/root lfemur/lhipjoint ltibia/lfemur lfoot/ltibia ltoes/lfoot
rfemur/rhipjoint rtibia/rfemur rfoot/rtibia rtoes/rfoot upperback/lowerback thorax/upperback lowerneck/thorax
upperneck/lowerneck head/upperneck lclavicle/thorax lhumerus/lclavicle lradius/lhumerus lwrist/lradius lhand/lwrist
lfingers/lhand lthumb/lwrist rclavicle/thorax rhumerus/rclavicle rradius/rhumerus rwrist/rradius rhand/rwrist
rfingers/rhand rthumb/rwrist"""
BIPED = """Bip01 Bip01_Spine/Bip01 Bip01_Neck/Bip01_Spine Bip01_Head/Bip01_Neck
Bip01_L_Clavicle/Bip01_Neck Bip01_L_UpperArm/Bip01_L_Clavicle Bip01_L_Forearm/Bip01_L_UpperArm
Bip01_L_Hand/Bip01_L_Forearm Bip01_R_Clavicle/Bip01_Neck Bip01_R_UpperArm/Bip01_R_Clavicle
Bip01_R_Forearm/Bip01_R_UpperArm Bip01_R_Hand/Bip01_R_Forearm Bip01_L_Thigh/Bip01 Bip01_L_Calf/Bip01_L_Thigh
Bip01_L_Foot/Bip01_L_Calf Bip01_L_Toe0/Bip01_L_Foot Bip01_R_Thigh/Bip01 Bip01_R_Calf/Bip01_R_Thigh
Bip01_R_Foot/Bip01_R_Calf Bip01_R_Toe0/Bip01_R_Foot"""


def tree(text, prefix=""):
    pairs = [word.partition("/") for word in text.split()]
    names = [name for name, _, _ in pairs]
    parents = tuple(names.index(above) if above else -1 for _, _, above in pairs)
    return JointTree("file", tuple(prefix + name for name in names), parents)


def named(tree):
    found = find_joint_names(tree)
    return {part: tree.joints[place] for part, place in found.limbs.items()}, [
        tuple(tree.joints[place] for place in chain) for chain in (found.spine, found.neck)
    ]


HUMANOID = """root chest/root neck/chest right_hip/root right_knee/right_hip right_ankle/right_knee
right_shoulder/chest right_elbow/right_shoulder left_hip/root left_knee/left_hip left_ankle/left_knee
left_shoulder/chest left_elbow/left_shoulder"""


LEFT = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist", "hand")


@pytest.mark.parametrize(
    ("text", "prefix", "pelvis", "left", "spine", "neck"),
    [
        (
            MIXAMO,
            "",
            "Hips",
            "UpLeg Leg Foot ToeBase Shoulder Arm ForeArm Hand HandMiddle1",
            ("Spine", "Spine1", "Spine2"),
            ("Neck", "Head"),
        ),
        (
            CMU,
            "",
            "root",
            "femur tibia foot toes clavicle humerus radius hand fingers",
            ("lowerback", "upperback", "thorax"),
            ("lowerneck", "upperneck", "head"),
        ),
        (
            BIPED,
            "",
            "Bip01",
            "Thigh Calf Foot Toe0 Clavicle UpperArm Forearm Hand -",
            ("Bip01_Spine", "Bip01_Neck"),
            ("Bip01_Head",),
        ),
    ],
)
def test_names__of_programs(text, prefix, pelvis, left, spine, neck):
    limbs, chains = named(tree(text))
    assert limbs.pop("pelvis") == pelvis
    mark = {"Left": "Left", "l": "l", "Bip01": "Bip01_L_"}
    before = next(mark[key] for key in mark if any(name.startswith(key) for name in limbs.values()))
    expected = {f"left_{part}": before + word for part, word in zip(LEFT, left.split(), strict=True) if word != "-"}
    assert {part: name for part, name in limbs.items() if part.startswith("left_")} == expected
    assert chains == [spine, neck]
    assert len(limbs) == 2 * len(expected)


def test_names__with_a_prefix_or_the_side_behind():
    limbs, _ = named(tree(MIXAMO, prefix="mixamorig:"))
    assert limbs["right_shoulder"] == "mixamorig:RightArm"
    limbs, chains = named(tree(UNREAL))
    assert (limbs["pelvis"], limbs["left_hip"], limbs["right_foot"]) == ("pelvis", "thigh_l", "ball_r")
    assert (limbs["left_hand"], limbs["left_shoulder"]) == ("middle_01_l", "upperarm_l")
    assert chains == [("spine_01", "spine_02", "spine_03"), ("neck_01", "head")]


def test_names__shoulder_alone_is_the_shoulder():
    limbs, _ = named(body_tree(skeleton("mediapipe_33")).tree)
    assert (limbs["left_collar"], limbs["left_shoulder"]) == ("left_collar", "left_shoulder")
    limbs, chains = named(tree(HUMANOID))
    assert limbs["left_shoulder"] == "left_shoulder"
    assert "left_collar" not in limbs
    assert chains == [("chest",), ("neck",)]


def test_names__of_smpl_are_its_own():
    limbs, chains = named(SMPL_TREE)
    assert all(part == name for part, name in limbs.items())
    assert len(limbs) == 19
    assert chains == [("spine1", "spine2", "spine3"), ("neck", "head")]


def test_names__no_person():
    with pytest.raises(InputError, match=r"no left_hip, right_hip, left_knee.* among a, b; name the joints as"):
        find_joint_names(JointTree("thing", ("a", "b"), (-1, 0)))
