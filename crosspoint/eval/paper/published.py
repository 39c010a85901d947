"""The numbers that CrossPoint published: Afham et al., CVPR 2022, arXiv:2203.00680, by table and figure.

In per cent. `spread` is the number behind ± in the paper; the captions call it a standard error, the text a standard
deviation.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """A published value and the number behind its ±, both in per cent."""

    value: float
    spread: float | None = None


BACKBONES = {"pointnet": "PointNet", "dgcnn": "DGCNN"}

LINEAR: dict[str, dict[str, Number]] = {
    "modelnet40": {"pointnet": Number(89.1), "dgcnn": Number(91.2)},  # Table 1
    "scanobjectnn": {"pointnet": Number(75.6), "dgcnn": Number(81.7)},  # Table 2
}
"""Accuracy of a linear SVM on frozen features, by data set and backbone."""

LINEAR_OTHERS: dict[str, dict[str, Number]] = {
    "modelnet40": {
        "PointNet + Jigsaw": Number(87.3),
        "PointNet + STRL": Number(88.3),
        "PointNet + Rotation": Number(88.6),
        "PointNet + OcCo": Number(88.7),
        "DGCNN + Multi-Task": Number(89.1),
        "DGCNN + Self-Contrast": Number(89.6),
        "DGCNN + Jigsaw": Number(90.6),
        "DGCNN + STRL": Number(90.9),
        "DGCNN + Rotation": Number(90.8),
        "DGCNN + OcCo": Number(89.2),
    },
    "scanobjectnn": {
        "PointNet + Jigsaw": Number(55.2),
        "PointNet + OcCo": Number(69.5),
        "PointNet + STRL": Number(74.2),
        "DGCNN + Jigsaw": Number(59.5),
        "DGCNN + OcCo": Number(78.3),
        "DGCNN + STRL": Number(77.9),
    },
}
"""Results of other methods in the same tables."""

SETTINGS = ((5, 10), (5, 20), (10, 10), (10, 20))
"""Ways and shots of Tables 3 and 4, in the order of their columns."""

FEWSHOT: dict[str, dict[str, tuple[Number, ...]]] = {
    "modelnet40": {  # Table 3
        "pointnet": (Number(90.9, 4.8), Number(93.5, 4.4), Number(84.6, 4.7), Number(90.2, 2.2)),
        "dgcnn": (Number(92.5, 3.0), Number(94.9, 2.1), Number(83.6, 5.3), Number(87.9, 4.2)),
    },
    "scanobjectnn": {  # Table 4
        "pointnet": (Number(68.2, 1.8), Number(73.3, 2.9), Number(58.7, 1.8), Number(64.6, 1.2)),
        "dgcnn": (Number(74.8, 1.5), Number(79.0, 1.2), Number(62.9, 1.7), Number(73.9, 2.2)),
    },
}

PARTS = {"pretrained": Number(85.5), "scratch": Number(85.1)}
"""Table 5: mean IoU on ShapeNetPart of DGCNN; from scratch as quoted there."""

IMAGES = {1: Number(91.2), 2: Number(91.2), 3: Number(90.9), 4: Number(91.0), 5: Number(90.5)}
"""Table 6: accuracy on ModelNet40 by the number of images of an object."""

CIFAR_FS: dict[str, tuple[Number, Number]] = {  # Table 7: 5-way 1-shot and 5-way 5-shot, ResNet-50
    "frozen": (Number(24.12, 0.48), Number(28.18, 0.54)),
    "rfs": (Number(60.20, 0.87), Number(76.79, 0.71)),
    "pretrained + rfs": (Number(64.45, 0.86), Number(80.14, 0.65)),
}

OBJECTIVES: dict[str, dict[str, Number]] = {
    "modelnet40": {"joint": Number(91.2), "cmid": Number(90.0)},
    "scanobjectnn": {"joint": Number(81.7), "cmid": Number(81.0)},
}
"""Figure 3, DGCNN. The figure has bars without numbers; Section 4.3 says that the joint objective is 1.2 and 0.7 points
above the second best, and that the cross-modal one is slightly above the intra-modal one, which has no number."""

MODELNET10 = ("bathtub", "bed", "chair", "desk", "dresser", "monitor", "night_stand", "sofa", "table", "toilet")
"""The classes of Figure 4, as ModelNet40 spells them."""

COUNTS: dict[str, tuple[tuple[int, int], ...]] = {
    "modelnet40": ((9840, 2468), (9843, 2468)),
    "scanobjectnn": ((2309, 581), (2304, 576)),
    "shapenetpart": ((14007, 2874), (12137, 2874)),
}
"""Objects to train and to test in the published sets: those of the usual files, and those that the papers state."""

PRETRAINING_OBJECTS = 43783
"""Number of ShapeNet objects with renderings on which the published models were trained."""
