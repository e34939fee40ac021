"""The light runtime: an exported network along a stream, without PyTorch.

It is the command `spikerec-run`, which comes with spikerec, and alone, with the few modules that it
needs and small packages, as the distribution `spikerec-run` (`src/spikerec_run/pyproject.toml`).
"""
