#!/usr/bin/env python3
"""Writes base/millrace.yaml: the chart with its default values, as plain manifests.

    deploy/kustomize/generate.py [--check]     --check: only says whether it is up to date

Needs helm (dev/setup puts it into .dev/venv/bin) and PyYAML.
"""

import pathlib
import subprocess
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
HELM = pathlib.Path(sys.executable).with_name("helm")
HEAD = "# Made from the chart (deploy/helm/millrace) by generate.py: change that, not this.\n"
OF_HELM = ("helm.sh/", "app.kubernetes.io/managed-by")


def without_helm(value):
    if isinstance(value, dict):
        return {key: without_helm(inner) for key, inner in value.items()
                if not key.startswith(OF_HELM)}
    if isinstance(value, list):
        return [without_helm(inner) for inner in value]
    return value


def manifests():
    done = subprocess.run([str(HELM), "template", "millrace", str(HERE.parent / "helm/millrace")],
                          check=True, capture_output=True, text=True)
    for document in yaml.safe_load_all(done.stdout):
        if document is None or "helm.sh/hook" in document["metadata"].get("annotations", {}):
            continue
        document = without_helm(document)
        if not document["metadata"].get("annotations", True):
            del document["metadata"]["annotations"]
        yield document


def main():
    text = HEAD + yaml.safe_dump_all(manifests(), sort_keys=False, width=100)
    file = HERE / "base" / "millrace.yaml"
    if sys.argv[1:] == ["--check"]:
        if not file.exists() or file.read_text() != text:
            sys.exit(f"{file} is not what the chart says: run deploy/kustomize/generate.py")
    else:
        file.write_text(text)


if __name__ == "__main__":
    main()
