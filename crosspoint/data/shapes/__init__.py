"""Parametric shapes of everyday objects, as triangle meshes with a part label per face.

`CATEGORIES` maps a name to a category. `CATEGORIES["chair"](rng)` generates one chair; the random generator `rng`
decides everything about it.
"""

from crosspoint.data.shapes.aircraft import airplane, helicopter, rocket
from crosspoint.data.shapes.buildings import door, stairs, tent
from crosspoint.data.shapes.devices import guitar, lamp, laptop, monitor
from crosspoint.data.shapes.furniture import bathtub, bed, bookshelf, desk, night_stand, piano, table, wardrobe
from crosspoint.data.shapes.seating import bench, chair, sofa, stool, toilet
from crosspoint.data.shapes.shape import Category, Shape
from crosspoint.data.shapes.tools import glasses, hammer, hat, knife, sword, umbrella
from crosspoint.data.shapes.vehicles import bicycle, car, ship, skateboard
from crosspoint.data.shapes.vessels import bottle, bowl, cup, goblet, mug, plant, teapot, vase

CATEGORIES: dict[str, Category] = {
    "airplane": airplane,
    "bathtub": bathtub,
    "bed": bed,
    "bench": bench,
    "bicycle": bicycle,
    "bookshelf": bookshelf,
    "bottle": bottle,
    "bowl": bowl,
    "car": car,
    "chair": chair,
    "cup": cup,
    "desk": desk,
    "door": door,
    "glasses": glasses,
    "goblet": goblet,
    "guitar": guitar,
    "hammer": hammer,
    "hat": hat,
    "helicopter": helicopter,
    "knife": knife,
    "lamp": lamp,
    "laptop": laptop,
    "monitor": monitor,
    "mug": mug,
    "night_stand": night_stand,
    "piano": piano,
    "plant": plant,
    "rocket": rocket,
    "ship": ship,
    "skateboard": skateboard,
    "sofa": sofa,
    "stairs": stairs,
    "stool": stool,
    "sword": sword,
    "table": table,
    "teapot": teapot,
    "tent": tent,
    "toilet": toilet,
    "umbrella": umbrella,
    "vase": vase,
    "wardrobe": wardrobe,
}

__all__ = ["CATEGORIES", "Category", "Shape"]
