"""The nemesis: faults, each of which strikes, lasts, heals, says what it did, and measures how long it took until work went on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence

from tests.chaos.load import Mix
from tests.chaos.scene import Scene
from tests.chaos.wires import Weather, Wire

Fault = Callable[[Scene], str]


def kill_worker(scene: Scene) -> str:
    """F1: kill -9; started again only when its partitions have moved elsewhere, or at once."""
    name = scene.any_worker()
    child = scene.process(name)
    scene.await_work()
    held = scene.lagging(scene.owned(child))
    scene.kill(name)
    again = scene.chance.random() < 0.5
    if again:
        scene.start(name)
    scene.feeder.feed(100)
    scene.recovered("worker killed", scene.wait_for_heirs(child))
    if not again:
        scene.start(name)
    return f"{name} killed with {len(held)} partitions under way, {'replaced at once' if again else 'replaced later'}"


def stop_worker(scene: Scene) -> str:
    """F2: SIGSTOP, mostly beyond the session, then CONT: a zombie that goes on with what it held."""
    name = scene.any_worker()
    lasts = scene.session * scene.chance.choice([0.5, 1.5, 2.0])
    scene.await_work()
    scene.signal([scene.process(name).pid], signal.SIGSTOP)
    scene.feeder.feed(100)
    scene.pause(lasts)
    scene.signal([scene.process(name).pid], signal.SIGCONT)
    scene.wait_for_flow()
    return f"{name} stopped for {lasts:.1f} s"


def end_worker(scene: Scene) -> str:
    """F3: SIGTERM; it must end by itself, in time, and with code 0."""
    name = scene.any_worker()
    scene.await_work()
    child = scene.ground.stand.children.pop(name)
    began = time.monotonic()
    child.stop()
    took = time.monotonic() - began
    scene.start(name)
    return f"{name} ended in {took:.1f} s and replaced"


def kill_broker(scene: Scene) -> str:
    """F4: kill -9 of the broker, and the same data again."""
    away = scene.chance.uniform(0.2, 3.0)
    scene.await_work()
    scene.ground.broker.child.kill()
    scene.pause(away)
    scene.ground.broker.start()
    scene.recovered("broker back", scene.wait_for_flow())
    return f"broker killed, away for {away:.1f} s"


def stop_broker(scene: Scene) -> str:
    """F5: SIGSTOP of the broker, beyond the session."""
    lasts = scene.session * scene.chance.uniform(1.2, 2.0)
    scene.await_work()
    scene.signal([scene.ground.broker.child.pid], signal.SIGSTOP)
    scene.pause(lasts)
    scene.signal([scene.ground.broker.child.pid], signal.SIGCONT)
    scene.recovered("broker back", scene.wait_for_flow())
    return f"broker stopped for {lasts:.1f} s"


def end_backends(scene: Scene) -> str:
    """F7: backends ended by an administrator, one in three or all, again and again."""
    one_in = scene.chance.choice([1, 3])
    ended = 0
    for _ in range(scene.chance.randint(2, 6)):
        scene.await_work()
        ended += len(scene.ground.stand.rows("end_backends", one_in))
        scene.feeder.feed(40)
    scene.wait_for_flow()
    return f"{ended} backends ended"


def crash_postgres(scene: Scene) -> str:
    """F8: the immediate stop, which is a crash, and a start that recovers."""
    away = scene.chance.uniform(0.0, 2.0)
    scene.await_work()
    _crash(scene)
    scene.pause(away)
    scene.ground.server.start()
    scene.recovered("postgres back", scene.wait_for_flow())
    return f"postgres crashed, away for {away:.1f} s"


def stop_postgres(scene: Scene) -> str:
    """F9: SIGSTOP of the server and every backend, longer than a statement may take or shorter."""
    lasts = scene.chance.choice([2.0, 8.0])
    scene.await_work()
    stopped = scene.ground.postgres_processes()
    scene.signal(stopped, signal.SIGSTOP)
    scene.pause(lasts)
    scene.signal(scene.ground.postgres_processes(), signal.SIGCONT)
    scene.recovered("postgres back", scene.wait_for_flow())
    return f"{len(stopped)} processes of postgres stopped for {lasts:.1f} s"


def trouble_wires(scene: Scene) -> str:
    """F10: black holes in one direction or both, resets, latency, stalls, a narrow line; for one process or for all."""
    wire, what = scene.chance.choice([(scene.ground.to_kafka, "kafka"), (scene.ground.to_postgres, "postgres")])
    name = scene.chance.choice(["", scene.any_worker()])
    kind, weather = scene.chance.choice(list(WEATHERS.items()))
    lasts = scene.session * scene.chance.uniform(0.8, 1.8)
    scene.await_work()
    wire.weather(weather, name)
    scene.pause(lasts)
    if kind.startswith("black"):
        # Who waits behind a black hole has often given up: what comes then, comes to nobody.
        wire.reset(name)
    wire.clear()
    scene.recovered("wire mended", scene.wait_for_flow())
    return f"{kind} towards {what} for {name or 'all'}, {lasts:.1f} s"


def reset_wires(scene: Scene) -> str:
    """F10: connections reset, again and again, and none taken for a moment."""
    wire = scene.chance.choice([scene.ground.to_kafka, scene.ground.to_postgres])
    cut = 0
    for _ in range(scene.chance.randint(2, 5)):
        scene.await_work()
        wire.refusing = True
        cut += wire.reset()
        scene.pause(scene.chance.uniform(0.0, 0.5))
        wire.refusing = False
        scene.feeder.feed(40)
    scene.recovered("wire mended", scene.wait_for_flow())
    return f"{cut} connections reset"


def lose_commits(scene: Scene) -> str:
    """F11: the answer to COMMIT is lost, some times in a row, and then COMMIT itself."""
    return _lose(scene, scene.ground.to_postgres, "COMMIT")


def lose_produces(scene: Scene) -> str:
    """F11: the acknowledgement of what a relay sent is lost, and then what it sent."""
    return _lose(scene, scene.ground.to_kafka, "Produce")


def _lose(scene: Scene, wire: Wire, what: str) -> str:
    answers, requests = scene.chance.randint(3, 8), scene.chance.randint(3, 8)
    wire.lose("answer", answers)
    wire.lose("request", requests)
    ends = time.monotonic() + 20
    while wire.armed and time.monotonic() < ends:
        scene.feeder.feed(40)
        scene.pause(0.2)
    left = wire.armed
    wire.clear()
    scene.wait_for_flow()
    return f"{answers} answers and {requests} requests of {what} lost" + (f", but for {left}" if left else "")


def storm(scene: Scene) -> str:
    """F12: processes join and leave, gently or not, every second or two."""
    turns = scene.chance.randint(2, 4)
    for turn in range(turns):
        name = f"w-guest-{turn}"
        scene.start(name)
        scene.await_work()
        scene.pause(scene.chance.uniform(1.0, 2.5))
        child = scene.ground.stand.children.pop(name)
        child.stop() if scene.chance.random() < 0.5 else child.kill()
        scene.feeder.feed(60)
    scene.wait_for_flow()
    return f"{turns} guests joined and left"


def grow(scene: Scene) -> str:
    """F13: a partition more, of the topic whose order does not hang on keys. It is halted, and goes on when an operator takes it."""
    stand = scene.ground.stand
    topic = stand.names.topic("transfers")
    added = sum(place.topic == topic for place in stand.topics.ends())
    scene.await_work()
    stand.topics.grow(topic, added + 1)
    scene.feeder.feed(100)
    scene.recovered(
        "added partition halted", stand.wait("the added partition halted", lambda: stand.halted() == {f"{topic}/{added}": "partition_added"})
    )
    stand.decide(f"{topic}/{added}")
    scene.wait_for_flow()
    return f"{topic} has {added + 1} partitions"


def repeat(scene: Scene) -> str:
    """F19: a burst of what was told before, and of what is late by days."""
    scene.feeder.feed(200, Mix(repeats=2.0, late=0.3))
    scene.await_work()
    scene.wait_for_flow()
    return "repeats and late ones in a burst"


def poison(scene: Scene) -> str:
    """F20: a burst of events at which handlers raise, for good or now and then."""
    scene.feeder.feed(200, Mix(spoiled=0.05, flapped=0.05))
    scene.await_work()
    scene.wait_for_flow()
    return "poison in a burst"


def two_at_once(scene: Scene) -> str:
    """A process dies, or freezes beyond its session, in the moment in which the database crashes, the broker dies, or COMMITs lose their answers."""
    name, freezes = scene.any_worker(), scene.chance.random() < 0.5
    what = scene.chance.choice(["the database crashed", "the broker died", "COMMITs lost their answers"])
    scene.await_work()
    if freezes:
        scene.signal([scene.process(name).pid], signal.SIGSTOP)
    else:
        scene.kill(name)
    if what == "the broker died":
        scene.ground.broker.child.kill()
        scene.ground.broker.start()
    elif what == "the database crashed":
        _crash(scene)
        scene.ground.server.start()
    else:
        scene.ground.to_postgres.lose("answer", 6)
    scene.feeder.feed(100)
    scene.pause(scene.session * 1.3)
    scene.ground.to_postgres.clear()
    if freezes:
        scene.signal([scene.process(name).pid], signal.SIGCONT)
    else:
        scene.start(name)
    scene.wait_for_flow()
    return f"{name} {'froze' if freezes else 'died'} as {what}"


def _crash(scene: Scene) -> None:
    server = scene.ground.server
    scene.signal([server.child.pid], signal.SIGQUIT)
    while server.child.is_alive:
        time.sleep(0.01)


WEATHERS: Mapping[str, Weather] = {
    "black hole": Weather(up=False, down=False),
    "black hole for requests": Weather(up=False),
    "black hole for answers": Weather(down=False),
    "latency": Weather(delay=0.2, jitter=0.1),
    "stalls": Weather(stalls=0.01, stall=1.0),
    "narrow line": Weather(rate=200_000),
}

FAULTS: Mapping[str, Fault] = {
    "F1": kill_worker,
    "F2": stop_worker,
    "F3": end_worker,
    "F4": kill_broker,
    "F5": stop_broker,
    "F7": end_backends,
    "F8": crash_postgres,
    "F9": stop_postgres,
    "F10-weather": trouble_wires,
    "F10-resets": reset_wires,
    "F11-commits": lose_commits,
    "F11-produces": lose_produces,
    "F12": storm,
    "F13": grow,
    "pair": two_at_once,
    "F19": repeat,
    "F20": poison,
}


def course(scene: Scene, faults: int, kinds: Sequence[str] = tuple(FAULTS)) -> list[str]:
    """So many faults in a seeded order: every kind comes before any comes again."""
    chosen: list[str] = []
    while len(chosen) < faults:
        deck = list(kinds)
        scene.chance.shuffle(deck)
        chosen += deck
    return chosen[:faults]
