"""The commands of the lanes: for each command, a function named after the command's id, or a line in `simple`."""
