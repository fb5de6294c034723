"""Ways to break the gateway that the simulation must notice, or it proves nothing.

with MUTATIONS["ack before commit"](): play(seed)
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

from gateway.session import Session
from gateway.spooling import SpoolDesk
from model.device import Item
from storage.model_store import ModelStore
from storage.spool import Spool
from storage.writer import Settled, Writer

Mutation = Callable[[], AbstractContextManager[Any]]


def _ack_before_commit() -> AbstractContextManager[Any]:
    queue = Writer.submit

    def submit(self: Writer, item: Item, settled: Settled | None = None) -> None:
        queue(self, item, None)
        if settled is not None:
            settled(True)

    return patch.object(Writer, "submit", submit)


def _failure_taken_for_success() -> AbstractContextManager[Any]:
    settle = Writer._settle

    def always(batch, *, durable):
        settle(batch, durable=True)

    return patch.object(Writer, "_settle", staticmethod(always))


def _spool_acked_before_sync() -> AbstractContextManager[Any]:
    put = SpoolDesk.put

    def early(self, event, received_at, contact, decoder, dones=()):
        put(self, event, received_at, contact, decoder)
        for done in dones:
            done()

    return patch.object(SpoolDesk, "put", early)


def _spool_released_before_commit() -> AbstractContextManager[Any]:
    read = Spool.read

    def take(self, max_bytes=1 << 20):
        records, cursor = read(self, max_bytes)
        if records:
            self.release(cursor)
        return records, cursor

    return patch.object(Spool, "read", take)


def _spool_appends_to_old_segments() -> AbstractContextManager[Any]:
    begin = Spool.__init__

    def reuse(self, disk, **limits):
        begin(self, disk, **limits)
        if len(self._segments) > 1 and not self._size(self._segments[-1]):
            self._segments.pop()

    return patch.object(Spool, "__init__", reuse)


def _digest_ignored() -> AbstractContextManager[Any]:
    return patch("storage.model_store.fix_digest", lambda _fix: 0)


def _resend_is_another_fix() -> AbstractContextManager[Any]:
    return patch("storage.digest.VOLATILE", frozenset())


def _not_idempotent() -> AbstractContextManager[Any]:
    insert = ModelStore._insert

    def twice(self, device, fix):
        known = len(self.positions)
        insert(self, device, fix)
        if len(self.positions) == known:
            self.inserts[next(k for k in reversed(self.inserts) if k[1] == fix.time)] += 1

    return patch.object(ModelStore, "_insert", twice)


def _day_not_marked() -> AbstractContextManager[Any]:
    insert = ModelStore._insert

    def forget(self, device, fix):
        insert(self, device, fix)
        self.dirty.discard((device.id, fix.time.date()))

    return patch.object(ModelStore, "_insert", forget)


def _never_reads_on() -> AbstractContextManager[Any]:
    return patch.object(Session, "read_on", lambda self: None)


@contextmanager
def _none() -> Iterator[None]:
    yield


MUTATIONS: dict[str, Mutation] = {
    "none": _none,
    "ack before commit": _ack_before_commit,
    "failure taken for success": _failure_taken_for_success,
    "spool acked before sync": _spool_acked_before_sync,
    "spool released before commit": _spool_released_before_commit,
    "spool appends to old segments": _spool_appends_to_old_segments,
    "digest ignored": _digest_ignored,
    "resend is another fix": _resend_is_another_fix,
    "not idempotent": _not_idempotent,
    "day not marked": _day_not_marked,
    "never reads on": _never_reads_on,
}
