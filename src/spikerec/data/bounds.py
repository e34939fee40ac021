"""Bounds of data that the results know too; nothing here needs PyTorch, so that they load fast."""

#: Folds of a deal at most.
MOST_FOLDS = 1000
#: Characters of a name in a record: of a method, a data set, a metric, a condition.
MOST_NAME = 100
#: A number in a record at most, whichever its sign.
MOST_VALUE = 1e18
#: Characters of a label in a record: of a row, a device, a condition's value.
MOST_LABEL = 200
