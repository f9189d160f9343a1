"""Every story a chart can tell: the search, breadth first from the start.

A node is a configuration together with what has been proven complete on the way to it. A restart after a crash leads
from every node to the same start with nothing proven, under any setting of the switches: the roots of the search. That
a chart made anew does begin there, whatever another one has been through, is asked of the library
(`phasegate.statecharts.table.disagreements`). Breadth first means that the first story found to
any place is a shortest one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

import attrs

from phasegate.statecharts.law import Answers, Law
from phasegate.statecharts.places import place
from phasegate.statecharts.relation import Configuration, Step
from phasegate.statecharts.table import Steps


@attrs.frozen(cache_hash=True)
class Node:
    """A configuration and the phases proven complete in this walk."""

    configuration: Configuration
    proven: frozenset[str]


@attrs.frozen
class Edge:
    """A step between two nodes, with all that was proven when it entered what it entered."""

    source: Node
    step: Step
    proven: frozenset[str]
    target: Node


Origin = tuple[Node, int]


class Walk:
    """All nodes and edges of one chart under one setting of its switches.

    Args:
        steps: the transition relation.
        law: names the leaves, the ends, and what proves a phase complete.
        switches: the configuration guards with their answer.
        shared: edges that were found before, under the same law and setting, by the node and the steps (their
            identity) that they come from.
    """

    def __init__(
        self, steps: Steps, law: Law, switches: Mapping[str, bool], shared: dict[Origin, tuple[Edge, ...]] | None = None
    ) -> None:
        self.law = law
        self.switches = switches
        self.relation = steps
        self.edges: list[Edge] = []
        self._edges = {} if shared is None else shared
        self._named: dict[Configuration, str] = {}
        self._active: dict[Configuration, tuple[str, ...]] = {}
        self._order = [leaf for leaf in steps.anatomy.leaves if leaf in law.leaves]
        self._came_by: dict[Node, Edge | None] = {}

    def explore(self) -> Iterator[Edge]:
        """Every edge, nearest to the start first, each as soon as it is found; to be run through once."""
        start = Node(self.relation.initial, frozenset())
        self._came_by[start] = None
        queue = deque([start])
        while queue:
            for edge in self._edges_from(queue.popleft()):
                self.edges.append(edge)
                if edge.target not in self._came_by:
                    self._came_by[edge.target] = edge
                    queue.append(edge.target)
                yield edge

    @property
    def nodes(self) -> list[Node]:
        """Every node reached, nearest first."""
        return list(self._came_by)

    def enabled(self, phase: str) -> bool:
        """Whether the switches allow that phase."""
        return self.switches.get(self.law.enabled_by.get(phase, ""), True)

    def leaf(self, configuration: Configuration) -> str:
        """The active leaf, or those of all regions; a phrase that names no place if no leaves may be active so."""
        if configuration not in self._named:
            active = self.active(configuration)
            strange = " and ".join(sorted(active)) or f"no known leaf of {sorted(configuration)}"
            self._named[configuration] = place(active) if self.law.fits(active) else strange
        return self._named[configuration]

    def active(self, configuration: Configuration) -> tuple[str, ...]:
        """The active leaves that the law knows, in document order."""
        if configuration not in self._active:
            self._active[configuration] = tuple(leaf for leaf in self._order if leaf in configuration)
        return self._active[configuration]

    def within(self, configuration: Configuration) -> bool:
        """Whether the active leaves are such as the law lets be active together, and none is an end."""
        active = self.active(configuration)
        return self.law.fits(active) and self.law.ends.isdisjoint(active)

    def way(self, node: Node, last: Step | None = None) -> tuple[Step, ...]:
        """The steps of a shortest way from the start to `node`, and one step more."""
        steps = deque([last] if last else [])
        while (came := self._came_by[node]) is not None:
            steps.appendleft(came.step)
            node = came.source
        return tuple(steps)

    def story(self, way: Iterable[Step]) -> str:
        """A way in words, a line a step."""
        settings = [f"with {name} {'on' if on else 'off'}" for name, on in self.switches.items()]
        return "\n".join([*settings, *(f"{i}. {self._tell(step)}" for i, step in enumerate(way, 1))])

    def leading_to(self, leaf: str) -> set[Node]:
        """The nodes from which some story goes on to `leaf`."""
        before: dict[Node, list[Node]] = {}
        for edge in self.edges:
            before.setdefault(edge.target, []).append(edge.source)
        leading = {node for node in self.nodes if leaf in node.configuration}
        queue = list(leading)
        while queue:
            fresh = set(before.get(queue.pop(), ())) - leading
            leading |= fresh
            queue += fresh
        return leading

    def _tell(self, step: Step) -> str:
        asked = f" [{said(step.answers)}]" if step.answers else ""
        outcome = self.leaf(step.target) if step.moved else "refused"
        return f"{self.leaf(step.source)}: {step.event}{asked} -> {outcome}"

    def _edges_from(self, node: Node) -> Iterator[Edge]:
        if not self.within(node.configuration):
            return
        for group in self.relation.groups(node.configuration):
            origin = node, id(group)
            if origin not in self._edges:
                self._edges[origin] = tuple(self._edge(node, step) for step in group)
            yield from self._edges[origin]

    def _edge(self, node: Node, step: Step) -> Edge:
        proven = node.proven | self._proven_by(step)
        return Edge(node, step, proven, Node(step.target, proven if self._goes_on(step) else frozenset()))

    def _proven_by(self, step: Step) -> set[str]:
        asked = dict(step.answers)
        proofs = self.law.completed_by.items()
        return {phase for phase, guard in proofs if asked.get(guard) and self.law.left_with(phase) in step.left}

    def _goes_on(self, step: Step) -> bool:
        """Whether the step keeps the walk's proofs: a leaf that requires nothing begins a new one."""
        return all(self.law.requires.get(leaf) for leaf in self.law.leaves.intersection(step.entered))


def said(answers: Answers) -> str:
    """Answers as they stand in a chart: `yes_guard, !no_guard`."""
    return ", ".join(name if answer else f"!{name}" for name, answer in answers)
