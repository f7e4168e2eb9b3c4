"""In a folder that `python.path` names."""


def answer():
    return 42
