"""Jobs over many clouds: embedding, in parts and on several machines, and search."""
