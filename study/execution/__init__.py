"""Running trials, on Ray or in this process. The only folder that imports Ray."""
