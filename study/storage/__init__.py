"""The shared folder: every path and file name once, and who may write there."""
