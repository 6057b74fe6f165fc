"""The manifests below `deploy`, checked without a cluster: their schemas, and that both ways to apply them are the same."""

import json
import re
from pathlib import Path
from typing import Any

import hcl2
import kubernetes_validate
import pytest
import yaml

from codexteam.adapters.sandbox.kubernetes.confinement import READER, WRITER, looseness
from tests.support_kubernetes import DEPLOY, documents

_TERRAFORM = DEPLOY.parent / "terraform"
#: Of agent-sandbox's resources, as far as the manifests use them: name to what is allowed and what must be there.
_SPECS = {
    "SandboxTemplate": (
        {"podTemplate", "networkPolicy", "networkPolicyManagement", "volumeClaimTemplates"},
        {"podTemplate"},
    ),
    "SandboxWarmPool": ({"replicas", "sandboxTemplateRef", "updateStrategy"}, {"sandboxTemplateRef"}),
}
_OWN = [each for each in documents() if each["kind"] in _SPECS]
_BUILT_IN = [each for each in documents() if each["kind"] not in _SPECS]


def _name(document: dict[str, Any]) -> str:
    return f"{document['kind']}/{document['metadata']['name']}"


@pytest.mark.parametrize("document", _BUILT_IN, ids=_name)
def test_a_manifest_fits_the_schema_of_kubernetes(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, "1.32", strict=True)


@pytest.mark.parametrize("document", _OWN, ids=_name)
def test_a_manifest_fits_agent_sandbox(document: dict[str, Any]) -> None:
    allowed, needed = _SPECS[document["kind"]]
    assert document["apiVersion"] == "extensions.agents.x-k8s.io/v1beta1"
    assert needed <= document["spec"].keys() <= allowed
    if document["kind"] == "SandboxTemplate":
        template = document["spec"]["podTemplate"]
        assert template.keys() == {"metadata", "spec"}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one", **template["metadata"]}}
        kubernetes_validate.validate({**pod, "spec": template["spec"]}, "1.32", strict=True)
    else:
        names = {each["metadata"]["name"] for each in _OWN if each["kind"] == "SandboxTemplate"}
        assert document["spec"]["sandboxTemplateRef"]["name"] in names


@pytest.mark.parametrize("container", [WRITER, READER])
@pytest.mark.parametrize("template", [each for each in _OWN if each["kind"] == "SandboxTemplate"], ids=_name)
def test_pods_of_the_manifests_are_taken_as_confined(template: dict[str, Any], container: str) -> None:
    pod = {"spec": template["spec"]["podTemplate"]["spec"]}
    assert looseness(pod, container, "gvisor") == []
    assert looseness(pod, container, "kata") == ["runtimeClassName is gvisor instead of kata"]


def test_the_kustomization_names_every_manifest() -> None:
    listed = yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
    assert sorted(listed) == sorted(path.name for path in DEPLOY.glob("*.yaml") if path.name != "kustomization.yaml")


def test_terraform_applies_the_same_manifests() -> None:
    module = hcl2.loads((_TERRAFORM / "main.tf").read_text())
    [found] = module["locals"]
    files = [str(each).strip('"') for each in found["files"]]
    assert files == yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())["resources"]
    assert {
        name.strip('"') for each in hcl2.loads((_TERRAFORM / "variables.tf").read_text())["variable"] for name in each
    } == {
        "image",
        "runtime_class",
        "warm_sandboxes",
    }


def test_what_terraform_replaces_stands_in_the_manifests() -> None:
    text = (_TERRAFORM / "main.tf").read_text()
    # as `jsonencode` writes it: without spaces, keys in order
    written = "".join(json.dumps(each, separators=(",", ":"), sort_keys=True) for each in documents())
    for name, times in (("image", 4), ("runtime_class", 2)):
        found = re.search(rf'^  {name} += "(.*)"$', text, re.MULTILINE)
        assert found is not None
        assert written.count(found[1].replace('\\"', '"')) == times


def test_each_manifest_is_split_as_terraform_splits_it() -> None:
    for path in DEPLOY.glob("*.yaml"):
        parts = path.read_text().split("\n---\n")
        assert [yaml.safe_load(part) for part in parts] == [*yaml.safe_load_all(path.read_text())]
        assert not re.search(r"[&*][a-z]+$", path.read_text(), re.MULTILINE), "anchors, which it may not know"


def test_the_deploy_folder_has_nothing_else() -> None:
    found = {str(path.relative_to(DEPLOY.parent)) for path in DEPLOY.parent.rglob("*") if path.is_file()}
    assert {Path(each).parts[0] for each in found} == {"kubernetes", "terraform"}
