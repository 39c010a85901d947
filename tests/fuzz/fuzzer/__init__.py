"""Seeded fuzzing of everything in the package that reads a file: targets, mutations, and a process that is watched."""
