"""What Φ and ε teach, before any training."""
