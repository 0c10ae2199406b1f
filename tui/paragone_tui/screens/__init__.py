"""The screens of the program, each in a module or package of its own."""
