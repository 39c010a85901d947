"""What every part of the package stands on: guarded reading, files, processes."""
