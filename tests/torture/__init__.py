"""Kill and fault trials over every verb, and a long watch over the commands that take days.

`make torture`, or `python -m tests.torture --trials 20`. Each trial runs a command in a folder of
its own, in a process that ends in the middle of it (`signals` and `processes` of `faults.py`) or
meets a fault of the machine (`FAULTS` there). Then

- a file under a final name must be whole: equal to that of a run which nothing has disturbed;
- a command that failed must have said so in one line, without a trace;
- the same command again must end with status 0 and those very files, and leave nothing else behind;
- a third time, the command must say that it is done, or what differs, and change nothing.

The process is forked from one that has imported everything, so that a trial takes about a second.
"""
