"""What the steps of a request work with: store, cache, kinds, clock, permissions, addresses. ``registry.Registry`` is its owner."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.kinds.kind import Kind
from holdfast.kinds.table import KindTable
from holdfast.lib.clock import Clock, SystemClock, rfc3339
from holdfast.lib.ids import new_uuid
from holdfast.registry import codec
from holdfast.registry.addresses import Addresses
from holdfast.registry.authorize import Authorizer, Union, attributes_of, refusal
from holdfast.registry.authorize.node import NodeAuthorizer
from holdfast.registry.authorize.rbac import Rbac
from holdfast.registry.authorize.reviews import VerifyToken
from holdfast.registry.cache import WatchCache
from holdfast.registry.claims import IssueToken
from holdfast.registry.commit import Committer
from holdfast.registry.podsecurity import policy as podsecurity
from holdfast.registry.podsecurity.policy import Policy
from holdfast.registry.request import Request
from holdfast.store.api import Store


class Core:
    def __init__(
        self,
        store: Store,
        kinds: KindTable,
        clock: Clock | None = None,
        *,
        authorizer: Authorizer | None = None,
        service_cidr: str = "10.96.0.0/12",
        issue_token: IssueToken | None = None,
        verify_token: VerifyToken | None = None,
        pod_security: Policy | None = None,
        new_uid: Callable[[], str] = new_uuid,
    ) -> None:
        self.store = store
        self.kinds = kinds
        self.clock: Clock = clock or SystemClock()
        self.issue_token = issue_token
        self.verify_token = verify_token
        self.pod_security = pod_security or podsecurity.defaults()
        """What namespaces ask of their pods where their labels say nothing."""
        self.new_uid = new_uid
        self.cache = WatchCache(store)
        self.committer = Committer(store, self.cache)
        self.rbac = Rbac(self.cache)
        self.authorizer: Authorizer = authorizer or Union(NodeAuthorizer(self.cache), self.rbac)
        self.addresses = Addresses(self.cache, service_cidr)

    def authorize(self, request: Request) -> None:
        """Raises ApiError 403. For the server's own subresources (exec, log ...) too."""
        asked = attributes_of(request)
        decision = self.authorizer.decide(request.user, asked)
        if not decision.allowed:
            raise refusal(request.user, asked, decision.reason)

    def timestamp(self) -> str:
        return rfc3339(self.clock.now())

    def key(self, kind: Kind, namespace: str, name: str) -> str:
        return codec.key(kind, namespace, name)
