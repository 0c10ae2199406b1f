raise ImportError("stands in for a compiled part, to be found and not imported")
