"""Our codec against dnspython: what one writes the other reads, and nothing breaks on noise."""

from __future__ import annotations

from ipaddress import IPv6Address

import dns.flags
import dns.message
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.lib import dnswire
from holdfast.lib.dnswire import DnsError, Query, Record

LABEL = st.from_regex(r"[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,20}[a-zA-Z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=5).map(".".join)


@given(NAME, st.sampled_from([1, 28, 33, 16, 12]), st.integers(0, 65535), st.booleans())
def test_questions_of_dnspython_are_read(name: str, type: int, id: int, edns: bool) -> None:
    message = dns.message.make_query(name, dns.rdatatype.RdataType(type), use_edns=edns, payload=1400)
    message.id = id
    query = dnswire.decode_query(message.to_wire())
    assert (query.name, query.type, query.klass, query.id) == (name, type, 1, id)
    assert query.udp_size == (1400 if edns else 512)


@given(NAME, NAME, st.ip_addresses(v=4), st.ip_addresses(v=6), st.integers(0, 65535), st.booleans())
def test_answers_are_read_by_dnspython(name: str, target: str, four: object, six: object, port: int, edns: bool) -> None:
    query = Query(7, name, dnswire.ANY, dnswire.IN, edns=edns, udp_size=4096)
    records = [
        Record(name, dnswire.A, 5, str(four)),
        Record(name, dnswire.AAAA, 5, str(six)),
        Record(name, dnswire.SRV, 5, (0, 100, port, target)),
        Record(name, dnswire.PTR, 5, target),
        Record(name, dnswire.TXT, 5, "1.1.0"),
    ]
    soa = Record(target, dnswire.SOA, 5, (f"ns.{target}", f"h.{target}", 1, 2, 3, 4, 5))
    message = dns.message.from_wire(dnswire.encode_answer(query, 0, records, [soa], [Record(target, dnswire.A, 5, str(four))]))
    read = {dns.rdatatype.to_text(group.rdtype): [item.to_text() for item in group] for group in message.answer}
    read["AAAA"] = [str(IPv6Address(text)) for text in read["AAAA"]]
    assert read == {
        "A": [str(four)],
        "AAAA": [str(six)],
        "SRV": [f"0 100 {port} {target}."],
        "PTR": [f"{target}."],
        "TXT": ['"1.1.0"'],
    }
    assert message.authority[0][0].to_text() == f"ns.{target}. h.{target}. 1 2 3 4 5"
    assert len(message.additional) == 1
    assert (message.edns == 0) is edns


@given(st.binary(max_size=600))
def test_noise_is_refused_not_fatal(noise: bytes) -> None:
    try:
        dnswire.decode_query(noise)
    except DnsError as error:
        answer = dnswire.encode_error(noise, error.code)
        assert answer is None or answer[:2] == noise[:2]


@given(st.data())
def test_a_damaged_question_is_refused_not_fatal(data: st.DataObject) -> None:
    wire = bytearray(dns.message.make_query("web-0.nginx.default.svc.cluster.local", "A", use_edns=0).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        query = dnswire.decode_query(bytes(wire))
    except DnsError:
        return
    dnswire.encode_answer(query, dnswire.NXDOMAIN)


def test_too_many_records_set_the_truncation_bit() -> None:
    query = Query(1, "a.b", dnswire.A, dnswire.IN)
    records = [Record("a.b", dnswire.A, 1, f"10.0.0.{i}") for i in range(100)]
    wire = dnswire.encode_answer(query, 0, records, limit=512)
    message = dns.message.from_wire(wire)
    assert len(wire) <= 512
    assert message.flags & dns.flags.TC
    assert 0 < len(message.answer[0]) < 100


def test_a_pointer_that_leads_on_is_refused() -> None:
    header = bytes.fromhex("000101000001000000000000")
    for tail in (b"\xc0\x0c", b"\x01a\xc0\x0c", b"\xc0\xff"):
        with pytest.raises(DnsError):
            dnswire.decode_query(header + tail + b"\0\1\0\1")


def test_a_newer_edns_version_is_answered_badvers() -> None:
    message = dns.message.make_query("a", "A")
    message.use_edns(edns=1)
    wire = message.to_wire()
    with pytest.raises(DnsError) as caught:
        dnswire.decode_query(wire)
    answer = dnswire.encode_error(wire, caught.value.code)
    assert answer is not None
    assert dns.message.from_wire(answer).rcode() == 16
