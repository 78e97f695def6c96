"""Objects that every namespace is given: the ``default`` ServiceAccount and the CA bundle of the API server.

Made by ``registry.bootstrap`` in the first namespaces and by ``controllers.accounts`` in all.
"""

from __future__ import annotations

from holdfast.kinds.kind import Obj

ACCOUNT = "default"
ROOT_CA = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal"
    " service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)


def default_account(namespace: str) -> Obj:
    return {"metadata": {"name": ACCOUNT, "namespace": namespace}}


def root_ca(namespace: str, ca_pem: str) -> Obj:
    metadata = {"name": ROOT_CA, "namespace": namespace, "annotations": {"kubernetes.io/description": _DESCRIPTION}}
    return {"metadata": metadata, "data": {"ca.crt": ca_pem}}
