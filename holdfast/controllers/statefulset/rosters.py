"""Which pods are a set's: a roster for each set, begun from the picture of all pods and then kept up as their events come.

So a sync of a large set does not go through its pods, and an event that changes nothing to decide on wakes nobody.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.client.informer import Informer
from holdfast.controllers.ownership import OWNER, controller_index, owned
from holdfast.controllers.statefulset import objects
from holdfast.controllers.statefulset.roster import Roster
from holdfast.kinds.kind import Obj
from holdfast.machinery import meta, selectors


class Kept:
    """What a set controls: its members, and who has a member's name but not the labels that the set selects."""

    def __init__(self, owner: Obj) -> None:
        self._owner = owner
        self._selector = selectors.from_object(owner["spec"].get("selector"))
        self.roster = Roster()
        self.strangers: dict[str, Obj] = {}

    def fits(self, pod: Obj) -> bool:
        return self._selector.matches(meta.labels_of(pod))

    def put(self, pod: Obj) -> bool:
        """A pod that the set controls. False when nothing is to be decided anew."""
        if not objects.is_member(self._owner, pod):
            return False
        if self.fits(pod):
            returned = self.strangers.pop(meta.name(pod), None) is not None
            return self.roster.put(pod) or returned
        self.drop(pod)
        self.strangers[meta.name(pod)] = pod
        return True

    def drop(self, pod: Obj) -> None:
        self.roster.drop(pod)
        if meta.uid(self.strangers.get(meta.name(pod), pod)) == meta.uid(pod):
            self.strangers.pop(meta.name(pod), None)


class Rosters:
    def __init__(self, sets: Informer, pods: Informer) -> None:
        self._sets, self._pods = sets, pods
        self._kept: dict[str, Kept] = {}
        pods.add_index(OWNER, controller_index)

    def of(self, owner: Obj) -> Kept:
        kept = self._kept.get(meta.uid(owner))
        if kept is None:
            kept = self._kept[meta.uid(owner)] = Kept(owner)
            for pod in owned(self._pods, meta.uid(owner)):
                kept.put(pod)
        return kept

    def orphans(self, owner: Obj) -> list[Obj]:
        """Pods of nobody that would be members."""
        kept = self.of(owner)
        nobodys = owned(self._pods, f"/{meta.namespace(owner)}")
        return [pod for pod in nobodys if objects.is_member(owner, pod) and kept.fits(pod) and not meta.is_terminating(pod)]

    def forget(self, owner: Obj) -> None:
        self._kept.pop(meta.uid(owner), None)

    def changed(self, old: Obj | None, new: Obj | None) -> Iterator[str]:
        """Enters a pod's change; keys of the sets that are to look again."""
        before, after = (meta.controller_of(pod) if pod else None for pod in (old, new))
        if old is not None and before and (after is None or after["uid"] != before["uid"]):
            if before["uid"] in self._kept:
                self._kept[before["uid"]].drop(old)
            if before["kind"] == "StatefulSet":
                yield f"{meta.namespace(old)}/{before['name']}"
        if new is not None and after and after["kind"] == "StatefulSet":
            kept = self._kept.get(after["uid"])
            if kept is None or kept.put(new):
                yield f"{meta.namespace(new)}/{after['name']}"
        for pod, owner in ((old, before), (new, after)):
            if pod is not None and owner is None:
                yield from self._candidates(pod, gone=new is None)

    def _candidates(self, pod: Obj, *, gone: bool) -> Iterator[str]:
        for candidate in self._sets.list(meta.namespace(pod)):
            if objects.is_member(candidate, pod):
                if gone and meta.uid(candidate) in self._kept:  # adopted, as we know though the picture did not show it yet
                    self._kept[meta.uid(candidate)].drop(pod)
                yield meta.key(candidate)
