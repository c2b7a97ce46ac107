"""What a study found, from its two tables."""
