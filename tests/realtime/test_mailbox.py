from __future__ import annotations

import threading

from realtime.mailbox import Mailbox


def test_the_newest_wins_and_what_it_displaces_is_counted() -> None:
    box: Mailbox[int] = Mailbox()
    assert [box.put(number) for number in (1, 2, 3)] == [False, True, True]
    assert box.dropped == 2
    assert box.take_now() == 3
    assert box.take_now() is None
    assert not box.waiting


def test_falsy_items_are_items() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(0)
    assert box.waiting
    assert box.take(0) == 0


def test_take_gives_up_after_its_timeout() -> None:
    assert Mailbox[int]().take(0.01) is None


def test_take_waits_for_an_item_of_another_thread() -> None:
    box: Mailbox[int] = Mailbox()
    taken: list[int | None] = []
    reader = threading.Thread(target=lambda: taken.append(box.take(10)))
    reader.start()
    box.put(7)
    reader.join(10)
    assert taken == [7]


def test_close_wakes_every_reader_drops_what_waits_and_refuses_more() -> None:
    box: Mailbox[int] = Mailbox()
    readers = [threading.Thread(target=box.take) for _ in range(3)]
    for reader in readers:
        reader.start()
    assert not box.close()
    for reader in readers:
        reader.join(10)
        assert not reader.is_alive()
    assert box.put(1)
    assert box.take() is None
    assert (box.closed, box.dropped) == (True, 1)


def test_close_counts_the_item_that_waits_once() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    assert (box.close(), box.close()) == (True, False)
    assert box.dropped == 1


def test_every_item_of_many_writers_is_taken_once_or_counted_as_dropped() -> None:
    box: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def write(first: int) -> None:
        for number in range(first, first + 2000):
            box.put(number)

    def read() -> None:
        while (number := box.take(10)) is not None:
            taken.append(number)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 10_000, 20_000)]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join(30)
    box.close()
    for thread in readers:
        thread.join(30)
    assert len(taken) == len(set(taken))
    assert len(taken) + box.dropped == 6000
