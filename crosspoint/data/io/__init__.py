"""Readers and writers of point-cloud and mesh files, one format a file."""
