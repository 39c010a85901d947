"""The parts of `benchmarks growth`: one measurement in a process of its own, the law it follows, the picture."""
