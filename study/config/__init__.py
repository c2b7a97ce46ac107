"""What the user wrote: from a file to the study, its search space and its trials."""
