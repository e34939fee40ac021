"""Names of the facts that a run's identity states, for those who read them without PyTorch."""

#: Beginning of the name of a fact about data.
DATA = "data of "
