"""The sheet that shows where answers part."""
