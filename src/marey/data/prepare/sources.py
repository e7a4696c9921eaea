"""The data sets that can be prepared: what each is, whose it is, and what its owner asks for.

None of them is part of Marey. Each is downloaded by the user, under the licence of its owner; the words here are a
summary for orientation, the licence on the home page counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any, get_type_hints

from marey.core import InputError


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """A data set and how it is prepared."""

    name: str
    title: str
    home: str
    """Where it is described and downloaded."""
    licence: str
    files: tuple[str, ...]
    """What to download, below the folder of the data set; path, colon, what it is."""
    writes: str
    """What preparing gives."""
    target: str
    """``module:function``; the function is called with root, out, options and work."""

    def prepare(self) -> Callable[..., Any]:
        """Load the function that prepares the data set."""
        module, _, attribute = self.target.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), attribute)
        return function

    def options(self) -> type[Any]:
        """The dataclass of its options, all with the published values as defaults."""
        kind: type[Any] = get_type_hints(self.prepare())["options"]
        return kind


_RESEARCH = "non-commercial research only"

_SOURCES = (
    DataSource(
        name="h36m",
        title="Human3.6M",
        home="http://vision.imar.ro/human3.6m",
        licence=f"{_RESEARCH}; registration needed",
        files=(
            "S*/Videos/ACTIVITY.CAMERA.mp4: videos of the subjects 1, 5, 6, 7, 8, 9, 11",
            "S*/MyPoseFeatures/D3_Positions/ACTIVITY.cdf: 3D joints in the world",
            "S*/BBoxes/ACTIVITY.CAMERA.npy or S*/MySegmentsMat/ground_truth_bb/ACTIVITY.CAMERA.mat: boxes",
            "Release-v1.2/metadata.xml: cameras, from the code of the release",
            "or, as h36m-fetch and Martinez's download have them: processed/S*/ACTION/imageSequence/CAMERA/img_*.jpg, "
            "processed/S*/MySegmentsMat/, una-dinosauria-data/h36m/cameras.h5, S*/MyPoses/3D_positions/*.h5",
        ),
        writes="frames, stored crops or undistorted images, boxes, joints in the world, cameras, the label file of "
        "Learnable Triangulation",
        target="marey.data.prepare.h36m:prepare",
    ),
    DataSource(
        name="3dhp",
        title="MPI-INF-3DHP",
        home="https://vcai.mpi-inf.mpg.de/3dhp-dataset",
        licence=_RESEARCH,
        files=(
            "S*/Seq*/annot.mat, camera.calibration, imageSequence/, FGmasks/: training set",
            "TS*/annot_data.mat, imageSequence/: test set",
            "yolov3_person_detections.pkl or .json: boxes of a person detector, if there are any",
        ),
        writes="stored crops with masks, boxes, joints in the world, cameras",
        target="marey.data.prepare.mpi_inf_3dhp:prepare",
    ),
    DataSource(
        name="muco",
        title="MuCo-3DHP",
        home="https://vcai.mpi-inf.mpg.de/projects/SingleShotMultiPerson",
        licence=f"{_RESEARCH}; composed of MPI-INF-3DHP, whose licence holds too",
        files=(
            "unaugmented_set_001/: composites, made by the Matlab program of its authors",
            "sampled_dataset_info.mat or composite_frame_origins.npy: what they are made of",
            "yolov3_detections.pkl or .json: boxes of a person detector, if there are any",
            "beside it the folder 3dhp, MPI-INF-3DHP with imageSequence/, FGmasks/ and ChairMasks/ extracted",
        ),
        writes="stored crops with masks, boxes, joints, cameras",
        target="marey.data.prepare.muco:prepare",
    ),
    DataSource(
        name="mupots",
        title="MuPoTS-3D",
        home="https://vcai.mpi-inf.mpg.de/projects/SingleShotMultiPerson",
        licence=_RESEARCH,
        files=(
            "TS*/annot.mat, img_*.jpg: the twenty test sequences (MultiPersonTestSet.zip)",
            "yolov3_detections.pkl or .json: boxes of a person detector, if there are any",
        ),
        writes="labels for evaluation, camera_intrinsics.json",
        target="marey.data.prepare.mupots:prepare",
    ),
    DataSource(
        name="mpii",
        title="MPII Human Pose",
        home="http://human-pose.mpi-inf.mpg.de",
        licence="Simplified BSD by the annotations' readme; research only, no commercial use, by its home page",
        files=(
            "mpii_human_pose_v1_u12_1.mat: annotations (mpii_human_pose_v1_u12_2.zip)",
            "images/: pictures (mpii_human_pose_v1.tar.gz)",
            "yolov3_detections.pkl or .json: boxes of a person detector, for --rule detected only",
        ),
        writes="2D keypoints and boxes of the training pictures",
        target="marey.data.prepare.mpii:prepare",
    ),
    DataSource(
        name="3dpw",
        title="3D Poses in the Wild",
        home="https://virtualhumans.mpi-inf.mpg.de/3DPW",
        licence=f"{_RESEARCH}; terms to be accepted on the download page",
        files=(
            "sequenceFiles/{train,validation,test}/*.pkl: labels",
            "imageFiles/SEQUENCE/image_*.jpg: pictures",
        ),
        writes="labels with bodies and cameras, lists of 3DPW-Occ, HumanData archives, crops",
        target="marey.data.prepare.pw3d:prepare",
    ),
    DataSource(
        name="cmu",
        title="CMU Panoptic",
        home="http://domedb.perception.cs.cmu.edu",
        licence=_RESEARCH,
        files=(
            "SEQUENCE/hdPose3d_stage1_coco19/, calibration_SEQUENCE.json: by the toolbox of its authors",
            "SEQUENCE/hdImgs/00_24/00_24_*.jpg or hdVideos/hd_00_24.mp4: of the cameras that are wanted",
            "SEQUENCE/detections/00_24.json: boxes of a person detector, for --boxes detections only",
        ),
        writes="joints of everybody in the world, cameras, boxes, pictures",
        target="marey.data.prepare.cmu:prepare",
    ),
    DataSource(
        name="ssp3d",
        title="SSP-3D (sports shape and pose)",
        home="https://github.com/akashsengupta1997/SSP-3D",
        licence="see the repository; the pictures are from the videos of Sports-1M",
        files=("labels.npz, images/, silhouettes/: as in ssp_3d.zip of the repository",),
        writes="labels with bodies, masks",
        target="marey.data.prepare.ssp3d:prepare",
    ),
    DataSource(
        name="skipose",
        title="Ski-PosePTZ-Camera",
        home="https://www.epfl.ch/labs/cvlab/data/ski-poseptz-dataset",
        licence=f"{_RESEARCH}; access on request",
        files=(
            "train/labels.h5, test/labels.h5: joints and cameras of each picture",
            "train/seq_*/cam_*/image_*.png, test/...: pictures of 256 x 256 (Ski-PosePTZ-CameraDataset-png.zip)",
            "ski_centers.csv: places of the skiers in the world; without it they are placed by their pixels",
        ),
        writes="joints, keypoints and the cameras of each picture, for 6, 4 or 2 cameras",
        target="marey.data.prepare.skipose:prepare",
    ),
    DataSource(
        name="coco",
        title="COCO keypoints 2017",
        home="https://cocodataset.org",
        licence="annotations CC BY 4.0; the pictures are from Flickr, under the terms of each",
        files=(
            "annotations/person_keypoints_train2017.json, person_keypoints_val2017.json: annotations",
            "train2017/*.jpg, val2017/*.jpg: pictures",
        ),
        writes="2D keypoints, boxes and masks of people",
        target="marey.data.prepare.coco:prepare",
    ),
    DataSource(
        name="voc-occluders",
        title="Pascal VOC 2012",
        home="http://host.robots.ox.ac.uk/pascal/VOC/voc2012",
        licence="the pictures are from Flickr, under its terms",
        files=("VOCdevkit/VOC2012/{Annotations,JPEGImages,SegmentationObject}: the train/val data",),
        writes="objects with soft masks that are pasted before people",
        target="marey.data.prepare.voc_occluders:prepare",
    ),
    DataSource(
        name="inria",
        title="INRIA Holidays",
        home="https://lear.inrialpes.fr/people/jegou/data.php",
        licence="the pictures are copyright INRIA; research use, see the home page",
        files=(
            "jpg/*.jpg: pictures of jpg1.tar.gz and jpg2.tar.gz",
            "yolov3_person_detections.pkl or .json: boxes of a person detector, to list the pictures without people",
        ),
        writes="upright square backgrounds of 512 pixels, the list of those without people",
        target="marey.data.prepare.inria:prepare",
    ),
    DataSource(
        name="dtd",
        title="Describable Textures",
        home="https://www.robots.ox.ac.uk/~vgg/data/dtd",
        licence="research only",
        files=("images/CATEGORY/*.jpg, labels/*.txt: pictures and partitions (dtd-r1.0.1.tar.gz)",),
        writes="the list of textures for occluders and backgrounds, in train, validation and test",
        target="marey.data.prepare.dtd:prepare",
    ),
    DataSource(
        name="lsun",
        title="LSUN scenes",
        home="https://www.yf.io/p/lsun",
        licence="see the home page; the pictures are from the web",
        files=("SCENE_train*/, SCENE_val*/: pictures, which the data set's own data.py exports from its databases",),
        writes="square backgrounds, in train and validation",
        target="marey.data.prepare.lsun:prepare",
    ),
    DataSource(
        name="3doh50k",
        title="3DOH50K (object-occluded humans)",
        home="https://www.yangangwang.com/papers/ZHANG-OOH-2020-03.html",
        licence="see the home page",
        files=("trainset/ and testset/, each with annots.json and images/: the splits that are wanted",),
        writes="labels with bodies, HumanData archives",
        target="marey.data.prepare.doh50k:prepare",
    ),
    DataSource(
        name="humandata",
        title="Annotation files in the HumanData format",
        home="https://github.com/open-mmlab/mmhuman3d/blob/main/docs/human_data.md",
        licence="that of the data set which is annotated",
        files=("NAME.npz, images/: an archive of mmhuman3d or 3DNBF, such as spin_*.npz or eft_*.npz, and its images",),
        writes="labels that refer to the images",
        target="marey.data.prepare.human_data_sets:prepare",
    ),
    DataSource(
        name="synthetic",
        title="Marey's own synthetic captures",
        home="this program",
        licence="Marey's own; nothing to download",
        files=(),
        writes="the label files of the benchmark `synthetic`; its pictures are rendered when they are looked at",
        target="marey.data.prepare.synthetic:prepare",
    ),
)

DATA_SETS: dict[str, DataSource] = {source.name: source for source in _SOURCES}
"""By the name that `marey data prepare` takes."""


def data_source(name: str) -> DataSource:
    """The data set of a name.

    Raises:
        InputError: there is none; the message lists all.
    """
    if name in DATA_SETS:
        return DATA_SETS[name]
    near = get_close_matches(name, DATA_SETS, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(f"no data set '{name}'; {guess}there are: {', '.join(DATA_SETS)}")
