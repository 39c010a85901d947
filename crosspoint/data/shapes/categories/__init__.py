"""The categories of parametric shapes, by kind."""
