"""Cases prepared for training: written once, read by every trial."""
