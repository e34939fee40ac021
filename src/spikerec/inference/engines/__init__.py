"""Programs that compute a network in PyTorch's place, one a module; see `spikerec.inference.ready`."""
