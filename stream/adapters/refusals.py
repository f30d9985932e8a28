"""What an answer of the broker means for the messages of a round."""

from __future__ import annotations

from collections.abc import Sequence

from stream.ports import Outgoing, Refusal, Round


def sorted_out(round: Round, refused: Sequence[Refusal]) -> tuple[list[Outgoing], list[Refusal], list[Outgoing]]:
    """What is on the log, what is refused, and what was not sent because an earlier one of its topic and key is refused."""
    by_seq = {r.seq: r for r in refused}
    closed: set[tuple[str, bytes]] = set()
    sent, stopped, behind = list[Outgoing](), list[Refusal](), list[Outgoing]()
    for row in round.rows:
        if (row.topic, row.key) in closed:
            behind.append(row)
        elif row.seq in by_seq:
            closed.add((row.topic, row.key))
            stopped.append(by_seq[row.seq])
        else:
            sent.append(row)
    return sent, stopped, behind
