"""Bounds of data that the results know too; nothing here needs PyTorch, so that they load fast."""

#: Folds of a deal at most.
MOST_FOLDS = 1000
