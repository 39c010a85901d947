"""What the operating system gives: processes, memory, signals."""
