"""The click commands, by task. Each parses, calls one function and prints; heavy imports happen inside."""
