"""Times a function as the benchmark programs do: repetitions of a loop that lasts a while."""

import time


def _loop(step, count, wait):
    start = time.perf_counter()
    for _ in range(count):
        step()
    wait()
    return time.perf_counter() - start


def samples_of(step, repetitions, seconds, wait=lambda: None):
    """Seconds of one call, `repetitions` of them; each the mean over a loop of about `seconds`, at whose end is waited.
    The first call is not counted."""
    _loop(step, 1, wait)
    count, passed = 1, _loop(step, 1, wait)
    while passed < seconds:
        count = max(count + 1, min(count * 10, int(count * 1.2 * seconds / max(passed, 1e-9))))
        passed = _loop(step, count, wait)
    return [passed / count] + [_loop(step, count, wait) / count for _ in range(repetitions - 1)]
