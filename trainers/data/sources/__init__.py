"""The sources of cases, one file each, and their registry."""
