"""Messages of real devices against what the reference made of them."""

import pytest

from tests.protocols.conformance import FILES, cut, differences, exceptions, rows
from tests.protocols.driver import SHARED

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"no real messages: {SHARED} is not there"
)


@pytest.mark.parametrize("file", FILES)
def test_every_message_conforms_or_its_difference_is_explained(file: str):
    found = differences(file)
    assert [f"{one.id}: {one.what}" for one in found if one.what and not one.listed] == []
    assert [one.id for one in found if not one.what] == [], "listed, but they conform"
    assert all(len(one.listed or "") > 20 for one in found), "a reason is a sentence"


@pytest.mark.parametrize("file", FILES)
def test_frames_are_cut_as_the_reference_cuts_them(file: str):
    for row in rows(file, "frame"):
        assert cut(file, row) == row["expect"]["frame_hex"], row["id"]


@pytest.mark.parametrize("protocol", sorted(set(FILES.values())))
def test_every_exception_names_a_message_that_exists(protocol: str):
    known = {
        row["id"]
        for file, name in FILES.items()
        if name == protocol
        for row in rows(file, "message")
    }
    assert set(exceptions(protocol)) <= known
