"""Shapes as pictures: samples of the set, and one that turns."""
