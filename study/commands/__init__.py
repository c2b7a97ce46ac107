"""One file per verb: what the command line, the service and Python all call."""
