# The resources of ../kubernetes, with your image, RuntimeClass and sizes. The cluster has agent-sandbox already.

terraform {
  required_version = ">= 1.5"
  required_providers {
    kubernetes = {
      source  = "hashicorp/kubernetes"
      version = ">= 2.30"
    }
  }
}

locals {
  # as kustomization.yaml lists them
  files = ["namespace.yaml", "access.yaml", "network.yaml", "sandbox.yaml", "quota.yaml"]

  # what stands in the manifests, and what takes its place
  image         = "\"registry.example.org/codexteam-sandbox:1\""
  runtime_class = "\"runtimeClassName\":\"gvisor\","

  documents = flatten([
    for file in local.files : [
      for document in split("\n---\n", file("${path.module}/../kubernetes/${file}")) : jsondecode(
        replace(
          replace(jsonencode(yamldecode(document)), local.image, jsonencode(var.image)),
          local.runtime_class,
          var.runtime_class == "" ? "" : "\"runtimeClassName\":${jsonencode(var.runtime_class)},"
        )
      )
    ]
  ])

  manifests = { for document in local.documents : "${document.kind}/${document.metadata.name}" => document }

  sized = {
    for name, manifest in local.manifests : name => (
      manifest.kind == "SandboxWarmPool"
      ? merge(manifest, { spec = merge(manifest.spec, { replicas = var.warm_sandboxes }) })
      : manifest
    )
  }
}

resource "kubernetes_manifest" "namespace" {
  manifest = local.sized["Namespace/codexteam"]
}

resource "kubernetes_manifest" "codexteam" {
  for_each   = { for name, manifest in local.sized : name => manifest if manifest.kind != "Namespace" }
  manifest   = each.value
  depends_on = [kubernetes_manifest.namespace]
}
