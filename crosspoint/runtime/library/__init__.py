"""A library of objects put in order by its embeddings: duplicates, and the most different objects."""
