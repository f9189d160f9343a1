"""Fuzzing: what any bytes at all may do to a decoder, to a rule, or to a whole connection.

A *target* is a plain function of bytes. It may end in two ways: by returning, after it has checked what its decoder
promises (that a value encodes to the bytes it came from, that pieces give what the whole gives), or by the refusal that
is documented, which it takes in itself. Whatever leaves it is a finding: an exception that nobody promised, a broken
law, and, by libFuzzer's own limits, more than a bounded time or memory.

Targets need no fuzzer: ordinary tests run each over its seeds and some thousand mutations. `make fuzz`, or `python -m
phasegate.verification.fuzzing`, hands them to libFuzzer through atheris, which follows the branches of `consensus`,
`p2p` and `engine` and keeps each input that reaches a new one. Checksums, proofs of work and merkle roots stop blind
bytes at the door, so some targets repair them behind the fuzzer's back: what lies behind the door gets its share.
"""
