"""Latency, throughput and memory of a model beside what the machine could do."""
