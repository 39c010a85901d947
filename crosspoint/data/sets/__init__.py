"""Data sets and packs: their layouts, their reading, and what they should hold."""
