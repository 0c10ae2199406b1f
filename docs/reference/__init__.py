"""Makes the pages in docs/ that follow from declarations in the program."""
