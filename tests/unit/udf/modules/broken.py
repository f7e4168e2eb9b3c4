"""Cannot be imported."""

raise RuntimeError("the file of parameters is missing")
