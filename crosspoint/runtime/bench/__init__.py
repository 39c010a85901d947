"""Measures latency, throughput and memory of models, and compares them with the limits of the machine."""
