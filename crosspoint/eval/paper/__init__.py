"""The paper's tables: what is published, and the same measured here."""
