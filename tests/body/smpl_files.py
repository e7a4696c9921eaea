"""Body files of random numbers in the published formats, small ones."""

import numpy as np

import pickle2

COUNTS = {"smpl": 24, "smplh": 52, "smplx": 55}
PARENTS = {
    "smpl": (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
    "smplh": (
        *(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
        *(20, 22, 23, 20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35),
        *(21, 37, 38, 21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50),
    ),
    "smplx": (
        *(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15),
        *(20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38),
        *(21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53),
    ),
}


def family_arrays(family="smpl", *, vertices=60, shapes=10, seed=0):
    """The arrays of a file, `J_regressor` dense."""
    source = np.random.default_rng(seed)
    joints = COUNTS[family]
    weights = source.random((vertices, joints)) * (source.random((vertices, joints)).argsort(1) < 4)
    regressor = source.random((joints, vertices)) * (source.random((joints, vertices)) < 0.2)
    regressor[:, 0] += 1e-3
    return {
        "v_template": source.normal(size=(vertices, 3)),
        "f": source.integers(0, vertices, (2 * vertices, 3)).astype(np.uint32),
        "weights": weights / weights.sum(1, keepdims=True),
        "kintree_table": np.array([PARENTS[family], range(joints)], dtype=np.int64).astype(np.uint32),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "shapedirs": 0.03 * source.normal(size=(vertices, 3, shapes)),
        "posedirs": 0.01 * source.normal(size=(vertices, 3, 9 * (joints - 1))),
    }


def python2_pickle(arrays, make=pickle2.new_object, **replaced):
    """The file as it is distributed: shapes in chumpy, the regressor sparse, the rest plain, and what nobody needs."""
    entries = {name: pickle2.array(value) for name, value in arrays.items()}
    entries["J_regressor"] = pickle2.csc(arrays["J_regressor"], make=make)
    entries["shapedirs"] = pickle2.chumpy(arrays["shapedirs"], make=make)
    entries |= {
        "J_regressor_prior": pickle2.csc(arrays["J_regressor"], make=make),
        "bs_style": pickle2.text("lbs"),
        "bs_type": pickle2.text("lrotmin"),
        "vert_sym_idxs": pickle2.array(np.arange(len(arrays["v_template"]))),
    }
    return pickle2.stream(pickle2.dict_of(**entries | replaced))
