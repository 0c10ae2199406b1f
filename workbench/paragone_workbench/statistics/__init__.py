"""Statistics: estimates, intervals, paired differences, and the packages that they need."""
