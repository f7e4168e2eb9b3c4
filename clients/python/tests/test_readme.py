"""The example of README.md runs as it is."""

import pathlib
import re


def test_the_example_runs(cluster, capsys):
    text = (pathlib.Path(__file__).resolve().parents[1] / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(example.replace("127.0.0.1:7070", cluster.address), "README.md", "exec"), {})
    shown = capsys.readouterr().out
    assert "FINISHED [('numbers', 5000), ('filter', 5000), ('nowhere', 5000)]" in shown
    assert "{'num': 9}" in shown.splitlines()[-1]
