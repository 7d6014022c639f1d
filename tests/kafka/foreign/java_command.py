"""How a Java program is started: with what makes its start short."""

from __future__ import annotations

from tests.kafka.foreign.toolchains import program


def java(main: str) -> list[str]:
    """The command that runs a class of ours or of Kafka's tools."""
    at = program("java")
    return [
        "java",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-Xmx128m",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        f"{at}/classes:{at}/libs/*",
        main,
    ]
