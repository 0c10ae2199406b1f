__version__ = "2.8.0+cu128"
cuda: str | None = "12.8"
hip: str | None = None
