"""Of an ONNX graph what is read, and nothing else."""

from __future__ import annotations

from typing import Any, Iterable, List, Sequence


def made_by(nodes: Sequence[Any], ends: Iterable[str]) -> List[Any]:
    """Those of `nodes` that the tensors `ends` are made by, in their order."""
    wanted, kept = set(ends), []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def drop_unread(graph: Any) -> None:
    """Take out the weights of `graph` that no node reads."""
    read = {name for node in graph.node for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
