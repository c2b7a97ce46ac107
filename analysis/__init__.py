"""A table of trials and per-case scores in, numbers and pictures out.

numpy, pandas, scipy and matplotlib only: no torch, no Ray, no tracking server.
"""
