"""Drawing on given axes; no computing, no saving."""
