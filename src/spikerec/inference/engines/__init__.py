"""Programs that compute a network in PyTorch's place, one a module: for `inference.ready`."""
