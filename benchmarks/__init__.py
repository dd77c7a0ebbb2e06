"""Ours and a peer's, in turn, on the same data: ``python -m benchmarks``. Figures: benchmarks/README.md."""
