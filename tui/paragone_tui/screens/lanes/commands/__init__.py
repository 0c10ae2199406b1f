"""The commands of the lanes: each class has a method for each of its commands, with the name of its id."""
