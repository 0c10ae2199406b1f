"""The values that the application and the engines exchange. Import their names from `paragone`."""
