"""Merkle trees hash as RFC 6962 says, and a proof of inclusion fits its own leaf only."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.audit.format import merkle

# The leaves and roots that implementations of certificate transparency test each other with.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def hashes(count: int) -> list[bytes]:
    return [merkle.leaf_hash(bytes([number])) for number in range(count)]


def naive(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + naive(leaves[:split]) + naive(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(len(ROOTS)))
def test_known_roots(size):
    assert merkle.root(map(merkle.leaf_hash, LEAVES[:size])).hex() == ROOTS[size]


@given(st.lists(st.binary(max_size=3), max_size=70))
def test_a_root_is_what_the_definition_says(data):
    leaves = [merkle.leaf_hash(item) for item in data]
    assert merkle.root(leaves) == naive(leaves)


@pytest.mark.parametrize("size", range(1, 41))
def test_every_leaf_has_a_proof_that_fits_it_alone(size):
    leaves = hashes(size)
    root = merkle.root(leaves)
    for index, leaf in enumerate(leaves):
        path = merkle.path(leaves, index)
        assert merkle.root_from_path(leaf, index, size, path) == root
        others = [place for place in range(size) if merkle.root_from_path(leaf, place, size, path) == root]
        assert others == [index]
        assert merkle.root_from_path(merkle.leaf_hash(b"x"), index, size, path) != root
        assert merkle.root_from_path(leaf, index, size, [*path, root]) is None
        if path:
            assert merkle.root_from_path(leaf, index, size, path[:-1]) is None
            assert merkle.root_from_path(leaf, index, size, [*path[:-1], root]) != root


@pytest.mark.parametrize("index", [-1, 3, 10**30])
def test_a_proof_outside_the_tree_leads_nowhere(index):
    assert merkle.root_from_path(hashes(1)[0], index, 3, hashes(2)) is None
