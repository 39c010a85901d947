"""Jobs over many clouds: embedding, also in parts and on several machines, and search."""
