"""Commands that give labels to objects and points."""
