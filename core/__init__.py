"""Rules: arguments in, values out; no I/O and nothing of ours imported from other packages."""
