"""Files of Human3.6M, written from the words of its documentation and of the programs that read them."""

import cdflib.cdfwrite
import cv2
import h5py
import numpy as np

CAMERAS = ("54138969", "55011271", "58860488", "60457274")


def write_metadata(path, *, placed, intrinsics):
    """`metadata.xml`: element w0 with 4 cameras x 11 subjects x (3 angles, 3 mm), then 4 x (f2, c2, k3, p2).

    `placed` gives the six numbers of a camera and subject, `intrinsics` the nine of a camera.
    """
    numbers = [value for camera in range(4) for subject in range(1, 12) for value in placed(camera, subject)]
    numbers += [value for camera in range(4) for value in intrinsics(camera)]
    assert len(numbers) == 4 * 11 * 6 + 4 * 9
    path.parent.mkdir(parents=True, exist_ok=True)
    words = " ".join(repr(float(value)) for value in numbers)
    path.write_text(
        f"<?xml version='1.0'?><H36M><mapping><tr><td>w0</td></tr></mapping><w0>[{words}]</w0></H36M>",
        encoding="utf-8",
    )


def write_poses_cdf(path, joints):
    """`D3_Positions/*.cdf`: one record `Pose` of (frames, 96) millimetres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(joints, dtype=np.float32).reshape(1, -1, 96)
    file = cdflib.cdfwrite.CDF(str(path), cdf_spec={"rDim_sizes": []}, delete=True)
    file.write_var(
        {
            "Variable": "Pose",
            "Data_Type": 44,  # CDF_FLOAT
            "Num_Elements": 1,
            "Rec_Vary": True,
            "Var_Type": "zVariable",
            "Dim_Sizes": list(values.shape[1:]),
        },
        var_data=values,
    )
    file.close()


def write_poses_h5(path, joints):
    """Martinez's `3D_positions/*.h5`: `3D_positions` (96, frames) millimetres."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["3D_positions"] = np.asarray(joints, dtype=np.float64).reshape(-1, 96).T


def write_cameras_h5(path, subjects, camera):
    """Martinez's `cameras.h5`; `camera(subject, place)` gives R, T, f, c, k, p as MATLAB shows them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for subject in subjects:
            for place, name in enumerate(CAMERAS):
                rotation, *columns = camera(subject, place)
                group = file.create_group(f"subject{subject}/camera{place + 1}")
                group["R"] = np.asarray(rotation, dtype=np.float64).T  # HDF5 shows MATLAB's columns as rows
                for key, values in zip(("T", "f", "c", "k", "p"), columns, strict=True):
                    group[key] = np.asarray(values, dtype=np.float64).reshape(-1, 1)
                group["Name"] = np.array([ord(letter) for letter in name], dtype=np.uint16).reshape(-1, 1)


def write_masks(path, boxes, size):
    """`ground_truth_bb/*.mat`: `Masks`, a reference a frame to a mask whose first axis is x.

    Boxes are left, top, right, bottom with the last two outside; None is a mask without anybody.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        references = file.create_dataset("Masks", (len(boxes), 1), dtype=h5py.ref_dtype)
        for frame, box in enumerate(boxes):
            mask = np.zeros(size, dtype=np.uint8)
            if box is not None:
                mask[box[0] : box[2], box[1] : box[3]] = 1
            file[f"#refs#/m{frame}"] = mask
            references[frame, 0] = file[f"#refs#/m{frame}"].ref


def write_video(path, greys, size):
    """A film whose frames are of one grey each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 50.0, size)
    assert writer.isOpened()
    for grey in greys:
        writer.write(np.full((size[1], size[0], 3), grey, dtype=np.uint8))
    writer.release()


def write_jpeg(path, pixels):
    """Rows of pixels, (height, width) grey or (height, width, 3) blue green red."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
