"""Pure functions of statistics in float64: intervals, distances, neighbours, corrected shares."""
