"""What other light clients got wrong in the field, each as one line that says what has to hold instead.

The letters A are findings in the sources of one sequential client, the numbers failures that users of several clients
met and reported. Each line has tests that are named after it: `test_a05_...` and `test_24_...` for `A5` and `24`. They
are tests of the whole client, against nodes that are simulated down to the wire.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Scenario:
    """One failure that must not happen here.

    Args:
        id: `A1` to `A13`, `1` to `53`.
        title: what has to hold.
        pending: the step of the release in which its tests come, "" once they are there.
    """

    id: str
    title: str
    pending: str = ""

    @property
    def prefix(self) -> str:
        """How the names of its tests begin."""
        letter, number = ("a", self.id[1:]) if self.id[0] == "A" else ("", self.id)
        return f"test_{letter}{int(number):02}_"


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("A1", "Matched blocks are asked for until they come, and what is in them reaches the wallet"),
    Scenario("A2", "After the sync, too, headers are judged and stored once, and new filters are matched"),
    Scenario("A3", "The heavier chain is followed from any fork, and headers that connect to nothing stall nobody"),
    Scenario("A4", "A header is held to the difficulty and time that are due, a chain to the work of all its headers"),
    Scenario("A5", "One empty answer of one peer does not complete the headers"),
    Scenario("A6", "Masternode lists are complete when proven and stored, never because time is up"),
    Scenario("A7", "A ChainLock is neither stored nor told of before its quorum's signature is verified"),
    Scenario("A8", "Where nobody serves filters, nothing is called fully synced"),
    Scenario("A9", "No filter is given up, and the phase is not left without it"),
    Scenario("A10", "Progress tells what is stored, never falls, and counts the peers that are there"),
    Scenario("A11", "Bounds on requests hold over the whole queue, and each recovery strategy does what it says"),
    Scenario("A12", "No guard, rule or check is without effect, and the journal keeps figures"),
    Scenario("A13", "All peers are made use of, as many as are configured, and what each did counts"),
    Scenario("1", "A tip that was reorganised away while offline is found by the locator, and rolled back everywhere"),
    Scenario("2", "A stored filter tip that all peers contradict is rewound, and none of them is banned"),
    Scenario("3", "A reorganisation in the middle of the filters neither bans nor wedges"),
    Scenario("4", "What comes unasked when synced is stored once if it is valid, else not at all"),
    Scenario("5", "Two answers to one question change nothing twice"),
    Scenario("6", "The first hash of a locator is the stored tip, wherever a run begins"),
    Scenario("7", "Heights are absolute from any first block, in memory and on disk"),
    Scenario("8", "The tip is the last item of an unbroken row"),
    Scenario("9", "After a batch that is wrong in the middle, tip and locator are of the last accepted header"),
    Scenario("10", "Completion is asked for by the clock, and only what is stored counts"),
    Scenario("11", "What is derived from the store is read anew after an import"),
    Scenario("12", "Median time and difficulty are right from the first header whose window is known"),
    Scenario("13", "When every peer fails the same check, stored data is the suspect, and is repaired"),
    Scenario("14", "Work is counted on headers that were judged, in their order"),
    Scenario("15", "Endless headers of little work are bounded in memory"),
    Scenario("16", "Compressed headers are those of Dash Core, byte for byte, and survive the way there and back"),
    Scenario("17", "Compressed answers keep their order and their connection, however long each takes to expand"),
    Scenario("18", "Compression is agreed with each peer, and how long a full answer is goes with it"),
    Scenario("19", "Filters are completed from any first block"),
    Scenario("20", "A peer with filters is searched for, visibly, and nothing is synced without"),
    Scenario("21", "A failed write moves no mark, and its batch comes again"),
    Scenario("22", "After a restart one new block is synced like any other"),
    Scenario("23", "Filter headers make the same store in whatever order they come, and two peers are faster than one"),
    Scenario("24", "An answer after its timeout does no harm"),
    Scenario("25", "Steady progress never times out"),
    Scenario("26", "A false chain of filter headers that was stored once is dropped when it is shown to be false"),
    Scenario("27", "Peers with old filter rules are found out by the block, without endless retries"),
    Scenario("28", "A word said twice counts once, and silence is not a lie"),
    Scenario("29", "Callers who call back from anywhere deadlock nothing"),
    Scenario("30", "Blocks that are mined during the sync are synced, too"),
    Scenario("31", "No request asks for more than the protocol allows"),
    Scenario("32", "A forged body under a true header never reaches the wallet"),
    Scenario("33", "Scripts that are derived later are found as if they had been known from the start"),
    Scenario("34", "A rescan for new scripts reads each stored filter once"),
    Scenario("35", "A spend in a block that is reorganised away hides no coin"),
    Scenario("36", "One failed fetch of a block does not end a rescan"),
    Scenario("37", "What is watched later is relayed like what was watched before"),
    Scenario("38", "The masternode phase is left only when no request is outstanding"),
    Scenario("39", "A rotated quorum is judged by the lists and the ChainLock of its own cycle"),
    Scenario("40", "Rotation data that is refused or never comes is asked for again, and the honest are kept"),
    Scenario("41", "A crafted field of masternode data costs its sender, and nobody else"),
    Scenario("42", "A start in mid-chain builds on nothing below it"),
    Scenario("43", "A lock that cannot be judged yet waits, blames nobody, and is looked at again by itself"),
    Scenario("44", "Silence costs seconds, and a list that does not fit is fetched anew"),
    Scenario("45", "An hour without a word is no offence"),
    Scenario("46", "Failures are bounded and forgotten, and one slow peer stalls nobody"),
    Scenario("47", "Without any DNS seed there are other ways in"),
    Scenario("48", "Blocks are noticed however they are announced, and slow listeners lose no data"),
    Scenario("49", "Events of an earlier stay move nothing"),
    Scenario("50", "A process that is killed at any write reopens its store and goes on"),
    Scenario("51", "Memory stays under its ceiling over hundreds of thousands of filters"),
    Scenario("52", "Trouble is told in the same stream as progress, and the bar never jumps"),
    Scenario("53", "A state whose first request fails is left and entered again"),
)
"""All of them, findings first."""
