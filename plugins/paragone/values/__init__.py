"""The values that the application and the engines exchange. Import the names of these values from `paragone`."""
