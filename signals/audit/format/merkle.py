"""Merkle trees and their inclusion proofs, hashed as RFC 6962 (section 2.1) says."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

EMPTY = sha256().digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """Return the hash of a leaf, 32 bytes."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node, 32 bytes."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows leaf by leaf and keeps one hash per level."""

    def __init__(self) -> None:
        self.size = 0
        # Roots of the complete subtrees from the left, the largest first.
        self._peaks: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        size, node = self.size, leaf
        while size & 1:
            node = node_hash(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def root(self) -> bytes:
        """Return the root over the leaves so far."""
        if not self._peaks:
            return EMPTY
        node = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            node = node_hash(left, node)
        return node


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the root of the tree over leaf hashes."""
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion proof of a leaf, by its place from 0 among all leaf hashes of the tree.

    It is the siblings from the leaf to the root (section 2.1.1).
    """
    siblings, level = [], list(leaves)
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        # A node without a sibling goes up unchanged.
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [node_hash(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        index >>= 1
    return siblings


def root_from_path(leaf: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes | None:
    """Return the root that an inclusion proof leads to; None when it does not fit a tree of `size` leaves.

    Leaf, index and siblings are as `path` takes and gives them.
    """
    if not 0 <= index < size:
        return None
    node, last, left = leaf, size - 1, list(siblings)
    while last:
        if index & 1 or index < last:
            if not left:
                return None
            sibling = left.pop(0)
            node = node_hash(sibling, node) if index & 1 else node_hash(node, sibling)
        index, last = index >> 1, last >> 1
    return None if left else node
