"""Numbers only: resampling, paired tests, ROC."""
