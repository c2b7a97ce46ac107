"""Sources of cases, their preparation and their splits into training and scoring."""
