"""Paired benchmarks, one file per topic: both sides in the same run, interleaved, and their ratio."""
