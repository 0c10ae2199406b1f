"""The screens of the program, one package each."""
