import base64
import json
import math
import shutil
import struct
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from marey.core import FormatError, InputError, JointTree, MareyError, Motion
from marey.geometry.rotations import rotvec_to_matrix
from marey.io.gltf import write_gltf
from marey.io.gltf_reader import read_gltf

HALF = math.sqrt(0.5)
TIMES = struct.pack("<3f", 0, 0.5, 1.0)
TURNS = struct.pack("<12f", 0, 0, 0, 1, 0, 0, HALF, HALF, 0, 0, 1, 0)  # about z by 0, 90 and 180 degrees
PLACES = struct.pack("<9f", 0, 1, 0, 0.5, 1, 0, 1, 1, 0)
SCALES = struct.pack("<6f", 1, 1, 1, 0, 0, 0)


def document():
    """Hips with a knee 0.5 m below, in a holder; the hips turn about z and walk along x, two frames a second."""
    data = TIMES + TURNS + PLACES + SCALES
    views = [(0, 12), (12, 48), (60, 36), (96, 24), (0, 8)]
    accessors = [("SCALAR", 3), ("VEC4", 3), ("VEC3", 3), ("VEC3", 2), ("SCALAR", 2)]
    return {
        "asset": {"version": "2.0"},
        "nodes": [
            {"name": "Armature", "children": [1]},
            {"name": "hips", "children": [2], "translation": [0, 1, 0]},
            {"name": "knee", "translation": [0, -0.5, 0]},
        ],
        "skins": [{"joints": [1, 2]}],
        "animations": [
            {
                "samplers": [{"input": 0, "output": 1}, {"input": 0, "output": 2, "interpolation": "LINEAR"}],
                "channels": [
                    {"sampler": 0, "target": {"node": 1, "path": "rotation"}},
                    {"sampler": 1, "target": {"node": 1, "path": "translation"}},
                ],
            }
        ],
        "buffers": [
            {
                "byteLength": len(data),
                "uri": "data:application/octet-stream;base64," + base64.b64encode(data).decode(),
            }
        ],
        "bufferViews": [{"buffer": 0, "byteOffset": start, "byteLength": size} for start, size in views],
        "accessors": [
            {"bufferView": place, "componentType": 5126, "type": kind, "count": count}
            for place, (kind, count) in enumerate(accessors)
        ],
    }


def written(tmp_path, content):
    (tmp_path / "walk.gltf").write_text(json.dumps(content))
    return tmp_path / "walk.gltf"


def packed(content):
    """The same file in its binary form."""
    data = TIMES + TURNS + PLACES + SCALES
    del content["buffers"][0]["uri"]
    text = json.dumps(content).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    return b"glTF" + struct.pack("<II", 2, 12 + len(body)) + body


EXPECTED = [[[0, 1, 0], [0, 0.5, 0]], [[0.5, 1, 0], [1, 1, 0]], [[1, 1, 0], [1, 1.5, 0]]]


def test_read__text_with_data_inside(tmp_path):
    (motion,) = read_gltf(written(tmp_path, document()))
    assert motion.tree.joints == ("hips", "knee")
    assert motion.tree.parents == (-1, 0)
    assert (motion.name, motion.fps, motion.length) == ("Armature", 2.0, 3)
    np.testing.assert_allclose(motion.offsets, [[0, 0, 0], [0, -0.5, 0]])
    np.testing.assert_allclose(motion.positions(), EXPECTED, atol=1e-6)


def test_read__binary(tmp_path):
    (tmp_path / "walk.glb").write_bytes(packed(document()))
    (motion,) = read_gltf(tmp_path / "walk.glb")
    np.testing.assert_allclose(motion.positions(), EXPECTED, atol=1e-6)


def test_read__data_beside_the_file(tmp_path):
    content = document()
    content["buffers"][0]["uri"] = "the%20data.bin"
    (tmp_path / "the data.bin").write_bytes(TIMES + TURNS + PLACES + SCALES)
    np.testing.assert_allclose(read_gltf(written(tmp_path, content))[0].positions(), EXPECTED, atol=1e-6)


@pytest.mark.parametrize("uri", ["../secret", "/etc/passwd", "a/b.bin", "http://x/y", "..", "%2e%2e%2fa", ""])
def test_read__data_elsewhere_is_refused(tmp_path, uri):
    content = document()
    content["buffers"][0]["uri"] = uri
    with pytest.raises(FormatError, match="only files beside the glTF file are opened"):
        read_gltf(written(tmp_path, content))


def test_read__frames_between_keys(tmp_path):
    content = document()
    content["animations"][0]["samplers"][0] = {"input": 4, "output": 1}
    content["accessors"][1]["count"] = 2  # 0 and 90 degrees at 0 and 0.5 s: the frame at 1 s holds the last
    (motion,) = read_gltf(written(tmp_path, content))
    np.testing.assert_allclose(motion.positions()[2, 1], [1.5, 1, 0], atol=1e-6)
    content["accessors"][4] |= {"bufferView": 5, "count": 2}
    content["bufferViews"].append(
        {"buffer": 0, "byteOffset": 0, "byteLength": 12, "byteStride": 8}
    )  # keys at 0 and 1 s
    (motion,) = read_gltf(written(tmp_path, content))
    np.testing.assert_allclose(motion.positions()[1, 1], [0.5 + 0.5 * HALF, 1 - 0.5 * HALF, 0], atol=1e-6)


def test_read__static_nodes_above_are_applied(tmp_path):
    content = document()
    content["nodes"][0] |= {"rotation": [HALF, 0, 0, HALF], "scale": [0.01, 0.01, 0.01], "translation": [0, 0, 3]}
    expected = np.array(EXPECTED)[..., [0, 2, 1]] * [0.01, -0.01, 0.01] + [0, 0, 3]  # y up becomes z up
    found = read_gltf(written(tmp_path, content))[0]
    np.testing.assert_allclose(found.positions(), expected, atol=1e-6)
    del content["nodes"][0]["rotation"], content["nodes"][0]["scale"], content["nodes"][0]["translation"]
    content["nodes"][0]["matrix"] = [0.01, 0, 0, 0, 0, 0, 0.01, 0, 0, -0.01, 0, 0, 0, 0, 3, 1]  # by columns
    np.testing.assert_allclose(read_gltf(written(tmp_path, content))[0].positions(), expected, atol=1e-6)


def test_read__scaled_to_nothing_is_unknown(tmp_path):
    content = document()
    content["animations"][0]["samplers"].append({"input": 4, "output": 3, "interpolation": "STEP"})
    content["animations"][0]["channels"].append({"sampler": 2, "target": {"node": 0, "path": "scale"}})
    (motion,) = read_gltf(written(tmp_path, content))
    assert motion.known.tolist() == [True, False, False]
    assert motion.rotations[1:].isnan().all()


def test_read__rotations_as_normalised_integers(tmp_path):
    content = document()
    data = TIMES + struct.pack("<8h", 0, 0, 0, 32767, 0, 0, 23170, 23170) + PLACES
    content["buffers"][0] = {
        "byteLength": len(data),
        "uri": "data:application/octet-stream;base64," + base64.b64encode(data).decode(),
    }
    content["bufferViews"] = [{"buffer": 0, "byteOffset": at, "byteLength": size} for at, size in ((0, 12), (12, 16))]
    content["accessors"] = content["accessors"][:2]
    content["accessors"][0]["count"] = 2
    content["accessors"][1] |= {"componentType": 5122, "normalized": True, "count": 2}
    content["animations"][0]["channels"].pop()
    content["animations"][0]["samplers"].pop()
    (motion,) = read_gltf(written(tmp_path, content))
    np.testing.assert_allclose(motion.rotations[1, 0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*does not move the skeleton")
def test_read__two_people_and_nodes_between_joints(tmp_path):
    content = document()
    content["nodes"] += [
        {"name": "pelvis", "children": [4]},
        {"name": "socket", "children": [5], "translation": [0, 2, 0]},
        {"name": "head"},
        {"name": "prop"},
    ]
    content["nodes"][3]["children"] = [4, 6]
    content["skins"].append({"joints": [3, 5]})
    first, second = read_gltf(written(tmp_path, content))
    assert first.tree.joints == ("hips", "knee")
    assert second.tree.joints == ("pelvis", "socket", "head")
    assert (second.name, second.length) == ("walk", 1)


def change(path, value):
    def apply(content):
        *way, last = path
        for step in way:
            content = content[step]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("apply", "message"),
    [
        (change(["asset"], {"version": "1.0"}), "not glTF 2: asset.version is '1.0'"),
        (change(["extensionsRequired"], ["KHR_draco"]), "requires extensions"),
        (change(["skins"], []), "no skinned skeleton"),
        (change(["skins"], [{}]), "a skin has no joints"),
        (change(["skins", 0, "joints"], [1, 9]), r"there is no nodes\[9\]"),
        (change(["nodes"], {}), "'nodes' is not a list"),
        (change(["nodes", 2, "children"], [1]), "node 1 has two parents"),
        (change(["nodes", 0], {"children": [0]}), "in a circle"),
        (change(["nodes", 1, "children"], 2), "children of node 1 are no list"),
        (change(["nodes", 1, "translation"], [0, 1]), "expected 3 numbers"),
        (change(["nodes", 1, "translation"], [0, 1, 1e300]), "expected 3 numbers"),
        (change(["nodes", 2, "rotation"], [0, 0, 0, 0]), "no quaternion"),
        (change(["nodes", 2, "scale"], [2, 2, 2]), "joint 'knee' is scaled"),
        (change(["nodes", 0, "scale"], [1, 2, 1]), "expected one scale above 0"),
        (change(["nodes", 0, "matrix"], [0] * 16), "matrix is singular"),
        (change(["nodes", 0, "matrix"], [1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]), "shears"),
        (change(["animations", 0, "channels", 1, "target", "node"], 0), "node 'Armature' above the skeleton moves"),
        (change(["animations", 0, "samplers", 0, "interpolation"], "CUBICSPLINE"), "keys joined by CUBICSPLINE"),
        (change(["animations", 0, "samplers", 0, "input"], 1), "accessor 1 is VEC4"),
        (change(["animations", 0, "samplers", 0, "output"], 2), "accessor 2 is VEC3"),
        (change(["animations", 0, "channels", 0, "sampler"], 7), "points to nothing"),
        (change(["animations", 0, "channels"], None), "no channels"),
        (change(["accessors", 1, "count"], 2), "2 values for 3 keys"),
        (change(["accessors", 1, "count"], 10**9), "accessor 1 reaches beyond its data"),
        (change(["accessors", 1, "count"], -1), "'count' is -1"),
        (change(["accessors", 1, "byteOffset"], 4), "accessor 1 reaches beyond its data"),
        (change(["accessors", 1, "sparse"], {}), "sparse"),
        (change(["accessors", 0, "bufferView"], 3), "accessor 0 holds NaN|do not rise"),
        (change(["bufferViews", 1, "byteLength"], 480), "reaches beyond its data"),
        (change(["bufferViews", 1, "buffer"], 3), r"there is no buffers\[3\]"),
        (change(["buffers", 0, "byteLength"], 10**6), "fewer than it promises; cut off"),
        (change(["buffers", 0, "uri"], "data:;base64,!!!"), "base64 is damaged"),
        (change(["buffers", 0, "uri"], "data:;base64,\u00e4"), "base64 is damaged"),
    ],
)
def test_read__malformed(tmp_path, apply, message):
    content = document()
    apply(content)
    with pytest.raises(FormatError, match=message):
        read_gltf(written(tmp_path, content))


def test_read__keys_too_far_apart_to_be_true(tmp_path):
    content = document()
    data = struct.pack("<3f", 0, 0.001, 1e9) + TURNS + PLACES
    content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(data + SCALES).decode()
    with pytest.raises(FormatError, match="too many for its size"):
        read_gltf(written(tmp_path, content))


def test_read__a_key_shared_by_thousands_of_joints(tmp_path):
    content = document()
    times = struct.pack("<1000f", *range(1000))
    content["buffers"][0]["uri"] = "data:;base64," + base64.b64encode(times + TURNS * 334).decode()
    content["bufferViews"] = [{"buffer": 0, "byteLength": 4000}, {"buffer": 0, "byteOffset": 4000, "byteLength": 16000}]
    content["accessors"] = [
        {"bufferView": place, "componentType": 5126, "type": kind, "count": 1000}
        for place, kind in enumerate(("SCALAR", "VEC4"))
    ]
    content["nodes"] = [{} for _ in range(3000)]
    content["skins"] = [{"joints": list(range(3000))}]
    samplers = [{"input": 0, "output": 1}] * 3000
    channels = [{"sampler": node, "target": {"node": node, "path": "rotation"}} for node in range(3000)]
    content["animations"] = [{"samplers": samplers, "channels": channels}]
    content["buffers"][0]["byteLength"] = 20_000
    with pytest.raises(FormatError, match="too many for its size"):
        read_gltf(written(tmp_path, content))


def test_read__a_chain_of_nodes_without_end(tmp_path):
    content = document()
    content["nodes"] = [{"children": [place + 1]} for place in range(20_000)] + [{}]
    content["skins"] = [{"joints": [20_000]}]
    with pytest.raises(FormatError, match="below more than 100 nodes"):
        read_gltf(written(tmp_path, content))


def test_read__no_file_no_text_no_animation(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_gltf(tmp_path / "absent.glb")
    for junk in (b"", b"\xff\xfe", b"[" * 100_000, b"[]", b"1"):
        (tmp_path / "a.gltf").write_bytes(junk)
        with pytest.raises(FormatError, match="not glTF"):
            read_gltf(tmp_path / "a.gltf")
    with pytest.raises(InputError, match="there is no animation 1; the file has 1"):
        read_gltf(written(tmp_path, document()), animation=1)


def test_read__cut_anywhere(tmp_path):
    content = packed(document())
    for place in range(0, len(content), 3):
        (tmp_path / "a.glb").write_bytes(content[:place])
        with pytest.raises(FormatError):
            read_gltf(tmp_path / "a.glb")


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=12), st.integers(0, 2000), st.integers(0, 20))
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_read__damaged_bytes_are_a_typed_error_or_a_result(tmp_path_factory, junk, place, cut):
    path = tmp_path_factory.mktemp("gltf") / "a.glb"
    content = packed(document())
    place %= len(content)
    path.write_bytes(content[:place] + junk + content[place + cut :])
    try:
        motions = read_gltf(path)
    except MareyError:
        return
    assert all(motion.positions().shape == (motion.length, len(motion.tree), 3) for motion in motions)


def person(seed=0, *, frames=6, count=5, name="Ann", fps=25.0):
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.randn(count, 3, generator=generator) * 0.3
    offsets[0] = 0
    parents = (-1, *(int(torch.randint(0, place, (1,), generator=generator)) for place in range(1, count)))
    vectors = torch.cumsum(torch.randn(frames, count, 3, generator=generator), 0)
    return Motion(
        tree=JointTree("tree", tuple(f"joint_{place}" for place in range(count)), parents),
        offsets=offsets,
        rotations=rotvec_to_matrix(vectors),
        translation=torch.randn(frames, 3, generator=generator),
        fps=fps,
        name=name,
    )


def gltf_arrays(path):
    """The file as pygltflib sees it, and a function that gives the rows of an accessor."""
    pygltflib = pytest.importorskip("pygltflib")
    file = pygltflib.GLTF2().load(str(path))
    kinds = {5126: "<f4", 5121: "u1", 5123: "<u2"}
    widths = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}

    def rows(place):
        accessor = file.accessors[place]
        view = file.bufferViews[accessor.bufferView]
        data = file.get_data_from_buffer_uri(file.buffers[0].uri) if file.buffers[0].uri else file.binary_blob()
        start = view.byteOffset + (accessor.byteOffset or 0)
        size = accessor.count * widths[accessor.type]
        return np.frombuffer(data, kinds[accessor.componentType], size, start).reshape(accessor.count, -1)

    return file, rows


def node_positions(file, rows, skin, key):
    """(K, 3) of the joints of a skin at one key of the animation: 4x4 matrices, node by node."""
    moved = {}
    for channel in file.animations[0].channels:
        sampler = file.animations[0].samplers[channel.sampler]
        moved[channel.target.node, channel.target.path] = rows(sampler.output)
    parents = {child: place for place, node in enumerate(file.nodes) for child in node.children or ()}

    def world(place):
        node, matrix = file.nodes[place], np.eye(4)
        translation = moved[place, "translation"][key] if (place, "translation") in moved else node.translation
        rotation = moved[place, "rotation"][key] if (place, "rotation") in moved else node.rotation
        if rotation is not None:
            from scipy.spatial.transform import Rotation

            matrix[:3, :3] = Rotation.from_quat(rotation).as_matrix()
        matrix[:3, 3] = (0, 0, 0) if translation is None else translation
        return world(parents[place]) @ matrix if place in parents else matrix

    return np.array([world(place)[:3, 3] for place in file.skins[skin].joints])


@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
def test_write__another_program_finds_the_joints(tmp_path, suffix):
    people = [person(1), person(2, name="Bob", frames=4, count=7)]
    write_gltf(tmp_path / f"out{suffix}", people)
    file, rows = gltf_arrays(tmp_path / f"out{suffix}")
    assert [node.name for node in file.nodes if node.name in ("Ann", "Bob")] == ["Ann", "Bob"]
    assert len(file.animations) == 1
    for skin, motion in enumerate(people):
        assert [file.nodes[place].name for place in file.skins[skin].joints] == list(motion.tree.joints)
        for frame in range(motion.length):
            found = node_positions(file, rows, skin, frame)
            np.testing.assert_allclose(found, motion.positions()[frame], atol=1e-5)


def test_write__keys_mesh_and_skin(tmp_path):
    motion = person(3)
    write_gltf(tmp_path / "out.glb", [motion])
    file, rows = gltf_arrays(tmp_path / "out.glb")
    samplers = file.animations[0].samplers
    np.testing.assert_allclose(rows(samplers[0].input)[:, 0], np.arange(6) / 25, atol=1e-7)
    assert file.accessors[samplers[0].input].max == pytest.approx([0.2])
    for sampler in samplers[1:]:
        quaternions = rows(sampler.output)
        np.testing.assert_allclose(np.linalg.norm(quaternions, axis=1), 1, atol=1e-6)
        assert ((quaternions[1:] * quaternions[:-1]).sum(1) >= 0).all()
    attributes = file.meshes[0].primitives[0].attributes
    points, normals = rows(attributes.POSITION), rows(attributes.NORMAL)
    assert len(points) == 4 * 24  # four bones, eight triangles each
    corners = points.reshape(-1, 3, 3)
    around = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((around * normals.reshape(-1, 3, 3)[:, 0]).sum(1) > 0).all()
    middles = points.reshape(4, 24, 3).mean(1, keepdims=True)
    outwards = (corners.mean(1).reshape(4, 8, 3) - middles) * normals.reshape(4, 8, 3, 3)[:, :, 0]
    assert (outwards.sum(-1) > 0).all()
    np.testing.assert_allclose(rows(attributes.WEIGHTS_0), np.tile([1, 0, 0, 0], (len(points), 1)))
    inner = rows(attributes.JOINTS_0)[:, 0].reshape(4, 24)
    assert inner[:, 0].tolist() == list(motion.tree.parents[1:])
    inverse = rows(file.skins[0].inverseBindMatrices).reshape(-1, 4, 4)  # by columns
    rest = Motion(
        tree=motion.tree,
        offsets=motion.offsets,
        rotations=torch.eye(3).repeat(1, 5, 1, 1),
        translation=torch.zeros(1, 3),
        fps=1,
    ).positions()[0]
    np.testing.assert_allclose(inverse[:, 3, :3], -rest, atol=1e-6)


def test_write__unknown_frames_have_no_keys_and_hide_the_person(tmp_path):
    motion = person(4, frames=8)
    motion.rotations[[0, 3, 4, 7]] = math.nan
    write_gltf(tmp_path / "out.glb", [motion])
    file, rows = gltf_arrays(tmp_path / "out.glb")
    samplers = file.animations[0].samplers
    np.testing.assert_allclose(rows(samplers[0].input)[:, 0] * 25, [1, 2, 5, 6], atol=1e-5)
    last = file.animations[0].channels[-1]
    assert (last.target.path, file.nodes[last.target.node].name, samplers[last.sampler].interpolation) == (
        "scale",
        "Ann",
        "STEP",
    )
    np.testing.assert_allclose(rows(samplers[-1].input)[:, 0] * 25, [0, 1, 3, 5, 7], atol=1e-5)
    assert rows(samplers[-1].output).tolist() == [[0] * 3, [1] * 3, [0] * 3, [1] * 3, [0] * 3]


def test_write__people_of_one_name_are_told_apart(tmp_path):
    people = [person(1, name="Ann"), person(2, name=""), person(3, name="Ann")]
    with pytest.warns(UserWarning, match="names repeat and are numbered: Ann"):
        write_gltf(tmp_path / "a.gltf", people)
    content = json.loads((tmp_path / "a.gltf").read_text())
    nodes = content["nodes"]
    roots = [nodes[place]["name"] for place in content["scenes"][0]["nodes"]]
    assert roots == ["Ann", "Ann_bones", "person_1", "person_1_bones", "Ann_2", "Ann_2_bones"]
    for kind in ("skins", "meshes", "materials"):
        assert [part["name"] for part in content[kind]] == ["Ann", "person_1", "Ann_2"]
    assert [animation["name"] for animation in content["animations"]] == ["motion"]
    moved = {channel["target"]["node"] for channel in content["animations"][0]["channels"]}
    assert moved == {joint for skin in content["skins"] for joint in skin["joints"]}


def test_write__skeleton_of_one_joint_has_something_to_see(tmp_path):
    write_gltf(tmp_path / "out.glb", [person(count=1)])
    file, rows = gltf_arrays(tmp_path / "out.glb")
    assert np.isfinite(rows(file.meshes[0].primitives[0].attributes.NORMAL)).all()


def test_write__bad_argument_leaves_no_file(tmp_path):
    lost = person(name="Bob")
    lost.translation[:] = math.nan
    for motions, name, message in (
        ([], "a.glb", "no motion to write"),
        ([person()], "a.fbx", "ends in .glb or .gltf"),
        ([person(), lost], "a.glb", "'Bob' is known in none of 6 frames"),
    ):
        with pytest.raises(InputError, match=message):
            write_gltf(tmp_path / name, motions)
    assert not list(tmp_path.iterdir())


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 9), st.sampled_from([24.0, 25.0, 30 / 1.001, 60.0, 120.0, 12.5]))
def test_round_trip__random_motions_with_gaps(tmp_path_factory, seed, count, fps):
    path = tmp_path_factory.mktemp("gltf") / "a.glb"
    motion = person(seed, frames=9, count=count, fps=fps)
    lost = torch.rand(9, generator=torch.Generator().manual_seed(seed)) < 0.2
    lost[3:5] = False
    motion.translation[lost] = math.nan
    write_gltf(path, [motion])
    (found,) = read_gltf(path)
    assert found.fps == pytest.approx(fps, rel=1e-5)
    assert found.known.tolist() == (~lost).tolist()
    places = [found.tree.joints.index(name) for name in motion.tree.joints]
    torch.testing.assert_close(found.positions()[~lost][:, places], motion.positions()[~lost], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_write__valid_by_the_khronos_validator(tmp_path):
    node = shutil.which("node")
    ask = "require.resolve('gltf-validator')"
    if node is None or subprocess.run([node, "-e", ask], capture_output=True).returncode:
        pytest.skip("node with the package gltf-validator (NODE_PATH) is not there")
    lost = person(5, name="Bob", count=300)
    lost.translation[:2] = math.nan
    check = (
        "const v=require('gltf-validator');v.validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(r=>console.log(JSON.stringify(r.issues)))"
    )
    for suffix in (".glb", ".gltf"):
        write_gltf(tmp_path / f"out{suffix}", [person(), lost, person(count=1)])
        done = subprocess.run([node, "-e", check, str(tmp_path / f"out{suffix}")], capture_output=True, check=True)
        assert json.loads(done.stdout)["messages"] == []
