"""The known data sets and where to get them. Nothing is downloaded."""

from dataclasses import dataclass
from typing import ClassVar

from crosspoint.core.results import Result


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        name: Name of the data set.
        content: What it contains, and what it is used for here.
        terms: Its licence or terms of use.
        source: Where to get it, and known obstacles.
        folder: The expected files.
    """

    name: str
    content: str
    terms: str
    source: str
    folder: str


SETS = (
    DataSet(
        "ModelNet40",
        "9,840 + 2,468 clouds of 2,048 points sampled from CAD models of 40 classes; linear SVM and few-shot",
        "for academic research only; the models' copyright stays with their authors",
        "meshes: https://modelnet.cs.princeton.edu. The HDF5 files were at https://shapenet.cs.stanford.edu/media/"
        "modelnet40_ply_hdf5_2048.zip, a server reported to refuse connections since 2024; CrossPoint's Google Drive "
        "folder, linked in the README of https://github.com/MohamedAfham/CrossPoint, has them, and users name other "
        "copies in https://github.com/charlesq34/pointnet/issues/318",
        "modelnet40_ply_hdf5_2048/ply_data_train0.h5 … train4.h5, ply_data_test0.h5, test1.h5, shape_names.txt",
    ),
    DataSet(
        "ScanObjectNN",
        "2,309 + 581 clouds of 2,048 points cut from real indoor scans with their background (OBJ_BG), 15 classes; "
        "linear SVM and few-shot",
        "terms of use to be accepted; for research, and those of SceneNN and ScanNet apply",
        "the form at https://hkust-vgd.github.io/scanobjectnn/, answered with a link (h5_files.zip)",
        "main_split/training_objectdataset.h5, main_split/test_objectdataset.h5",
    ),
    DataSet(
        "ShapeNetPart",
        "12,137 + 1,870 + 2,874 clouds of 2,048 points with 50 parts of 16 categories; part segmentation",
        "ShapeNet's terms: non-commercial research and education",
        "was https://shapenet.cs.stanford.edu/media/shapenet_part_seg_hdf5_data.zip, a server reported to refuse "
        "connections since 2024; CrossPoint's Google Drive folder, linked in the README of "
        "https://github.com/MohamedAfham/CrossPoint, has them",
        "shapenet_part_seg_hdf5_data/ply_data_train0.h5 … train5.h5, val0.h5, test0.h5, test1.h5; other part sets "
        "with a taxonomy.json beside such files",
    ),
    DataSet(
        "ShapeNetRender",
        "43,783 ShapeNet objects of 13 categories, each with 2,048 points and renderings; what CrossPoint was "
        "pretrained on",
        "ShapeNet's terms: non-commercial research and education",
        "CrossPoint's Google Drive folder, linked in the README of https://github.com/MohamedAfham/CrossPoint. The "
        "meshes: https://shapenet.org, after registration, or https://huggingface.co/ShapeNet, after approval; then "
        "`crosspoint data render`",
        "ShapeNet/<synset>/<id>.ply, ShapeNetRendering/<synset>/<id>/rendering/*.png",
    ),
    DataSet(
        "CIFAR-FS",
        "CIFAR-100's 60,000 pictures of 32×32, its classes divided 64/16/20; few-shot image classification",
        "no licence is stated by CIFAR-100; cite its authors, and Bertinetto et al. for the division",
        "pictures: https://www.cs.toronto.edu/~kriz/cifar.html; division: https://github.com/bertinetto/r2d2, whose "
        "own download links are temporary uploads",
        "see the documentation of `crosspoint eval image-fewshot`",
    ),
    DataSet(
        "any folder of meshes",
        "your own CAD models or those of any collection: .off, .obj, .stl, .ply, .glb; pretraining",
        "that of the meshes",
        "yours; `crosspoint data render MESHES --out DIR` makes the training pairs",
        "any; subfolders become categories",
    ),
    DataSet(
        "parametric shapes",
        "generated objects of 41 categories with a part label per face: pairs for pretraining, a classification set "
        "and a part set",
        "none: this program generates them; use them freely",
        "`crosspoint data make-shapes --out DIR`, built in",
        "written by the command",
    ),
)


@dataclass(frozen=True)
class Catalogue(Result):
    """The known data sets."""

    schema: ClassVar[str] = "crosspoint.data-list/1"

    sets: tuple[DataSet, ...] = SETS
