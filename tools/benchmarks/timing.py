"""Times a function as the benchmark programs do: repetitions of a loop that lasts a while."""

import time


def _loop(step, count):
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


def samples_of(step, repetitions, seconds):
    """Seconds of one call, `repetitions` of them; each the mean over a loop of about `seconds`. The first call is not
    counted."""
    step()
    count, passed = 1, _loop(step, 1)
    while passed < seconds:
        count = max(count + 1, min(count * 10, int(count * 1.2 * seconds / max(passed, 1e-9))))
        passed = _loop(step, count)
    return [passed / count] + [_loop(step, count) / count for _ in range(repetitions - 1)]
