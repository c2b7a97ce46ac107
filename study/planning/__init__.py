"""What a launch would do, and how long it would take."""
