"""The first program that everybody writes with Celery, as its tutorial has it; the tests change its second line."""

from celery import Celery, chord, group

app = Celery("tasks", broker="redis://localhost", backend="redis://localhost")


@app.task
def add(one, other):
    return one + other


@app.task
def mul(one, other):
    return one * other


@app.task
def xsum(numbers):
    return sum(numbers)


if __name__ == "__main__":
    assert add.delay(4, 4).get(timeout=20) == 8
    assert (add.s(4, 4) | mul.s(8))().get(timeout=20) == 64
    assert group(add.s(number, number) for number in range(10))().get(timeout=20) == list(range(0, 20, 2))
    assert chord((add.s(number, number) for number in range(10)), xsum.s())().get(timeout=20) == 90
    print("all is well")
