"""The commands of the lanes: a function for each command, with the name of its id, or a line in `simple`."""
