"""A parrot for paragone. This module imports neither the library nor `paragone.hooks`: workers import it."""
