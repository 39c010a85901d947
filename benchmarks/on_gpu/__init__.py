"""Parts of the benchmarks that measure on a GPU."""
